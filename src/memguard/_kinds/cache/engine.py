"""
Who leaves a cache that is bound by the number of its entries.

S3-FIFO (Yang et al., SOSP 2023) with a moving share. New entries wait in the queue
`probation`, the others in `main`, each once. Both leave at the old end: who was used
goes on into `main`, unmarked; who was not leaves, and is a ghost for a while. A ghost
that comes back goes into `main` at once, and tells that the queue it left from was too
short. The ghosts of `main` are few: who comes back at once was worth more than the
newest in probation, who comes back late tells nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import repeat
from typing import Any, Final

from memguard._kinds.cache.cells import GONE
from memguard._kinds.cache.ghosts import NOBODY, PRIME, Marks, ghosts
from memguard._kinds.cache.tables import Tables

__all__ = ("ByCount",)

# Used entries that are passed over in one search for a victim; then the next one goes.
_CHANCES: Final = 64
# Keys that left may lie in the queues up to twice the number of entries, and this.
_SLACK: Final = 64
# The length of probation, in parts of all entries: at first, at least, at most.
_SHARE, _LEAST, _MOST = 0.10, 0.05, 0.95
# What a ghost that comes back adds to that length, or takes from it.
_LONGER, _SHORTER = 2, 6
# Hashes of such as left or are coming that are kept at most, until somebody asks.
_LEFT, _COMING = 1024, 64
# Ghosts of either queue, in parts of all entries.
_YOUNG, _OLD = 0.75, 0.25
# So many times more entries need new tables of ghosts.
_GROWTH: Final = 1.25
# With fewer entries than this, the first to come are the first to go.
_FEW: Final = 32


class ByCount(Tables):
    """
    Entries in two queues.
    """

    __slots__ = (
        "_entries",
        "_settled",
        "coming",
        "left",
        "main",
        "old",
        "old_slots",
        "probation",
        "target",
        "young",
        "young_slots",
    )

    def __init__(self, missing: Any) -> None:
        super().__init__(missing)
        self._entries = 0  # when it was settled first
        self._settled = False
        self.target = 0
        self.young: Marks = ghosts(0)
        self.old: Marks = ghosts(0)
        self.young_slots = self.old_slots = 1
        self._forget_places()

    def _forget_places(self) -> None:
        self.probation: deque[Any] = deque()
        self.main: deque[Any] = deque()
        # Hashes of who left probation and is not among the ghosts yet, and of ghosts
        # that were asked for and will be put in soon.
        self.left: list[int] = []
        self.coming: set[int] = set()

    def queues(self) -> list[Any]:
        return [self.probation, self.main]

    def some(self, most: int) -> list[Any]:
        ends = [
            queue[place]
            for queue in (self.main, self.probation)
            for place in range(-most, most)
            if -len(queue) <= place < len(queue)
        ]
        table = self.table
        return [key for key in dict.fromkeys(ends) if key in table]

    # -- coming ------------------------------------------------------------------------

    def fill(self, key: Any, held: Any, room: int) -> None:
        if room < _FEW or len(self.probation) < room * _SHARE:
            self.probation.append(key)
        else:
            self.main.append(key)
        self.table[key] = held
        self._settled = False
        self.credit = 0

    def admit(self, key: Any, held: Any) -> None:
        if self.shadow is not None:
            self.shadow.missed(key, len(self.table))
        if self.coming and hash(key) in self.coming:
            self.coming.discard(hash(key))
            self.main.append(key)
        else:
            self.probation.append(key)
        self.table[key] = held
        self.credit = 0

    def missed(self, key: Any) -> None:
        if self.left:
            self._bury()
        hashed = hash(key)
        mark = hashed % PRIME
        if (
            self.young[mark % self.young_slots] == mark
            or self.old[mark % self.old_slots] == mark
        ):
            self._returned(mark)
            if len(self.coming) >= _COMING:
                self.coming.clear()
            self.coming.add(hashed)

    def _bury(self) -> None:
        """
        Make ghosts of who left since somebody last asked for something in vain.
        """
        left, self.left = self.left, []
        young, slots = self.young, self.young_slots
        for hashed in left:
            mark = hashed % PRIME
            young[mark % slots] = mark

    def _returned(self, mark: int) -> None:
        """
        A ghost came back: the queue that it left from should have been longer.
        """
        entries = len(self.table)
        at = mark % self.young_slots
        if self.young[at] == mark:
            self.young[at] = NOBODY
            self.target = min(self.target + _LONGER, int(entries * _MOST))
        else:
            self.old[mark % self.old_slots] = NOBODY
            self.target = max(self.target - _SHORTER, int(entries * _LEAST))

    # -- going -------------------------------------------------------------------------

    def evict_some(self, count: int) -> list[Any]:
        """
        Take out up to *count* victims: what was held. As `evict`, and quicker.
        """
        gone = self._evict_first(
            self.probation, min(count, len(self.probation) - self.target), is_new=True
        )
        if len(gone) < count and len(self.probation) <= self.target:
            gone += self._evict_first(self.main, count - len(gone), is_new=False)
        while len(gone) < count:
            held = self.evict()[1]
            if held is GONE:
                break
            gone.append(held)
        return gone

    def _evict_first(self, queue: deque[Any], count: int, *, is_new: bool) -> list[Any]:
        """
        Take the oldest *count* out of a queue; fewer or none, if some were used.
        """
        count = min(count, len(queue))
        if count <= 0 or self.shadow is not None:
            return []
        keys = [queue.popleft() for _ in repeat(None, count)]
        if not (self.seen.isdisjoint(keys) and self.front.keys().isdisjoint(keys)):
            queue.extendleft(reversed(keys))
            return []
        table = self.table
        entries = len(table)
        gone = list(map(table.pop, keys, repeat(GONE)))
        if is_new:
            self._note_left(map(hash, keys))
        else:
            old, slots = self.old, self.old_slots
            for key in keys:
                mark = hash(key) % PRIME
                old[mark % slots] = mark
        if entries - len(table) < count:
            # There were places of such as had left before.
            return [held for held in gone if held is not GONE]
        return gone

    def _note_left(self, hashes: Iterable[int]) -> None:
        left = self.left
        if len(left) > _LEFT:
            # Nobody asks for anything: then nobody misses what left.
            del left[:-_COMING]
        left.extend(hashes)

    def evict(self) -> tuple[Any, Any]:
        probation, main, table = self.probation, self.main, self.table
        chances = _CHANCES
        while True:
            is_new = len(probation) > self.target or not main
            if is_new and not probation:
                return GONE, GONE
            key = probation.popleft() if is_new else main.popleft()
            held = table.get(key, GONE)
            if held is GONE:
                continue
            if self.take_mark(key, held) and chances:
                chances -= 1
                main.append(key)
                continue
            del table[key]
            if self.shadow is not None:
                self.shadow.note(key)
            if is_new:
                self._note_left((hash(key),))
            else:
                mark = hash(key) % PRIME
                self.old[mark % self.old_slots] = mark
            return key, held

    def _removed(self) -> None:
        if len(self.probation) + len(self.main) > 2 * len(self.table) + _SLACK:
            self._mend_places()

    def _mend_places(self) -> None:
        table = self.table
        main = dict.fromkeys(key for key in self.main if key in table)
        places = (key for key in self.probation if key in table and key not in main)
        new = dict.fromkeys(places)
        if len(main) + len(new) < len(table):
            new.update((key, None) for key in table if key not in main)
        self.main = deque(main)
        self.probation = deque(new)

    # -- room --------------------------------------------------------------------------

    def is_settled(self) -> bool:
        return self._settled and len(self.table) <= 2 * self._entries

    def settle(self) -> None:
        entries = len(self.table)
        self._settled = True
        if not self._entries:
            self.target = int(entries * _SHARE)
        # Not for every other one, if the cap grows by little: ghosts are lost by it.
        if entries > self._entries * _GROWTH:
            self._entries = entries
            self.young, self.old = ghosts(entries * _YOUNG), ghosts(entries * _OLD)
            self.young_slots, self.old_slots = len(self.young), len(self.old)
        least, most = int(entries * _LEAST), int(entries * _MOST)
        self.target = min(max(self.target, least), most)

    def shrunk(self, before: int) -> None:
        # Probation keeps its share of what is left.
        entries = len(self.table)
        self.target = (2 * self.target * entries + before) // (2 * before or 1)
