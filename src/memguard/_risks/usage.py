"""
Which code fills a container, and whether any takes something out again.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from memguard._records import record
from memguard._risks.bytecode import Deeds, Op, deeds_of, read
from memguard._risks.reading import (
    attributes_of,
    is_any,
    module_names,
    mro_of,
    namespace_of,
)
from memguard._sites import place_of

if TYPE_CHECKING:
    from memguard._risks.growth import Trend
    from memguard._risks.scene import Place

__all__ = ("Codes", "Usage")

_CODES: Final = 50_000  # of the application
_READ: Final = 12  # pieces of code that are read for one container
_SHOWN: Final = 2
_KEPT: Final = 400  # pieces of code whose instructions are kept for the look
_LRU: Final = type(lru_cache(len))
_OF_CLASSES: Final = (
    types.FunctionType,
    staticmethod,
    classmethod,
    property,
    _LRU,
)


_Index: TypeAlias = "dict[str, dict[str, list[types.CodeType]]]"


@record
class Usage:
    """
    What code does with one container.

    `filled_at` are the places of its own module that fill it; `filled_abroad` those of
    others, which may mean another thing of the same name. `known` is False where no
    code names it: then nothing can be said.
    """

    filled_at: tuple[str, ...]
    filled_abroad: tuple[str, ...]
    takes: bool
    measures: bool
    known: bool

    @property
    def is_bounded(self) -> bool:
        """
        True where code looks at its length, and takes something out.
        """
        return self.takes and self.measures

    def points(self, trend: Trend, level: int) -> int:
        """
        What that adds to a risk, or takes from it.
        """
        if self.takes:
            return -1 - self.measures
        if self.filled_at or (self.filled_abroad and (level or trend.growing)):
            return 1
        return -1 if self.known and trend.steady else 0

    def reason(self) -> str:
        """
        The same for people.
        """
        places = self.filled_at or self.filled_abroad
        if not places:
            return ""
        told = f"filled in {', '.join(places[:_SHOWN])}"
        if len(places) > _SHOWN:
            told += f" and {len(places) - _SHOWN} more places"
        if self.is_bounded:
            return f"{told}, and code that looks at its length takes entries out"
        return f"{told}, and " + (
            "code takes entries out" if self.takes else "no code takes anything out"
        )


UNKNOWN: Final = Usage((), (), takes=False, measures=False, known=False)


class Codes:
    """
    The code of the application's functions and methods, by the names it uses.
    """

    def __init__(self, step: Callable[[], object]) -> None:
        self._step = step
        # By name and module: what is used as a global or an attribute, and what comes
        # from an outer function.
        self._by_name: _Index = {}
        self._by_free: _Index = {}
        self._count = 0
        # Code objects are kept by `_by_name` for as long.
        self._seen: set[int] = set()
        self._read: dict[int, list[Op]] = {}
        self._done: dict[tuple[int, str, bool], Deeds] = {}

    def add(self, module: str, value: Any) -> None:
        """
        Take in the functions of a module, and the methods of its classes.
        """
        kind = type(value)
        if kind is types.FunctionType:
            self._add_code(module, value.__code__)
        elif kind is staticmethod or kind is classmethod:
            self.add(module, value.__func__)
        elif kind is property:
            for one in (value.fget, value.fset):
                self.add(module, one)
        elif any(base is type for base in mro_of(kind)):
            for inner in list(namespace_of(value).values()):
                if is_any(inner, *_OF_CLASSES):
                    self.add(module, inner)
        elif kind is _LRU:
            own = attributes_of(value)
            self.add(module, None if own is None else own.get("__wrapped__"))

    def _add_code(self, module: str, code: types.CodeType) -> None:
        if id(code) in self._seen or self._count >= _CODES:
            return
        self._seen.add(id(code))
        self._count += 1
        self._step()
        for index, used in (
            (self._by_name, code.co_names),
            (self._by_free, code.co_freevars),
        ):
            for name in used:
                index.setdefault(name, {}).setdefault(module, []).append(code)
        for one in code.co_consts:
            if type(one) is types.CodeType:
                self._add_code(module, one)

    def usage(self, place: Place, obj: Any, *, urgent: bool) -> Usage:
        """
        What code does with *obj*, which lies at *place*, by the name it has there.

        For what is not *urgent* only so much code is read at one look.
        """
        if not urgent and len(self._read) >= _KEPT:
            return UNKNOWN
        filled: dict[str, None] = {}
        abroad: dict[str, None] = {}
        takes = measures = known = False
        for code, is_home, only_attributes in self._candidates(place, obj):
            deeds = self._deeds(code, place.attr, only_attributes=only_attributes)
            known = True
            takes = takes or deeds.takes
            measures = measures or deeds.measures
            # What an instance has from its making is no growth.
            is_made = place.owner == "instance" and code.co_name == "__init__"
            if deeds.fills and not is_made:
                (filled if is_home else abroad)[place_of(code)] = None
        return Usage(
            tuple(filled), tuple(abroad), takes=takes, measures=measures, known=known
        )

    def _deeds(
        self, code: types.CodeType, name: str, *, only_attributes: bool
    ) -> Deeds:
        key = id(code), name, only_attributes
        known = self._done.get(key)
        if known is None:
            known = self._done[key] = deeds_of(
                code,
                self._instructions(code),
                name,
                self._step,
                only_attributes=only_attributes,
            )
        return known

    def _instructions(self, code: types.CodeType) -> list[Op]:
        known = self._read.get(id(code))
        if known is None:
            known = read(code, self._step)
            if len(self._read) < _KEPT:
                self._read[id(code)] = known
        return known

    def _candidates(
        self, place: Place, obj: Any
    ) -> Iterator[tuple[types.CodeType, bool, bool]]:
        """
        Code that uses the name, of its own module first; whether it is of that, and
        whether the name can only be that of an attribute in it.
        """
        if place.owner == "default":
            yield place.code, True, False
            return
        is_closure = place.owner == "closure"
        index = self._by_free if is_closure else self._by_name
        using = index.get(place.attr, {})
        homes = {place.module, place.home}
        left = _READ
        is_global = is_closure or place.owner == "module"
        for module in homes:
            for code in using.get(module, ())[:left]:
                left -= 1
                yield code, True, not is_global
        for module, codes in () if is_closure else using.items():
            if left <= 0:
                return
            if module not in homes:
                is_same = is_global and _names_it(module, place.attr, obj)
                for code in codes[:left]:
                    left -= 1
                    yield code, False, not is_same


def _names_it(module: str, name: str, obj: Any) -> bool:
    """
    True where a module has imported *obj* under the same name.
    """
    found = sys.modules.get(module)
    names = None if found is None else module_names(found)
    return names is not None and names.get(name) is obj
