"""
Functions behind `functools.lru_cache` and `functools.cache`.
"""

from __future__ import annotations

import functools
from typing import Any

from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

_WRAPPER: type = type(functools.lru_cache(maxsize=0)(int))


class LruCache(Adapter):
    """
    A cached function: its entries, its bound, its hits and misses.
    """

    kind = "cache"
    phase = "caches"
    module = "functools"
    cannot = (
        "the bound of a functools.lru_cache cannot be changed from outside; use"
        " lru_cache(maxsize=...), or memguard.cached"
    )
    must_close = False
    inherited = True

    def types(self) -> tuple[type, ...]:
        return (_WRAPPER,)

    def label(self, obj: Any) -> str:
        return str(getattr(obj, "__qualname__", "lru_cache"))

    def measure(self, obj: Any) -> Measured:
        info = obj.cache_info()
        return Measured(
            entries=info.currsize,
            limit=info.maxsize,
            hits=info.hits,
            misses=info.misses,
            details={"method": _is_method(obj)},
        )

    def close(self, obj: Any) -> None:
        obj.cache_clear()

    def risk(self, obj: Any) -> Risk | None:
        if obj.cache_info().maxsize is None:
            return Risk(
                "entries",
                "a functools.lru_cache(maxsize=None) keeps every result for ever",
                "give it a maxsize, or use memguard.cached with a cap",
            )
        if _is_method(obj):
            return Risk(
                "instances",
                "a functools.lru_cache on a method keeps each instance it was called"
                " on, as part of the key",
                "use memguard.cached, which keeps no instance",
            )
        return None


def _is_method(function: Any) -> bool:
    """
    True where the wrapped function takes `self`: its instances are in the keys.
    """
    wrapped: Any = getattr(function, "__wrapped__", None)
    code = getattr(wrapped, "__code__", None)
    if code is None or not code.co_argcount:
        return False
    return code.co_varnames[0] == "self" and "." in str(wrapped.__qualname__)


ADAPTERS = (LruCache(),)
