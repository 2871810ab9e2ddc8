"""
The books of a pool: who is idle, who is lent, who waits. No foreign code, no clock.

Every method is called with the pool's lock held.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Generic, TypeVar
from weakref import ref

from memguard._kinds.lease import Waiter
from memguard._records import record

__all__ = ("ENDED", "MAKE", "Member", "Members", "PoolStats")

T = TypeVar("T")

#: Handed out instead of a member: the permission to make one.
MAKE: Final[Any] = object()
#: Handed out instead of a member: the pool takes no requests any more.
ENDED: Final[Any] = object()
_COUNTED: Final = (
    "created",
    "disposed",
    "timeouts",
    "failed_checks",
    "failed_resets",
    "foreign_releases",
)


@record
class PoolStats:
    """
    A pool at one moment. `size` counts members made and being made.

    `used` are lent, or being made for somebody; `foreign_releases` are attempts to give
    back what was not lent. `disposed` includes what was ended for a failed check.
    """

    size: int
    idle: int
    used: int
    waiting: int
    min_size: int
    max_size: int
    created: int
    disposed: int
    timeouts: int
    failed_checks: int
    failed_resets: int
    foreign_releases: int


class Member(Generic[T]):
    """
    One thing of a pool. `loop` is the event loop it can be used on, weakly; None: any.

    `turn` counts how often it came back: a lease of an earlier turn has it no more.
    """

    __slots__ = ("era", "loop", "returning", "since", "ticket", "turn", "value")

    def __init__(self, value: T, era: int, loop: ref[Any] | None) -> None:
        self.value = value
        self.era = era
        self.loop = loop
        self.since = 0.0  # idle since, monotonic
        self.returning = False
        self.turn = 0
        # Of the stand-in that was lent in its place, in strict mode.
        self.ticket: Any = None


class Members(Generic[T]):
    """
    Idle, lent and wanted members, with their counters.

    A new era begins when the pool is emptied: members of an older one that are still
    lent are ended when they come back.
    """

    __slots__ = (
        "counts",
        "era",
        "idle",
        "making",
        "max_size",
        "min_size",
        "used",
        "waiters",
    )

    def __init__(self, min_size: int, max_size: int) -> None:
        self.min_size = min_size
        self.max_size = max_size
        self.idle: deque[Member[T]] = deque()  # the one idle for longest on the left
        self.used: dict[Member[T], None] = {}
        self.waiters: deque[Waiter] = deque()
        self.making = 0
        self.era = 0
        self.counts = dict.fromkeys(_COUNTED, 0)

    @property
    def size(self) -> int:
        return len(self.idle) + len(self.used) + self.making

    # -- lending -----------------------------------------------------------------------

    def next(self) -> Any:
        """
        A member, MAKE, or a fresh place in the line.

        First come, first served: what gets free is handed to the line at once, so while
        somebody waits there is nothing here for who comes later.
        """
        if self.idle:
            member = self.idle.pop()
            self.used[member] = None
            return member
        if self.size < self.max_size:
            self.making += 1
            return MAKE
        waiter = Waiter()
        self.waiters.append(waiter)
        return waiter

    def leave_line(self, waiter: Waiter) -> Any:
        """
        Stop waiting; what had been handed over already is returned, else None.
        """
        if not waiter.filled:
            self.waiters.remove(waiter)
        return waiter.value

    def lacks(self) -> bool:
        """
        True, with the permission to make one, where there are less than `min_size`.
        """
        lacks = self.size < self.min_size
        self.making += lacks
        return lacks

    def made(self, member: Member[T]) -> None:
        """
        The permission to make one was used, for somebody who waits for it.
        """
        self.making -= 1
        self.used[member] = None
        self.counts["created"] += 1

    def not_made(self) -> None:
        """
        The permission to make one goes to the next in line.
        """
        self.making -= 1
        self.pass_place()

    # -- coming back -------------------------------------------------------------------

    def begins_return(self, member: Member[T], turn: int) -> bool:
        """
        True for the one caller who may give *member* back; others are counted.

        Who had it in an earlier *turn* may not: it is somebody else's by now.
        """
        if member not in self.used or member.returning or member.turn != turn:
            self.counts["foreign_releases"] += 1
            return False
        member.returning = True
        member.turn += 1
        return True

    def take_back(self, member: Member[T], now: float) -> bool:
        """
        To the next in line, else to the idle ones; False if it is to be ended instead.
        """
        if member.era != self.era or self.size > self.max_size:
            return False
        member.returning = False
        if self.waiters:
            self.waiters.popleft().fill(member)
        else:
            del self.used[member]
            member.since = now
            self.idle.append(member)
        return True

    def drop(self, member: Member[T]) -> None:
        """
        A lent member ends; its place goes to the next in line.
        """
        del self.used[member]
        self.counts["disposed"] += 1
        self.pass_place()

    def replace(self, member: Member[T]) -> None:
        """
        A lent member ends, and who has it may make another one.
        """
        del self.used[member]
        self.counts["disposed"] += 1
        self.making += 1

    def pass_place(self) -> None:
        """
        Let whoever waits make a member, as far as there is room.
        """
        while self.waiters and self.size < self.max_size:
            self.making += 1
            self.waiters.popleft().fill(MAKE)

    # -- ending ------------------------------------------------------------------------

    def take_idle(self, since: float, keep: int) -> list[Member[T]]:
        """
        Idle since before *since*, as long as more than *keep* members remain.
        """
        ended: list[Member[T]] = []
        while self.idle and self.idle[0].since <= since and self.size > keep:
            ended.append(self.idle.popleft())
        self.counts["disposed"] += len(ended)
        return ended

    def take_all(self) -> list[Member[T]]:
        """
        All idle ones; who waits is sent away, and a new era begins.
        """
        self.era += 1
        while self.waiters:
            self.waiters.popleft().fill(ENDED)
        return self.take_idle(float("inf"), 0)

    # -- counting ----------------------------------------------------------------------

    def count(self, what: str) -> None:
        """
        One more of *what*.
        """
        self.counts[what] += 1

    def stats(self) -> PoolStats:
        """
        The figures of this moment.
        """
        return PoolStats(
            size=self.size,
            idle=len(self.idle),
            used=len(self.used) + self.making,
            waiting=len(self.waiters),
            min_size=self.min_size,
            max_size=self.max_size,
            **self.counts,
        )
