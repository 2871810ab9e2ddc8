"""
Who is live and who is next: the tables of one `Sessions`.

Who sleeps is known to the store alone. Only bookkeeping: no session is made, saved or
closed here, and nothing foreign is called. Every method but `__init__` asks its caller
to hold `lock`.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from memguard._latch import Latch
from memguard._sessions.expiry import Clocks, Deadlines, Verdict
from memguard._sessions.slots import Full, Look, Slot

if TYPE_CHECKING:
    from memguard._sessions.connection import Connection
    from memguard._sessions.leasing import Lease

__all__ = ("Table",)


class Table:
    """
    The slots of the live sessions, and the order in which the idle ones go.

    `lock` is re-entrant because a collection inside a locked section may run a
    destructor that leaves a block. It is held for a few dictionary operations.
    """

    def __init__(self, clocks: Clocks, *, max_live: int, max_bytes: int | None) -> None:
        self.lock = threading.RLock()
        self.clocks = clocks
        self.slots: dict[str, Slot] = {}
        # Live and unheld, the least recently used first.
        self.idle: OrderedDict[str, Slot] = OrderedDict()
        self.deadlines = Deadlines()
        self.live = 0
        self.live_bytes = 0
        self._max_live = max_live
        self._max_bytes = math.inf if max_bytes is None else max_bytes

    # -- coming ------------------------------------------------------------------------

    def look(self, id: str, now: float, lease: Lease) -> tuple[Look, Slot]:
        """
        Pin the live session of *id*, or claim what has to be done first.

        One that the store does not have as ours under the running *lease* has to be
        brought in again.
        """
        slot = self.slots.get(id)
        if slot is None:
            slot = self.slots[id] = Slot(id, now)
        elif slot.busy is not None:
            return Look.WAIT, slot
        elif self.clocks.expired(slot, now):
            self.claim(slot, ending=True)
            return Look.EXPIRE, slot
        elif slot.lease is lease and lease.until > now:
            self.pin(slot)
            return Look.READY, slot
        self.claim(slot)
        return Look.BRING, slot

    def has_room(self) -> bool:
        """
        Take a place for a live session, if one is free.
        """
        if self.live < self._max_live and self.live_bytes < self._max_bytes:
            self.live += 1
            return True
        return False

    def room(self) -> Slot | None:
        """
        Take a place for a live session; or claim the one that has to sleep first.

        Raises Full when nobody can.
        """
        if self.has_room():
            return None
        victim = self._least_recent()
        if victim is None:
            raise Full
        return victim

    def overweight(self) -> Slot | None:
        """
        Claim the session that has to sleep because the live ones weigh too much.
        """
        return self._least_recent() if self.live_bytes > self._max_bytes else None

    def _least_recent(self) -> Slot | None:
        for slot in self.idle.values():
            self.claim(slot)
            return slot
        return None

    def came(self, slot: Slot, now: float) -> Latch:
        """
        The claimed *slot* is live: its place was taken by `room`. Pin it.
        """
        slot.counted = True
        self.live_bytes += slot.size
        backup = self.clocks.backup_every
        if backup is not None:
            slot.backup_at = now + backup
            self.deadlines.put(slot, slot.backup_at)
        slot.pins += 1
        return self._unclaim(slot)

    def failed_to_come(self, slot: Slot, *, placed: bool) -> Latch:
        """
        The claimed *slot* could not be brought in; if it slept, it sleeps on.
        """
        slot.session = None
        self.live -= placed
        self._drop(slot)
        return self._unclaim(slot)

    def supersede(self, slot: Slot, now: float) -> Slot:
        """
        Another process has changed the session: begin it anew in a fresh, claimed slot.

        The old one holds what is out of date; whoever has it open may go on with it,
        but nothing of it is saved any more.
        """
        fresh = Slot(slot.id, now)
        fresh.busy, slot.busy = slot.busy, None
        fresh.busy_by, slot.busy_by = slot.busy_by, None
        self.lose(slot)
        self.slots[slot.id] = fresh
        return fresh

    def lose(self, slot: Slot) -> None:
        """
        Forget a live session that another process has now.
        """
        slot.lost = slot.ended = True
        slot.lease = None
        self._uncount(slot)
        self._drop(slot)

    # -- holding -----------------------------------------------------------------------

    def pin(self, slot: Slot) -> None:
        """
        Hold a live session.
        """
        slot.pins += 1
        self.idle.pop(slot.id, None)

    def unpin(self, slot: Slot, now: float) -> bool:
        """
        Hold it no longer; its clocks start anew. True: set the alarm.
        """
        slot.pins -= 1
        slot.used = now
        slot.awake_until = None
        if slot.grace_end is not None and slot.grace_end <= now:
            # It ended while somebody had the session open: the idle clock runs.
            slot.grace_end = None
        return self._rest(slot)

    def attach(self, slot: Slot, connection: Connection) -> None:
        """
        Let *connection* hold the pinned session from now on.
        """
        if slot.connections is None:
            slot.connections = {}
        slot.connections[connection] = None

    def detach(self, slot: Slot, connection: Connection, now: float) -> None:
        """
        *connection* has left; after the last one the grace runs.
        """
        if slot.connections is None or connection not in slot.connections:
            return
        del slot.connections[connection]
        slot.used = now
        if not slot.connections:
            slot.connections = None
            slot.grace_end = now + self.clocks.grace
            self._rest(slot)

    def _rest(self, slot: Slot) -> bool:
        if slot.held or slot.busy is not None or self.slots.get(slot.id) is not slot:
            return False
        self.idle[slot.id] = slot
        return self.deadlines.put(slot, self.clocks.next(slot))

    def weigh(self, slot: Slot, size: int) -> None:
        """
        Note the size of a session's last encoding.
        """
        if slot.counted:
            self.live_bytes += size - slot.size
        slot.size = size

    # -- going -------------------------------------------------------------------------

    def claim(self, slot: Slot, *, ending: bool = False) -> None:
        """
        Make *slot* the caller's alone; its place is free from now on.

        With *ending* nothing of it is saved from now on.
        """
        slot.busy = Latch()
        slot.ended = ending
        self.idle.pop(slot.id, None)
        self._uncount(slot)

    def _unclaim(self, slot: Slot) -> Latch:
        latch, slot.busy, slot.busy_by = slot.busy, None, None
        return latch or Latch()  # nobody waits for one that nobody had claimed

    def _uncount(self, slot: Slot) -> None:
        if slot.counted:
            slot.counted = False
            self.live -= 1
            self.live_bytes -= slot.size

    def due(self, now: float) -> tuple[Slot, Verdict] | None:
        """
        The next session for which something is due: claimed, but for a backup.
        """
        while True:
            slot = self.deadlines.pop(now)
            if slot is None:
                return None
            if slot.busy is not None:
                continue  # whoever has it queues it again
            verdict = self.clocks.verdict(slot, now)
            if verdict is Verdict.BACKUP:
                backup = self.clocks.backup_every
                slot.backup_at = None if backup is None else now + backup
            elif verdict is not Verdict.NOTHING:
                self.claim(slot, ending=verdict is Verdict.EXPIRE)
                return slot, verdict
            self.deadlines.put(slot, self.clocks.next(slot))
            if verdict is Verdict.BACKUP:
                return slot, verdict

    def stays(self, slot: Slot, failed_at: float | None = None) -> Latch:
        """
        The claimed *slot* was not put out and is live again.

        If that failed, it is left alone until it was used again or was idle once more.
        """
        slot.counted = True
        slot.ended = False
        self.live += 1
        self.live_bytes += slot.size
        latch = self._unclaim(slot)
        if failed_at is None:
            self._rest(slot)
            return latch
        slot.grace_end = None
        pause = self.clocks.hibernate_after
        slot.awake_until = None if pause is None else failed_at + pause
        self.deadlines.put(slot, self.clocks.next(slot))
        return latch

    def gone(self, slot: Slot) -> Latch:
        """
        The session sleeps or has ended: forget what is known of it here.
        """
        self._uncount(slot)
        slot.session = slot.connections = slot.lease = None
        self._drop(slot)
        return self._unclaim(slot)

    def freed(self, slot: Slot) -> Latch:
        """
        The claimed *slot* was lost to another process, and is not in the table.
        """
        return self._unclaim(slot)

    def _drop(self, slot: Slot) -> None:
        self.idle.pop(slot.id, None)
        self.deadlines.forget(slot)
        if self.slots.get(slot.id) is slot:
            del self.slots[slot.id]

    # -- counting ----------------------------------------------------------------------

    def held(self) -> tuple[int, int]:
        """
        How many are open in a block, and how many have a connection.
        """
        slots = self.slots.values()
        return (
            sum(1 for slot in slots if slot.pins),
            sum(1 for slot in slots if slot.connections),
        )
