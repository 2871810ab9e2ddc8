"""
Saving a session, one save at a time for each, so that the newest content stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memguard._latch import Latch
from memguard._sessions.steps import Steps, Wait
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from memguard._sessions.core import Core
    from memguard._sessions.session import Session
    from memguard._sessions.slots import Slot

__all__ = ("back_up", "save", "save_on_leaving")


def save(core: Core, session: Session) -> Steps[int]:
    """
    Write the record of a live session; gives its bytes.

    That is no use of the session: its clocks go on, and whoever puts it out meanwhile
    waits for the save.
    """
    table, slot = core.table, session._slot
    mine = Latch()
    while slot.saving is not mine:
        with table.lock:
            if slot.ended or slot.session is not session:
                raise ScopeClosed(session._ended_text())
            other = slot.saving
            if other is None:
                slot.saving = mine
        if other is not None:
            yield Wait(other)
    try:
        size, record = yield core.call(core.record_of, session)
        with table.lock:
            table.weigh(slot, size)
        try:
            yield core.ask(core.store.put, slot.id, record)
        except BaseException:
            session.data.dirty = True
            raise
        return len(record)
    finally:
        slot.saving = None
        mine.set()


def save_on_leaving(
    core: Core, session: Session, *, durable: bool, quiet: bool
) -> Steps[None]:
    """
    What leaving a block does: save, or at least weigh, what was changed.

    Raises only where somebody relies on it: *durable*, and no other error (*quiet*).
    """
    if core.registry.detached or session._slot.ended:
        return
    durable = durable and (session.dirty or not core.keeps)
    try:
        if durable or (core.keeps and session.dirty):
            yield from save(core, session)
        elif core.options.max_bytes is not None and session.dirty:
            raw = yield core.call(core.encode, session)
            with core.table.lock:
                core.table.weigh(session._slot, len(raw))
    except Exception as error:
        if durable and not quiet:
            raise
        core.failed("saving a session", error)


def back_up(core: Core, slot: Slot) -> Steps[None]:
    """
    Save a session that is in use for long.
    """
    session = slot.session
    if session is None or not session.dirty:
        return
    try:
        yield from save(core, session)
    except Exception as error:
        if slot.session is session:  # else it was put out meanwhile, and saved there
            core.failed("backing up a session", error)
