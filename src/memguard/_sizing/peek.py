"""
A first look at a value: what is quickly seen of its size.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from itertools import islice
from sys import getrefcount
from types import NoneType
from typing import Any, Final

from memguard._sizing.anatomy import INT, content, own_bytes
from memguard._sizing.plans import (
    BUILT_IN,
    DICT,
    FLAT,
    NOTHING,
    SEQUENCE,
    SUBDICT,
    Plan,
    plan_of,
)

__all__ = ("peek",)

_THINGS: Final = 64  # looked at, besides texts
_OF_ONE: Final = 16  # of one container, besides texts
_TEXTS: Final = 512  # of one container, and other things that are told apart from them
_LONG: Final = 512  # bytes of a text that is worth being looked up
# In the container, in two lists, two variables, and the argument of getrefcount.
_OURS: Final = 6

_text_size: Final = str.__sizeof__
_float_size: Final = (0.0).__sizeof__()


def peek(root: object, plan: Plan, known: Mapping[int, int]) -> int:
    """
    About the bytes of *root*, by a look at some of the things nearest to it.

    Keys of dicts are left out, and what is *known* to be shared. Things count as often
    as they are met. Texts are all read, of other things some stand for all.
    """
    total: float = own_bytes(root, plan)
    left = _THINGS
    todo: list[tuple[Any, Plan, float]] = [(root, plan, 1)]
    for obj, how, times in todo:
        things = _nearest(obj, how)
        texts = [one for one in things if type(one) is str]
        size = sum(map(_text_size, texts))
        if known and size >= _LONG:
            size -= _of_shared(texts, known)
        if len(texts) < len(things):
            others = [one for one in things if type(one) is not str]
            count = len(others)
            if count > _OF_ONE:
                others = others[:: -(-count // _OF_ONE)]
            times_each = times * count / len(others)
            left -= len(others)
            other_size = 0
            for one in others:
                kind = type(one)
                if kind is int:
                    other_size += INT
                elif kind is float:
                    other_size += _float_size
                elif kind is not NoneType and kind is not bool:
                    way = BUILT_IN.get(id(kind)) or plan_of(kind)
                    if way is not NOTHING and not (known and _is_shared(one, known)):
                        other_size += own_bytes(one, way)
                        if way is not FLAT:
                            todo.append((one, way, times_each))
            total += other_size * times_each
        total += size * times
        if left <= 0:
            break
    return int(total)


def _of_shared(texts: list[Any], known: Mapping[int, int]) -> int:
    size = 0
    for one in texts:
        if len(one) >= _LONG and _is_shared(one, known):
            size += one.__sizeof__()
    return size


def _is_shared(one: object, known: Mapping[int, int]) -> bool:
    least = known.get(id(one))
    return least is not None and getrefcount(one) - _OURS >= least


def _nearest(obj: Any, plan: Plan) -> Sequence[Any]:
    """
    The first things *obj* holds.
    """
    try:
        if plan is DICT:
            if len(obj) <= _TEXTS:
                return list(obj.values())
            return list(islice(obj.values(), _TEXTS))
        if plan is SEQUENCE:
            return obj[:_TEXTS]  # type: ignore[no-any-return]
        if plan is SUBDICT:
            return list(islice(dict.values(obj), _TEXTS))
        return list(islice(content(obj, plan), _TEXTS))
    except RuntimeError:
        # It changed while it was read. One step of C code cannot be disturbed.
        return gc.get_referents(obj)[:_TEXTS]
