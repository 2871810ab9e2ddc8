"""
The caches that are measured by the million, each made and spoken to in its own way.

A package is imported by whom it is asked for only: some start threads.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ("OTHERS", "OURS", "Held", "make")


class Held(NamedTuple):
    """
    A cache with how to put something in, and how to look it up.
    """

    cache: Any
    put: Callable[[Any, Any], Any]
    get: Callable[[Any], Any]


def _memguard(most: int, **options: Any) -> Held:
    import memguard

    guard = memguard.Guard(name="bench")
    cache: Any = guard.cache("million", **_capped(most, options))
    # The tree holds what it has made, and the guard is held by nobody else.
    return Held((guard, cache), cache.put, cache.get)


def _capped(most: int, options: dict[str, Any]) -> dict[str, Any]:
    return (
        options if options.pop("bytes_only", False) else {"max_entries": most} | options
    )


def _cachetools(kind: str, most: int, **options: Any) -> Held:
    import cachetools

    cache = getattr(cachetools, kind)(most, **options)
    return Held(cache, cache.__setitem__, cache.get)


def _cachebox(kind: str, most: int, *options: Any) -> Held:
    import cachebox

    cache = getattr(cachebox, kind)(most, *options)
    return Held(cache, cache.insert, cache.get)


def _lru_dict(most: int) -> Held:
    import lru

    cache: Any = lru.LRU(most)
    return Held(cache, cache.__setitem__, cache.get)


def _moka(most: int) -> Held:
    import moka_py

    cache: Any = moka_py.Moka(most)
    return Held(cache, cache.set, cache.get)


def _theine(most: int) -> Held:
    import theine

    cache: Any = theine.Cache(most)
    return Held(cache, cache.set, cache.get)


def _lru_cache(most: int) -> Held:
    # The value has to come from a call; a box holds it for that moment.
    box: list[Any] = [None]
    call = lru_cache(maxsize=most)(lambda key: box[0])

    def put(key: Any, value: Any) -> None:
        box[0] = value
        call(key)

    return Held(call, put, call)


def _dict(kind: type[Any], most: int) -> Held:
    cache = kind()
    return Held(cache, cache.__setitem__, cache.get)


OURS: dict[str, Callable[[int], Held]] = {
    "memguard": _memguard,
    "memguard, byte cap": lambda most: _memguard(
        most, bytes_only=True, max_bytes=most << 10
    ),
    "memguard, ttl": lambda most: _memguard(most, ttl="1h"),
    "memguard, count and byte cap, ttl": lambda most: _memguard(
        most, max_bytes=most << 10, ttl="1h"
    ),
}
OTHERS: dict[str, Callable[[int], Held]] = {
    "dict, without a cap": lambda most: _dict(dict, most),
    "OrderedDict, without a cap": lambda most: _dict(OrderedDict, most),
    "functools.lru_cache": _lru_cache,
    "cachetools.LRUCache": lambda most: _cachetools("LRUCache", most),
    "cachetools.LRUCache, getsizeof": lambda most: _cachetools(
        "LRUCache", most << 10, getsizeof=sys.getsizeof
    ),
    "cachetools.TTLCache": lambda most: _cachetools("TTLCache", most, ttl=3600),
    "cachebox.LRUCache": lambda most: _cachebox("LRUCache", most),
    "cachebox.FIFOCache": lambda most: _cachebox("FIFOCache", most),
    "cachebox.TTLCache": lambda most: _cachebox("TTLCache", most, 3600),
    "lru-dict": _lru_dict,
    "moka-py": _moka,
    "theine": _theine,
}


def make(name: str, most: int) -> Held:
    """
    The cache of this *name* for *most* entries.
    """
    return (OURS | OTHERS)[name](most)
