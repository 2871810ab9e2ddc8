"""
What sessions ask of a store: records by id, each owned by one process at a time.

An **owner** is one container of sessions in one process, from `join` on until it
leaves or its lease runs out; then it is fenced for ever, and whoever was it has to
join again under another name. Every write is conditional on the owner, inside the
store, so that one that was paused past its lease cannot overwrite what its successor
wrote: fencing tokens, after M. Kleppmann, "How to do distributed locking" (2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from memguard._records import record

if TYPE_CHECKING:
    from memguard.typing import Clock

__all__ = ("Claim", "Entry", "Held", "Space", "StaleOwner", "Store", "Stored")


class StaleOwner(Exception):
    """
    Raised by `claim`: the lease of the owner has run out, or somebody ended it.
    """


@record
class Claim:
    """
    A session that is the caller's now.

    `version` grows with its writes, 0 where nothing was ever saved. `record` is None
    there, and where the caller has the newest version already. `contended` says that
    another owner asked for it within the last minute: give it back soon.
    """

    version: int
    record: bytes | None
    contended: bool = False


@record
class Held:
    """
    A session that another owner has, who is alive as far as the store knows.
    """

    owner: str


@record
class Entry:
    """
    One session to be written; `version` is what it has from then on.

    `expires_at` is wall-clock seconds, None for never. `pages` are the parts of its
    histories that changed, by name of the history and number of the page; None takes
    one away. With `release` the session is nobody's afterwards.
    """

    id: str
    version: int
    expires_at: float | None
    record: bytes
    pages: Mapping[tuple[str, int], bytes | None]
    release: bool


@record
class Stored:
    """
    What a store has of one session, read without claiming it.

    `owner` is None unless somebody who is alive has it. `size` is in bytes: the
    record and its pages.
    """

    version: int
    record: bytes
    expires_at: float | None
    owner: str | None
    size: int


class Space(Protocol):
    """
    The sessions of one container in a store. Many threads call it.

    Each verb is one transaction: it happens as a whole or not at all, and it is done
    when the verb returns. No lock of memguard's tables is held meanwhile. A store that
    cannot be reached, is full or broken raises StoreFailed. Verbs may return an
    awaitable instead, if the store says `awaits`. Where `paged` is False histories are
    in the record and nobody asks for pages.
    """

    paged: bool

    def join(self, owner: str, lease_s: float) -> None:
        """
        Let *owner* own sessions, for *lease_s* seconds from now.
        """

    def beat(self, owner: str, lease_s: float) -> bool:
        """
        Begin the lease of *owner* anew; False where it has ended or was ended.
        """

    def leave(self, owner: str) -> None:
        """
        End the lease of *owner*; what it still has is nobody's.
        """

    def reap(self) -> int:
        """
        End what is left of owners that are dead; gives how many sessions came free.

        Dead is whose lease has run out, and on this machine whose process has gone.
        """

    def claim(self, id: str, owner: str, have: int | None = None) -> Claim | Held:
        """
        Make the session of *id* the owner's, unless another one has it.

        Who is refused is noted as wanting it. An id nobody has heard of can be claimed
        as well, and nobody else can then; it counts as a session from its first write
        on. *have* is the version that the caller has in memory. An owner that is dead
        is fenced and has nothing. Raises StaleOwner where *owner* has no lease.
        """

    def alone(self, owner: str) -> bool:
        """
        True where nobody but *owner* has a lease. False where that is hard to tell.
        """

    def wanted(self, owner: str) -> list[str]:
        """
        The ids of the owner's sessions that others have asked for.
        """

    def put(self, owner: str, entries: Sequence[Entry]) -> list[bool]:
        """
        Write sessions; False for each that is not the owner's, and is left alone.
        """

    def release(self, id: str, owner: str) -> None:
        """
        Give a session back as it is stored; nothing happens if it is not the owner's.
        """

    def delete(self, id: str, owner: str) -> bool:
        """
        Forget a session of the owner's, with its pages; False if it is not.
        """

    def quarantine(self, id: str, owner: str) -> None:
        """
        Put aside the record of a session of the owner's, which is as new then.

        For records that cannot be read: nobody is given them any more, and somebody
        may look at them (a table or key of its own, bounded in number).
        """

    def touch(self, owner: str, expiries: Mapping[str, float | None]) -> None:
        """
        Note later ends of sessions of the owner's, which did not change otherwise.
        """

    def read(self, id: str) -> Stored | None:
        """
        What there is of *id*, without claiming it.
        """

    def pages(self, id: str, name: str, numbers: Sequence[int]) -> dict[int, bytes]:
        """
        Those pages of a history that there are.
        """

    def due(self, now: float, most: int) -> list[str]:
        """
        Up to *most* ids of nobody's sessions that have expired, the earliest first.
        """

    def next_due(self) -> float | None:
        """
        When the earliest of nobody's sessions expires, in wall-clock seconds.
        """

    def count(self) -> tuple[int, int]:
        """
        How many sessions have a record and are nobody's, and their bytes.
        """

    def ids(self) -> list[str]:
        """
        The ids of all sessions that have a record, the longest known first.
        """

    def close(self) -> None:
        """
        Let go of what this process has open. Verbs open it again.
        """


class Store(Protocol):
    """
    A place for the sessions of many containers.

    `persistent` is True where records outlive the process: then a session that
    changed is saved whenever its block is left, and at shutdown. `awaits` is True
    where verbs return awaitables. `lease_s` is how long an owner that falls silent
    keeps its sessions, `patience_s` how long one waits for a session that another
    owner has.
    """

    persistent: bool
    awaits: bool
    lease_s: float
    patience_s: float

    def space(self, name: str, clock: Clock) -> Space:
        """
        The part of the store for the container *name*; *clock* tells the time.
        """
