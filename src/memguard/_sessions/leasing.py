"""
The lease of one container of sessions: who it is for its store, and until when.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from memguard._latch import Latch
from memguard._sessions.refusing import elsewhere
from memguard._sessions.steps import Pause, Steps, Wait
from memguard._sessions.stores import Claim, StaleOwner
from memguard.errors import StoreFailed

if TYPE_CHECKING:
    from memguard._sessions.core import Core

__all__ = ("NO_LEASE", "Lease", "beat", "leave", "obtain", "own")

# The part of a lease after which its owner no longer relies on it: clocks differ.
_TRUSTED: Final = 0.9
_FIRST_PAUSE_S: Final = 0.002
_LONGEST_PAUSE_S: Final = 0.05
_ATTEMPTS: Final = 5


class Lease:
    """
    One name under which sessions are owned. `until` is monotonic seconds.

    A lease that was lost never comes back: the next one has another name.
    """

    __slots__ = ("owner", "until")

    def __init__(self, owner: str, until: float) -> None:
        self.owner = owner
        self.until = until


#: What there is before the first lease; it is nobody's, and over.
NO_LEASE: Final = Lease("", -math.inf)


def obtain(core: Core) -> Steps[Lease]:
    """
    The lease that runs, begun anew if it has to be.
    """
    table, space = core.table, core.space
    while True:
        with table.lock:
            lease, other = core.lease, core.joining
            if lease.until > core.now():
                return lease
            mine = Latch()
            if other is None:
                core.joining = mine
        if other is not None:
            yield Wait(other)
            continue
        try:
            seconds = core.store.lease_s
            began = core.now()
            alive = False
            if lease is not NO_LEASE:
                alive = yield core.ask(space.beat, lease.owner, seconds)
            if not alive:
                lease = Lease(core.new_owner(), -math.inf)
                began = core.now()
                yield core.ask(space.join, lease.owner, seconds)
            lease.until = began + seconds * _TRUSTED
            with table.lock:
                core.lease = lease
        finally:
            core.joining = None
            mine.set()
        core.sessions.tending.wake(core)
        return lease


def beat(core: Core) -> Steps[None]:
    """
    Prolong the lease, and end what is left of owners that are dead.
    """
    lease, space = core.lease, core.space
    if lease is NO_LEASE:
        return
    seconds = core.store.lease_s
    began = core.now()
    alive = yield core.ask(space.beat, lease.owner, seconds)
    lease.until = began + seconds * _TRUSTED if alive else -math.inf
    if (yield core.ask(space.reap)):
        # They may have expired while their owner was dying.
        with core.table.lock:
            core.asleep_due = core.now()
            core.rearm()


def leave(core: Core) -> Steps[None]:
    """
    Give everything back that the store has noted as ours.
    """
    with core.table.lock:
        lease, core.lease = core.lease, NO_LEASE
    if lease is not NO_LEASE:
        yield core.ask(core.space.leave, lease.owner)


def own(
    core: Core, id: str, have: int | None = None, *, patience_s: float | None = None
) -> Steps[tuple[Lease, Claim]]:
    """
    Make the session of *id* ours in the store.

    Waits for another owner to give it back, up to *patience_s* (the store's); raises
    SessionElsewhere then.
    """
    if patience_s is None:
        patience_s = core.store.patience_s
    waited, pause, stale = 0.0, _FIRST_PAUSE_S, 0
    while True:
        lease = core.lease
        if lease.until <= core.now():
            lease = yield from obtain(core)
        try:
            got = yield core.ask(core.space.claim, id, lease.owner, have)
        except StaleOwner:
            lease.until = -math.inf
            stale += 1
            if stale >= _ATTEMPTS:
                raise _never_owner(core) from None
            continue
        if isinstance(got, Claim):
            if waited:
                with core.table.lock:
                    core.contested.note(id, core.now())
            return lease, got
        if waited >= patience_s:
            raise elsewhere(core, waited)
        yield Pause(pause)
        waited += pause
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _never_owner(core: Core) -> StoreFailed:
    return StoreFailed(
        f"the store of sessions {core.sessions.label!r} ends each lease at once; its"
        " lease is too short for how long a call of the store takes"
    )
