"""
Built-in containers, adopted by the place they lie at.

Where there is an oldest end, caps are kept by taking from it: the keys that came into
a dict first, the front of a list or a deque. Keys are compared and hashed, and values
destroyed, with no lock held. Other threads may change the container meanwhile: a step
that they disturb is tried again.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from memguard._sizing import sizeof
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

# Objects that are looked at to tell the size of a container.
_LOOK: Final = 300
_GONE: Final = object()
# Keys that are read in one step at most.
_KEYS: Final = 8_000
# Bytes of a container without entries, and of one entry in the sparsest of tables.
_EMPTY: Final = 256
_ENTRY: Final = 112
_TRIES: Final = 100


class Containers(Adapter):
    """
    A dict, OrderedDict, defaultdict, Counter, list, deque, set or weak container, by
    its place: its entries, and its `maxlen` if it has one. Above a cap the oldest go
    once a tick. Closing it lets go of it, and empties nothing.
    """

    kind = "container"
    phase = "caches"
    caps = ("max_entries", "max_bytes")
    cannot = (
        "a set has no oldest entry, and what a weak container refers to is owned by"
        " others: these are only measured"
    )
    must_close = False
    inherited = True
    trims = True

    def types(self) -> Iterable[type]:
        return _WAYS

    def measure(self, obj: Any) -> Measured:
        if not hasattr(obj, "__len__"):
            return Measured()
        return Measured(entries=len(obj), limit=getattr(obj, "maxlen", None))

    def weigh(self, obj: Any) -> int:
        if _way_of(obj) is _WEAK:
            return sys.getsizeof(getattr(obj, "data", obj))
        return sizeof(obj, limit=_LOOK)

    def cannot_of(self, obj: Any) -> str:
        way = _way_of(obj)
        if isinstance(way, str):
            return way
        return "" if way is not None else "what lies there is no container of Python's"

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        reason = self.cannot_of(obj)
        if reason:
            msg = (
                f"a {type(obj).__qualname__} takes no {' and no '.join(caps)}: {reason}"
            )
            raise TypeError(msg)

    def trim(self, obj: Any, caps: Mapping[str, Any], most: int) -> list[Any]:
        way = _way_of(obj)
        if way is None or isinstance(way, str):
            return []
        entries = len(obj)
        bound = caps.get("max_entries")
        excess = 0 if bound is None else entries - bound
        bound = caps.get("max_bytes")
        if bound is not None and entries:
            # A dict keeps its table when entries go: that is no reason to take more.
            table = max(0, sys.getsizeof(obj) - _ENTRY * entries - _EMPTY)
            held = self.weigh(obj) - table
            if held > bound:
                # By their mean; what is left is weighed again in the next step.
                share = max(1, round(entries * (held - bound) / held))
                excess = max(excess, share)
        return way(obj, excess, most) if excess > 0 else []

    def risk(self, obj: Any) -> Risk | None:
        if _way_of(obj) is _WEAK or getattr(obj, "maxlen", None) is not None:
            return None
        return Risk(
            "entries",
            f"nothing bounds this {type(obj).__qualname__}",
            "adopt it with max_entries or max_bytes, or use a cache or a ring",
        )


# -- taking out the oldest: at most so many, of so many that are too many --------------


def _from_dict(obj: Any, excess: int, most: int) -> list[Any]:
    # Where keys have left from the front, the next look has to pass over the holes: of
    # a large dict many keys are read at once, so that there are few such looks.
    many = min(excess, max(most, min(len(obj) // 16, _KEYS)))
    taken: list[Any] = []
    for key in _first(obj, many):
        value = obj.pop(key, _GONE)
        if value is not _GONE:
            taken.append(value)
    return taken


def _from_list(obj: Any, excess: int, most: int) -> list[Any]:
    # What is behind has to move up, so a long list is cut in larger steps.
    many = min(excess, max(most, min(len(obj) // 64, most * 16)))
    taken: list[Any] = obj[:many]
    del obj[:many]
    return taken


def _from_deque(obj: Any, excess: int, most: int) -> list[Any]:
    taken: list[Any] = []
    try:
        taken.extend(obj.popleft() for _ in range(min(excess, most)))
    except IndexError:
        return taken  # somebody else was quicker
    return taken


def _first(obj: Any, many: int) -> list[Any]:
    """
    The first keys of a dictionary that other threads may be changing.
    """
    for _ in range(_TRIES):
        try:
            return list(islice(obj, many))
        except RuntimeError:  # changed between two of them
            continue
    return []


_SET: Final = (
    "the entries of a set have no order, so nobody can tell which to take out; use a"
    " dict with max_entries, or a memguard.cache"
)
_WEAK: Final = (
    "others own what a weak container refers to: taking an entry out frees nothing"
)
# How to take out of each type, or why not.
_WAYS: Final[dict[type, Callable[[Any, int, int], list[Any]] | str]] = {
    dict: _from_dict,
    OrderedDict: _from_dict,
    defaultdict: _from_dict,
    Counter: _from_dict,
    list: _from_list,
    deque: _from_deque,
    set: _SET,
    WeakKeyDictionary: _WEAK,
    WeakSet: _WEAK,
    WeakValueDictionary: _WEAK,
}


def _way_of(obj: Any) -> Callable[[Any, int, int], list[Any]] | str | None:
    for base in type(obj).__mro__:
        found = _WAYS.get(base)
        if found is not None:
            return found
    return None


ADAPTERS = (Containers(),)
