"""
Caches of cachebox, and functions decorated with `cachebox.cached`.

They lock themselves, and `drain` takes out in the order of their own policy; so they
can be capped from outside. They cannot be referenced weakly: they are adopted by place.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any, Final

from memguard._sizing import sizeof
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

_LOOK: Final = 300
# Entries up to which they are copied to be weighed.
_FEW: Final = 5_000
_NO_POLICY: Final = (
    "a cachebox.Cache refuses what is too much and has no order to take entries out in;"
    " use an LRUCache, a FIFOCache or a TTLCache"
)
_FROZEN: Final = "a cachebox.Frozen cannot be changed; adopt the cache behind it"


def _library() -> Any:
    return sys.modules["cachebox"]


class Cache(Adapter):
    """
    A cache of cachebox, by its place: its entries and its bound. Its cap is kept by its
    `drain`, once a tick. Closing it clears it.
    """

    kind = "cache"
    phase = "caches"
    module = "cachebox"
    caps = ("max_entries",)
    cannot = _NO_POLICY
    must_close = False
    inherited = True
    trims = True

    def types(self) -> Iterable[type]:
        if "cachebox" not in sys.modules:
            return ()
        return (_library().BaseCacheImpl,)

    def measure(self, obj: Any) -> Measured:
        bound = obj.maxsize
        endless = bound is None or bound <= 0 or bound >= sys.maxsize
        details: dict[str, Any] = {}
        tell = getattr(obj, "current_size", None)
        if callable(tell):
            details["current_size"] = tell()
        weighed = getattr(obj, "getsizeof", None) is not None
        return Measured(
            entries=len(obj),
            limit=None if endless or weighed else int(bound),
            details={**details, "maxsize": None if endless else bound},
        )

    def weigh(self, obj: Any) -> int | None:
        if len(obj) > _FEW:
            return None
        try:
            held = [*obj.keys(), *obj.values()]
        except RuntimeError:  # changed meanwhile
            return None
        listed = sys.getsizeof(held)
        return max(0, sizeof(held, limit=_LOOK) - listed) + sys.getsizeof(obj)

    def cannot_of(self, obj: Any) -> str:
        if isinstance(obj, _library().Frozen):
            return _FROZEN
        return _NO_POLICY if type(obj) is _library().Cache else ""

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        reason = self.cannot_of(obj)
        if reason:
            raise TypeError(reason)

    def trim(self, obj: Any, caps: Mapping[str, Any], most: int) -> list[Any]:
        excess = len(obj) - caps["max_entries"]
        return [None] * obj.drain(min(excess, most)) if excess > 0 else []

    def close(self, obj: Any) -> None:
        if not isinstance(obj, _library().Frozen):
            obj.clear()

    def risk(self, obj: Any) -> Risk | None:
        bound = obj.maxsize
        if bound is not None and 0 < bound < sys.maxsize:
            return None
        return Risk(
            "entries",
            "with a maxsize of 0 a cachebox cache has no bound",
            "give it a maxsize, or adopt it with max_entries",
        )


class Decorated(Adapter):
    """
    A function with `cachebox.cached`: as its cache, with hits and misses.
    """

    kind = "cache"
    phase = "caches"
    module = "cachebox"
    caps = ("max_entries",)
    must_close = False
    inherited = True
    trims = True

    def types(self) -> Iterable[type]:
        return (FunctionType,) if "cachebox" in sys.modules else ()

    def accepts(self, obj: Any) -> bool:
        held = vars(obj).get("cache")
        return isinstance(held, _library().BaseCacheImpl) and hasattr(
            obj, "cache_clear"
        )

    def label(self, obj: Any) -> str:
        return str(obj.__qualname__)

    def measure(self, obj: Any) -> Measured:
        seen = CACHE.measure(obj.cache)
        told = obj.cache_info() if hasattr(obj, "cache_info") else None
        return Measured(
            entries=seen.entries,
            limit=seen.limit,
            hits=getattr(told, "hits", None),
            misses=getattr(told, "misses", None),
            details=seen.details,
        )

    def weigh(self, obj: Any) -> int | None:
        return CACHE.weigh(obj.cache)

    def cannot_of(self, obj: Any) -> str:
        return CACHE.cannot_of(obj.cache)

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        CACHE.check(obj.cache, caps)

    def trim(self, obj: Any, caps: Mapping[str, Any], most: int) -> list[Any]:
        return CACHE.trim(obj.cache, caps, most)

    def close(self, obj: Any) -> None:
        obj.cache_clear()

    def risk(self, obj: Any) -> Risk | None:
        return CACHE.risk(obj.cache)


CACHE: Final = Cache()
ADAPTERS = (CACHE, Decorated())
