"""
What one object costs by itself, and what it refers to.

Runs no code of the measured object, but for a `__sizeof__` or an `nbytes` that its
class declares: content is read through the methods of the built-in base.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from itertools import chain, islice
from math import gcd
from sys import getrefcount
from typing import Any, Final

from memguard._sizing.inline import values_bytes
from memguard._sizing.plans import (
    ARRAY,
    BAG,
    BUFFER,
    DICT,
    FUNCTION,
    LOCAL,
    NOTHING,
    OBJECT,
    OPEN,
    SEQUENCE,
    SUBDICT,
    VIEW,
    Plan,
    basic_size,
    dict_offset,
)

__all__ = ("HEAD", "INT", "content", "count_of", "holds_pairs", "own_bytes", "sample")

_WITH_ATTRIBUTES: Final = (OBJECT, OPEN, SUBDICT)
# The variable, the entry in `views`, the argument of getrefcount.
_HOLDERS_BUT_VIEWS: Final = 3
# The thing's holder, the list it is in, the variable of the loop, the argument.
_SOLE_IN_LIST: Final = 4
#: What the garbage collector puts before a list, tuple or dict.
HEAD: Final = sys.getsizeof([]) - [].__sizeof__()
#: The interpreter asks for a whole struct, of which getsizeof leaves out the padding.
INT: Final = -(-(1000).__sizeof__() // 8) * 8
# Subclasses of dict up to this size are read with their attributes.
_SMALL_DICT: Final = 10_000


def own_bytes(obj: Any, plan: Plan) -> int:
    """
    What *obj* itself takes, with its buffer if that is its own; never raises.
    """
    if plan is DICT or (plan is SEQUENCE and type(obj) is list):
        # A fraction of the cost of getsizeof.
        return obj.__sizeof__() + HEAD  # type: ignore[no-any-return]
    if plan is NOTHING:
        return 0
    try:
        size = object.__sizeof__(obj) if plan is OPEN else sys.getsizeof(obj)
    except Exception:
        # A declared __sizeof__ that fails, or that of a half-made object.
        size = int(basic_size(type(obj)))
    if plan is BUFFER:
        return max(size, int(basic_size(type(obj))) + _nbytes(obj))
    if plan in _WITH_ATTRIBUTES:
        size += values_bytes(obj)
    return size


def _nbytes(obj: Any) -> int:
    try:
        told = obj.nbytes if hasattr(type(obj), "nbytes") else _stored(obj)
    except Exception:
        # As for __sizeof__: then only the object itself is counted.
        return 0
    return max(0, int.__int__(told)) if issubclass(type(told), int) else 0


def _stored(tensor: Any) -> Any:
    """
    Bytes of the storage of something like a tensor.
    """
    told = tensor.untyped_storage().nbytes
    return told() if callable(told) else told


def content(
    obj: Any, plan: Plan, views: dict[int, list[Any]] | None = None
) -> Iterable[Any]:
    """
    Everything *obj* holds; a list, or an iterable that C code reads in one go.

    *views* is where a walk that meets several views of one buffer remembers them.
    """
    if plan is SEQUENCE or plan is BAG:
        return obj  # type: ignore[no-any-return]
    if plan is DICT:
        return chain(obj, obj.values())
    if plan is OBJECT or plan is OPEN:
        return gc.get_referents(obj)
    if plan is SUBDICT:
        if dict.__len__(obj) > _SMALL_DICT:
            return chain(dict.keys(obj), dict.values(obj))
        # Its attributes as well; text keys are not among the referents on 3.11+.
        return chain(dict.keys(obj), gc.get_referents(obj))
    if plan is VIEW or plan is ARRAY:
        behind = _behind(obj, plan, {} if views is None else views)
        if plan is ARRAY and dict_offset(type(obj)):
            return chain(behind, gc.get_referents(obj))  # a subclass: its attributes
        return behind
    if plan is FUNCTION:
        closed = obj.__closure__ or ()
        return _held_only_here([*closed, obj.__defaults__, obj.__kwdefaults__])
    if plan is LOCAL:
        return _held_only_here(gc.get_referents(obj))
    if plan is BUFFER and not _nbytes(obj):
        return gc.get_referents(obj)  # it is called nbytes, but tells nothing
    return ()


def _held_only_here(things: list[Any]) -> list[Any]:
    return [one for one in things if getrefcount(one) <= _SOLE_IN_LIST]


def _behind(view: Any, plan: Plan, views: dict[int, list[Any]]) -> Iterable[Any]:
    """
    The buffer behind a view if only views that were met hold it; the objects of an
    object array.
    """
    try:
        if plan is ARRAY and view.dtype.hasobject:
            return islice(view.flat, view.size)
        owner = view.obj if plan is VIEW else view.base
    except Exception:
        # A released memoryview, or a subclass in the middle of its making.
        return ()
    if owner is None:
        return ()
    met = views.setdefault(id(owner), [owner, 0])
    met[1] += 1
    return (owner,) if getrefcount(owner) <= met[1] + _HOLDERS_BUT_VIEWS else ()


def count_of(obj: Any, plan: Plan) -> int:
    """
    How many things *obj* holds, where that can be told without reading it; else 0.
    """
    if plan is SEQUENCE or plan is BAG:
        return len(obj)
    if plan is DICT or plan is SUBDICT:
        return 2 * dict.__len__(obj)
    return 0


def holds_pairs(plan: Plan) -> bool:
    """
    True where `sample` gives pairs of key and value instead of single things.
    """
    return plan is DICT or plan is SUBDICT


def sample(obj: Any, plan: Plan, most: int) -> tuple[list[Any], int]:
    """
    At most *most* of the things in *obj*, mixed, and the whole number of them.

    What counts itself as a thing of a dict is a pair of key and value.
    """
    if plan is DICT or plan is SUBDICT:
        count = dict.__len__(obj)
        return _mixed(_both_ends(dict.items(obj), count, most)), count
    if plan is SEQUENCE:
        step = max(1, -(-len(obj) // most))
        return _mixed(obj[::step]), len(obj)
    if plan is BAG:
        return _mixed(_both_ends(obj, len(obj), most)), len(obj)
    things = list(content(obj, plan))
    return _mixed(things[:: max(1, -(-len(things) // most))]), len(things)


def _both_ends(things: Any, count: int, most: int) -> Iterable[Any]:
    """
    The first and the last of *things*; a set has no ends and is read from its start.
    """
    if count <= most or not hasattr(things, "__reversed__"):
        return islice(things, most)
    half = most // 2
    return chain(islice(things, half), islice(reversed(things), most - half))


def _mixed(things: Iterable[Any]) -> list[Any]:
    """
    *things* in golden strides, so that any first few of them stand for all.
    """
    items = list(things)
    count = len(items)
    stride = max(1, int(count * 0.618))
    while gcd(stride, count) > 1:
        stride += 1
    return [items[at * stride % count] for at in range(count)]
