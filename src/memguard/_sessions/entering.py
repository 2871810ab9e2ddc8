"""
How sessions come: found live, restored from their record, or new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memguard._phases import OPEN
from memguard._sessions.closing import Close, dispose
from memguard._sessions.connection import Connection
from memguard._sessions.leaving import expire, lighten, sleep
from memguard._sessions.saving import save_on_leaving
from memguard._sessions.session import Session
from memguard._sessions.slots import Full, Look, caller
from memguard._sessions.steps import Steps, Wait
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from memguard._sessions.core import Core
    from memguard._sessions.slots import Slot

__all__ = ("connect", "depart", "enter", "leave")


def enter(core: Core, id: str) -> Steps[Session]:
    """
    The live session of *id*, pinned: whoever is first brings it in, others wait.
    """
    table = core.table
    while True:
        core.refuse_if_ended()
        with table.lock:
            look, slot = table.look(id, core.now())
            session, latch, by = slot.session, slot.busy, slot.busy_by
        if look is Look.BRING:
            return (yield from _bring(core, slot))
        if look is Look.EXPIRE:
            awaits = core.sessions.expire_hooks_await
            yield core.apart(expire(core, slot), slot, awaits=awaits)
        elif look is Look.WAIT:
            assert latch is not None
            if by == caller() and not latch.is_set:
                raise _inside_itself(core)
            yield Wait(latch)
        else:
            assert session is not None
            if session.state > OPEN:
                unpin(core, slot)
                raise ScopeClosed(session._ended_text())
            return session


def _bring(core: Core, slot: Slot) -> Steps[Session]:
    """
    Make the session of a claimed slot, with what was saved of it.
    """
    table, store = core.table, core.store
    slot.is_mine()
    session: Session | None = None
    placed = False
    try:
        yield from _make_room(core)
        placed = True
        record = None
        if slot.asleep or core.keeps:
            record = yield core.ask(store.get, slot.id)
        session = Session(core.sessions, slot)
        if record is not None:
            size, content = yield core.call(core.content_of, record)
            session._fill(content)
            slot.size = size
            slot.session = session
            for hook in core.sessions.restore_hooks:
                yield core.call(hook, session)
            if not core.keeps:
                yield core.ask(store.delete, slot.id)
        with table.lock:
            if session.state > OPEN:
                raise ScopeClosed(session._ended_text())
            slot.session = session
            latch = table.came(slot, core.now())
            if record is None:
                core.created += 1
            else:
                core.restored += 1
            core.rearm()
    except BaseException:
        try:
            if session is not None:
                dispose(session)
        finally:
            with table.lock:
                latch = table.failed_to_come(slot, placed=placed)
                core.rearm()
            latch.set()
        raise
    latch.set()
    return session


def _make_room(core: Core) -> Steps[None]:
    table = core.table
    while True:
        with table.lock:
            try:
                victim = table.room()
            except Full:
                raise core.full() from None
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
    yield from lighten(core)


def _inside_itself(core: Core) -> RuntimeError:
    return RuntimeError(
        f"a session of {core.sessions.label!r} was asked for inside its own restore or"
        " end, which would wait for itself; use the session that on_restore is given"
    )
