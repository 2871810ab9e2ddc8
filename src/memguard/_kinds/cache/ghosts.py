"""
Ghosts: which keys left lately, without keeping any of them.

A table of fingerprints, addressed by the hash; a newer ghost takes the place of an
older one with the same address. So it forgets at random, about as fast as its slots
are written, and remembers a key that never was once in some thirty thousand times:
both are nothing to who only wants a hint.
"""

from __future__ import annotations

from array import array
from typing import Final, TypeAlias

__all__ = ("NOBODY", "PRIME", "Marks", "ghosts")

Marks: TypeAlias = "array[int]"

#: A fingerprint is the hash modulo this; NOBODY is none.
PRIME: Final = 32_749
NOBODY: Final = 32_767


def ghosts(entries: float) -> Marks:
    """
    An empty table for about so many. `marks[hashed % len(marks)] == hashed % PRIME` is
    true of a key that is remembered.

    Two bytes a slot. The number of slots is odd, so that hashes with a common step
    spread.
    """
    return array("H", [NOBODY]) * (int(entries) | 1)
