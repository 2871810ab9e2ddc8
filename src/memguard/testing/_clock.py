"""
Time at will: a clock that stands still, and the scheduler that obeys it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from memguard._settings import parse_duration

if TYPE_CHECKING:
    from memguard.typing import Duration

__all__ = ("FakeClock",)

_SETTLE_ROUNDS: Final = 100
_WAIT_S: Final = 5.0


class _Call:
    """
    One scheduled call.
    """

    __slots__ = ("fn",)

    def __init__(self, fn: Callable[[], object]) -> None:
        self.fn: Callable[[], object] | None = fn

    def cancel(self) -> None:
        """
        Do not call; drop the function at once.
        """
        self.fn = None


class FakeClock:
    """
    A clock that stands still until it is advanced, and a scheduler that obeys it.

    Used as the clock of a guard it schedules the guard's timers and expiries as well:
    `advance` runs them, each at its own instant, in the thread that calls it. There
    is no thread, so `submit` runs functions at once, and what a function raises
    reaches the test. It runs what is due whether it was started or not.

    *start* is the first reading of `monotonic`, *epoch* that of `time`, in seconds.
    """

    def __init__(self, start: float = 1_000.0, epoch: float = 1_700_000_000.0) -> None:
        self._start = start
        self._now = start
        self._epoch = epoch
        self._next_seq = count().__next__
        self._heap: list[tuple[float, int, _Call]] = []
        # Re-entrant: a destructor may schedule while somebody schedules. Never held
        # while a function runs.
        self._changed = threading.Condition(threading.RLock())

    def __repr__(self) -> str:
        return f"<FakeClock {self._now - self._start:g} s after its start>"

    # -- the clock -------------------------------------------------------------------

    def monotonic(self) -> float:
        """
        Seconds since a fixed point; only `advance` changes them.
        """
        return self._now

    def time(self) -> float:
        """
        Seconds since 1970, moving together with `monotonic`.
        """
        return self._epoch + (self._now - self._start)

    def advance(self, duration: Duration) -> None:
        """
        Let *duration* pass, and run what is due on the way, each at its own instant.

        Equal instants run in the order in which they were scheduled. What is
        scheduled meanwhile and falls due runs as well.
        """
        end = self._now + parse_duration(duration)
        while self._run_next(end):
            pass
        self._now = max(self._now, end)

    async def aadvance(self, duration: Duration) -> None:
        """
        As `advance`, and after each instant the running loop does what is ready.

        Calls of asynchronous timers have then run as far as they get without waiting
        for anything real: a socket, a thread, or `asyncio.sleep`, which does not know
        of this clock.
        """
        await _settle()
        end = self._now + parse_duration(duration)
        while self._run_next(end):
            due = self._next_due()
            if due is None or due > self._now:
                await _settle()
        self._now = max(self._now, end)
        await _settle()

    # -- the scheduler ---------------------------------------------------------------

    def start(self) -> None:
        """
        Does nothing: a fake clock always runs what is due.
        """

    def stop(self, timeout: float) -> None:
        """
        Does nothing: there is no thread to stop.
        """

    def call_at(self, when: float, fn: Callable[[], object]) -> _Call:
        """
        Call *fn* when the clock is advanced to *when* or beyond.
        """
        call = _Call(fn)
        with self._changed:
            heappush(self._heap, (when, self._next_seq(), call))
            self._changed.notify_all()
        return call

    def submit(self, fn: Callable[[], object]) -> None:
        """
        Call *fn* here and now.
        """
        fn()

    @property
    def pending(self) -> int:
        """
        Calls that are scheduled and not cancelled.
        """
        with self._changed:
            alive = [entry for entry in self._heap if entry[2].fn is not None]
            if len(alive) < len(self._heap):
                heapify(alive)
                self._heap = alive
            return len(alive)

    def await_scheduled(self, calls: int, timeout: float = _WAIT_S) -> None:
        """
        Block until that many calls are pending: threads have come to where they wait.

        *timeout* is in real seconds; then it raises TimeoutError, which says how many
        there are.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.pending >= calls, timeout):
                msg = (
                    f"{self.pending} of {calls} calls were scheduled within"
                    f" {timeout:g} s"
                )
                raise TimeoutError(msg)

    def _next_due(self) -> float | None:
        with self._changed:
            while self._heap and self._heap[0][2].fn is None:
                heappop(self._heap)
            return self._heap[0][0] if self._heap else None

    def _run_next(self, end: float) -> bool:
        """
        Run the next call that is due by *end*, at its instant; False without one.
        """
        with self._changed:
            due = self._next_due()
            if due is None or due > end:
                return False
            call = heappop(self._heap)[2]
        self._now = max(self._now, due)
        fn, call.fn = call.fn, None
        if fn is not None:
            fn()
        return True


async def _settle() -> None:
    """
    Let the running loop do what is ready, and what gets ready by that.
    """
    import asyncio

    loop: Any = asyncio.get_running_loop()
    for done in range(_SETTLE_ROUNDS):
        await asyncio.sleep(0)
        # Other loops do not tell; they get rounds enough for a long chain of calls.
        ready = getattr(loop, "_ready", None)
        if (not ready and ready is not None) or (ready is None and done >= 20):
            return
