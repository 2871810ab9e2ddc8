"""
How sessions come: found live, restored from their record, or new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memguard._phases import OPEN
from memguard._sessions.closing import Close, dispose
from memguard._sessions.connection import Connection
from memguard._sessions.ending import expire_found
from memguard._sessions.leasing import own
from memguard._sessions.leaving import expire, give_back, lighten, sleep
from memguard._sessions.packing import fill
from memguard._sessions.paging import prefetch
from memguard._sessions.record import Torn, expired
from memguard._sessions.refusing import full, inside_itself, lost, refuse_if_ended
from memguard._sessions.saving import save_on_leaving
from memguard._sessions.session import Session
from memguard._sessions.slots import Full, Look, caller
from memguard._sessions.steps import Steps, Wait
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from memguard._sessions.core import Core
    from memguard._sessions.leasing import Lease
    from memguard._sessions.slots import Slot

__all__ = ("connect", "depart", "enter", "leave")


def enter(core: Core, id: str) -> Steps[Session]:
    """
    The live session of *id*, pinned: whoever is first brings it in, others wait.
    """
    table = core.table
    while True:
        refuse_if_ended(core)
        with table.lock:
            look, slot = table.look(id, core.now(), core.lease)
            session, latch, by = slot.session, slot.busy, slot.busy_by
        if look is Look.BRING:
            return (yield from _bring(core, slot))
        if look is Look.EXPIRE:
            yield core.apart(expire(core, slot), slot, awaits=core.sessions.ends_slowly)
        elif look is Look.WAIT:
            assert latch is not None
            if by == caller() and not latch.is_set:
                raise inside_itself(core)
            yield Wait(latch)
        else:
            assert session is not None
            if session.state > OPEN:
                unpin(core, slot)
                raise ScopeClosed(session._ended_text())
            return session


class _Coming:
    """
    How far a session has come, for the case that it cannot come.
    """

    __slots__ = ("lease", "placed", "session", "slot")

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.lease: Lease | None = None
        self.session: Session | None = None
        self.placed = False


def _bring(core: Core, slot: Slot) -> Steps[Session]:
    """
    Make the session of a claimed slot, with what was saved of it; or make the live one
    ours again, whose lease has ended or that was given back.
    """
    slot.is_mine()
    coming = _Coming(slot)
    try:
        if slot.session is not None:
            again = yield from _regain(core, coming)
            if again is not None:
                return again
        return (yield from _restore(core, coming))
    except BaseException as error:
        yield from _undo(core, coming, error)
        raise


def _regain(core: Core, coming: _Coming) -> Steps[Session | None]:
    """
    The live session, pinned; None where another process has changed it meanwhile.

    What is here of it is out of date then: it is closed as soon as nobody holds it, and
    a fresh slot takes its place.
    """
    table, slot, session = core.table, coming.slot, coming.slot.session
    assert session is not None
    lease, claim = yield from own(core, slot.id, slot.version)
    if slot.wrote(claim.version):
        with table.lock:
            slot.lease, slot.version, slot.tried = lease, claim.version, ()
            slot.contended = claim.contended or core.contested.has(slot.id, core.now())
            latch = table.stays(slot)
            table.pin(slot)
            core.rearm()
        latch.set()
        return session
    coming.lease = lease
    with table.lock:
        coming.slot = table.supersede(slot, core.now())
        core.lost += 1
        stale = not slot.held
    if session.dirty:
        core.failed("keeping changes", lost(core))
    if stale:
        yield Close(session)
    return None


def _restore(core: Core, coming: _Coming) -> Steps[Session]:
    table, slot = core.table, coming.slot
    with table.lock:
        placed = table.has_room()
    if not placed:
        yield from _make_room(core)
    coming.placed = True
    coming.lease, claim = yield from own(core, slot.id)
    stored, version = claim.record, claim.version
    if (
        stored is not None
        and expired(stored, core.registry.clock.time())
        and (yield from expire_found(core, slot, coming.lease, stored))
    ):
        coming.lease, claim = yield from own(core, slot.id)
        stored, version = claim.record, claim.version
    slot.lease = coming.lease
    if core.leases:
        with table.lock:
            slot.contended = claim.contended or core.contested.has(slot.id, core.now())
    restored = False
    session = coming.session = Session(core, slot)
    if stored is not None:
        restored = yield from _fill(core, coming, session, stored)
    slot.version = version if restored else 0
    with table.lock:
        if session.state > OPEN or core.alarm.over:
            raise ScopeClosed(core.sessions._ended_text())
        slot.session = session
        latch = table.came(slot, core.now())
        if restored:
            core.restored += 1
        else:
            core.created += 1
        if table.clocks.backup_every is not None:
            core.rearm()  # nothing else is due for one that is held
    latch.set()
    return session


def _fill(core: Core, coming: _Coming, session: Session, stored: bytes) -> Steps[bool]:
    """
    Give *session* what its record holds; False for a record that is not whole.
    """
    slot = coming.slot
    try:
        header, size, content = core.content_of(stored)
    except Torn as error:
        core.failed("reading a session (its record was put aside)", error)
        assert coming.lease is not None
        yield core.ask(core.space.quarantine, slot.id, coming.lease.owner)
        return False
    core.remember(slot, header)
    fill(session, content)
    slot.size = size
    slot.session = session
    if core.space.paged:
        yield from prefetch(core, slot.id, content.rings)
    for hook in core.sessions.restore_hooks:
        yield core.call(hook, session)
    if not core.keeps:
        # One in memory needs no copy in memory.
        space: Any = core.space
        yield core.ask(space.forget, slot.id)
    return True


def _undo(core: Core, coming: _Coming, error: BaseException) -> Steps[None]:
    """
    The session could not come: whoever waits may try, and so may other processes.
    """
    table, slot = core.table, coming.slot
    try:
        if coming.session is not None:
            dispose(coming.session)
        # A generator that is being closed can ask nobody for anything.
        if coming.lease is not None and not isinstance(error, GeneratorExit):
            yield core.ask(core.space.release, slot.id, coming.lease.owner)
    except Exception as another:
        core.failed("giving a session back", another)
    finally:
        with table.lock:
            if slot.session is not None and slot.session is not coming.session:
                latch = table.stays(slot)  # live as before, and nobody's
            else:
                latch = table.failed_to_come(slot, placed=coming.placed)
            core.rearm()
        latch.set()


def _make_room(core: Core) -> Steps[None]:
    table = core.table
    while True:
        with table.lock:
            try:
                victim = table.room()
            except Full:
                raise full(core) from None
        if victim is None:
            return
        yield core.apart(sleep(core, victim), victim)


def leave(core: Core, session: Session, *, durable: bool, quiet: bool) -> Steps[None]:
    """
    The end of an `open` block.
    """
    try:
        yield from save_on_leaving(core, session, durable=durable, quiet=quiet)
    finally:
        unpin(core, session._slot)
        if session._slot.lost and not session._slot.held:
            # Whoever is told of it now has no use for what is left of it.
            dispose(session)
    if core.gone:
        return  # a shutdown has given everything back
    if core.leases:
        yield from give_back(core, session._slot)
    yield from lighten(core)


def unpin(core: Core, slot: Slot) -> None:
    """
    Let go of a session, and start its idle clock if nobody else has it.
    """
    if core.registry.detached:
        return  # a thread of the parent may have had the lock at the fork
    table = core.table
    with table.lock:
        if table.unpin(slot, core.now()):
            core.rearm()


def connect(core: Core, session: Session) -> Connection:
    """
    A connection of a pinned session, which it holds instead of the pin.
    """
    table, slot = core.table, session._slot
    try:
        connection = Connection(session)
        with table.lock:
            table.attach(slot, connection)
    finally:
        unpin(core, slot)
    return connection


def depart(core: Core, connection: Connection, *, quiet: bool) -> Steps[None]:
    """
    The end of a `connect` block.
    """
    if core.registry.detached:
        return
    session = connection.session
    yield Close(connection, later=True)
    if session.dirty:
        durable = core.options.durable
        yield from save_on_leaving(core, session, durable=durable, quiet=quiet)
    if core.gone:
        return  # a shutdown has given everything back
    if core.leases:
        yield from give_back(core, session._slot)
    yield from lighten(core)
