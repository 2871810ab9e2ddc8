"""
What more room would have been worth: ghosts with their age.

A miss whose key was evicted not long ago tells that more room would have made it a hit,
and how much more: as many entries as have been evicted since. It is only kept once
somebody has asked, for who shares bytes between caches.
"""

from __future__ import annotations

from array import array
from typing import Final

from memguard._kinds.cache.ghosts import PRIME, ghosts
from memguard._kinds.demand import DEPTHS

__all__ = ("Shadow",)

_WRAP: Final = (1 << 32) - 1


class Shadow:
    """
    The last evictions of a cache, about as many as it has entries. Used with its lock.
    """

    __slots__ = ("_counts", "_marks", "_number", "_numbers", "_slots", "entries")

    def __init__(self, entries: int) -> None:
        #: How many entries the cache had when this was made.
        self.entries = entries
        self._marks = ghosts(2 * entries)
        self._slots = len(self._marks)
        self._numbers = array("I", [0]) * self._slots
        self._number = 0
        self._counts = [0] * len(DEPTHS)

    def note(self, key: object) -> None:
        """
        *key* was evicted.
        """
        mark = hash(key) % PRIME
        at = mark % self._slots
        self._number = (self._number + 1) & _WRAP
        self._marks[at] = mark
        self._numbers[at] = self._number

    def missed(self, key: object, entries: int) -> None:
        """
        *key* comes in, of which there are *entries* now.
        """
        mark = hash(key) % PRIME
        at = mark % self._slots
        if self._marks[at] != mark:
            return
        age = (self._number - self._numbers[at]) & _WRAP
        for depth, share in enumerate(DEPTHS):
            if age <= share * entries + 1:
                self._counts[depth] += 1

    def take(self) -> tuple[int, ...]:
        """
        The misses that so much more room would have spared, since the last call.
        """
        counts, self._counts = self._counts, [0] * len(DEPTHS)
        return tuple(counts)
