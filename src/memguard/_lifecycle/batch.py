"""
What the plan and the drivers share: batches of entries, and the commands about them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from memguard._lifecycle.order import Entry

__all__ = (
    "CLOSE",
    "DRAIN",
    "FORCE",
    "Abandon",
    "At",
    "Batch",
    "Command",
    "Start",
    "Wait",
)

# What happens to an entry, in this order.
DRAIN: Final = "drain"
CLOSE: Final = "close"
FORCE: Final = "force"


class At:
    """
    Where a batch stands: replaced as a whole, so that whoever reads it in another
    thread never sees the time of one entry with the name of the next.
    """

    __slots__ = ("entry", "since", "stage")

    def __init__(self, entry: Entry, stage: str, since: float) -> None:
        self.entry = entry
        self.stage = stage
        self.since = since


@dataclass(slots=True, eq=False)
class Batch:
    """
    Entries that one driver performs one after the other, beginning with `stage`.

    The driver takes from `todo` with `popleft` and writes `at`, `done`, `finished` and
    `interrupt`; the plan reads them, takes back what was not begun, and sets `disowned`
    when somebody else is to finish the entry it stands at.
    """

    todo: deque[Entry]
    lane: str
    stage: str = DRAIN
    started: float = 0.0
    at: At | None = None
    done: int = 0
    finished: bool = False
    disowned: bool = False
    #: The one whose entry this takes over, because it hangs there.
    instead_of: Batch | None = None
    #: Part of a shutdown: bytes are noted, and a close that somebody else has in hand
    #: is waited for. Not so where a scope ends in the middle of the program.
    planned: bool = True
    interrupt: BaseException | None = None
    runner: Any = field(default=None, repr=False)

    def take_back(self) -> list[Entry]:
        """
        What was not begun yet. Safe while the driver works: popleft is atomic.
        """
        rest: list[Entry] = []
        while True:
            try:
                rest.append(self.todo.popleft())
            except IndexError:
                return rest


@dataclass(frozen=True, slots=True)
class Start:
    """
    Perform a batch on a driver of its own.
    """

    batch: Batch


@dataclass(frozen=True, slots=True)
class Wait:
    """
    Come back when a batch finished, at the latest at *until*.
    """

    until: float


@dataclass(frozen=True, slots=True)
class Abandon:
    """
    Give up on an entry that a batch stands at, and note where it hangs.

    Without a batch it was never begun.
    """

    batch: Batch | None
    entry: Entry
    reason: str


Command: TypeAlias = Start | Wait | Abandon
