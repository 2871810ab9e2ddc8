"""
The books of a limiter: what is in flight, and who waits in line. No foreign code.

Every method is called with the limiter's lock held. Whoever was let in is woken by the
limiter when it has left the lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from memguard._records import record

__all__ = ("LimiterInfo", "Line", "Ticket")


@record
class LimiterInfo:
    """
    A limiter at one moment. `peak` and `peak_bytes` are the most that was in flight.

    `granted` counts those that were let in, `timeouts` those that gave up, `waited_s`
    the seconds that all of them have spent in line. `max_in_flight` and `max_bytes`
    are the bounds of now: `share` of those that were asked for.
    """

    in_flight: int
    bytes: int
    waiting: int
    peak: int
    peak_bytes: int
    granted: int
    timeouts: int
    waited_s: float
    max_in_flight: int
    max_bytes: int | None
    share: float


class Ticket:
    """
    A place in the line, and afterwards in flight.

    `wake` is called once it was let in, or sent away (`ended`), with no lock held.
    Whoever drops it without a word sets `dead`: it is then passed over.
    """

    __slots__ = ("bytes", "dead", "ended", "granted", "line", "loop", "since", "wake")

    def __init__(self, size: int, loop: Any = None) -> None:
        self.bytes = size
        # The loop its task waits on: once that is closed nobody would ever leave.
        self.loop = loop
        self.line: Line | None = None
        self.wake: Callable[[], object] | None = None
        self.granted = False
        self.ended = False
        self.dead = False
        self.since = 0.0  # in line since, monotonic

    @property
    def is_lost(self) -> bool:
        """
        True where nobody will come for it.
        """
        return self.dead or (self.loop is not None and self.loop.is_closed())


class Line:
    """
    First come, first served, by count and by bytes.

    Who is at the head and does not fit holds up everybody behind: so what is heavy is
    never starved by what is light. Whoever finds nothing in flight may go, however
    heavy it is; while it is heavier than the bound nobody else is let in.
    """

    __slots__ = (
        "bytes",
        "granted",
        "in_flight",
        "max_bytes",
        "max_in_flight",
        "peak",
        "peak_bytes",
        "share",
        "timeouts",
        "waited_s",
        "waiting",
    )

    def __init__(
        self, max_in_flight: int, max_bytes: int | None, share: float = 1.0
    ) -> None:
        self.max_in_flight = max_in_flight
        self.max_bytes = max_bytes
        self.share = share
        self.waiting: OrderedDict[Ticket, None] = OrderedDict()
        self.in_flight = 0
        self.bytes = 0
        self.peak = 0
        self.peak_bytes = 0
        self.granted = 0
        self.timeouts = 0
        self.waited_s = 0.0

    # -- the bounds --------------------------------------------------------------------

    @property
    def most(self) -> int:
        """
        How many may be in flight now; one always may.
        """
        return max(1, int(self.max_in_flight * self.share))

    @property
    def most_bytes(self) -> int | None:
        """
        How many bytes may be in flight now.
        """
        if self.max_bytes is None:
            return None
        return max(1, int(self.max_bytes * self.share))

    def _fits(self, size: int) -> bool:
        if not self.in_flight:
            return True
        if self.in_flight >= self.most:
            return False
        limit = self.most_bytes
        return limit is None or self.bytes + size <= limit

    # -- coming and going --------------------------------------------------------------

    def try_in(self, ticket: Ticket) -> bool:
        """
        Let *ticket* in if it needs not wait.
        """
        if self.waiting:
            # Those who are lost do not make anybody wait.
            while self.waiting and next(iter(self.waiting)).is_lost:
                self.waiting.popitem(last=False)
        if self.waiting or not self._fits(ticket.bytes):
            return False
        self._let_in(ticket)
        return True

    def join(self, ticket: Ticket, now: float) -> list[Ticket]:
        """
        Stand in line. Returns who was let in, which may be the one who came.
        """
        ticket.line = self
        ticket.since = now
        self.waiting[ticket] = None
        return self.admit(now)

    def admit(self, now: float) -> list[Ticket]:
        """
        Let in who fits, from the head on; returns them, to be woken.
        """
        came: list[Ticket] = []
        while self.waiting:
            ticket = next(iter(self.waiting))
            if not ticket.is_lost:
                if not self._fits(ticket.bytes):
                    break
                self.waited_s += now - ticket.since
                self._let_in(ticket)
                came.append(ticket)
            del self.waiting[ticket]
        return came

    def _let_in(self, ticket: Ticket) -> None:
        ticket.line = self
        ticket.granted = True
        self.granted += 1
        self.in_flight += 1
        self.bytes += ticket.bytes
        self.peak = max(self.peak, self.in_flight)
        self.peak_bytes = max(self.peak_bytes, self.bytes)

    def give_up(self, ticket: Ticket, now: float) -> list[Ticket]:
        """
        Leave the line, or give back what was granted meanwhile.
        """
        if ticket.granted:
            return self.release(ticket, now)
        if ticket in self.waiting:
            del self.waiting[ticket]
            self.waited_s += now - ticket.since
        return self.admit(now)

    def time_out(self, ticket: Ticket, now: float) -> bool:
        """
        Leave the line because the time is over, and count it. True, for the caller.
        """
        if not ticket.ended:
            self.timeouts += 1
            if self.waiting.pop(ticket, self) is None:
                self.waited_s += now - ticket.since
        return True

    def release(self, ticket: Ticket, now: float) -> list[Ticket]:
        """
        Be in flight no longer; returns who was let in instead. Twice does nothing.
        """
        if not ticket.granted:
            return []
        ticket.granted = False
        self.in_flight -= 1
        self.bytes -= ticket.bytes
        return self.admit(now)

    def send_away(self) -> list[Ticket]:
        """
        Everybody who waits is told that it is over.
        """
        gone = list(self.waiting)
        self.waiting.clear()
        for ticket in gone:
            ticket.ended = True
        return gone

    def info(self) -> LimiterInfo:
        """
        The figures of this moment.
        """
        return LimiterInfo(
            in_flight=self.in_flight,
            bytes=self.bytes,
            waiting=len(self.waiting),
            peak=self.peak,
            peak_bytes=self.peak_bytes,
            granted=self.granted,
            timeouts=self.timeouts,
            waited_s=self.waited_s,
            max_in_flight=self.most,
            max_bytes=self.most_bytes,
            share=self.share,
        )
