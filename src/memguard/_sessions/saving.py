"""
Saving a session, one save at a time for each, so that the newest content stays.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from memguard._latch import Latch
from memguard._sessions.leasing import own
from memguard._sessions.refusing import lost
from memguard._sessions.steps import Steps, Wait
from memguard.errors import ScopeClosed, SessionElsewhere, SessionLost

if TYPE_CHECKING:
    from memguard._sessions.core import Core
    from memguard._sessions.session import Session
    from memguard._sessions.slots import Slot
    from memguard._sessions.stores import Entry

__all__ = ("back_up", "save", "save_all", "save_on_leaving", "secure")

# Sessions that are written together at the end, in one transaction of the store.
_TOGETHER = 250
# Writes without an answer that are remembered, besides the last one.
_TRIED = 15


def save(core: Core, session: Session, *, release: bool = False) -> Steps[int]:
    """
    Write the record of a live session; gives its bytes.

    That is no use of the session: its clocks go on, and whoever puts it out meanwhile
    waits for the save. With *release* the store has it as nobody's afterwards. Raises
    SessionLost where another process has taken it over.
    """
    table, slot = core.table, session._slot
    mine = yield from _turn(core, session)
    try:
        size, entry = core.entry_of(session, release)
        with table.lock:
            table.weigh(slot, size)
        try:
            yield from _write(core, slot, entry)
        except BaseException as error:
            session.data.dirty = True
            if not isinstance(error, SessionLost):
                _unanswered(slot, entry)
            raise
        slot.version, slot.tried = entry.version, ()
        if release:
            slot.lease = None
            core.asleep_until(entry.expires_at)
        return len(entry.record)
    except SessionLost:
        with table.lock:
            if not slot.lost:
                table.lose(slot)
                core.lost += 1
        raise
    finally:
        slot.saving = None
        mine.set()


def _turn(core: Core, session: Session) -> Steps[Latch]:
    """
    Be the one who saves *session*; whoever comes next waits for the latch.
    """
    slot = session._slot
    mine = Latch()
    while True:
        with core.table.lock:
            if slot.lost:
                raise lost(core)
            if slot.ended or slot.session is not session:
                raise ScopeClosed(session._ended_text())
            other = slot.saving
            if other is None:
                slot.saving = mine
                return mine
        yield Wait(other)


def _unanswered(slot: Slot, entry: Entry) -> None:
    """
    The store may have written *entry*, or may still do so; nobody knows.
    """
    slot.tried = (*slot.tried[-_TRIED:], entry.version)
    if entry.release:
        # It may be nobody's, and then somebody else's.
        slot.lease = None


def _write(core: Core, slot: Slot, entry: Entry) -> Steps[None]:
    if slot.lease is not None:
        (written,) = yield core.ask(core.space.put, slot.lease.owner, [entry])
        if written:
            return
        slot.lease = None
    # Whoever had the store in between: perhaps nobody wrote.
    if (yield from secure(core, slot)):
        assert slot.lease is not None
        (written,) = yield core.ask(core.space.put, slot.lease.owner, [entry])
        if written:
            return
    raise lost(core)


def secure(core: Core, slot: Slot) -> Steps[bool]:
    """
    See to it that the store has the live session of *slot* as ours, and unchanged.

    False where another process has it, or has written or ended it.
    """
    lease = core.lease
    if slot.lease is lease and lease.until > core.now():
        return True
    try:
        lease, claim = yield from own(core, slot.id, slot.version, patience_s=0.0)
    except SessionElsewhere:
        return False
    if not slot.wrote(claim.version):
        yield core.ask(core.space.release, slot.id, lease.owner)
        return False
    slot.lease, slot.version, slot.tried = lease, claim.version, ()
    return True


def save_on_leaving(
    core: Core, session: Session, *, durable: bool, quiet: bool
) -> Steps[None]:
    """
    What leaving a block does: save, or at least weigh, what was changed.

    Raises only where somebody relies on it: *durable*, and no other error (*quiet*).
    """
    slot = session._slot
    if core.registry.detached or (slot.ended and not slot.lost):
        return
    durable = durable and (session.dirty or not core.keeps)
    try:
        if durable or (core.keeps and session.dirty):
            yield from save(core, session)
        elif core.options.max_bytes is not None and session.dirty:
            packed = yield core.call(core.encode, session)
            with core.table.lock:
                core.table.weigh(slot, packed.size)
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


def save_all(core: Core) -> Steps[None]:
    """
    Save every session that changed, many in one transaction: for the end.

    Those that cannot be encoded or written this way stay changed; whoever saves them
    one by one is told why.
    """
    table = core.table
    with table.lock:
        slots = [slot for slot in table.slots.values() if slot.session is not None]
    while slots:
        some, slots = slots[:_TOGETHER], slots[_TOGETHER:]
        yield from _save_some(core, some)


def _save_some(core: Core, slots: list[Slot]) -> Steps[None]:
    latch = Latch()
    ours = []
    with core.table.lock:
        for slot in slots:
            session = slot.session
            free = slot.saving is None and not slot.ended and slot.lease is core.lease
            if session is not None and free:
                slot.saving = latch
                ours.append((slot, session))
    chosen = []
    try:
        for slot, session in ours:
            if not session.dirty:
                continue
            try:
                size, entry = core.entry_of(session, False)
            except Exception:  # noqa: S112 - its own drain meets it again, and tells
                continue
            chosen.append((slot, session, size, entry))
        if not chosen:
            return
        written: list[bool] | None = None
        try:
            entries = [one[3] for one in chosen]
            written = yield core.ask(core.space.put, core.lease.owner, entries)
        except Exception:  # noqa: S110 - as above
            pass
        for (slot, session, size, entry), done in zip(
            chosen, written or repeat(None), strict=False
        ):
            if done:
                slot.version, slot.tried = entry.version, ()
                slot.size = size
                continue
            session.data.dirty = True
            if done is None:
                _unanswered(slot, entry)
    finally:
        for slot, _ in ours:
            slot.saving = None
        latch.set()
