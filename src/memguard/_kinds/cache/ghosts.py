"""
Ghosts: which keys left lately, without keeping any of them.

A table of marks, addressed by them; a newer ghost takes the place of an older one with
the same address. So it forgets at random, about as fast as its slots are written, and
takes a key for another once in some thousand million times: both are nothing to who
only wants a hint.
"""

from __future__ import annotations

from array import array
from typing import Final, TypeAlias

__all__ = ("NOBODY", "PRIME", "Marks", "ghosts")

Marks: TypeAlias = "array[int]"

#: The mark of a key is its hash modulo this, the largest prime of one digit of an int:
#: the low bits alone would be the same for all ids that lie far apart.
PRIME: Final = 1_073_741_789
NOBODY: Final = -1


#: Slots of a table at most: one that is made in less than a millisecond.
_MOST: Final = 250_000


def ghosts(entries: float) -> Marks:
    """
    An empty table for about so many. `marks[mark % len(marks)] == mark` is true of a
    key that is remembered.

    Four bytes a slot. The number of slots is odd, so that hashes with a common step
    spread.
    """
    return array("i", [NOBODY]) * (min(int(entries), _MOST) | 1)
