"""
Which modules there are, and which of several that name a thing is its home.

Modules are read as they stand in `sys.modules`: none is imported, a lazy one is not
woken. Of libraries only the names of modules and classes are read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from memguard._risks.containers import grown
from memguard._risks.hooks import judge_hooks
from memguard._risks.logs import judge_logging
from memguard._risks.origins import is_foreign, is_library
from memguard._risks.queues import judge_hidden_executors
from memguard._risks.reading import (
    attributes_of,
    first_items,
    module_names,
    module_of,
    qualname_of,
)
from memguard._risks.scene import Place
from memguard._risks.shapes import ATOM, CLASS, FUNCTION, LRU, METHOD, Shape
from memguard._risks.visitor import DEPTH, Visitor

if TYPE_CHECKING:
    from memguard._risks.scene import Scene

__all__ = ("Survey",)

_NAMES: Final = 5_000  # of one module
_WARNED: Final = 64
_EVERY: Final = 63
_ATOMS: Final = frozenset((ATOM,))
_CODE: Final = frozenset((ATOM, FUNCTION, METHOD))
_NEW_NAMES: Final = 100

_Modules = list[tuple[str, dict[str, Any]]]


class Survey:
    """
    One walk through everything that modules hold.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._visitor = Visitor(scene)
        # Where each thing is at home that several modules of the application name.
        self._homes: dict[int, str] = {}

    def run(self) -> None:
        """
        Look at all modules, the application's first, and at what is the process's.
        """
        scene = self._scene
        mine, others = self._modules()
        scene.modules = len(mine) + len(others)
        for name, names in mine:
            self._find_homes(name, names)
        for name, names in mine:
            self._module(name, names, library=False)
        self._registered()
        for judge in (judge_logging, judge_hooks, judge_hidden_executors):
            scene.pace.step()
            scene.safely(judge, scene)
        for name, names in others:
            self._module(name, names, library=True)

    def _registered(self) -> None:
        """
        Look into objects that somebody registered, as into those of modules.
        """
        for node in self._scene.registered:
            obj = node.target()
            if obj is not None:
                shape = self._scene.shapes.of(type(obj))
                foreign = is_foreign(type(obj))
                name = qualname_of(type(obj)).rpartition(".")[2]
                place = Place(f"registered {name}", "", name, "instance", foreign)
                if shape is not CLASS and shape is not FUNCTION:
                    self._visitor.visit(place, obj, shape, DEPTH - 1)
            del obj

    def _modules(self) -> tuple[_Modules, _Modules]:
        mine: _Modules = []
        others: _Modules = []
        known: set[int] = set()
        for name, module in list(sys.modules.items()):
            self._scene.pace.step()
            if type(name) is not str:
                continue
            names = module_names(module)
            if names is None or id(names) in known:
                continue
            known.add(id(names))
            library = is_library(name, names)
            if not library:
                mine.append((name, names))
            elif name.partition(".")[0] != "memguard":
                others.append((name, names))
        return mine, others

    def _find_homes(self, name: str, names: dict[str, Any]) -> None:
        """
        Who imports a thing is in `sys.modules` before the module that makes it.
        """
        annotated = names.get("__annotations__")
        own = annotated if type(annotated) is dict else {}
        for attr, value, shape in self._items(names, _ATOMS):
            if shape is CLASS or shape is FUNCTION or shape is LRU:
                if not self._scene.only_counts and not self._is_elsewhere(
                    name, names, value, shape
                ):
                    self._scene.safely(self._scene.codes.add, name, value)
                continue
            made_here = attr in own
            if made_here or self._homes.get(id(value), "").partition(":")[0] != "!":
                self._homes[id(value)] = f"{'!' if made_here else ''}:{name}"

    def _items(
        self, names: dict[str, Any], skipped: frozenset[Shape]
    ) -> Iterator[tuple[str, Any, Shape]]:
        """
        Names with values and their shapes, but for those to be skipped.
        """
        step = self._scene.pace.step
        known, of = self._scene.shapes.known, self._scene.shapes.of
        for number, (name, value) in enumerate(first_items(names, _NAMES)):
            if not number & _EVERY:
                step()
            shape = known.get(id(type(value))) or of(type(value))
            if shape in skipped or type(name) is not str:
                continue
            if name[:2] != "__" or name[-2:] != "__":
                yield name, value, shape

    def _module(self, name: str, names: dict[str, Any], *, library: bool) -> None:
        place = Place(name, "", name, "module", library)
        registry = names.get("__warningregistry__")
        if type(registry) is dict and len(registry) > _WARNED:
            self._warned(place, registry)
        if not library:
            self._names(place, len(names))
        seen = self._scene.seen
        for attr, value, shape in self._items(names, _CODE if library else _ATOMS):
            if id(value) in seen:
                continue
            if not library and self._is_elsewhere(name, names, value, shape):
                continue
            self._visitor.visit(place.attribute(attr, "module"), value, shape, 0)

    def _is_elsewhere(
        self, name: str, names: dict[str, Any], value: Any, shape: Shape
    ) -> bool:
        if shape is FUNCTION:
            return value.__globals__ is not names and _is_at(
                value.__module__, value.__qualname__, value
            )
        if shape is CLASS:
            module = module_of(value)
            return module != name and _is_at(module, qualname_of(value), value)
        if shape is LRU:
            own = attributes_of(value) or {}
            made_in = own.get("__module__")
            return not _is_text(made_in, name) and _is_at(
                made_in, own.get("__qualname__"), value
            )
        home = self._homes.get(id(value))
        return home is not None and home.partition(":")[2] != name

    def _names(self, place: Place, count: int) -> None:
        """
        A module that gets more and more names is a dictionary like any other.
        """
        scene = self._scene
        trend = scene.trend(f"names of {place.name}", count)
        grew = trend.growing and count - trend.first >= _NEW_NAMES
        if scene.only_counts or not (grew or count >= _NAMES):
            return
        scene.add(
            "growing-module",
            "module",
            place.name,
            grade=1 + grew + (count >= _NAMES),
            reason=grown(trend).replace("entries", "names")
            if grew
            else "it has very many names, and keeps whatever they stand for",
            fix="keep what is made at run time in a cache with a cap, not in globals()",
            entries=count,
            unit="names",
        )

    def _warned(self, place: Place, registry: dict[Any, Any]) -> None:
        scene = self._scene
        where = place.attribute("__warningregistry__", "module")
        trend = scene.trend(where.name, len(registry))
        if scene.only_counts or (len(registry) < 1_000 and not trend.growing):
            return
        scene.add(
            "warning-registry",
            "dict",
            where.name,
            grade=1 + (len(registry) >= 10_000),
            reason="it remembers each text that was ever warned with",
            fix="warn with a text that does not change from call to call",
            entries=len(registry),
            unit="texts",
            library=place.library,
        )


def _is_text(one: Any, text: str) -> bool:
    return type(one) is str and one == text


def _is_at(module: Any, name: Any, value: Any) -> bool:
    """
    True where a module has *value* under its own name: there it is looked at.
    """
    if type(module) is not str or type(name) is not str:
        return False
    home = sys.modules.get(module)
    names = None if home is None else module_names(home)
    return names is not None and names.get(name) is value
