"""
The books of a pool: who is idle, who is lent, who waits. No foreign code, no clock.

Every method is called with the pool's lock held.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, Generic, TypeVar

from memguard._kinds.lease import Waiter
from memguard._records import record

__all__ = ("MAKE", "Members", "PoolStats")

T = TypeVar("T")

#: Handed out instead of a member: the permission to make one.
MAKE: Final[Any] = object()
_COUNTED: Final = (
    "created",
    "disposed",
    "timeouts",
    "failed_checks",
    "foreign_releases",
)


@record
class PoolStats:
    """
    A pool at one moment. `size` counts members made and being made.
    """

    size: int
    idle: int
    used: int
    waiting: int
    max_size: int
    created: int
    disposed: int
    timeouts: int
    failed_checks: int
    foreign_releases: int


class Members(Generic[T]):
    """
    Idle, lent and wanted members, with their counters.
    """

    __slots__ = ("counts", "idle", "making", "max_size", "min_size", "used", "waiters")

    def __init__(self, min_size: int, max_size: int) -> None:
        self.min_size = min_size
        self.max_size = max_size
        self.idle: deque[tuple[T, float]] = deque()
        self.used: dict[int, T] = {}
        self.waiters: deque[Waiter] = deque()
        self.making = 0
        self.counts = dict.fromkeys(_COUNTED, 0)

    @property
    def size(self) -> int:
        return len(self.idle) + len(self.used) + self.making

    def next(self) -> Any:
        """
        A member, MAKE, or a fresh place in the line: first come, first served.
        """
        if not self.waiters:
            if self.idle:
                member, _ = self.idle.pop()
                self.used[id(member)] = member
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
        if waiter.filled:
            return waiter.value
        self.waiters.remove(waiter)
        return None

    def made(self, member: T) -> None:
        """
        The permission to make one was used.
        """
        self.making -= 1
        self.used[id(member)] = member
        self.counts["created"] += 1

    def not_made(self) -> None:
        """
        The permission to make one goes to the next in line.
        """
        self.making -= 1
        self.pass_place()

    def hand_on(self, member: T, now: float) -> None:
        """
        A lent member comes back: to the next in line, else to the idle ones.
        """
        if self.waiters:
            self.used[id(member)] = member
            self.waiters.popleft().fill(member)
            return
        self.used.pop(id(member), None)
        self.idle.append((member, now))

    def drop(self, member: T) -> None:
        """
        A lent member ends; its place goes to the next in line.
        """
        self.used.pop(id(member), None)
        self.counts["disposed"] += 1
        self.pass_place()

    def pass_place(self) -> None:
        """
        Let whoever waits make a member, as far as there is room.
        """
        while self.waiters and self.size < self.max_size:
            self.making += 1
            self.waiters.popleft().fill(MAKE)

    def take_idle(self, since: float, keep: int) -> list[T]:
        """
        Idle since before *since*, as long as more than *keep* members remain.
        """
        ended: list[T] = []
        while self.idle and self.idle[0][1] <= since and self.size > keep:
            ended.append(self.idle.popleft()[0])
        self.counts["disposed"] += len(ended)
        return ended

    def stats(self) -> PoolStats:
        return PoolStats(
            size=self.size,
            idle=len(self.idle),
            used=len(self.used),
            waiting=len(self.waiters),
            max_size=self.max_size,
            **self.counts,
        )
