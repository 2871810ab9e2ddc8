"""
Lets memguard adopt the caches of lru-dict.

The library is looked up, never imported: whoever adopts one of its caches has it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from memguard import sizeof
from memguard.typing import Adapter, Measured

__all__ = ("LruDict",)


class LruDict(Adapter):
    """
    A `lru.LRU`: measured, and resized in its own way, which is safe from any thread.
    """

    kind = "cache"
    phase = "caches"
    module = "lru"
    caps = ("max_entries",)
    must_close = False  # a cache that is collected is no fault
    inherited = True  # a forked worker goes on with its copy

    def types(self) -> Iterable[type]:
        loaded: Any = sys.modules.get("lru")
        return () if loaded is None else (loaded.LRU,)

    def measure(self, obj: Any) -> Measured:
        hits, misses = obj.get_stats()
        return Measured(
            entries=len(obj), limit=obj.get_size(), hits=hits, misses=misses
        )

    def weigh(self, obj: Any) -> int | None:
        entries = len(obj)
        return sizeof(obj.items(), limit=600) if entries <= 5_000 else None

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        if caps["max_entries"] is None:
            msg = "an LRU always has a size: max_entries cannot be None"
            raise ValueError(msg)

    def apply(self, obj: Any, caps: Mapping[str, Any]) -> None:
        obj.set_size(caps["max_entries"])

    def close(self, obj: Any) -> None:
        obj.clear()
