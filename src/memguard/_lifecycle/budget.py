"""
How long a shutdown may take, phase by phase. Pure.

Each phase may end at a cumulative share of the whole, so what an early phase does
not use flows on. The last two phases keep 15 % whatever happens before them.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from memguard._phases import Phase

__all__ = ("Budget",)

# Shares of the total; work and sessions do the waiting, the others let go.
_SHARES: Final[dict[Phase, float]] = {
    Phase.STOP_INTAKE: 0.08,
    Phase.TIMERS: 0.06,
    Phase.WORK: 0.30,
    Phase.EMITTERS: 0.04,
    Phase.SESSIONS: 0.20,
    Phase.CACHES: 0.05,
    Phase.CLIENTS: 0.12,
    Phase.TELEMETRY: 0.10,
    Phase.PROCESS: 0.05,
}
# Where each phase has to be over, by rank.
_ENDS: Final = tuple(accumulate(_SHARES[phase] for phase in Phase))
# What is waited for may use so much of its phase's share; the rest is for the closes
# that come after it.
_WAITING: Final = 0.8
_RESOURCE_S: Final = 1.0
# Even a phase whose time is spent gives each of its nodes a moment.
_LEAST_S: Final = 0.05


class Budget:
    """
    Deadlines on the monotonic clock, in seconds, for a shutdown begun at *start*.
    """

    __slots__ = ("start", "total")

    def __init__(self, start: float, total: float) -> None:
        self.start = start
        self.total = total

    @property
    def end(self) -> float:
        return self.start + self.total

    def phase_end(self, phase: Phase) -> float:
        """
        The time at which *phase* has to be over.
        """
        return self.start + self.total * _ENDS[phase.rank]

    def drain_end(self, phase: Phase, since: float, timeout: float | None) -> float:
        """
        The time until which work in hand, a session or a sink is waited for.
        """
        end = self.phase_end(phase)
        if timeout is None:
            wanted = end - self.total * _SHARES[phase] * (1.0 - _WAITING)
        else:
            wanted = since + timeout
        return self._bounded(wanted, end, since)

    def close_end(self, phase: Phase, since: float, timeout: float | None) -> float:
        """
        The time at which a close that began at *since* has to be over.

        Each has its own timeout, 1 s by default, within its phase.
        """
        wanted = since + (_RESOURCE_S if timeout is None else timeout)
        return self._bounded(wanted, self.phase_end(phase), since)

    def _bounded(self, wanted: float, phase_end: float, since: float) -> float:
        return min(max(min(wanted, phase_end), since + _LEAST_S), self.end)

    def cut(self, now: float, seconds: float) -> None:
        """
        Leave at most *seconds* from now on: what a second signal asks for.
        """
        if self.end > now + seconds:
            self.start = now
            self.total = seconds
