"""
The mean bytes of an entry of memguard's own containers.
"""

from __future__ import annotations

from typing import Any

from memguard._kinds.cache.cells import value_of
from memguard._risks.measure import entry_bytes, newest

__all__ = ("cache_entry_bytes", "ring_entry_bytes")


def ring_entry_bytes(ring: Any) -> int | None:
    """
    The mean bytes of the newest entries of a ring, with their numbers.
    """
    return entry_bytes([one[:2] for one in newest(ring._entries)])


def cache_entry_bytes(cache: Any) -> int | None:
    """
    The mean bytes of the newest entries of a cache, keys and values.
    """
    pairs = newest(cache._engine.table)
    return entry_bytes([(key, value_of(held)) for key, held in pairs])
