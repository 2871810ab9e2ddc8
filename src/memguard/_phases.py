"""
The words of the lifecycle: phases, states and outcomes.

Does not decide anything; the order and the budget are in `_lifecycle`.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from memguard._records import record

__all__ = (
    "CLOSED",
    "CLOSING",
    "DRAINING",
    "NEW",
    "OPEN",
    "PLAIN",
    "Ending",
    "Outcome",
    "Phase",
    "State",
)


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

    #: Place in the order, 0 first. An attribute of each member, not a property: the
    #: plan of a shutdown reads it several times for each of ten thousand nodes.
    rank: int

    def __str__(self) -> str:
        return str(self.value)


for _rank, _phase in enumerate(Phase):
    _phase.rank = _rank


# The life of a node; it only ever moves forward (a guard may start anew). Plain
# numbers, because they are compared on the hot path of every scope; `State` names
# them for people.
NEW: Final = 0  # declared, not armed yet
OPEN: Final = 1
DRAINING: Final = 2  # finishes what it has; what is in hand may still register
CLOSING: Final = 3  # somebody has claimed the close
CLOSED: Final = 4


class State(IntEnum):
    """
    The names of the states.
    """

    NEW = NEW
    OPEN = OPEN
    DRAINING = DRAINING
    CLOSING = CLOSING
    CLOSED = CLOSED


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


@record
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
