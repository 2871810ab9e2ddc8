"""
The bytes of an entry, from a few of many. Runs no code of what it measures.

`sizeof` asks a class that declares its size; here nobody is asked, so arrays of foreign
types count with what their C code says of them, and declared sizes do not count.
"""

from __future__ import annotations

import gc
import types
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain, islice
from time import perf_counter
from typing import Any, Final

from memguard._risks.reading import mro_of, namespace_of
from memguard._sizing.anatomy import HEAD
from memguard._sizing.plans import (
    BAG,
    BUFFER,
    DICT,
    FLAT,
    NOTHING,
    SEQUENCE,
    SUBDICT,
    Plan,
    plan_of,
)

__all__ = ("entry_bytes", "newest", "own_bytes")

_ITEMS: Final = 16  # read of one container
_NODES: Final = 60  # objects looked at for one item
_SECONDS: Final = 0.0002  # spent on one container
_GC: Final = 1 << 14  # Py_TPFLAGS_HAVE_GC
_flags: Final = type.__dict__["__flags__"].__get__
_C_METHOD: Final = types.MethodDescriptorType
_LONG: Final = (list, tuple, set, frozenset, deque)
_LRU: Final = type(lru_cache(len))


def own_bytes(obj: Any) -> int:
    """
    What *obj* takes by itself, by the nearest `__sizeof__` that is written in C.
    """
    kind = type(obj)
    head = HEAD if _flags(kind) & _GC else 0
    for base in mro_of(kind):
        found = namespace_of(base).get("__sizeof__")
        if type(found) is _C_METHOD:
            try:
                return int(found.__get__(obj)()) + head
            except Exception:
                return head  # half-made, or closed
    return head


def newest(obj: Any, most: int = _ITEMS) -> list[Any]:
    """
    At most *most* of the entries of a built-in container, the last to come first.

    Of dictionaries keys and values. In one step of C code: it may change any time.
    """
    try:
        if isinstance_exact(obj, dict):
            pairs = islice(reversed(dict.items(obj)), most)
            return list(pairs)
        if isinstance_exact(obj, list):
            return list.__getitem__(obj, slice(-1, -most - 1, -1))
        if isinstance_exact(obj, deque):
            return list(islice(deque.__reversed__(obj), most))
        if isinstance_exact(obj, set):
            return list(islice(set.__iter__(obj), most))
    except RuntimeError:
        pass  # changed meanwhile: it is not measured this time
    return []


def isinstance_exact(obj: Any, kind: type) -> bool:
    """
    As `isinstance`, by the real type alone.
    """
    return any(base is kind for base in mro_of(type(obj)))


def entry_bytes(entries: Iterable[Any]) -> int | None:
    """
    The mean bytes of *entries*, what they share counted once; None without any.

    Looks at a few only, and for 0.2 ms at most.
    """
    seen: set[int] = set()
    end = perf_counter() + _SECONDS
    total = count = 0
    for entry in islice(entries, _ITEMS):
        total += _walk(entry, seen, end)
        count += 1
        if perf_counter() > end:
            break
    return None if not count else -(-total // count)


def _walk(root: Any, seen: set[int], end: float) -> int:
    total = 0
    visited = 0
    todo: deque[Any] = deque((root,))
    first = True
    while todo and visited < _NODES:
        obj = todo.popleft()
        if id(obj) in seen:
            continue
        plan = plan_of(type(obj))
        if plan is NOTHING:
            continue
        if not (first and type(obj) is tuple):
            seen.add(id(obj))
        first = False
        visited += 1
        total += own_bytes(obj)
        if plan is not FLAT and perf_counter() < end:
            todo.extend(_held(obj, plan))
    return total


def _held(obj: Any, plan: Plan) -> Iterable[Any]:
    try:
        if plan is DICT or plan is SUBDICT:
            return list(islice(chain.from_iterable(dict.items(obj)), _NODES))
        if plan is SEQUENCE:
            return list(islice(obj, _NODES))
        if plan is BAG:
            return newest(obj, _NODES) if len(obj) > _NODES else list(obj)
        if plan is BUFFER or type(obj) is _LRU:
            return ()
        for base in mro_of(type(obj)):
            if any(
                base is one for one in _LONG
            ):  # a subclass: all its referents may be a million
                return list(islice(base.__iter__(obj), _NODES))
        return islice(gc.get_referents(obj), _NODES)
    except RuntimeError:
        return ()  # changed while it was read
