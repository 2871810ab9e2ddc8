"""
The gate of a limiter: its line under its lock, and who is woken outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from memguard._kinds.line import LimiterInfo, Line, Ticket
from memguard._latch import Latch
from memguard._phases import DRAINING
from memguard.errors import LimiterFull, ScopeClosed

if TYPE_CHECKING:
    from memguard._kinds.flow import Flow
    from memguard._kinds.limiter import Limiter
    from memguard._registry import Registry

__all__ = ("Gate",)


class Gate:
    """
    Lets tickets in, in their order, and out again; knows of the maps in progress.

    The lock is that of the limiter. It is held for a few steps of the books, and while
    somebody is woken it is not.
    """

    __slots__ = ("_limiter", "drained", "flows", "line")

    def __init__(self, limiter: Limiter, line: Line) -> None:
        self._limiter = limiter
        self.line = line
        #: Opened when nothing is in flight any more, once the limiter is draining.
        self.drained = Latch()
        self.flows: WeakSet[Flow] = WeakSet()

    @property
    def label(self) -> str:
        return self._limiter.label

    @property
    def registry(self) -> Registry:
        return self._limiter.registry

    # -- going in ----------------------------------------------------------------------

    def try_in(self, ticket: Ticket) -> bool:
        """
        Let *ticket* in if it needs not wait; raises ScopeClosed.
        """
        if self._limiter._is_inside():
            msg = (
                f"limiter {self.label!r} was entered by a destructor that interrupted"
                " the limiter itself; give what it needs to a queue instead"
            )
            raise LimiterFull(msg)
        return self._limiter._locked(self._try_in, ticket)

    def _try_in(self, ticket: Ticket) -> bool:
        self._refuse_if_draining()
        return self.line.try_in(ticket)

    @contextmanager
    def in_line(self, ticket: Ticket, timeout: float) -> Iterator[Latch]:
        """
        Stand in line for the block, in which the latch is waited for.

        When the block is left *ticket* is in flight; else LimiterFull or ScopeClosed.
        """
        latch = Latch()
        ticket.wake = latch.set
        self.join(ticket)
        try:
            yield latch
        except BaseException:
            self.give_up(ticket)
            raise
        if not ticket.granted:
            self.lose(ticket, timeout)

    def join(self, ticket: Ticket) -> None:
        """
        Stand in line; `ticket.wake` is called, perhaps at once. Raises ScopeClosed.
        """
        if self._limiter._is_inside():
            self._limiter._put_off(lambda: self.join(ticket))
        else:
            self._wake(self._limiter._locked(self._join, ticket))

    def _join(self, ticket: Ticket) -> list[Ticket]:
        self._refuse_if_draining()
        return self.line.join(ticket, self._now())

    def _refuse_if_draining(self) -> None:
        if self._limiter.state >= DRAINING:
            raise ScopeClosed(self._limiter._ended_text())

    def lose(self, ticket: Ticket, timeout: float) -> None:
        """
        Leave the line because the time is over; raises unless it was let in meanwhile.
        """
        if not self._limiter._locked(self._times_out, ticket):
            return
        if ticket.ended:
            raise ScopeClosed(self.ended_text())
        info = self.info()
        bounds = f"{info.in_flight} of at most {info.max_in_flight} are in flight"
        if info.max_bytes is not None:
            bounds += f" with {info.bytes} of at most {info.max_bytes} bytes"
        msg = (
            f"limiter {self.label!r} had no room within {timeout:g} s: {bounds},"
            f" {info.waiting} more wait. Leave the blocks sooner, or raise the bounds"
            " or the timeout"
        )
        # Whoever stands behind may fit in where this one did not.
        self.change(_nothing)
        raise LimiterFull(msg)

    def _times_out(self, ticket: Ticket) -> bool:
        return not ticket.granted and self.line.time_out(ticket, self._now())

    # -- coming out --------------------------------------------------------------------

    def give_up(self, ticket: Ticket) -> None:
        """
        Leave the line or the flight, whichever it is; the turn goes to the next.
        """
        self._leave(Line.give_up, ticket)

    def release(self, ticket: Ticket) -> None:
        """
        Be in flight no longer.
        """
        self._leave(Line.release, ticket)

    def _leave(self, how: Callable[..., list[Ticket]], ticket: Ticket) -> None:
        limiter = self._limiter
        if limiter.registry.detached:
            return
        if limiter._is_inside():
            limiter._put_off(lambda: self._leave(how, ticket))
            return

        def step() -> list[Ticket]:
            # One of before a fork is in the books of the parent.
            line = self.line
            return how(line, ticket, self._now()) if ticket.line is line else []

        self._wake(limiter._locked(step))
        if limiter.state >= DRAINING and not self.line.in_flight:
            self.drained.set()

    def _wake(self, came: list[Ticket]) -> None:
        for ticket in came:
            wake, ticket.wake = ticket.wake, None
            if wake is not None:
                wake()
            elif ticket.granted:  # dropped at this very moment
                self.release(ticket)

    # -- the whole ---------------------------------------------------------------------

    def change(self, step: Callable[[Line], None]) -> None:
        """
        Change the bounds, and let in who fits then.
        """
        limiter = self._limiter
        if limiter._is_inside():
            limiter._put_off(lambda: self.change(step))
            return

        def change() -> list[Ticket]:
            step(self.line)
            return self.line.admit(self._now())

        self._wake(limiter._locked(change))

    def info(self) -> LimiterInfo:
        """
        The figures of this moment.
        """
        limiter = self._limiter
        if limiter._is_inside() or limiter.registry.detached:
            return self.line.info()
        return limiter._locked(self.line.info)

    def _now(self) -> float:
        return self._limiter.registry.clock.monotonic()

    def begin(self, flow: Flow) -> None:
        """
        Know of a map in progress, weakly, to end it with the limiter.
        """
        self._limiter._locked(self.flows.add, flow)

    def window(self) -> tuple[int, int | None]:
        """
        How many items, and how many bytes of them, a map may have in hand.
        """
        return self.line.most, self.line.most_bytes

    # -- ending ------------------------------------------------------------------------

    def send_away(self) -> None:
        """
        Everybody who waits in line gets ScopeClosed.
        """
        self._wake(self._limiter._locked(self.line.send_away))

    def end(self) -> None:
        """
        As `send_away`, and the maps in progress end.
        """
        self.send_away()
        for flow in self._limiter._locked(self._take_flows):
            flow.stop()

    def _take_flows(self) -> list[Any]:
        flows = list(self.flows)
        self.flows.clear()
        return flows

    def ended_text(self) -> str:
        """
        For who waited in line, or iterated over a map, when the limiter ended.
        """
        return (
            f"limiter {self.label!r} has ended, and whoever waited for it was sent"
            " away; end what uses it before its guard"
        )

    def forget(self) -> None:
        """
        In a forked child: nothing is in flight here, and nobody waits.
        """
        line = self.line
        self.line = Line(line.max_in_flight, line.max_bytes, line.share)
        self.drained = Latch()
        flows, self.flows = self.flows, WeakSet()
        for flow in flows:
            flow.forget()


def _nothing(_: Line) -> None:
    return None
