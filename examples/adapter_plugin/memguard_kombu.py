"""
Lets memguard adopt the caches of kombu.

The library is looked up, never imported: whoever adopts one of its caches has it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from memguard import sizeof
from memguard.typing import Adapter, Measured, Risk

__all__ = ("KombuCache",)


class KombuCache(Adapter):
    """
    A `kombu.utils.functional.LRUCache`: measured, and capped. It has a lock.
    """

    kind = "cache"
    phase = "caches"
    module = "kombu"
    caps = ("max_entries",)
    must_close = False  # a cache that is collected is no fault
    inherited = True  # a forked worker goes on with its copy
    trims = True  # its own limit lets one entry go for each that comes

    def types(self) -> Iterable[type]:
        loaded: Any = sys.modules.get("kombu.utils.functional")
        return () if loaded is None else (loaded.LRUCache,)

    def measure(self, obj: Any) -> Measured:
        return Measured(entries=len(obj), limit=obj.limit)

    def weigh(self, obj: Any) -> int:
        return sizeof(obj.data, limit=600)

    def apply(self, obj: Any, caps: Mapping[str, Any]) -> None:
        obj.limit = caps["max_entries"]

    def trim(self, obj: Any, caps: Mapping[str, Any], most: int) -> list[Any]:
        over = min(most, len(obj) - caps["max_entries"])
        taken: list[Any] = []
        try:
            while len(taken) < over:
                taken.append(obj.popitem(last=False)[1])
        except KeyError:
            return taken  # somebody else emptied it
        return taken

    def close(self, obj: Any) -> None:
        obj.clear()

    def risk(self, obj: Any) -> Risk | None:
        if obj.limit:
            return None
        return Risk(
            "entries",
            "an LRUCache without a limit keeps everything",
            "make it with LRUCache(limit=...)",
        )
