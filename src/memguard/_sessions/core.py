"""
What the verbs of one `Sessions` share: tables, store, codec, hooks, the alarm.

A forked child gets a new one; whoever still holds the old one does nothing with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from memguard._phases import CLOSING, OPEN
from memguard._records import changed
from memguard._sessions.closing import Apart
from memguard._sessions.codec import pack, unpack
from memguard._sessions.expiry import Alarm
from memguard._sessions.steps import Call, Steps
from memguard._sessions.stores import MemoryStore, Store
from memguard._sessions.table import Table
from memguard._sites import call_site
from memguard.errors import ScopeClosed, SessionsFull

if TYPE_CHECKING:
    from memguard._registry import Registry
    from memguard._sessions.connection import Connection
    from memguard._sessions.keeping import Keeping
    from memguard._sessions.options import Options
    from memguard._sessions.session import Session
    from memguard._sessions.slots import Slot

__all__ = ("Core",)


class Core:
    """
    The state behind one container of sessions, in one process.
    """

    def __init__(self, sessions: Keeping, options: Options) -> None:
        self.sessions = sessions
        self.options = options
        # Not `or`: an empty store is false.
        given = options.store
        self.store: Store = MemoryStore() if given is None else given
        clocks = options.clocks
        if not self.store.persistent:
            # A copy of what is in memory, in memory, is safe from nothing.
            clocks = changed(clocks, backup_every=None)
        self.table = Table(
            clocks, max_live=options.max_live, max_bytes=options.max_bytes
        )
        self.alarm = Alarm(sessions._rang)
        # How many came and went, for the statistics; under the table's lock.
        self.created = self.restored = self.slept = self.expired = self.ended = 0

    @property
    def registry(self) -> Registry:
        return self.sessions.registry

    def nothing_to_save(self, durable: bool) -> bool:
        """
        True where leaving a block neither saves nor weighs: the usual, in memory.
        """
        options = self.options
        return not (durable or self.keeps or options.max_bytes is not None)

    @property
    def keeps(self) -> bool:
        """
        True where saving a session makes it safe.
        """
        return self.store.persistent

    def now(self) -> float:
        return self.registry.clock.monotonic()

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
        return Call(self.registry, verb, *args, blocking=self.keeps)

    def apart(self, steps: Steps[None], slot: Slot, *, awaits: bool = False) -> Apart:
        """
        Steps that put a session out on behalf of somebody else.
        """
        # A store that takes its time, or a save to wait for, is no matter of a loop.
        awaits = awaits or self.keeps or slot.saving is not None
        return Apart(self.registry, steps, slot.session, awaits=awaits)

    # -- bytes -------------------------------------------------------------------------

    def encode(self, session: Session) -> bytes:
        """
        The content of a session, marked as saved; if that fails, as changed.
        """
        try:
            return self.options.codec.dumps(session._content())
        except BaseException:
            session.data.dirty = True
            raise

    def record_of(self, session: Session) -> tuple[int, bytes]:
        """
        The size of the content, and its record.
        """
        raw = self.encode(session)
        return len(raw), pack(raw)

    def content_of(self, record: bytes) -> tuple[int, Any]:
        """
        What `record_of` was given.
        """
        raw = unpack(record)
        return len(raw), self.options.codec.loads(raw)

    # -- the table ---------------------------------------------------------------------

    def pin_live(self, id: str) -> Session | None:
        """
        The session of *id*, pinned, if it is live and nothing is due for it.

        The short way of most blocks; the long one is `enter`.
        """
        table = self.table
        with table.lock:
            slot = table.slots.get(id)
            if slot is None or slot.busy is not None:
                return None
            session = slot.session
            if (
                session is None
                or session.state > OPEN
                or table.clocks.expired(slot, self.now())
            ):
                return None
            table.pin(slot)
        return session

    def rearm(self) -> None:
        """
        Set the alarm for what is due next. The caller holds the table's lock.
        """
        self.alarm.set(self.registry, self.table.deadlines.head)

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

    # -- refusing ----------------------------------------------------------------------

    def refuse_if_ended(self) -> None:
        """
        Raise ScopeClosed where no session may be made any more.
        """
        sessions = self.sessions
        guard = sessions.owner
        if sessions.state >= CLOSING or guard is None or sessions.registry.detached:
            raise ScopeClosed(sessions._ended_text())
        if guard.state >= CLOSING:
            raise ScopeClosed(guard._ended_text())

    def full(self) -> SessionsFull:
        """
        The error for: every place is taken. The caller holds the table's lock.
        """
        table, options = self.table, self.options
        pinned, connected = table.held()
        size = ""
        if options.max_bytes is not None:
            size = f", {table.live_bytes} of {options.max_bytes} bytes"
        msg = (
            f"sessions {self.sessions.label!r} are full: {table.live} of"
            f" {options.max_live} are live{size}; {pinned} are open in a block,"
            f" {connected} have a connection, and none can be hibernated. Leave blocks"
            " sooner, or raise max_sessions, max_live or max_bytes"
        )
        return SessionsFull(msg)

    def failed(self, where: str, error: BaseException) -> None:
        """
        Note a failure that no caller can be told of.
        """
        sessions = self.sessions
        self.registry.failures.record(
            f"{where} of {sessions.label}", error, call_site(sessions.site)
        )
