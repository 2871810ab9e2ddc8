"""
The engine of a cache: who is in, who is next to go, and who was used meanwhile.

S3-FIFO (Yang et al., SOSP 2023), arranged for CPython. All entries are in `table`; new
ones wait in the queue `probation`, the others in `main`, each key once. Both leave at
the old end. Who was used since it was last looked at goes on into `main`; the others
leave, and are remembered as ghosts: one that comes back at once goes into `main`, and
tells that its queue was too short.

That an entry was used is not written down: its value is in `front` as well, a dict
subclass whose C lookup is the fast path of the cache. So the first use of an entry is
seen, and the others cost nothing. An entry that must not be in there (its age has to be
looked at, its uses are to be counted) has its mark in `seen`.

Everything in here needs the cache's lock, but for reading `front` and `table`. It runs
no code of users: keys are of trusted types, or stand for those that are not.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from sys import getsizeof
from typing import Any, Final

from memguard._kinds.cache.cells import CELL_BYTES, GONE, Cell, Front
from memguard._kinds.cache.ghosts import EMPTY, MAIN, PRIME, Ghosts
from memguard._kinds.cache.wide import MOST, Wide

__all__ = ("Engine",)


# Used entries that are passed over in one search for a victim; then the next one goes.
_CHANCES: Final = 64
# Keys that left may lie in the queues up to twice the number of entries, and this.
_SLACK: Final = 64
# The length of probation, in parts of all entries: at first, at least, at most.
_SHARE, _LEAST, _MOST = 0.10, 0.06, 0.95
# What a ghost that comes back adds to, or takes from, that length.
_LONGER, _SHORTER = 2, 8


_RETURNED: Final = frozenset({0, MAIN})


class Engine:
    """
    Entries and their order. How many and how heavy they may be is the store's business.
    """

    __slots__ = (
        "_most",
        "front",
        "ghosts",
        "main",
        "marginal",
        "marks",
        "probation",
        "seen",
        "slots",
        "table",
        "target",
    )

    def __init__(self, missing: Any) -> None:
        self.front = Front()
        self.front.__missing__ = missing
        self.table: Any = {}
        self.seen: set[Any] = set()
        self.probation: deque[Any] = deque()
        self.main: deque[Any] = deque()
        self.ghosts: Ghosts | None = None
        self.marks: Any = ()
        self.slots = 1
        self.target = 1.0
        #: Ghosts that came back: misses that more room would have spared.
        self.marginal = 0

    def clear(self) -> Any:
        """
        Take everything out: the table and the queues that were.
        """
        was = self.table, self.probation, self.main
        self.table = {}
        self.front.clear()
        self.seen.clear()
        self.probation = deque()
        self.main = deque()
        return was

    # -- coming ------------------------------------------------------------------------

    def fill(self, key: Any, held: Any) -> None:
        """
        Take *key* in, which is not in here, before anybody had to leave.
        """
        self.probation.append(key)
        self.table[key] = held

    def admit(self, key: Any, held: Any) -> None:
        """
        Take *key* in, which is not in here, where others left for it.
        """
        hashed = hash(key)
        marks = self.marks
        at = hashed % self.slots
        mark = marks[at] - hashed % PRIME
        if mark in _RETURNED:
            marks[at] = EMPTY
            self._returned(mark)
            self.main.append(key)
        else:
            self.probation.append(key)
        self.table[key] = held

    def _returned(self, mark: int) -> None:
        """
        A ghost came back: where it left from should have been longer.
        """
        self.marginal += 1
        entries = len(self.table)
        if mark == MAIN:
            self.target = max(self.target - _SHORTER, entries * _LEAST)
        else:
            self.target = min(self.target + _LONGER, entries * _MOST)

    # -- going -------------------------------------------------------------------------

    def evict(self) -> tuple[Any, Any]:
        """
        Take out who is next to go: its key and what is held; GONE if nobody is left.
        """
        probation, table = self.probation, self.table
        if len(probation) > self.target:
            key = probation.popleft()
            if key not in self.front and key not in self.seen:
                held = table.pop(key, GONE)
                if held is not GONE and not (type(held) is Cell and held.used):
                    hashed = hash(key)
                    self.marks[hashed % self.slots] = hashed % PRIME
                    return key, held
                if held is not GONE:
                    table[key] = held
            probation.appendleft(key)
        return self._search()

    def _search(self) -> tuple[Any, Any]:
        """
        As `evict`, past those who were used.
        """
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
            if self._take_mark(key, held) and chances:
                chances -= 1
                main.append(key)
                continue
            del table[key]
            hashed = hash(key)
            mark = hashed % PRIME
            self.marks[hashed % self.slots] = mark if is_new else mark + MAIN
            return key, held

    def _take_mark(self, key: Any, held: Any) -> bool:
        """
        True where *key* was used; from now on it was not.
        """
        if key in self.front:
            del self.front[key]
            self.seen.discard(key)
            return True
        if key in self.seen:
            self.seen.discard(key)
            return True
        if type(held) is Cell and held.used:
            held.used = False
            return True
        return False

    def remove(self, key: Any) -> Any:
        """
        Take *key* out, not as a victim; what was held, or GONE.
        """
        held = self.table.pop(key, GONE)
        if held is not GONE:
            self.front.pop(key, None)
            self.seen.discard(key)
            if len(self.probation) + len(self.main) > 2 * len(self.table) + _SLACK:
                self._tidy_queues()
        return held

    def _tidy_queues(self) -> None:
        """
        Drop the keys that are gone, so that nothing keeps them alive.
        """
        table = self.table
        main = dict.fromkeys(key for key in self.main if key in table)
        self.main = deque(main)
        self.probation = deque(
            dict.fromkeys(
                key for key in self.probation if key in table and key not in main
            )
        )

    # -- room --------------------------------------------------------------------------

    def settle(self) -> None:
        """
        Be ready to evict: ghosts for as many as are in here, and a first target.

        Called when a cap has been reached, and from time to time after that.
        """
        entries = len(self.table)
        if self.ghosts is None:
            self.ghosts = Ghosts(entries)
            self.target = entries * _SHARE
        else:
            self.ghosts.grow(entries)
            most = entries * _MOST
            self.target = min(max(self.target, entries * _LEAST), most)
        self.marks, self.slots = self.ghosts.marks, self.ghosts.slots

    def widen(self) -> None:
        """
        Go on with a table that grows without a pause, if there are many entries.
        """
        if type(self.table) is dict and len(self.table) > MOST:
            self.table = Wide(self.table)

    # -- uses --------------------------------------------------------------------------

    def expose(self, key: Any, value: Any) -> None:
        """
        The next uses of *key*, which is in here, take the fast path.
        """
        front = self.front
        if len(front) < MOST:
            front[key] = value
            self.seen.discard(key)
        else:
            # It takes the slow path until the hand has passed over some others.
            self.seen.add(key)

    def cover(self) -> None:
        """
        No use of any entry takes the fast path until it is exposed again.
        """
        self.seen.update(self.front)
        self.front.clear()

    def cover_one(self, key: Any) -> None:
        """
        The next use of *key* does not take the fast path.
        """
        if key in self.front:
            del self.front[key]
            self.seen.add(key)

    def own_bytes(self) -> int:
        """
        Bytes of the tables and queues, without keys and values.
        """
        table = self.table
        tables = [table] if type(table) is dict else table.parts()
        cells = 0
        for held in islice(tables[-1].values(), 1):
            if type(held) is Cell:
                cells = CELL_BYTES * len(table)
        parts = (*tables, self.front, self.seen, self.probation, self.main, self.marks)
        return cells + sum(map(getsizeof, parts))
