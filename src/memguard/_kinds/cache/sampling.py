"""
How often the fast path is used, which cannot count.

The first uses of a cache are counted one by one; only then entries take the fast path.
From then on, while the guard runs, some of them are taken off it now and then for a
moment, in turn, and what is counted then stands for the others and for the time in
between. The work is bounded: some thousand entries a second, and less where nothing is
used. Over minutes the estimate is right within some per cent; it may be far off over
seconds, if a few entries have most of the uses.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from memguard._kinds.cache.tables import Tables

__all__ = ("COUNTED", "Sampler")

#: Uses of a cache that are counted one by one, before any takes the fast path.
COUNTED: Final = 10_000
# Entries that are counted in one window: one of so many, and at most so many.
_PARTS, _MOST = 16, 512
_OPEN_S: Final = 0.02
# A use that is counted takes so much longer. Who does nothing but read is slowed down
# by that, and would seem to read less.
_SLOWER_S: Final = 0.6e-6
# From one window to the next, while there are uses; twice as long whenever there are
# none, up to the other.
_EVERY_S, _SELDOM_S = 0.5, 32.0


class Sampler:
    """
    Windows in which some entries are counted. Used with the cache's lock held.

    `keys` are those that are counted now: a use of one adds to `seen`.
    """

    __slots__ = (
        "_began",
        "_ended",
        "_every",
        "_shares",
        "estimate",
        "keys",
        "seen",
    )

    def __init__(self) -> None:
        #: Uses that were not counted, about.
        self.estimate = 0.0
        self.keys: set[Any] = set()
        self.seen = 0
        self._began = 0.0
        self._ended = 0.0
        self._shares = 1.0
        self._every = _EVERY_S

    def begin(self, now: float) -> float:
        """
        The fast path is used from *now* on. When to call `turn` first.
        """
        self._ended = now
        return now + _EVERY_S

    def turn(self, engine: Tables, now: float) -> float:
        """
        Open a window or close it. When to call again.
        """
        if self.keys:
            return self._close(now)
        front = engine.front
        entries = len(front)
        if not entries:
            self._ended = now
            return self._rest(now)
        keys = list(islice(front, min(-(-entries // _PARTS), _MOST)))
        for key in keys:
            # Used, they come back at the end: the next window has others.
            engine.cover_one(key)
        self.keys = set(keys)
        self.seen = 0
        self._shares = entries / len(keys)
        self._began = now
        return now + _OPEN_S

    def _close(self, now: float) -> float:
        # They take the fast path again with their next use, if they may.
        self.keys = set()
        lasted = max(now - self._began - self.seen * _SLOWER_S, 1e-3)
        between = self._began - self._ended
        self.estimate += self.seen * self._shares * between / lasted
        self._ended = now
        if self.seen:
            self._every = _EVERY_S
            return now + _EVERY_S
        return self._rest(now)

    def _rest(self, now: float) -> float:
        self._every = min(2 * self._every, _SELDOM_S)
        return now + self._every

    def stop(self, now: float) -> None:
        """
        Close a window that is open, and know of no time after *now*.
        """
        if self.keys:
            self._close(now)
        self._ended = now
