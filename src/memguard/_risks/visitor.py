"""
One thing after the other: which rule is for it, and what hangs below it.

What the application holds is followed into classes, instances, functions and small
containers, a few steps from a module's name.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from memguard._risks.containers import judge_container, said_cap
from memguard._risks.foreign import judge_cachetools, judge_weak
from memguard._risks.origins import is_foreign
from memguard._risks.queues import judge_executor, judge_queue
from memguard._risks.reading import (
    attributes_of,
    attributes_read,
    full_name,
    module_of,
    namespace_of,
    qualname_of,
)
from memguard._risks.scene import Place
from memguard._risks.shapes import (
    ASYNC_QUEUE,
    ATOM,
    BYTES,
    CAPPED,
    CLASS,
    DEQUE,
    DICT,
    EVENTS,
    EXECUTOR,
    FUNCTION,
    LIST,
    LRU,
    METHOD,
    OBJECT,
    PROCESS_QUEUE,
    QUEUE,
    SET,
    SIGNAL,
    SIMPLE_QUEUE,
    WEAK,
    Shape,
    base_length,
)
from memguard._risks.signals import judge_signal
from memguard._risks.wrappers import judge_lru

if TYPE_CHECKING:
    from memguard._risks.scene import Scene

__all__ = ("DEPTH", "Visitor")

_CONTAINERS: Final = (DICT, LIST, SET, DEQUE, BYTES)
_QUEUES: Final = (QUEUE, SIMPLE_QUEUE, ASYNC_QUEUE, PROCESS_QUEUE)
_HELD: Final = (*_CONTAINERS, *_QUEUES, EXECUTOR)
# How far is gone from a module's name: a class, an instance, its attribute, its entry.
DEPTH: Final = 4
# Of the standard library, and yet what is in them is whoever's who made them.
_PLAIN: Final = frozenset(
    (
        "argparse.Namespace",
        "collections.ChainMap",
        "collections.UserDict",
        "collections.UserList",
        "types.SimpleNamespace",
    )
)
_ATOMS: Final = frozenset((ATOM,))
_CODE: Final = frozenset((ATOM, FUNCTION, METHOD, OBJECT))  # of a library's class
_SMALL: Final = 64  # entries of a container that are looked into
_VISITED: Final = 100_000  # things of the application
_OF_CLASSES: Final = frozenset(
    (
        "__abstractmethods__",
        "__annotations__",
        "__dataclass_fields__",
        "__dict__",
        "__doc__",
        "__match_args__",
        "__orig_bases__",
        "__parameters__",
        "__slots__",
        "__weakref__",
        "_abc_impl",
        "_member_map_",
        "_member_names_",
        "_value2member_map_",
    )
)


class Visitor:
    """
    Visits each thing once, and puts what the rules say on the list.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._visited = 0

    def visit(self, place: Place, obj: Any, shape: Shape, depth: int) -> None:
        scene = self._scene
        if id(obj) in scene.seen or self._visited > _VISITED:
            return
        scene.pace.step()
        if not place.library:
            self._visited += 1
        scene.seen.add(id(obj))
        scene.safely(self._judge, place, obj, shape, depth)

    def _judge(self, place: Place, obj: Any, shape: Shape, depth: int) -> None:
        scene = self._scene
        rule = _RULES.get(id(shape))
        step = _STEPS.get(id(shape))
        if rule is not None:
            rule(scene, place, obj)
        elif shape in _QUEUES:
            judge_queue(scene, place, obj, shape)
        elif shape is SIGNAL or shape is EVENTS:
            judge_signal(scene, place, obj, shape)
        elif shape in _CONTAINERS:
            judge_container(scene, place, obj, shape)
            if not place.library and depth < DEPTH:
                self._entries(place, obj, shape, depth)
        if step is not None:
            step(self, place, obj, depth)

    def _entries(self, place: Place, obj: Any, shape: Shape, depth: int) -> None:
        """
        Look into a small container: a dictionary of dictionaries is a usual thing.
        """
        if shape not in (DICT, LIST) or not 0 < base_length(obj, shape) <= _SMALL:
            return
        values = (
            list(dict.values(obj))
            if shape is DICT
            else list.__getitem__(obj, slice(None))
        )
        for number, value in enumerate(values):
            inner = self._scene.shapes.of(type(value))
            if inner in _HELD or (inner is OBJECT and not is_foreign(type(value))):
                self.visit(place.item(number), value, inner, depth + 1)

    def _class(self, place: Place, kind: type, depth: int) -> None:
        if depth >= DEPTH:
            return
        known, of = self._scene.shapes.known, self._scene.shapes.of
        skipped = _CODE if place.library else _ATOMS
        for name, value in list(namespace_of(kind).items()):
            shape = known.get(id(type(value))) or of(type(value))
            if shape in skipped or type(name) is not str or name in _OF_CLASSES:
                continue
            if shape is OBJECT and is_foreign(type(value)):
                continue
            if shape is CLASS and qualname_of(value) != f"{qualname_of(kind)}.{name}":
                continue
            inner = place.attribute(name, "class", home=module_of(kind))
            self.visit(inner, value, shape, depth + 1)

    def _method(self, place: Place, obj: Any, depth: int) -> None:
        inner = obj.__func__
        shape = self._scene.shapes.of(type(inner))
        if shape is LRU:
            judge_lru(self._scene, place, inner, is_static=True)
        elif shape is FUNCTION and not place.library:
            self.visit(place, inner, shape, depth)

    def _wrapped(self, place: Place, obj: Any, depth: int) -> None:
        own = attributes_of(obj)
        inner = None if own is None else own.get("__wrapped__")
        if type(inner) is types.FunctionType and not place.library:
            self.visit(place, inner, FUNCTION, depth)

    def _function(self, place: Place, fn: types.FunctionType, depth: int) -> None:
        """
        What a function keeps: defaults that grow, a closure that remembers, attributes.
        """
        if place.library or depth > DEPTH:
            return
        of = self._scene.shapes.of
        code = fn.__code__
        arguments = code.co_varnames[: code.co_argcount]
        given = fn.__defaults__ or ()
        defaults = [
            *zip(arguments[len(arguments) - len(given) :], given, strict=False),
            *(fn.__kwdefaults__ or {}).items(),
        ]
        for name, value in defaults:
            if of(type(value)) in _CONTAINERS:
                inner = place.default(name, code)
                self.visit(inner, value, of(type(value)), depth + 1)
        held = list(fn.__dict__.items())
        for name, cell in zip(code.co_freevars, fn.__closure__ or (), strict=False):
            try:
                held.append((name, cell.cell_contents))
            except ValueError:
                continue  # it is empty
        for name, value in held:
            shape = of(type(value))
            if shape in _HELD or shape is LRU or shape is FUNCTION:
                owner = "closure" if name in code.co_freevars else "function"
                self.visit(place.attribute(name, owner), value, shape, depth + 1)

    def _instance(self, place: Place, obj: Any, depth: int) -> None:
        if depth > (0 if place.library else DEPTH - 1):
            return
        kind = type(obj)
        is_plain = full_name(kind) in _PLAIN
        foreign = place.library or (is_foreign(kind) and not is_plain)
        of = self._scene.shapes.of
        found = [(name, value, of(type(value))) for name, value in attributes_read(obj)]
        cap = said_cap({name: value for name, value, _ in found})
        for name, value, shape in found:
            if shape is ATOM or shape is CLASS or shape is FUNCTION or shape is METHOD:
                continue
            if foreign and shape not in _CONTAINERS:
                continue
            if (
                cap is not None
                and shape in _CONTAINERS
                and base_length(value, shape) <= cap
            ):
                self._scene.seen.add(id(value))
                continue
            inner = place.attribute(
                name, "instance", library=foreign, home=module_of(kind)
            )
            self.visit(inner, value, shape, depth + 1)


_RULES: Final[dict[int, Callable[[Any, Any, Any], None]]] = {
    id(LRU): judge_lru,
    id(EXECUTOR): judge_executor,
    id(CAPPED): judge_cachetools,
    id(WEAK): judge_weak,
}
_STEPS: Final[dict[int, Callable[[Visitor, Place, Any, int], None]]] = {
    id(LRU): Visitor._wrapped,
    id(CLASS): Visitor._class,
    id(METHOD): Visitor._method,
    id(FUNCTION): Visitor._function,
    id(OBJECT): Visitor._instance,
}
