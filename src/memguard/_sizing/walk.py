"""
The deep size of an object, by a walk with a bound.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from sys import getrefcount
from types import NoneType
from typing import Any, Final

from memguard._sizing.anatomy import HEAD, INT, content, count_of, own_bytes
from memguard._sizing.extrapolate import extrapolated
from memguard._sizing.plans import (
    BUILT_IN,
    DICT,
    FLAT,
    NOTHING,
    SEQUENCE,
    Plan,
    plan_of,
)

__all__ = ("NODES", "Walk", "sizeof", "walked")

#: Objects visited before a walk stops counting and starts to sample.
NODES: Final = 10_000

_SMALL_TEXT: Final = "x".__sizeof__()  # there is one of each in the whole process
_FLOAT: Final = (0.0).__sizeof__()
_DIGIT: Final = 1 << sys.int_info.bits_per_digit
_SMALL_INTS: Final = range(-5, 257)  # these too
# A text of up to so many characters that is used as a key is a name.
_NAME: Final = 100
# Its dict, the list of keys, the variable of the loop, the argument of getrefcount.
_NAME_HOLDERS: Final = 4
# The dict that is gone through, the variable of the loop, the argument of getrefcount.
_HOLDERS_OF_NAME: Final = 3


class Walk:
    """
    What a walk came across.
    """

    __slots__ = ("again", "complete", "seen", "total")

    def __init__(
        self, total: int, seen: dict[int, Any], again: list[Any], *, complete: bool
    ) -> None:
        self.total = total
        #: Every object by its identity, but for names and singletons.
        self.seen = seen
        #: Objects met once more, as often as that was.
        self.again = again
        #: False if there were more objects than the limit; then the total is useless.
        self.complete = complete


def sizeof(obj: object, *, limit: int = NODES) -> int:
    """
    Bytes that *obj* holds, with all it refers to, each object once.

    Not followed, and 0 bytes: modules, classes, enum members, loggers, event loops,
    threads, executors, time zones, memguard's own nodes, and what the interpreter has
    one of, such as None and small numbers. Counted where nobody else holds it: the
    buffer behind a memoryview or an array, what a function closes over and a generator
    works on, and a short text as a key. A class may declare its size: an `nbytes` is
    added, a `__sizeof__` written in Python is taken as the whole. No other code of
    the measured objects runs, and what they raise is taken as 0.

    Visits at most some *limit* objects (about 0.3 µs each). What holds more is sampled:
    large containers are read in part and multiplied; what many of their items share
    counts once. Then the result is an estimate (a few per cent for containers of like
    items), and for long chains and deep trees of single objects a lower bound.
    """
    plan = plan_of(type(obj))
    if plan is FLAT:
        return own_bytes(obj, plan)
    walk = walked(obj, limit, {})
    return walk.total if walk.complete else extrapolated(obj, limit)


# One loop, because a call for each object would cost more than the object.
def walked(  # noqa: C901, PLR0912, PLR0915
    root: object, limit: int, seen: dict[int, Any]
) -> Walk:
    """
    Walk from *root*, except into what is in *seen*, which is added to.
    """
    plan = plan_of(type(root))
    total = own_bytes(root, plan)
    seen[id(root)] = root
    again: list[Any] = []
    views: dict[int, list[Any]] = {}
    names: list[str] = []
    todo: list[tuple[Any, Plan]] = [(root, plan)]
    # Grows while it is read: what is nearest to the root comes first.
    for obj, plan in todo:
        if len(seen) + count_of(obj, plan) // 2 > limit:
            return Walk(total, seen, again, complete=False)
        if plan is DICT:
            size, things = _names_apart(list(obj), names)
            total += size
            things += obj.values()
        else:
            things = _held_by(obj, plan, views)
            if len(things) > 2 * limit:
                return Walk(total, seen, again, complete=False)
        for one in things:
            kind = type(one)
            if kind is str:
                size = one.__sizeof__()
                if size <= _SMALL_TEXT:
                    continue
            elif kind is int:
                if one in _SMALL_INTS:
                    continue
                size = INT if -_DIGIT < one < _DIGIT else one.__sizeof__()
            elif kind is float:
                size = _FLOAT
            elif kind is NoneType or kind is bool:
                continue
            else:
                size = -1
            key = id(one)
            if key in seen:
                again.append(one)
                continue
            seen[key] = one
            if size >= 0:
                total += size
            elif kind is dict or kind is list:
                total += one.__sizeof__() + HEAD
                if one:
                    todo.append((one, DICT if kind is dict else SEQUENCE))
            elif kind is tuple:
                if one:
                    total += one.__sizeof__() + HEAD
                    todo.append((one, SEQUENCE))
            else:
                way = BUILT_IN.get(id(kind)) or plan_of(kind)
                total += own_bytes(one, way)
                if way is not FLAT and way is not NOTHING:
                    todo.append((one, way))
        if len(seen) > limit:
            return Walk(total, seen, again, complete=False)
    if names:
        total += _of_names(names, seen)
    return Walk(total, seen, again, complete=True)


def _names_apart(keys: list[Any], shared: list[str]) -> tuple[int, list[Any]]:
    """
    Bytes of the names that only this dict holds, and the keys that are no names.

    Names that are also held elsewhere, in the value or outside, are added to *shared*.
    """
    total = 0
    others = []
    for key in keys:
        if type(key) is not str or len(key) > _NAME:
            others.append(key)
        elif getrefcount(key) <= _NAME_HOLDERS:
            total += key.__sizeof__()
        else:
            shared.append(key)
    return total, others


def _of_names(names: list[str], seen: dict[int, Any]) -> int:
    """
    Bytes of those *names* that dicts of the value hold several times, and nobody else.

    What others hold is in the code that uses the name, as a rule, or in other values.
    """
    total = 0
    times = Counter(map(id, names))
    for name in {id(name): name for name in names}.values():
        # Each time in a dict of the value and in the list; see below for the rest.
        outside = getrefcount(name) - 2 * times[id(name)] - _HOLDERS_OF_NAME
        if outside <= 0 and id(name) not in seen:
            total += name.__sizeof__()
    return total


def _held_by(obj: Any, plan: Plan, views: dict[int, list[Any]]) -> list[Any]:
    """
    A copy of what *obj* holds: another thread may change it meanwhile.
    """
    try:
        return list(content(obj, plan, views))
    except RuntimeError:
        # It changed while it was read. One step of C code cannot be disturbed.
        return gc.get_referents(obj)
