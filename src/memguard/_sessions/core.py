"""
What the verbs of one `Sessions` share: tables, store, codec, hooks, the alarm.

A forked child gets a new one; whoever still holds the old one does nothing with it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from memguard._latch import Latch
from memguard._phases import OPEN
from memguard._probes.identity import identity
from memguard._records import changed
from memguard._sessions.closing import Apart
from memguard._sessions.codec import read_content
from memguard._sessions.contested import Contested
from memguard._sessions.expiry import Alarm, earliest
from memguard._sessions.leasing import NO_LEASE, Lease
from memguard._sessions.packing import Packed, pack
from memguard._sessions.placing import place
from memguard._sessions.record import (
    Header,
    read_record,
    version_after,
    write_record,
)
from memguard._sessions.steps import Call, Steps
from memguard._sessions.stores import Entry
from memguard._sessions.table import Table
from memguard._sites import call_site
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from memguard._registry import Registry
    from memguard._sessions.connection import Connection
    from memguard._sessions.keeping import Keeping
    from memguard._sessions.options import Options
    from memguard._sessions.parts import Content
    from memguard._sessions.session import Session
    from memguard._sessions.slots import Slot
    from memguard._sessions.words import Words

__all__ = ("Core",)

# Half of what SQLite puts on a page.
_SQUEEZE_FROM_BYTES: Final = 2048


class Core:
    """
    The state behind one container of sessions, in one process.
    """

    def __init__(self, sessions: Keeping, options: Options) -> None:
        self.sessions = sessions
        self.options = options
        self.registry: Registry = sessions.registry
        self.now: Callable[[], float] = self.registry.clock.monotonic
        self.store, self.space = place(sessions, options.store)
        # What records have in common, where the store can remember that.
        self.words: Words | None = getattr(self.space, "words", None)
        # True where saving a session makes it safe.
        self.keeps = self.store.persistent
        # True where another process may have a session of ours.
        self.leases = self.store.lease_s != float("inf")
        self.lease: Lease = NO_LEASE
        self.joining: Latch | None = None
        self.contested = Contested()
        # The shutdown has closed the store.
        self.gone = False
        clocks = options.clocks
        if not self.keeps:
            # A copy of what is in memory, in memory, is safe from nothing.
            clocks = changed(clocks, backup_every=None)
        self.table = Table(
            clocks, max_live=options.max_live, max_bytes=options.max_bytes
        )
        self.alarm = Alarm(sessions._rang)
        # When the first of the sleeping sessions expires, as far as is known;
        # monotonic seconds. At first: look, there may be some of an earlier process.
        self.asleep_due: float | None = (
            None if options.store is None and not self.keeps else self.now()
        )
        # The last answer of the store: how many sleep, and their bytes.
        self.counted = (0, 0)
        # How many came and went, for the statistics; under the table's lock.
        self.created = self.restored = self.slept = self.expired = self.ended = 0
        self.lost = 0

    @property
    def untouched(self) -> bool:
        """
        True where nothing depends on it yet, and it may be made anew.
        """
        return (
            self.options.store is None
            and not self.table.slots
            and not (self.created or self.restored)
            and self.lease is NO_LEASE
        )

    def nothing_to_do(self, session: Session, durable: bool) -> bool:
        """
        True where leaving a block neither saves, weighs nor gives back: the usual.
        """
        options = self.options
        if not self.keeps:
            return not (durable or options.max_bytes is not None)
        slot = session._slot
        return not (
            (self.leases and not self.registry.running)
            or slot.contended
            or slot.lost
            or session.dirty
        )

    def new_owner(self) -> str:
        """
        A name for a lease that nobody ever had.
        """
        return f"{identity()}:{os.urandom(6).hex()}"

    # -- steps -------------------------------------------------------------------------

    def call(self, fn: Callable[..., Any], *args: Any) -> Call:
        """
        A call of the user's code.
        """
        return Call(self.registry, fn, *args)

    def ask(self, verb: Callable[..., Any], *args: Any) -> Call:
        """
        A call of the store.
        """
        if not self.keeps:
            return Call(self.registry, verb, *args)
        blocking = not self.store.awaits
        return Call(self.registry, self._asked, verb, *args, blocking=blocking)

    def _asked(self, verb: Callable[..., Any], *args: Any) -> Any:
        if self.gone:
            raise ScopeClosed(self.sessions._ended_text())
        try:
            return verb(*args)
        finally:
            if self.gone and not self.store.awaits:
                # The shutdown was quicker: this may have opened the store again.
                self.space.close()

    def apart(self, steps: Steps[Any], slot: Slot, *, awaits: bool = False) -> Apart:
        """
        Steps that put a session out on behalf of somebody else.
        """
        # A store that takes its time, or a save to wait for, is no matter of a loop.
        awaits = awaits or self.keeps or slot.saving is not None
        return Apart(self.registry, steps, slot.session, awaits=awaits)

    # -- bytes -------------------------------------------------------------------------

    def encode(self, session: Session, version: int = 0) -> Packed:
        """
        The content of a session, marked as saved; if that fails, as changed.

        *version* is that of its record, if it is going to be written.
        """
        try:
            return pack(
                session, self.options.codec, paged=self.space.paged, version=version
            )
        except BaseException:
            session.data.dirty = True
            raise

    def entry_of(self, session: Session, release: bool) -> tuple[int, Entry]:
        """
        The size of the content, and what is to be written.
        """
        slot, options = session._slot, self.options
        version = version_after(slot.version)
        raw, pages, size = self.encode(session, version)
        now = self.now()
        ahead = self.registry.clock.time() - now
        used = slot.touched = now if slot.held else slot.used
        expires_at = self.wall_end(slot)
        written = write_record(
            raw,
            codec=options.codec_number,
            schema=options.schema,
            version=version,
            born=slot.born + ahead,
            used=used + ahead,
            expires_at=expires_at,
            writer=zlib.crc32(self.lease.owner.encode()),
            words=self.words,
            # What is in use is written again before it is cold; and on a disk, where a
            # page holds several small records anyhow, squeezing those only takes time.
            squeeze=not self.keeps or (release and len(raw) >= _SQUEEZE_FROM_BYTES),
        )
        entry = Entry(slot.id, version, expires_at, written, pages, release)
        return size, entry

    def wall_end(self, slot: Slot) -> float | None:
        """
        When a session that nobody uses from now on expires, in wall-clock seconds.
        """
        now = self.now()
        used = now if slot.held else slot.used
        at = self.table.clocks.expires_at(slot, used)
        return None if at is None else at + self.registry.clock.time() - now

    def content_of(self, stored: bytes) -> tuple[Header, int, Content]:
        """
        What `entry_of` has written, upgraded to the schema of this program.

        Raises Torn for what is not whole, SessionUnreadable for what nobody upgrades.
        """
        header, raw = read_record(stored, self.words)
        content = read_content(header, raw, self.options, self.sessions.upgrade_hook)
        return header, len(raw), content

    def remember(self, slot: Slot, header: Header) -> None:
        """
        Let the clocks of a restored session go on where they stood.
        """
        behind = self.now() - self.registry.clock.time()
        slot.born = min(header.born + behind, slot.born)
        slot.used = min(header.used + behind, slot.used)

    # -- the table ---------------------------------------------------------------------

    def pin_live(self, id: str) -> Session | None:
        """
        The session of *id*, pinned, if it is live, ours, and nothing is due for it.

        The short way of most blocks; the long one is `enter`.
        """
        table = self.table
        with table.lock:
            slot = table.slots.get(id)
            if slot is None or slot.busy is not None:
                return None
            session, lease, now = slot.session, self.lease, self.now()
            if (
                session is None
                or slot.lease is not lease
                or lease.until <= now
                or session.state > OPEN
                or table.clocks.expired(slot, now)
            ):
                return None
            table.pin(slot)
        return session

    def asleep_until(self, expires_at: float | None) -> None:
        """
        A session sleeps that expires at *expires_at*, in wall-clock seconds.
        """
        if expires_at is not None:
            at = expires_at + self.now() - self.registry.clock.time()
            self.asleep_due = earliest(self.asleep_due, at)

    def rearm(self) -> None:
        """
        Set the alarm for what is due next. The caller holds the table's lock.
        """
        due = earliest(self.table.deadlines.head, self.asleep_due)
        self.alarm.set(self.registry, due)

    def session_ended(self, session: Session) -> None:
        """
        A session has left the tree. Unless one of our verbs did that: forget it.
        """
        slot, table = session._slot, self.table
        with table.lock:
            ours = table.slots.get(slot.id) is slot and slot.session is session
            if ours and slot.busy is None:
                table.gone(slot)

    def connection_ended(self, connection: Connection) -> None:
        """
        A connection has left the tree.
        """
        table = self.table
        with table.lock:
            table.detach(connection.session._slot, connection, self.now())
            self.rearm()

    def failed(self, where: str, error: BaseException) -> None:
        """
        Note a failure that no caller can be told of.
        """
        sessions = self.sessions
        self.registry.failures.record(
            f"{where} of {sessions.label}", error, call_site(sessions.site)
        )
