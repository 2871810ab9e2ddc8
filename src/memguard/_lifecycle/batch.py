"""
What the plan and the drivers share: batches of entries, and the commands about them.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, TypeAlias

from memguard._lifecycle.order import Entry
from memguard._records import record

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


class Batch:
    """
    Entries that one driver performs one after the other, beginning with `stage`.

    The driver takes from `todo` with `popleft` and writes `at`, `done`, `finished` and
    `interrupt`; the plan reads them, takes back what was not begun, and sets `disowned`
    when somebody else is to finish the entry it stands at.
    """

    __slots__ = (
        "at",
        "disowned",
        "done",
        "finished",
        "instead_of",
        "interrupt",
        "lane",
        "planned",
        "runner",
        "stage",
        "started",
        "todo",
    )

    def __init__(
        self,
        todo: deque[Entry],
        lane: str,
        stage: str = DRAIN,
        *,
        started: float = 0.0,
        at: At | None = None,
        instead_of: Batch | None = None,
        planned: bool = True,
    ) -> None:
        self.todo = todo
        self.lane = lane
        self.stage = stage
        self.started = started
        self.at = at
        self.done = 0
        self.finished = False
        self.disowned = False
        #: The one whose entry this takes over, because it hangs there.
        self.instead_of = instead_of
        #: Part of a shutdown: bytes are noted, and a close that somebody else has in
        #: hand is waited for. Not so where a scope ends in the middle of the program.
        self.planned = planned
        self.interrupt: BaseException | None = None
        self.runner: Any = None

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


@record
class Start:
    """
    Perform a batch on a driver of its own.
    """

    batch: Batch


@record
class Wait:
    """
    Come back when a batch finished, at the latest at *until*.
    """

    until: float


@record
class Abandon:
    """
    Give up on an entry that a batch stands at, and note where it hangs.

    Without a batch it was never begun.
    """

    batch: Batch | None
    entry: Entry
    reason: str


Command: TypeAlias = Start | Wait | Abandon
