"""
Functions behind `functools.lru_cache` and `functools.cache`.
"""

from __future__ import annotations

import functools
from gc import get_referents
from sys import getsizeof
from typing import Any, Final

from memguard._sizing import sizeof
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

_WRAPPER: Final[type] = type(functools.lru_cache(maxsize=0)(int))
# Objects that are looked at to tell the size, of so many entries; and entries beyond
# which nobody looks, because all of them would have to be listed in one step.
_LOOK: Final = 600
_PAIRS: Final = 100
_LARGE: Final = 50_000
# Bytes of a link: a head for the collector, one for each object, five fields.
_LINK: Final = 16 + 16 + 5 * 8


class LruCache(Adapter):
    """
    A function with `functools.lru_cache` or `cache`: its entries, bound, hits, misses,
    and whether it is a method. Closing it clears the cache.
    """

    kind = "cache"
    phase = "caches"
    module = "functools"
    cannot = (
        "the bound of a functools.lru_cache is fixed where it is made; use"
        " lru_cache(maxsize=...) there, or memguard.cached"
    )
    must_close = False
    inherited = True

    def types(self) -> tuple[type, ...]:
        return (_WRAPPER,)

    def label(self, obj: Any) -> str:
        return str(getattr(obj, "__qualname__", "lru_cache"))

    def measure(self, obj: Any) -> Measured:
        hits, misses, bound, entries = obj.cache_info()
        return Measured(
            entries=entries,
            limit=bound,
            hits=hits,
            misses=misses,
            details={"on_method": is_method(obj)},
        )

    def weigh(self, obj: Any) -> int | None:
        _, _, bound, entries = obj.cache_info()
        if bound is None:
            return sizeof(_table_of(get_referents(obj), obj)[0], limit=_LOOK)
        if entries > _LARGE:
            return None
        # The links of a bounded one show what they hold, but not what they are: key,
        # result and type, one after the other.
        held = get_referents(obj)
        table, at = _table_of(held, obj)
        whole = getsizeof(table)
        if not entries or table is None:
            return whole
        step = 3 * max(1, entries // _PAIRS)
        some = [*held[1:at:step], *held[2:at:step]]
        each = (sizeof(some, limit=_LOOK) - getsizeof(some)) / max(1, len(some) // 2)
        return whole + int(entries * (each + _LINK))

    def close(self, obj: Any) -> None:
        obj.cache_clear()

    def risk(self, obj: Any) -> Risk | None:
        if is_method(obj):
            return Risk(
                "instances",
                "a functools.lru_cache on a method keeps each instance it was called"
                " on: `self` is part of the key",
                "use memguard.cached, which refers to instances weakly",
            )
        if obj.cache_info().maxsize is None:
            return Risk(
                "entries",
                "a functools.lru_cache without a maxsize keeps every result for ever",
                "give it a maxsize, or use memguard.cached with a cap",
            )
        return None


def is_method(function: Any) -> bool:
    """
    True where the wrapped function is a method: `self` or `cls` is part of each key.
    """
    wrapped: Any = getattr(function, "__wrapped__", None)
    code = getattr(wrapped, "__code__", None)
    if code is None or not code.co_argcount:
        return False
    in_class = not str(wrapped.__qualname__).rpartition(".")[0].endswith("<locals>")
    first = code.co_varnames[0]
    return first in ("self", "cls") and in_class and "." in str(wrapped.__qualname__)


def _table_of(held: list[Any], function: Any) -> tuple[Any, int]:
    """
    The dictionary of a cached function, out of all that it holds, and where it is: just
    before the function that is wrapped.
    """
    wrapped = getattr(function, "__wrapped__", None)
    for at in range(len(held) - 1, 0, -1):
        if held[at] is wrapped:
            found = held[at - 1]
            return (found, at - 1) if type(found) is dict else (None, 0)
    return None, 0


ADAPTERS = (LruCache(),)
