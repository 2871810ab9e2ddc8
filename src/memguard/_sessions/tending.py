"""
What a process does all the time for the sessions that it owns in a shared store.

It prolongs its lease, notes in the store which sessions were used, and gives back what
others ask for. There is nothing to do, and nothing is done, while it owns none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memguard._sessions.closing import Close
from memguard._sessions.leasing import NO_LEASE, beat, leave
from memguard._sessions.leaving import sleep
from memguard._sessions.saving import save
from memguard._sessions.steps import Call, Refusal, Steps, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memguard._sessions.core import Core
    from memguard._sessions.keeping import Keeping
    from memguard._sessions.session import Session
    from memguard.typing import Handle

__all__ = ("Tending", "depart")

# How soon an owner learns that another process wants one of its sessions; and the first
# time, where it was alone when it last looked.
_GLANCE_S: Final = 0.1
_GLANCE_ALONE_S: Final = 2.5
# A lease is prolonged so many times within its length.
_BEATS: Final = 3
_TEND: Final[Refusal] = ("looking after sessions", "`async with`")


class Tending:
    """
    The recurring call of one `Sessions`, on a worker of the guard's scheduler.
    """

    __slots__ = ("_alone", "_beat_at", "_handle", "_over", "_sessions")

    def __init__(self, sessions: Keeping) -> None:
        self._sessions = sessions
        self._handle: Handle | None = None
        self._beat_at = 0.0
        self._alone = False
        self._over = False

    def begin(self) -> None:
        """
        Go on from now on, if there is anything to look after.
        """
        self._over = False
        core = self._sessions._core
        if core is not None and core.lease is not NO_LEASE:
            self.wake(core)

    def wake(self, core: Core) -> None:
        """
        There is a lease to look after from now on. Called with no lock held.
        """
        registry = core.registry
        if not (core.leases and registry.running) or self._over:
            return
        with core.table.lock:
            if self._handle is not None:
                return
            self._beat_at = core.now() + core.store.lease_s / _BEATS
            self._plan(core)

    def end(self) -> None:
        """
        Stop, until `begin`.
        """
        self._over = True
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()

    def _plan(self, core: Core) -> None:
        registry = core.registry
        glance = _GLANCE_ALONE_S if self._alone else _GLANCE_S
        pause = min(glance, core.store.lease_s / _BEATS)
        self._handle = registry.scheduler.call_at(core.now() + pause, self._rang)

    def _rang(self) -> None:
        self._sessions.registry.scheduler.submit(self._tend)

    def _tend(self) -> None:
        sessions = self._sessions
        core = sessions._core
        registry = sessions.registry
        if core is None or self._over or registry.detached or not registry.running:
            self._handle = None
            return
        try:
            run(self._steps(core), _TEND)
        except Exception as error:
            if not core.gone:
                core.failed("prolonging the lease", error)
        finally:
            with core.table.lock:
                if core.lease is NO_LEASE or self._over:
                    self._handle = None
                else:
                    self._plan(core)

    def _steps(self, core: Core) -> Steps[None]:
        if core.now() >= self._beat_at:
            self._beat_at = core.now() + core.store.lease_s / _BEATS
            with core.table.lock:
                idle = not core.table.slots and core.joining is None
            if idle:
                yield from leave(core)
                return
            yield from beat(core)
            yield from touch(core)
            self._alone = yield core.ask(core.space.alone, core.lease.owner)
            core.counted = yield core.ask(core.space.count)
        wanted = yield core.ask(core.space.wanted, core.lease.owner)
        self._alone = self._alone and not wanted
        for id in wanted:
            yield from _give_up(core, id)


def touch(core: Core) -> Steps[None]:
    """
    Note in the store how long the sessions live that were only read.
    """
    expiries: dict[str, float | None] = {}
    with core.table.lock:
        lease = core.lease
        if core.table.clocks.ttl is None:
            return
        for slot in core.table.slots.values():
            used = core.now() if slot.held else slot.used
            if slot.lease is lease and slot.version and used > slot.touched:
                slot.touched = used
                expiries[slot.id] = core.wall_end(slot)
    if expiries:
        yield core.ask(core.space.touch, lease.owner, expiries)


def depart(core: Core, late: Sequence[Session]) -> Steps[None]:
    """
    Save and close the last sessions, give everything back, and close the store.
    """
    for session in late:
        if core.keeps and session.dirty:
            try:
                yield from save(core, session)
            except Exception as error:
                core.failed("saving a session", error)
        yield Close(session, later=True)
    try:
        if core.lease is not NO_LEASE:
            yield from touch(core)
            yield from leave(core)
        # Whoever comes late to it is refused.
        core.gone = True
        blocking = core.keeps and not core.store.awaits
        yield Call(core.registry, core.space.close, blocking=blocking)
    except Exception as error:
        core.failed("giving sessions back", error)


def _give_up(core: Core, id: str) -> Steps[None]:
    """
    Another process wants a session: it sleeps now, or as soon as nobody holds it.
    """
    table = core.table
    victim: Any = None
    with table.lock:
        slot = table.slots.get(id)
        core.contested.note(id, core.now())
        if slot is not None and slot.busy is None:
            slot.contended = True
            if not slot.held:
                table.claim(slot)
                victim = slot
    if slot is None:
        # Its coming or going was cut short; nobody here has it.
        yield core.ask(core.space.release, id, core.lease.owner)
    elif victim is not None:
        yield core.apart(sleep(core, victim), victim)
