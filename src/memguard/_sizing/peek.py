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
_SOME: Final = 32  # of a list of containers
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
    for obj, how, parents in todo:
        things, each = _nearest(obj, how)
        times = parents * each
        size: float = 0
        others = []
        for one in things:
            kind = type(one)
            if kind is str or kind is bytes:
                size += one.__sizeof__()
            elif kind is dict or kind is list:
                others.append(one)
            elif kind is int:
                size += INT
            elif kind is float:
                size += _float_bytes
            elif kind is not NoneType and kind is not bool:
                others.append(one)
        if known and size >= _LONG:
            size -= _of_shared(things, known)
        if others:
            size += _of_others(others, known, times, todo)
        total += size * times
        if len(todo) > _CONTAINERS:
            del todo[_CONTAINERS:]
    return int(total)


def _of_shared(things: Sequence[Any], known: Mapping[int, int]) -> int:
    """
    Bytes of the texts among *things* that are long, and shared.
    """
    size = 0
    for one in things:
        if type(one) is str or type(one) is bytes:
            own = one.__sizeof__()
            if own >= _LONG and _is_shared(one, known):
                size += own
    return size


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


def _nearest(obj: Any, plan: Plan) -> tuple[Sequence[Any], float]:
    """
    The first things *obj* holds, and how many there are for each of them.
    """
    try:
        if plan is DICT:
            count = len(obj)
            if count <= _THINGS:
                return list(obj.values()), 1
            return list(islice(obj.values(), _THINGS)), count / _THINGS
        if plan is SEQUENCE:
            return _some(obj)
        held = dict.values(obj) if plan is SUBDICT else content(obj, plan)
        return list(islice(held, _THINGS)), 1
    except RuntimeError:
        # It changed while it was read. One step of C code cannot be disturbed.
        return gc.get_referents(obj)[:_THINGS], 1


def _some(sequence: Sequence[Any]) -> tuple[Sequence[Any], float]:
    """
    Some for all of a list of dicts or of lists; of anything else the first 512.
    """
    count = len(sequence)
    if count > _SOME:
        some = sequence[:: -(-count // _SOME)]
        kind = type(some[0])
        if (kind is dict or kind is list) and all(type(one) is kind for one in some):
            return some, count / len(some)
    things = sequence[:_THINGS]
    return things, count / (len(things) or 1)
