"""
Who leaves a cache that is bound by bytes.

Greedy-dual with sizes (GDSF: Cherkasova, 1998) in queues. An entry is due at the age of
the cache plus a credit, which is the smaller the heavier the entry is; who is due first
leaves, and the age becomes what was due: so the small ones stay longer, and yet not for
ever. Entries of about the same weight share a queue, which their dues keep in order;
only the heads are compared. Who was used moves up one level, that is to a queue of
lighter ones; a ghost that comes back begins one level up.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush, heapreplace
from typing import Any, Final

from memguard._kinds.cache.cells import GONE, Cell
from memguard._kinds.cache.ghosts import NOBODY, PRIME, Marks, ghosts
from memguard._kinds.cache.tables import Tables

__all__ = ("ByWeight",)

# Levels an entry may rise, and the queues that each takes it up.
_LEVELS, _STEP = 2, 2
_QUEUES: Final = 48
# Queue n holds what is given credit for 2 ** (-0.8 n) of what a byte is given.
_CREDIT: Final = tuple(2.0 ** (-0.8 * (at - _LEVELS * _STEP)) for at in range(_QUEUES))
_CHANCES: Final = 64
_SLACK: Final = 64


class ByWeight(Tables):
    """
    Entries, all of them in cells, in queues by weight.
    """

    __slots__ = ("_age", "_dues", "_entries", "_heads", "_keys", "_marks", "_slots")

    def __init__(self, missing: Any) -> None:
        super().__init__(missing)
        self._entries = 0
        self._marks: Marks = ghosts(0)
        self._slots = 1
        self._forget_places()

    def _forget_places(self) -> None:
        self._age = 0.0
        self._keys: list[deque[Any]] = [deque() for _ in _CREDIT]
        # When each of them is due. A place is that of its key while the cell says so.
        self._dues: list[deque[float]] = [deque() for _ in _CREDIT]
        # A heap of (due, queue): who is first in each queue that is not empty.
        self._heads: list[tuple[float, int]] = []

    def queues(self) -> list[Any]:
        return [*self._keys, *self._dues]

    # -- coming ------------------------------------------------------------------------

    def fill(self, key: Any, held: Any, room: int) -> None:  # noqa: ARG002
        self.table[key] = held
        self._place(key, held, _queue(held.weight, 0))

    def admit(self, key: Any, held: Any) -> None:
        if self.shadow is not None:
            self.shadow.missed(key, len(self.table))
        mark = hash(key) % PRIME
        at = mark % self._slots
        level = 0
        if self._marks[at] == mark:
            self._marks[at] = NOBODY
            level = 1
        self.table[key] = held
        self._place(key, held, _queue(held.weight, level))

    def replace(self, key: Any, held: Any) -> None:
        old = self.table[key]
        self.table[key] = held
        if held.weight.bit_length() == old.weight.bit_length():
            held.due = old.due
        else:
            # The place of the old one is nobody's now.
            self._place(key, held, _queue(held.weight, 0))
            self._removed()

    def _place(self, key: Any, held: Cell, at: int) -> None:
        due = held.due = self._age + _CREDIT[at]
        keys = self._keys[at]
        if not keys:
            heappush(self._heads, (due, at))
        keys.append(key)
        self._dues[at].append(due)

    # -- going -------------------------------------------------------------------------

    def evict(self) -> tuple[Any, Any]:
        heads, table = self._heads, self.table
        chances = _CHANCES
        while heads:
            due, at = heads[0]
            key = self._keys[at].popleft()
            dues = self._dues[at]
            dues.popleft()
            if dues:
                heapreplace(heads, (dues[0], at))
            else:
                heappop(heads)
            held = table.get(key, GONE)
            if held is GONE or held.due != due:
                continue
            self._age = due
            if self.take_mark(key, held) and chances:
                chances -= 1
                self._place(key, held, max(_queue(held.weight, _LEVELS), at - _STEP))
                continue
            del table[key]
            if self.shadow is not None:
                self.shadow.note(key)
            mark = hash(key) % PRIME
            self._marks[mark % self._slots] = mark
            return key, held
        return GONE, GONE

    def _removed(self) -> None:
        places = sum(map(len, self._keys))
        if places > 2 * len(self.table) + _SLACK:
            table = self.table
            live = [
                (due, at, key)
                for at, queue in enumerate(self._keys)
                for key, due in zip(queue, self._dues[at], strict=True)
                if key in table and table[key].due == due
            ]
            age = self._age
            self._forget_places()
            self._age = age
            for due, at, key in live:
                if not self._keys[at]:
                    heappush(self._heads, (due, at))
                self._keys[at].append(key)
                self._dues[at].append(due)

    def _mend_places(self) -> None:
        age = self._age
        self._forget_places()
        self._age = age
        for key, held in list(self.table.items()):
            self._place(key, held, _queue(held.weight, 0))

    # -- room --------------------------------------------------------------------------

    def is_settled(self) -> bool:
        return self._entries > 0 and len(self.table) <= 2 * self._entries

    def settle(self) -> None:
        self._entries = len(self.table)
        self._marks = ghosts(self._entries)
        self._slots = len(self._marks)


def _queue(weight: int, level: int) -> int:
    """
    The queue of entries of this weight, so many levels up.
    """
    return min(weight.bit_length() + (_LEVELS - level) * _STEP, _QUEUES - 1)
