"""
When sessions fall asleep and when they expire. Pure: takes times, gives verdicts.

Does not close or save anything; `Sessions` does what the verdicts say.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from memguard._records import record
from memguard._sessions.slots import Slot

if TYPE_CHECKING:
    from memguard._registry import Registry
    from memguard.typing import Handle

__all__ = ("Alarm", "Clocks", "Deadlines", "Verdict", "earliest")


class Verdict(Enum):
    """
    What is due for one session.
    """

    NOTHING = "nothing"
    BACKUP = "backup"
    SLEEP = "sleep"
    EXPIRE = "expire"


@record
class Clocks:
    """
    The durations of one `Sessions`, in seconds; None means never.

    `ttl` and `hibernate_after` run from the last use, `max_age` from the first,
    `grace` from the moment at which the last connection left, `backup_every` from
    the moment at which the session went live.
    """

    ttl: float | None
    max_age: float | None
    hibernate_after: float | None
    grace: float
    backup_every: float | None

    def expires_at(self, slot: Slot, used: float | None = None) -> float | None:
        """
        The time from which on *slot* counts as gone, unless somebody holds it.

        *used* is its last use where that is not the one noted.
        """
        by_age = _after(slot.born, self.max_age)
        by_use = _after(slot.used if used is None else used, self.ttl)
        if by_use is not None and slot.grace_end is not None:
            # Who comes back within the grace finds everything as it was.
            by_use = max(by_use, slot.grace_end)
        return earliest(by_age, by_use)

    def sleeps_at(self, slot: Slot) -> float | None:
        """
        The time at which a live, unheld session falls asleep.
        """
        if slot.awake_until is not None:
            return slot.awake_until
        if slot.grace_end is not None:
            return slot.grace_end
        return _after(slot.used, self.hibernate_after)

    def expired(self, slot: Slot, now: float) -> bool:
        """
        True when *slot* has outlived `ttl` or `max_age` and nobody holds it.
        """
        if slot.held:
            return False
        at = self.expires_at(slot)
        return at is not None and at <= now

    def verdict(self, slot: Slot, now: float) -> Verdict:
        """
        What is due for *slot* at *now*.
        """
        if self.expired(slot, now):
            return Verdict.EXPIRE
        if slot.session is None:
            return Verdict.NOTHING
        if not slot.held:
            at = self.sleeps_at(slot)
            if at is not None and at <= now:
                return Verdict.SLEEP
        if slot.backup_at is not None and slot.backup_at <= now:
            return Verdict.BACKUP
        return Verdict.NOTHING

    def next(self, slot: Slot) -> float | None:
        """
        The next time at which something may be due for *slot*, None for never.
        """
        if slot.held:
            return slot.backup_at
        at = self.expires_at(slot)
        if slot.session is None:
            return at
        return earliest(at, self.sleeps_at(slot), slot.backup_at)


class Deadlines:
    """
    A queue with at most one valid entry a session, which may be too early.

    A session that is used again keeps its entry: when that is popped, the session is
    looked at again. So using a session costs no operation on the heap. Not
    thread-safe: the caller holds the table's lock.
    """

    __slots__ = ("_heap", "_next_ticket", "_valid")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Slot]] = []
        self._next_ticket = count(1).__next__
        self._valid = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def head(self) -> float | None:
        """
        The time of the earliest entry.
        """
        heap = self._heap
        while heap and heap[0][1] != heap[0][2].ticket:
            heappop(heap)
        return heap[0][0] if heap else None

    def put(self, slot: Slot, when: float | None) -> bool:
        """
        See to it that *slot* is looked at by *when*; None asks for nothing.

        False where that is so already.
        """
        if when is None or (slot.queued is not None and slot.queued <= when):
            return False
        if slot.queued is None:
            self._valid += 1
        slot.queued = when
        slot.ticket = ticket = self._next_ticket()
        heappush(self._heap, (when, ticket, slot))
        self._sweep()
        return True

    def forget(self, slot: Slot) -> None:
        """
        Look at *slot* no more.
        """
        if slot.queued is not None:
            slot.queued = None
            slot.ticket = 0
            self._valid -= 1
            self._sweep()

    def pop(self, now: float) -> Slot | None:
        """
        The next session whose entry is due at *now*; the entry is gone then.
        """
        at = self.head
        if at is None or at > now:
            return None
        slot = heappop(self._heap)[2]
        slot.queued = None
        slot.ticket = 0
        self._valid -= 1
        return slot

    def _sweep(self) -> None:
        # Void entries never outnumber valid ones: amortised, each is moved once.
        if len(self._heap) > 2 * self._valid:
            self._heap = [entry for entry in self._heap if entry[1] == entry[2].ticket]
            heapify(self._heap)


class Alarm:
    """
    The one scheduled call of a `Sessions`. The caller holds the table's lock.

    Too early a call does no harm, so it is only ever moved forward.
    """

    __slots__ = ("_at", "_handle", "_ring", "over")

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self.over = False
        self._handle: Handle | None = None
        self._at = 0.0

    def set(self, registry: Registry, when: float | None) -> None:
        """
        Ring by *when* if the guard runs; without it there is nothing to ring for.
        """
        if self.over or not registry.running or when is None:
            self.cancel()
        elif self._handle is None or when < self._at:
            self.cancel()
            self._at = when
            self._handle = registry.scheduler.call_at(when, self._ring)

    def rang(self) -> None:
        """
        The scheduler has called; there is nothing to cancel any more.
        """
        self._handle = None

    def end(self) -> None:
        """
        Never ring again.
        """
        self.over = True
        self.cancel()

    def cancel(self) -> None:
        """
        Do not ring.
        """
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()


def _after(start: float, duration: float | None) -> float | None:
    return None if duration is None else start + duration


def earliest(*times: float | None) -> float | None:
    """
    The first of those times that there are; None where there is none.
    """
    # A loop: a generator for `min` would cost four times as much.
    first: float | None = None
    for time in times:
        if time is not None and (first is None or time < first):
            first = time
    return first
