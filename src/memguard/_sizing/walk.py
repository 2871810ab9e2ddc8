"""
The deep size of an object, by a walk with a bound.
"""

from __future__ import annotations

import gc
from sys import getsizeof
from typing import Any, Final

from memguard._sizing.anatomy import content, count_of, own_bytes
from memguard._sizing.extrapolate import extrapolated
from memguard._sizing.plans import BUILT_IN, FLAT, NOTHING, Plan, plan_of

__all__ = ("NODES", "sizeof")

#: Objects visited before a walk stops counting and starts to sample.
NODES: Final = 10_000


def sizeof(obj: object, *, limit: int = NODES) -> int:
    """
    Bytes that *obj* holds, with all it refers to, each object once.

    Not followed, and 0 bytes: modules, classes, enum members, loggers, event loops,
    threads, executors, time zones and memguard's own nodes. Functions, frames and
    generators count for themselves alone. A buffer behind a memoryview or an array
    counts where nobody else holds it. A class may declare its size: an `nbytes` is
    added, a `__sizeof__` written in Python is taken as the whole. No other code of
    the measured objects runs, and what they raise is taken as 0.

    Visits at most some *limit* objects (about 1 µs each). What holds more is sampled:
    large containers are read in part and multiplied; what many of their items share
    counts once. Then the result is an estimate (a few per cent for containers of like
    items), and for long chains and deep trees of single objects a lower bound.
    """
    exact = _counted(obj, limit)
    return extrapolated(obj, limit) if exact is None else exact


def _counted(root: object, limit: int) -> int | None:
    """
    The exact sum, or None if there are more than *limit* objects.
    """
    total = 0
    plan = plan_of(type(root))
    seen = {id(root)}
    todo: list[tuple[Any, Plan]] = [(root, plan)]
    while todo:
        obj, plan = todo.pop()
        total += own_bytes(obj, plan)
        if len(seen) + count_of(obj, plan) // 2 > limit:
            return None
        for one in _held_by(obj, plan):
            key = id(one)
            if key in seen:
                continue
            seen.add(key)
            plan = BUILT_IN.get(id(type(one))) or plan_of(type(one))
            if plan is FLAT:
                total += getsizeof(one)
            elif plan is not NOTHING:
                todo.append((one, plan))
        if len(seen) > limit:
            return None
    return total


def _held_by(obj: Any, plan: Plan) -> list[Any]:
    """
    A copy of what *obj* holds: another thread may change it meanwhile.
    """
    try:
        return list(content(obj, plan))
    except RuntimeError:
        # It changed while it was read. One step of C code cannot be disturbed.
        return gc.get_referents(obj)
