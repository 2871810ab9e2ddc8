"""
How sessions go: put to sleep, given back, expired, ended, disconnected.

`sleep`, `expire` and `hand_over` are given a slot that the caller has claimed; they
raise nothing and give the claim back, whatever happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memguard._latch import Latch
from memguard._phases import OPEN
from memguard._sessions.closing import Close, dispose
from memguard._sessions.ending import archive, tell_expired
from memguard._sessions.leasing import own
from memguard._sessions.packing import content_of
from memguard._sessions.saving import save, secure
from memguard._sessions.slots import Slot
from memguard._sessions.steps import Steps, Wait

if TYPE_CHECKING:
    from memguard._sessions.core import Core

__all__ = (
    "disconnect",
    "end",
    "expire",
    "give_back",
    "hibernate",
    "lighten",
    "sleep",
)


def sleep(core: Core, slot: Slot) -> Steps[None]:
    """
    Save a session and close it. What cannot be saved stays live: nothing is dropped.
    """
    table, session = core.table, slot.session
    assert session is not None
    saved, changed = False, session.dirty
    try:
        yield core.call(slot.is_mine)
        # Where nothing that closes could still change it, one transaction will do.
        plain = session.is_plain
        yield from save(core, session, release=plain)
        saved = True
        yield Close(session)
        if session.dirty:
            # A timer or a close has changed it on the way out.
            yield from save(core, session, release=True)
        elif slot.lease is not None:
            yield core.ask(core.space.release, slot.id, slot.lease.owner)
            core.asleep_until(core.wall_end(slot))
    except Exception as error:
        # Another process has gone on with it; if nothing changed here, nothing is lost.
        if changed or not slot.lost:
            core.failed("hibernating a session", error)
    finally:
        with table.lock:
            if saved:
                latch = table.gone(slot)
                core.slept += 1
            elif slot.lost:
                latch = table.freed(slot)
            else:
                latch = table.stays(slot, core.now())
            core.rearm()
        latch.set()
        if slot.lost and not saved:
            dispose(session)


def give_back(core: Core, slot: Slot) -> Steps[None]:
    """
    Let other processes have a session that nobody here holds.

    One that others ask for sleeps; where no guard runs that could tell us of it, every
    one is given back, and stays live for the case that nobody changes it.
    """
    table = core.table
    with table.lock:
        session = slot.session
        if slot.lost and not slot.held and session is not None:
            pass  # what is left of it closes
        elif slot.held or slot.busy is not None or session is None or slot.ended:
            return
        elif slot.contended or not core.registry.running:
            table.claim(slot)
        else:
            return
    if slot.lost:
        dispose(session)
    elif slot.contended:
        yield core.apart(sleep(core, slot), slot)
    else:
        yield from _hand_over(core, slot)


def _hand_over(core: Core, slot: Slot) -> Steps[None]:
    table = core.table
    try:
        if slot.lease is not None:
            yield core.ask(core.space.release, slot.id, slot.lease.owner)
            slot.lease = None
            core.asleep_until(core.wall_end(slot))
    except Exception as error:
        core.failed("giving a session back", error)
    finally:
        with table.lock:
            latch = table.stays(slot)
            core.rearm()
        latch.set()


def expire(core: Core, slot: Slot) -> Steps[None]:
    """
    Close and forget a live session whose time is over, and tell the hooks.

    If another process has it by now, only what is here of it goes.
    """
    table, session = core.table, slot.session
    assert session is not None
    content: Any = None
    now = core.now()
    try:
        yield core.call(slot.is_mine)
        saving = slot.saving
        if saving is not None:
            yield Wait(saving)
        ours = yield from secure(core, slot)
        yield Close(session)
        if ours and slot.lease is not None:
            content = content_of(session)
            yield from archive(core, slot, content, now)
            yield core.ask(core.space.delete, slot.id, slot.lease.owner)
    except Exception as error:
        core.failed("expiring a session", error)
    finally:
        with table.lock:
            # Dropped before it could begin, by the end of a loop: its time will come.
            open_still = session.state <= OPEN
            latch = table.stays(slot, now) if open_still else table.gone(slot)
            core.expired += content is not None and not open_still
            core.rearm()
        latch.set()
    if content is not None:
        yield from tell_expired(core, slot, content, now)


def end(core: Core, id: str) -> Steps[bool]:
    """
    Close and forget a session, whoever has it open; False when there is none.
    """
    table = core.table
    if core.keeps:
        # Refused here where a loop would stop, before anything is closed.
        yield core.ask(bool)
    while True:
        with table.lock:
            slot = table.slots.get(id)
            if slot is None:
                slot = table.slots[id] = Slot(id, core.now())
                slot.busy = Latch()
                break
            other = slot.busy or slot.saving
            if other is None:
                table.claim(slot, ending=True)
                break
        yield Wait(other)
    session = slot.session
    there = session is not None
    try:
        yield core.call(slot.is_mine)
        lease, claim = yield from own(core, id)
        if session is not None:
            yield Close(session)
        there = there or claim.version > 0
        yield core.ask(core.space.delete, id, lease.owner)
    finally:
        with table.lock:
            if session is not None and session.state <= OPEN:
                latch = table.stays(slot)
            else:
                latch = table.gone(slot)
                core.ended += there
            core.rearm()
        latch.set()
    return there


def hibernate(core: Core, id: str) -> Steps[bool]:
    """
    Put a session to sleep now; False when it is in use, or there is none.
    """
    table = core.table
    while True:
        with table.lock:
            slot = table.slots.get(id)
            latch = None if slot is None else slot.busy
            if slot is not None and latch is None:
                if slot.held:
                    return False
                table.claim(slot)
                break
        if slot is None:
            return (yield core.ask(core.space.read, id)) is not None
        assert latch is not None
        yield Wait(latch)
    yield core.apart(sleep(core, slot), slot)
    return slot.session is None or slot.busy is not None


def lighten(core: Core) -> Steps[None]:
    """
    Put sessions to sleep, the least recent first, until the live ones fit.
    """
    while True:
        with core.table.lock:
            victim = core.table.overweight()
        if victim is None:
            return
        yield core.apart(sleep(core, victim), victim)


def disconnect(core: Core, id: str) -> Steps[int]:
    """
    Close the connections of a session; gives how many there were.
    """
    with core.table.lock:
        slot = core.table.slots.get(id)
        connections = () if slot is None else tuple(slot.connections or ())
    for connection in connections:
        yield Close(connection, later=True)
    return len(connections)
