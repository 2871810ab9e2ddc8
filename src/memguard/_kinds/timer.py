"""
Timers: a function called again and again, or once later, as long as a scope lives.

A timer never drifts, never piles up, and holds nothing once it is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from memguard._kinds.callbacks import checked_name
from memguard._kinds.calling import Calling
from memguard._kinds.periods import (
    checked_jitter,
    checked_periods,
    missed_periods,
    uniform,
)
from memguard._phases import CLOSING, Phase
from memguard._records import record
from memguard._tree import Branch
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from memguard._registry import Registry
    from memguard.typing import Duration, Handle

__all__ = ("Timer", "TimerInfo")


@record
class TimerInfo:
    """
    What a timer has done: calls begun, periods skipped, calls failed.

    `next_in` is in seconds, None when nothing is scheduled.
    """

    runs: int
    skipped: int
    failures: int
    next_in: float | None


class Timer(Calling):
    """
    One timer: `every` so often, or once `after` a while, which then closes it.

    A decorated function stays a function: calling the timer calls it directly.
    While a call runs the current scope is the one that owns the timer.
    """

    __slots__ = (
        "__dict__",  # only for the documentation of the function
        "_after",
        "_due_at",
        "_every",
        "_generation",
        "_handle",
        "_jitter",
        "_random",
        "_start",
        "_tick",
    )

    kind: ClassVar[str] = "timer"
    phase = Phase.TIMERS

    def __init__(
        self,
        owner: Branch,
        fn: Callable[[], Any],
        *,
        every: Duration | None = None,
        after: Duration | None = None,
        name: str | None = None,
        jitter: float = 0.0,
        overlap: bool = False,
        random: Callable[[], float] | None = None,
    ) -> None:
        name = None if name is None else checked_name("a timer", name)
        super().__init__(owner, name, fn, overlap=overlap)
        self._every, self._after = checked_periods(every, after)
        self._jitter = checked_jitter(jitter, repeats=every is not None)
        self._random = random or uniform
        doc = getattr(fn, "__doc__", None)
        if doc is not None and doc is not type(fn).__doc__:
            self.__dict__["__doc__"] = doc
        self._handle: Handle | None = None
        # A call that was scheduled in another generation is void.
        self._generation = 0
        self._start = self._due_at = 0.0
        self._tick = 0

    # -- verbs -------------------------------------------------------------------------

    def cancel(self) -> None:
        """
        End the timer: the same as `close`.
        """
        self.close()

    def trigger(self) -> None:
        """
        Call the function now, where the timer would; the schedule stays as it is.

        Skipped and counted while a call runs, unless the timer overlaps. Raises
        ScopeClosed when the timer has ended.
        """
        if self.state >= CLOSING or self.registry.detached:
            raise ScopeClosed(self._ended_text())
        if self._halted:
            msg = f"timer {self.label!r} stands still: start its guard again first"
            raise ScopeClosed(msg)
        self._begin(last=False)

    def info(self) -> TimerInfo:
        """
        Counters, and the time to the next call.
        """
        next_in = None
        if self._handle is not None:
            next_in = max(0.0, self._due_at - self.registry.clock.monotonic())
        return TimerInfo(self.runs, self.skipped, self.failures, next_in)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """
        Call the function itself, here and now; nothing is counted.
        """
        fn = self._fn
        if fn is None:
            raise ScopeClosed(self._ended_text())
        return fn(*args, **kwargs)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # Of the instance only: on the class they would make it look decorated.
            if name == "__wrapped__" and self._fn is not None:
                return self._fn
            if name == "__qualname__":
                return self._fn_name
            if name == "__name__":
                return self._fn_name.rpartition(".")[2]
            msg = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(msg, name=name, obj=self)

    # -- the schedule ------------------------------------------------------------------

    def _arm(self) -> None:
        if self.state >= CLOSING or self._handle is not None:
            return
        self._halted = False
        self._start = self.registry.clock.monotonic()
        self._schedule(1)

    def _schedule(self, tick: int) -> None:
        """
        Schedule the call number *tick*, counted from the start: nothing adds up.
        """
        period = self._every if self._every is not None else self._after
        assert period is not None
        self._tick = tick
        self._due_at = self._start + tick * period
        if self._jitter:
            self._due_at += period * self._jitter * self._random()
        generation = self._generation
        handle = self.registry.scheduler.call_at(
            self._due_at, partial(self._due, generation)
        )
        self._handle = handle
        if generation != self._generation:
            # Halted meanwhile, by another thread.
            handle.cancel()
            self._handle = None

    def _due(self, generation: int) -> None:
        """
        On the scheduler's thread: schedule the next call, begin this one.
        """
        if generation != self._generation:
            return
        if self._every is None:
            self._handle = None
            self._begin(last=True)
            return
        # Late by its own instant, so that a late jittered one misses no period.
        late = self.registry.clock.monotonic() - self._due_at
        missed = missed_periods(late, self._every)
        if missed:
            with self.registry.lock:
                self.skipped += missed
        self._schedule(self._tick + 1 + missed)
        self._begin(last=False)

    def _halt(self) -> None:
        super()._halt()
        self._generation += 1
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()

    # -- the end -----------------------------------------------------------------------

    def _release(self) -> Any:
        ended = self._disarm()
        self._fn = None
        return ended

    def _disarm(self) -> Any:
        self._halt()
        return self._cancel_calls()

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        self._generation += 1
        self._handle = None
