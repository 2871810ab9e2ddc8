"""
The words of the lifecycle: phases, states and outcomes.

Does not decide anything; the order and the budget are in `_lifecycle`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

__all__ = ("Ending", "Outcome", "Phase", "State")


class Phase(str, Enum):
    """
    The steps of a shutdown, in the order in which they happen.
    """

    STOP_INTAKE = "stop_intake"
    TIMERS = "timers"
    WORK = "work"
    EMITTERS = "emitters"
    SESSIONS = "sessions"
    CACHES = "caches"
    CLIENTS = "clients"
    TELEMETRY = "telemetry"
    PROCESS = "process"

    def __str__(self) -> str:
        return self.value

    @property
    def rank(self) -> int:
        """
        Place in the order, 0 first.
        """
        return _RANKS[self]


_RANKS: Final[dict[Phase, int]] = {phase: rank for rank, phase in enumerate(Phase)}


class State(IntEnum):
    """
    The life of a node. It only ever moves forward.
    """

    NEW = 0  # declared, not armed yet
    OPEN = 1
    DRAINING = 2  # finishes what it has, takes nothing new
    CLOSING = 3  # somebody has claimed the close
    CLOSED = 4


class Outcome(str, Enum):
    """
    How the life of a node ended.
    """

    CLOSED = "closed"  # it closed by itself
    FORCED = "forced"  # only `force_close` or a cancel ended it
    ABANDONED = "abandoned"  # it hangs; its stack is in the report
    UNCLOSABLE = "unclosable"  # nobody can close it; the reason says why

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Ending:
    """
    The outcome of one close, with its reason and its cost.

    `reason` is empty for a plain close and never holds a user's value. `ms` is
    wall time in milliseconds; `stack` is where a hung close stands.
    """

    outcome: Outcome
    reason: str = ""
    ms: float = 0.0
    stack: str = ""


PLAIN: Final = Ending(Outcome.CLOSED)
