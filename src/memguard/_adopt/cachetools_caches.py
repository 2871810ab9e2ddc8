"""
Caches of cachetools, and functions decorated with `cachetools.cached`.

A cache of cachetools has no lock; whoever shares one brings a lock along. A look at
its length may throw out what has expired, so it is read past that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from gc import get_referents
from itertools import islice
from math import isinf
from sys import getsizeof
from types import FunctionType
from typing import Any, Final

from memguard._adopt.lru import is_method
from memguard._sizing import sizeof
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

# Objects that are looked at to tell the size, of so many entries.
_LOOK: Final = 600
_PAIRS: Final = 100
# Bytes that the collector puts before each object.
_HEAD: Final = 16
_NO_LOCK: Final = (
    "a cachetools cache has no lock of its own, and its maxsize is fixed where it is"
    " made: taking entries out beside its user would break it. Adopt the function that"
    " cachetools.cached(cache, lock=...) made, or use memguard.cache"
)
_WAIT_S: Final = 0.1


def _base() -> Any:
    return sys.modules["cachetools"].Cache


class Cache(Adapter):
    """
    A `cachetools.Cache` of any kind: its entries, its bound, and what is spent of that.
    Closing it clears it.
    """

    kind = "cache"
    phase = "caches"
    module = "cachetools"
    cannot = _NO_LOCK
    must_close = False
    inherited = True

    def types(self) -> Iterable[type]:
        return (_base(),) if "cachetools" in sys.modules else ()

    def measure(self, obj: Any) -> Measured:
        base = _base()
        # Not len(obj): one with a time to live throws out what has expired.
        size, bound = base.currsize.fget(obj), obj.maxsize
        details: dict[str, Any] = {"maxsize": bound, "currsize": size}
        if hasattr(obj, "ttl") and isinstance(obj.ttl, (int, float)):
            details["ttl"] = obj.ttl
        counts = not _weighs(obj) and bound is not None and not isinf(bound)
        return Measured(
            entries=base.__len__(obj),
            limit=int(bound) if counts else None,
            details=details,
        )

    def weigh(self, obj: Any) -> int | None:
        # Entry by entry: a walk would follow the links from one to the next.
        base = _base()
        entries = base.__len__(obj)
        tables = _tables_of(obj)
        total = float(sum(map(getsizeof, tables)))
        if not entries:
            return int(total)
        if type(obj).__missing__ is not base.__missing__:
            return None  # a key that goes meanwhile would be loaded
        for table in tables:
            for link in islice(table.values(), 1):
                if type(link).__module__.startswith("cachetools"):
                    total += entries * (getsizeof(link) + _HEAD)
        try:
            keys = list(islice(base.__iter__(obj), _PAIRS))
            held = [*keys, *(base.__getitem__(obj, key) for key in keys)]
        except (KeyError, RuntimeError):  # changed meanwhile
            return None
        each = (sizeof(held, limit=_LOOK) - getsizeof(held)) / max(1, len(keys))
        return int(total + entries * each)

    def close(self, obj: Any) -> None:
        obj.clear()

    def risk(self, obj: Any) -> Risk | None:
        bound = obj.maxsize
        if bound is not None and not isinf(bound):
            return None
        return Risk(
            "entries",
            "its maxsize is infinite",
            "give it a maxsize, or use memguard.cache with a cap",
        )


def _tables_of(cache: Any) -> list[dict[Any, Any]]:
    """
    The dictionaries that a cache keeps its entries and their order in.
    """
    held = get_referents(cache)
    attributes = [one for one in held if type(one) is dict and "_Cache__data" in one]
    found = attributes[0].values() if attributes else held
    return [one for one in found if isinstance(one, dict)]


def _weighs(cache: Any) -> bool:
    """
    True where its maxsize is no number of entries.
    """
    # Not by `vars`: an instance that was asked for its `__dict__` is slower afterwards.
    return cache.getsizeof is not _base().getsizeof


class Decorated(Adapter):
    """
    A function with `cachetools.cached`: as its cache, with hits and misses if it has an
    `info`. With a `lock` it is capped: what its cache would evict goes once a tick.
    """

    kind = "cache"
    phase = "caches"
    module = "cachetools"
    caps = ("max_entries",)
    cannot = (
        "without a lock=... nobody can take entries out of its cache beside its callers"
    )
    must_close = False
    inherited = True
    trims = True

    def types(self) -> Iterable[type]:
        # A class since cachetools 7, a function before that.
        made = sys.modules.get("cachetools._cached")
        wrapper = getattr(made, "_WrapperBase", None)
        if "cachetools" not in sys.modules:
            return ()
        return (FunctionType,) if wrapper is None else (FunctionType, wrapper)

    def accepts(self, obj: Any) -> bool:
        known = vars(obj)
        return "cache_key" in known and "cache_lock" in known and "cache" in known

    def label(self, obj: Any) -> str:
        return str(obj.__qualname__)

    def measure(self, obj: Any) -> Measured:
        cache = obj.cache
        told = _told(obj)
        details = {"locked": _lock_of(obj) is not None, "on_method": is_method(obj)}
        if not isinstance(cache, _base()):
            entries, limit = (0 if cache is None else len(cache)), None
        else:
            seen = CACHE.measure(cache)
            entries, limit = seen.entries or 0, seen.limit
            details.update(seen.details)
        return Measured(
            entries=entries,
            limit=limit,
            hits=getattr(told, "hits", None),
            misses=getattr(told, "misses", None),
            details=details,
        )

    def weigh(self, obj: Any) -> int | None:
        if isinstance(obj.cache, _base()):
            return CACHE.weigh(obj.cache)
        return None if obj.cache is None else sizeof(obj.cache, limit=_LOOK)

    def cannot_of(self, obj: Any) -> str:
        return self.cannot if _lock_of(obj) is None else ""

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        if _lock_of(obj) is None:
            msg = f"{obj.__qualname__!r} takes no {' and no '.join(caps)}: {_NO_LOCK}"
            raise TypeError(msg)

    def trim(self, obj: Any, caps: Mapping[str, Any], most: int) -> list[Any]:
        bound = caps["max_entries"]
        cache, lock = obj.cache, _lock_of(obj)
        if cache is None or lock is None or not _taken(lock):
            return []
        taken: list[Any] = []
        try:
            # The cache's own lock, under which its own functions call `popitem` too.
            for _ in range(min(most, len(cache) - bound)):
                taken.append(cache.popitem()[1])  # noqa: PERF401 - it may raise
        except KeyError:
            return taken
        finally:
            lock.release()
        return taken

    def close(self, obj: Any) -> None:
        obj.cache_clear()

    def risk(self, obj: Any) -> Risk | None:
        if isinstance(obj.cache, _base()):
            return CACHE.risk(obj.cache)
        if obj.cache is None:
            return None
        return Risk(
            "entries",
            f"its results are kept in a {type(obj.cache).__qualname__}, which nothing"
            " bounds",
            "use a cache with a maxsize, or memguard.cached with a cap",
        )


def _lock_of(function: Any) -> Any:
    lock = function.cache_lock or vars(function).get("cache_condition")
    usable = isinstance(lock, AbstractContextManager) or hasattr(lock, "__enter__")
    return lock if usable and hasattr(lock, "acquire") else None


def _taken(lock: Any) -> bool:
    """
    Take a foreign *lock*, but do not wait for ever.
    """
    try:
        return bool(lock.acquire(timeout=_WAIT_S))
    except TypeError:  # a lock of somebody else's making
        return bool(lock.acquire())


def _told(function: Any) -> Any:
    tell = getattr(function, "cache_info", None)
    return None if tell is None else tell()


CACHE: Final = Cache()
ADAPTERS = (CACHE, Decorated())
