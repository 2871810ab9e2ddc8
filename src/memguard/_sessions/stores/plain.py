"""
Sessions in anything that keeps bytes by a text, for one process alone.

Who owns what and when it expires is kept in this process; the three verbs `get`, `put`
and `delete` of the store underneath see ids and records only.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from memguard._sessions.record import Torn, read_header
from memguard._sessions.stores.rows import Row, Rows
from memguard._sessions.stores.space import Claim, Entry, Held, Stored

if TYPE_CHECKING:
    from memguard._sessions.stores.verbs import Verbs
    from memguard.typing import Clock

__all__ = ("Plain", "PlainSpace")

# Where a record goes that cannot be read.
_BROKEN: Final = "memguard: broken"


class PlainSpace:
    """
    A `Space` over three verbs. Nobody's lease ever runs out: there is one process.

    Its lock is re-entrant and held for a few dictionary operations, never while a verb
    is called.
    """

    paged = False

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._lock = threading.RLock()
        self._rows = Rows()

    # -- owners ------------------------------------------------------------------------

    def join(self, owner: str, lease_s: float) -> None:
        """
        Nothing has to be done.
        """

    def beat(self, owner: str, lease_s: float) -> bool:
        """
        Always True.
        """
        return True

    def leave(self, owner: str) -> None:
        """
        What the owner has is nobody's.
        """
        with self._lock:
            mine = [id for id, row in self._rows.items() if row.owner == owner]
        for id in mine:
            self.release(id, owner)

    def reap(self) -> int:
        """
        Always 0.
        """
        return 0

    def alone(self, owner: str) -> bool:
        """
        Always False: nobody asks.
        """
        return False

    def wanted(self, owner: str) -> list[str]:
        """
        Ids that another guard of this process has asked for.
        """
        with self._lock:
            return [
                id
                for id, row in self._rows.items()
                if row.wanted and row.owner == owner
            ]

    # -- sessions ----------------------------------------------------------------------

    def claim(self, id: str, owner: str, have: int | None = None) -> Claim | Held:
        """
        Make the session of *id* the owner's, unless another one has it.
        """
        with self._lock:
            row = self._rows.get(id)
            known = row is not None
            if row is None:
                row = self._rows[id] = Row()
            elif row.owner not in (None, owner):
                row.wanted = True
                return Held(row.owner or "")
            if row.owner is None:
                self._rows.count(row, asleep=False)
            row.owner = owner
            contended, row.wanted = row.wanted, False
            version = row.version
        if known and have is not None and have == version:
            return Claim(version, None, contended)
        if known and not version:
            return Claim(0, None, contended)
        try:
            blob = self._verbs.get(id)
        except BaseException:
            self.release(id, owner)
            raise
        if blob is None:
            with self._lock:
                row.version = row.size = 0
            return Claim(0, None, contended)
        if not known:
            version, expires_at = _of_header(blob)
            with self._lock:
                row.version, row.expires_at = version, expires_at
                row.size = len(blob)
        return Claim(version, None if have == version else blob, contended)

    def put(self, owner: str, entries: Sequence[Entry]) -> list[bool]:
        """
        Write sessions of the owner's.
        """
        return [self._put(owner, entry) for entry in entries]

    def _put(self, owner: str, entry: Entry) -> bool:
        with self._lock:
            row = self._rows.get(entry.id)
            if row is None or row.owner != owner:
                return False
        self._verbs.put(entry.id, entry.record)
        with self._lock:
            row.version = entry.version
            row.expires_at = entry.expires_at
            row.size = len(entry.record)
        if entry.release:
            self.release(entry.id, owner)
        return True

    def release(self, id: str, owner: str) -> None:
        """
        Give a session back as it is stored.
        """
        with self._lock:
            row = self._rows.get(id)
            if row is None or row.owner != owner:
                return
            row.owner = None
            row.wanted = False
            if row.version:
                self._rows.count(row, asleep=True)
                self._rows.enqueue(id, row)
            else:
                del self._rows[id]

    def delete(self, id: str, owner: str) -> bool:
        """
        Forget a session of the owner's.
        """
        with self._lock:
            row = self._rows.get(id)
            if row is None or row.owner != owner:
                return False
        self._verbs.delete(id)
        with self._lock:
            if self._rows.get(id) is row:
                del self._rows[id]
        return True

    def forget(self, id: str) -> None:
        """
        Drop the record of a session that somebody has, and who has all of it.
        """
        with self._lock:
            row = self._rows.get(id)
            if row is not None:
                row.version = row.size = 0
        self._verbs.delete(id)

    def quarantine(self, id: str, owner: str) -> None:
        """
        Put a record that cannot be read aside: under another id, in place of the last.
        """
        with self._lock:
            row = self._rows.get(id)
            if row is None or row.owner != owner:
                return
        blob = self._verbs.get(id)
        if blob is not None:
            self._verbs.put(_BROKEN, blob)
        self._verbs.delete(id)
        with self._lock:
            if self._rows.get(id) is row:
                row.version = row.size = 0
                row.expires_at = None

    def touch(self, owner: str, expiries: Mapping[str, float | None]) -> None:
        """
        Note later ends of sessions of the owner's, for this process alone.
        """
        with self._lock:
            for id, expires_at in expiries.items():
                row = self._rows.get(id)
                if row is not None and row.owner == owner:
                    row.expires_at = expires_at

    # -- reading -----------------------------------------------------------------------

    def read(self, id: str) -> Stored | None:
        """
        What there is of *id*.
        """
        with self._lock:
            row = self._rows.get(id)
            unknown = row is None or not row.version
        if unknown and not self._verbs.persistent:
            return None
        blob = self._verbs.get(id)
        if blob is None:
            return None
        with self._lock:
            row = self._rows.get(id)
            if row is not None and row.version:
                return Stored(row.version, blob, row.expires_at, row.owner, len(blob))
        version, expires_at = _of_header(blob)
        return Stored(version, blob, expires_at, None, len(blob))

    def pages(self, id: str, name: str, numbers: Sequence[int]) -> dict[int, bytes]:
        """
        Always empty: histories are in the record.
        """
        return {}

    def due(self, now: float, most: int) -> list[str]:
        """
        Ids of nobody's sessions that have expired.
        """
        with self._lock:
            return self._rows.due(now, most)

    def next_due(self) -> float | None:
        """
        When the earliest of nobody's sessions expires.
        """
        with self._lock:
            return self._rows.next_due()

    def count(self) -> tuple[int, int]:
        """
        How many sessions are nobody's, and their bytes.
        """
        return self._rows.asleep, self._rows.bytes

    def ids(self) -> list[str]:
        """
        The ids of all sessions that this process knows to have a record.
        """
        with self._lock:
            return [id for id, row in self._rows.items() if row.version]

    def close(self) -> None:
        """
        Nothing is open.
        """


class Plain:
    """
    A store for this process alone, over three verbs that somebody else implements.
    """

    awaits = False
    lease_s = math.inf
    patience_s = 10.0

    def __init__(self, verbs: Verbs) -> None:
        self.persistent = verbs.persistent
        self._verbs = verbs

    def space(self, name: str, clock: Clock) -> PlainSpace:
        """
        What is kept by those verbs, whatever the container is called.
        """
        return PlainSpace(self._verbs)


def _of_header(blob: bytes) -> tuple[int, float | None]:
    try:
        header = read_header(blob)
    except Torn:
        return 1, None  # told when it is read
    return header.version, header.expires_at
