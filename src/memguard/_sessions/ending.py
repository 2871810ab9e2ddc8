"""
How sleeping sessions expire, and what is told and kept of those that have.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from memguard._latch import Latch
from memguard._sessions.codec import JSON_NUMBER
from memguard._sessions.info import ExpiredSession
from memguard._sessions.leasing import own
from memguard._sessions.paging import unfolded
from memguard._sessions.record import Torn
from memguard._sessions.slots import Slot
from memguard._sessions.steps import Call, Steps
from memguard.errors import SessionElsewhere

if TYPE_CHECKING:
    from memguard._sessions.core import Core
    from memguard._sessions.keeping import Keeping
    from memguard._sessions.leasing import Lease
    from memguard._sessions.parts import Content

__all__ = ("archive", "expire_asleep", "expire_found", "sweep_asleep", "tell_expired")

_AT_A_TIME = 100


def sweep_asleep(core: Core) -> Steps[None]:
    """
    Expire the sleeping sessions whose time is over, and note when the next one's is.
    """
    clock = core.registry.clock
    while True:
        due = yield core.ask(core.space.due, clock.time(), _AT_A_TIME)
        ended = 0
        for id in due:
            ended += yield from expire_asleep(core, id)
        if not ended or len(due) < _AT_A_TIME:
            break
    at = yield core.ask(core.space.next_due)
    core.counted = yield core.ask(core.space.count)
    with core.table.lock:
        core.asleep_due = None
        if at is not None:
            # Not at once again, for one that somebody else is ending.
            core.asleep_until(max(at, clock.time() + (1.0 if due else 0.0)))


def expire_asleep(core: Core, id: str) -> Steps[bool]:
    """
    Expire a session that sleeps; False if it does not, or its time is not over.
    """
    table = core.table
    with table.lock:
        if id in table.slots:
            return False
        slot = table.slots[id] = Slot(id, core.now())
        slot.busy = Latch()
    over = False
    try:
        yield core.call(slot.is_mine)
        lease, claim = yield from own(core, id, patience_s=0.0)
        if claim.record is not None:
            over = yield from expire_found(core, slot, lease, claim.record)
        if not over:
            yield core.ask(core.space.release, id, lease.owner)
    except SessionElsewhere:
        pass  # then somebody uses it, and it lives on
    except Exception as error:
        core.failed("expiring a session", error)
    finally:
        with table.lock:
            latch = table.gone(slot)
        latch.set()
    return over


def expire_found(core: Core, slot: Slot, lease: Lease, stored: bytes) -> Steps[bool]:
    """
    End the session that was claimed for *slot*, if its time is over.

    Its claim has gone with it then.
    """
    found = yield core.ask(core.space.read, slot.id)
    at = None if found is None else found.expires_at
    if at is None or at > core.registry.clock.time():
        return False
    content: Any = None
    now = core.now()
    if core.sessions.expire_hooks or core.options.archive is not None:
        try:
            header, _, content = yield core.call(core.content_of, stored)
            core.remember(slot, header)
            yield from archive(core, slot, content, now)
        except Torn as error:
            core.failed("reading an expired session", error)
    yield core.ask(core.space.delete, slot.id, lease.owner)
    with core.table.lock:
        core.expired += 1
    if content is not None:
        yield from tell_expired(core, slot, content, now)
    return True


def tell_expired(core: Core, slot: Slot, content: Content, now: float) -> Steps[None]:
    """
    Tell the hooks of an expired session, which is gone by then.
    """
    told = ExpiredSession(slot.id, content.data, now - slot.born, now - slot.used)
    for hook in core.sessions.expire_hooks:
        try:
            yield core.call(hook, told)
        except Exception as error:
            core.failed("on_expire", error)


def _sink_of(sessions: Keeping) -> Any:
    """
    The sink that expired sessions are written to, None without one.
    """
    archive = sessions.options.archive
    if archive is None or hasattr(archive, "write"):
        return archive
    if sessions._sink is None or sessions._sink.closed:
        guard: Any = sessions.owner
        sessions._sink = guard.sink(archive)
    return sessions._sink


def archive(core: Core, slot: Slot, content: Content, now: float) -> Steps[None]:
    """
    Write an expired session to the archive, with all of its histories.

    That is done before its record is deleted: what it raises is raised.
    """
    sink = _sink_of(core.sessions)
    if sink is None:
        return
    whole = yield from unfolded(core, slot.id, content)
    ahead = core.registry.clock.time() - now
    line = {
        "sessions": core.sessions.label,
        "id": slot.id,
        "born": round(slot.born + ahead, 3),
        "used": round(slot.used + ahead, 3),
        "expired": round(now + ahead, 3),
    }
    yield Call(core.registry, _archive, core, sink, line, whole, blocking=True)


def _archive(core: Core, sink: Any, line: dict[str, Any], content: Any) -> None:
    if core.options.codec_number == JSON_NUMBER:
        line.update(content)
    else:
        # What another codec writes is not JSON; it goes in as it would into a record.
        line["content"] = b64encode(core.options.codec.dumps(content)).decode("ascii")
    sink.write(line)
    sink.flush()
