"""
How it stands with sessions, live and asleep, without using them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memguard._kinds.closers import running_loop
from memguard._sessions.info import SessionInfo
from memguard._sessions.record import Torn, read_header
from memguard._sessions.steps import Steps

if TYPE_CHECKING:
    from memguard._sessions.core import Core
    from memguard._sessions.slots import Slot

__all__ = ("count_asleep", "list_ids", "look_up", "told")

_COUNTS = ("created", "restored", "slept", "expired", "ended", "lost")


def look_up(core: Core, id: str) -> Steps[SessionInfo | None]:
    """
    What there is of one session, here or in the store.
    """
    table = core.table
    with table.lock:
        slot = table.slots.get(id)
        now = core.now()
        if slot is not None and slot.session is not None:
            return _of_slot(core, slot, now)
    stored = yield core.ask(core.space.read, id)
    if stored is None:
        return None
    wall = core.registry.clock.time()
    ends = stored.expires_at
    if ends is not None and ends <= wall:
        return None
    try:
        header = read_header(stored.record)
    except Torn:
        born = used = wall
    else:
        born, used = header.born, header.used
    return SessionInfo(
        state="hibernated" if stored.owner is None else "elsewhere",
        pinned=False,
        connections=0,
        bytes=stored.size,
        age_s=wall - born,
        idle_s=wall - used,
        expires_in_s=None if ends is None else ends - wall,
    )


def _of_slot(core: Core, slot: Slot, now: float) -> SessionInfo | None:
    clocks = core.table.clocks
    if clocks.expired(slot, now):
        return None
    expires_at = clocks.expires_at(slot)
    return SessionInfo(
        state="live",
        pinned=slot.pins > 0,
        connections=len(slot.connections or ()),
        bytes=slot.size or None,
        age_s=now - slot.born,
        idle_s=0.0 if slot.held else now - slot.used,
        expires_in_s=None if expires_at is None else expires_at - now,
    )


def count_asleep(core: Core) -> tuple[int, int]:
    """
    How many sessions sleep, and their bytes.

    Inside a loop, and where the store is asked by a loop, it is the last count.
    """
    if core.store.awaits or (core.keeps and running_loop() is not None):
        return core.counted
    core.counted = core.space.count()
    return core.counted


def told(core: Core | None) -> dict[str, int]:
    """
    The figures that can be had without waiting: no lock, and no store but memory.
    """
    if core is None:
        return dict.fromkeys(
            ("live", "hibernated", "live_bytes", "hibernated_bytes", *_COUNTS), 0
        )
    asleep, asleep_bytes = core.counted if core.keeps else core.space.count()
    return {
        "live": core.table.live,
        "hibernated": asleep,
        "live_bytes": core.table.live_bytes,
        "hibernated_bytes": asleep_bytes,
        **{name: getattr(core, name) for name in _COUNTS},
    }


def list_ids(core: Core) -> Steps[tuple[str, ...]]:
    """
    The ids of all sessions: those of the store, and live ones it does not know yet.
    """
    stored = yield core.ask(core.space.ids)
    with core.table.lock:
        live = [id for id, slot in core.table.slots.items() if slot.session is not None]
    return tuple(dict.fromkeys([*stored, *live]))
