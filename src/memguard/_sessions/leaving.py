"""
How sessions go: put to sleep, expired, ended, disconnected.

`sleep` and `expire` are given a slot that the caller has claimed; they raise nothing
and give the claim back, whatever happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memguard._phases import OPEN
from memguard._sessions.closing import Close
from memguard._sessions.info import ExpiredSession
from memguard._sessions.saving import save
from memguard._sessions.steps import Steps, Wait

if TYPE_CHECKING:
    from memguard._sessions.core import Core
    from memguard._sessions.slots import Slot

__all__ = ("disconnect", "end", "expire", "hibernate", "lighten", "sleep")


def sleep(core: Core, slot: Slot) -> Steps[None]:
    """
    Save a session and close it. What cannot be saved stays live: nothing is dropped.
    """
    table, session = core.table, slot.session
    assert session is not None
    size = 0
    try:
        yield core.call(slot.is_mine)
        size = yield from save(core, session)
        yield Close(session)
        if session.dirty:
            # A timer or a close has changed it on the way out.
            size = yield from save(core, session)
    except Exception as error:
        core.failed("hibernating a session", error)
    finally:
        with table.lock:
            if size:
                latch = table.slept(slot, size)
                core.slept += 1
            else:
                latch = table.stays(slot, core.now())
            core.rearm()
        latch.set()


def expire(core: Core, slot: Slot) -> Steps[None]:
    """
    Close and forget a session whose time is over, and tell the hooks.
    """
    table, session = core.table, slot.session
    hooks = core.sessions.expire_hooks
    data: Any = None
    now = core.now()
    try:
        yield core.call(slot.is_mine)
        saving = slot.saving
        if saving is not None:
            yield Wait(saving)
        if session is not None:
            yield Close(session)
            data = session.data.plain()
        elif hooks:
            record = yield core.ask(core.store.get, slot.id)
            if record is not None:
                _, content = yield core.call(core.content_of, record)
                data = content["data"]
        yield core.ask(core.store.delete, slot.id)
    except Exception as error:
        core.failed("expiring a session", error)
    finally:
        with table.lock:
            # Dropped before it could begin, by the end of a loop: its time will come.
            open_still = session is not None and session.state <= OPEN
            latch = table.stays(slot, now) if open_still else table.gone(slot)
            core.expired += not open_still
            core.rearm()
        latch.set()
    if data is None:
        return
    told = ExpiredSession(slot.id, data, now - slot.born, now - slot.used)
    for hook in hooks:
        try:
            yield core.call(hook, told)
        except Exception as error:
            core.failed("on_expire", error)


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
                break
            other = slot.busy or slot.saving
            if other is None:
                table.claim(slot, ending=True)
                break
        yield Wait(other)
    if slot is None:
        if core.keeps:
            yield core.ask(core.store.delete, id)
        return False
    session = slot.session
    try:
        yield core.call(slot.is_mine)
        if session is not None:
            yield Close(session)
        yield core.ask(core.store.delete, id)
    finally:
        with table.lock:
            if session is not None and session.state <= OPEN:
                latch = table.stays(slot)
            else:
                latch = table.gone(slot)
                core.ended += 1
            core.rearm()
        latch.set()
    return True


def hibernate(core: Core, id: str) -> Steps[bool]:
    """
    Put a session to sleep now; False when it is in use, or there is none.
    """
    table = core.table
    while True:
        with table.lock:
            slot = table.slots.get(id)
            if slot is None:
                return False
            latch = slot.busy
            if latch is None:
                if slot.session is None or slot.held:
                    return slot.session is None
                table.claim(slot)
                break
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
