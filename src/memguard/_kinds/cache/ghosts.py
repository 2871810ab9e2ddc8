"""
Ghosts: which keys left lately, and from where, without keeping any of them.

A table of fingerprints, addressed by the hash; a newer ghost takes the place of an
older one with the same address. So it forgets at random, about as fast as one entry
for each that leaves, and remembers a key that never was once in some thirty thousand
times: both are nothing to who only wants a hint.
"""

from __future__ import annotations

from array import array
from typing import Final

__all__ = ("EMPTY", "MAIN", "PRIME", "Ghosts", "slots_for")

#: A fingerprint is the hash modulo this; that of what left the main queue has MAIN
#: added. The number of slots is odd, so that hashes with a common step spread.
PRIME: Final = 32_749
MAIN: Final = 32_768
EMPTY: Final = 32_767
_LEAST: Final = 64


def slots_for(entries: int) -> int:
    """
    How many slots remember about as many keys as a cache of *entries* holds.
    """
    return max(_LEAST, entries + entries // 4) | 1


class Ghosts:
    """
    Fingerprints of keys that left. Used with the cache's lock held.

    `marks[hashed % len(marks)]` is the fingerprint; who is in a hurry writes there.
    """

    __slots__ = ("marks", "slots")

    def __init__(self, entries: int) -> None:
        self.slots = slots_for(entries)
        # Two bytes a slot.
        self.marks = array("H", [EMPTY]) * self.slots

    def grow(self, entries: int) -> None:
        """
        Make place for the ghosts of more *entries*; those of now are forgotten.
        """
        if slots_for(entries) > self.slots:
            self.__init__(entries)  # type: ignore[misc]
