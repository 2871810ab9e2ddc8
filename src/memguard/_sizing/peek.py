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

_CONTAINERS: Final = 12  # looked into
_OF_ONE: Final = 4  # containers of one container, so that others have their turn
_OTHERS: Final = 16  # of one container, that are neither texts, bytes nor numbers
_THINGS: Final = 512  # of one container
_LONG: Final = 512  # bytes of a text that makes it worth being looked up
# In the container, in a copy of it, two variables, and the argument of getrefcount.
_OURS: Final = 5

_float_bytes: Final = (0.0).__sizeof__()


def peek(root: object, plan: Plan, known: Mapping[int, int]) -> int:
    """
    About the bytes of *root*, by a look at some of the things nearest to it.

    Keys of dicts are left out, and what is *known* to be shared. Things count as often
    as they are met. Of many containers in one some stand for all.
    """
    total: float = own_bytes(root, plan)
    todo: list[tuple[Any, Plan, float]] = [(root, plan, 1)]
    for obj, how, times in todo:
        size = 0
        others = []
        for one in _nearest(obj, how):
            kind = type(one)
            if kind is str or kind is bytes:
                own = one.__sizeof__()
                if own < _LONG or not known or not _is_shared(one, known):
                    size += own
            elif kind is dict or kind is list:
                others.append(one)
            elif kind is int:
                size += INT
            elif kind is float:
                size += _float_bytes
            elif kind is not NoneType and kind is not bool:
                others.append(one)
        total += size * times
        if others:
            total += times * _of_others(others, known, times, todo)
        if len(todo) > _CONTAINERS:
            del todo[_CONTAINERS:]
    return int(total)


def _of_others(
    others: list[Any],
    known: Mapping[int, int],
    times: float,
    todo: list[tuple[Any, Plan, float]],
) -> float:
    """
    Bytes of things without what they hold; some of those that hold any go into *todo*.
    """
    size = 0
    holders = []
    count = len(others)
    if count > _OTHERS:
        others = others[:: -(-count // _OTHERS)]
    for one in others:
        kind = type(one)
        plan = BUILT_IN.get(id(kind)) or plan_of(kind)
        if plan is not NOTHING and not (known and _is_shared(one, known)):
            size += own_bytes(one, plan)
            if plan is not FLAT:
                holders.append((one, plan))
    part = count / len(others)
    some = holders[:: -(-len(holders) // _OF_ONE)] if holders else holders
    for one, plan in some:
        todo.append((one, plan, times * part * len(holders) / len(some)))
    return size * part


def _is_shared(one: object, known: Mapping[int, int]) -> bool:
    least = known.get(id(one))
    return least is not None and getrefcount(one) - _OURS >= least


def _nearest(obj: Any, plan: Plan) -> Sequence[Any]:
    """
    The first things *obj* holds.
    """
    try:
        if plan is DICT:
            if len(obj) <= _THINGS:
                return list(obj.values())
            return list(islice(obj.values(), _THINGS))
        if plan is SEQUENCE:
            return obj[:_THINGS]  # type: ignore[no-any-return]
        if plan is SUBDICT:
            return list(islice(dict.values(obj), _THINGS))
        return list(islice(content(obj, plan), _THINGS))
    except RuntimeError:
        # It changed while it was read. One step of C code cannot be disturbed.
        return gc.get_referents(obj)[:_THINGS]
