"""
What a cache counts, and what it tells about itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Final

from memguard._records import record

__all__ = ("CAUSES", "CacheInfo", "Count")

#: Why an entry left: to keep to a cap, because its time was over, to give memory back
#: to others, because somebody said so, or for a newer value.
CAUSES: Final = ("size", "ttl", "idle", "pressure", "explicit", "replaced")


class Count:
    """
    A number that goes up by one, from any thread, without a lock.
    """

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self._count = count()
        self.add = self._count.__next__

    @property
    def value(self) -> int:
        # The repr of an itertools counter is documented and does not advance it.
        return int(repr(self._count)[6:-1])


@record
class CacheInfo:
    """
    Figures of a cache at one moment.

    `bytes` is the weight of keys and values: of each, where there is a byte cap or a
    weigher, whose unit it then has; else estimated from some of them. `evictions` left
    to keep to a cap or under pressure, `expired` because of ttl or idle; `causes`
    counts all departures by cause. `refused` were heavier than the whole cache may be.
    `loads` succeeded, in `load_seconds` altogether.

    `misses` are counted one by one, and so are the first 10,000 `hits`. After that the
    fast path counts nothing: while the guard runs, a sixteenth of the entries is taken
    off it for 20 ms each half second, in turn, and stands for the others, so that
    `hits` is an estimate, good over minutes; else `hits` is a lower bound.
    """

    entries: int
    bytes: int
    hits: int
    misses: int
    evictions: int
    max_entries: int | None
    max_bytes: int | None
    expired: int
    refused: int
    loads: int
    load_failures: int
    load_seconds: float
    causes: Mapping[str, int]

    @property
    def hit_ratio(self) -> float:
        """
        Hits among all lookups, 0 to 1.
        """
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else 0.0

    @property
    def utilisation(self) -> float:
        """
        How full it is, 0 to 1, by the cap that is nearest.
        """
        shares = [0.0]
        if self.max_entries:
            shares.append(self.entries / self.max_entries)
        if self.max_bytes:
            shares.append(self.bytes / self.max_bytes)
        return max(shares)
