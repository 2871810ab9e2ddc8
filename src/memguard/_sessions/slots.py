"""
One known session: what is remembered of it, and what can be had of it.
"""

from __future__ import annotations

import sys
import threading
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memguard._latch import Latch
    from memguard._sessions.connection import Connection
    from memguard._sessions.leasing import Lease
    from memguard._sessions.session import Session

__all__ = ("Full", "Look", "Slot", "caller")


class Look(Enum):
    """
    What somebody who wants a session has to do.
    """

    READY = "it is live, and pinned for you"
    WAIT = "somebody brings it in or puts it out; wait for its latch"
    BRING = "it is yours to bring in"
    EXPIRE = "its time was over; it is yours to put out"


class Full(Exception):
    """
    Every place for live sessions is taken by one that cannot leave.
    """


class Slot:
    """
    The bookkeeping of one live session, or of one that is coming or going. All of it is
    read and written under the table's lock.

    `session` is there while the session is live. `lease` is the one under which the
    store has it as ours, None while it is nobody's; `version` is that of its record,
    and `tried` are those of writes that were not answered, any of which may be it.
    `pins` counts open blocks. `saving` is closed while it is being saved: one save
    after the other. `busy` is closed while somebody brings the session in or puts it
    out; nobody else touches it then. Times are monotonic seconds.
    """

    __slots__ = (
        "awake_until",
        "backup_at",
        "born",
        "busy",
        "busy_by",
        "connections",
        "contended",
        "counted",
        "ended",
        "grace_end",
        "id",
        "lease",
        "lost",
        "pins",
        "queued",
        "saving",
        "session",
        "size",
        "ticket",
        "touched",
        "tried",
        "used",
        "version",
    )

    def __init__(self, id: str, now: float) -> None:
        self.id = id
        self.session: Session | None = None
        self.born = now
        self.used = now
        self.pins = 0
        self.connections: dict[Connection, None] | None = None
        self.grace_end: float | None = None
        self.backup_at: float | None = None
        self.busy: Latch | None = None
        self.busy_by: Any = None
        self.saving: Latch | None = None
        # Bytes of its last encoding, before it was squeezed.
        self.size = 0
        self.lease: Lease | None = None
        self.version = 0
        self.tried: tuple[int, ...] = ()
        # Another process has asked for it: it is given back when it is not held.
        self.contended = False
        # Another process has it, and ours is out of date: nothing of it is saved.
        self.lost = False
        # The use that its store knows of.
        self.touched = now
        # It could not be saved: it is not put to sleep before then.
        self.awake_until: float | None = None
        # It holds one of the places for live sessions.
        self.counted = False
        # Its end has begun: nothing of it is saved any more.
        self.ended = False
        # Its place in the queue of deadlines: when, and under which ticket.
        self.queued: float | None = None
        self.ticket = 0

    @property
    def held(self) -> bool:
        """
        True while somebody uses it: it neither sleeps nor expires then.
        """
        return bool(self.pins or self.connections)

    def wrote(self, version: int) -> bool:
        """
        Whether the record of that version is what this session was once written as.
        """
        return version == self.version or version in self.tried

    def is_mine(self) -> None:
        """
        Whoever calls this, a task or a thread, is at work on it: it must not wait.
        """
        self.busy_by = caller()


def caller() -> Any:
    """
    Who is asking: the running task, else the thread.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        task = asyncio.current_task()
        if task is not None:
            return task
    return threading.get_ident()
