"""
Takes one observation an interval, of whatever guard is the current one.

Readers ask as often as they like: within the interval they get the same observation,
so that many exporters cost as much as one. What belongs to another process (a fork)
or to another guard (a second start) is never handed out.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import ref

from memguard._records import record
from memguard._telemetry.census import Census, take_census
from memguard._telemetry.names import Names
from memguard._telemetry.observation import Observed

if TYPE_CHECKING:
    from memguard._guard import Guard
    from memguard._registry import Registry

__all__ = ("Observer",)

_T = TypeVar("_T")
#: The shortest and the longest time between two observations, in seconds.
_INTERVAL_S: Final = 1.0
_LONGEST_S: Final = 60.0
_NOTHING: Final = Census((), (), (), 0)


@record
class _Taken:
    """
    An observation with its place: when, in which process, and of which registry.
    """

    observed: Observed
    at: float
    good_for: float
    pid: int
    registry: ref[Registry]


class Observer:
    """
    Observes the guard that *guard* refers to, which it does not keep alive.

    Takes no lock of its own, so there is none that a fork could leave locked: two
    readers that come at once both look, and either observation is a true one.
    """

    __slots__ = ("_cpu_s", "_dropped", "_guard", "_names", "_pid", "_taken")

    def __init__(self, guard: ref[Guard] | None = None) -> None:
        self._guard = guard
        self._taken: _Taken | None = None
        self._names = Names()
        self._pid = os.getpid()
        self._cpu_s = 0.0
        self._dropped = 0

    @property
    def guard(self) -> Guard | None:
        """
        The guard that is observed, if it still lives.
        """
        return None if self._guard is None else self._guard()

    def turn_to(self, guard: ref[Guard] | None) -> None:
        """
        Observe another guard from now on, or none.
        """
        self._guard = guard
        self._taken = None

    def refresh(self) -> None:
        """
        Have the next reader look again: for figures that are the last ones.
        """
        self._taken = None

    def gave_up(self) -> None:
        """
        Count a figure or an export that could not be had.
        """
        self._own_process()
        self._dropped += 1

    def observe(self) -> Observed | None:
        """
        What is to be exported now; None without a guard. Never raises or waits long.
        """
        guard = self.guard
        if guard is None:
            return None
        registry = guard.registry
        now = registry.clock.monotonic()
        taken = self._taken
        if (
            taken is not None
            and taken.pid == os.getpid()
            and taken.registry() is registry
            and 0.0 <= now - taken.at < taken.good_for
        ):
            return taken.observed
        self._own_process()
        begun = time.thread_time()
        observed = self._look(guard)
        spent = time.thread_time() - begun
        self._cpu_s += spent
        # A tree so large that a look would cost more than memguard may use is looked
        # at less often.
        affordable = min(_LONGEST_S, spent / guard.settings.overhead_budget)
        good_for = max(_INTERVAL_S, affordable)
        self._taken = _Taken(observed, now, good_for, self._pid, ref(registry))
        return observed

    def _own_process(self) -> None:
        """
        Begin anew in a forked child: its figures are its own.
        """
        pid = os.getpid()
        if pid != self._pid:
            self._pid = pid
            self._cpu_s = 0.0
            self._dropped = 0

    def _look(self, guard: Guard) -> Observed:
        probe = guard.probe
        census = self._told(guard, lambda: take_census(guard, self._names))
        counted = census or _NOTHING
        return Observed(
            memory=self._told(guard, guard.memory),
            descriptors=self._told(guard, lambda: _number(probe, "descriptors_count")),
            threads=self._told(guard, lambda: _number(probe, "threads_count")),
            uptime_s=self._told(guard, lambda: _number(probe, "uptime")),
            collector=tuple(gc.get_stats()),
            resources=counted.resources,
            caches=counted.caches,
            figures=counted.figures,
            budget_limit=counted.budget_limit,
            shares=counted.shares,
            own_bytes=None if census is None else counted.own_bytes,
            cpu_s=self._cpu_s,
            dropped=self._dropped,
        )

    def _told(self, guard: Guard, ask: Callable[[], _T]) -> _T | None:
        """
        The answer, or None: a probe that fails costs its own figure, not the others.
        """
        try:
            return ask()
        except Exception as error:
            self._dropped += 1
            guard.registry.failures.record("reading figures for metrics", error)
            return None


def _number(probe: Any, what: str) -> Any:
    """
    One figure of a probe, which may be a test's and know memory only.
    """
    ask = getattr(probe, what, None)
    answer = None if ask is None else ask()
    return getattr(answer, "value", answer)
