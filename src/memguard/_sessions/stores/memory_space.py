"""
The sessions of one process in a dictionary.

A session that sleeps costs its record, an entry in a dictionary, and two words
in the queue of those that expire; when it does and which version it has stands in its
record.

Longer than 300 lines because a store has many verbs, each of a few lines.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from memguard._sessions.record import facts_of
from memguard._sessions.stores.ends import Ends
from memguard._sessions.stores.space import Claim, Entry, Held, Stored
from memguard._sessions.words import Words

__all__ = ("MemorySpace",)


class _Owned:
    """
    A session that somebody has. `version` is that of its last record.
    """

    __slots__ = ("owner", "version", "wanted")

    def __init__(self, owner: str, version: int) -> None:
        self.owner = owner
        self.version = version
        self.wanted = False


class MemorySpace:
    """
    A `Space` in a dictionary. Its lock is held for a few steps of its own.

    The lock is re-entrant: a collection in the middle may run a destructor that leaves
    a block.
    """

    paged = False

    def __init__(self, records: dict[str, bytes], words: Words) -> None:
        self._records = records
        self._owned: dict[str, _Owned] = {}
        # When those that sleep expire, where that is not in their records.
        self._ends: dict[str, float | None] = {}
        self._queue = Ends()
        self._held = 0  # records of sessions that somebody has
        self._bytes = sum(map(len, records.values()))  # of those that nobody has
        self._broken: bytes | None = None
        self._lock = threading.RLock()
        self.words = words
        for id in records:
            self._enqueue(id)

    # -- owners ------------------------------------------------------------------------

    def join(self, owner: str, lease_s: float) -> None:
        """
        Nothing has to be done: no lease runs out in one process.
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
            mine = [id for id, owned in self._owned.items() if owned.owner == owner]
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
                for id, owned in self._owned.items()
                if owned.wanted and owned.owner == owner
            ]

    # -- sessions ----------------------------------------------------------------------

    def claim(self, id: str, owner: str, have: int | None = None) -> Claim | Held:
        """
        Make the session of *id* the owner's, unless another one has it.
        """
        with self._lock:
            owned = self._owned.get(id)
            record = self._records.get(id)
            if owned is None:
                version = 0
                if record is not None:
                    version = facts_of(record)[0]
                    self._held += 1
                    self._bytes -= len(record)
                owned = self._owned[id] = _Owned(owner, version)
            elif owned.owner != owner:
                owned.wanted = True
                return Held(owned.owner)
            contended, owned.wanted = owned.wanted, False
            version = owned.version
        return Claim(version, None if have == version else record, contended)

    def put(self, owner: str, entries: Sequence[Entry]) -> list[bool]:
        """
        Write sessions of the owner's.
        """
        return [self._put(owner, entry) for entry in entries]

    def _put(self, owner: str, entry: Entry) -> bool:
        id = entry.id
        with self._lock:
            owned = self._owned.get(id)
            if owned is None or owned.owner != owner:
                return False
            if id not in self._records:
                self._held += 1
            self._records[id] = entry.record
            owned.version = entry.version
            self._note_end(id, entry.expires_at)
            if entry.release:
                self._let_go(id)
        return True

    def release(self, id: str, owner: str) -> None:
        """
        Give a session back as it is stored.
        """
        with self._lock:
            owned = self._owned.get(id)
            if owned is not None and owned.owner == owner:
                self._let_go(id)

    def _let_go(self, id: str) -> None:
        del self._owned[id]
        record = self._records.get(id)
        if record is not None:
            self._held -= 1
            self._bytes += len(record)
            self._enqueue(id)

    def delete(self, id: str, owner: str) -> bool:
        """
        Forget a session of the owner's.
        """
        with self._lock:
            owned = self._owned.get(id)
            if owned is None or owned.owner != owner:
                return False
            self.forget(id)
            del self._owned[id]
        return True

    def forget(self, id: str) -> None:
        """
        Drop the record of a session that somebody has, and who has all of it.
        """
        with self._lock:
            if id in self._owned and self._records.pop(id, None) is not None:
                self._held -= 1
                self._ends.pop(id, None)

    def quarantine(self, id: str, owner: str) -> None:
        """
        Put a record that cannot be read aside, in place of the last one.
        """
        with self._lock:
            owned = self._owned.get(id)
            if owned is not None and owned.owner == owner:
                self._broken = self._records.get(id)
                self.forget(id)
                owned.version = 0

    def touch(self, owner: str, expiries: Mapping[str, float | None]) -> None:
        """
        Note later ends of sessions of the owner's.
        """
        with self._lock:
            for id, expires_at in expiries.items():
                owned = self._owned.get(id)
                if owned is not None and owned.owner == owner and id in self._records:
                    self._note_end(id, expires_at)

    # -- reading -----------------------------------------------------------------------

    def read(self, id: str) -> Stored | None:
        """
        What there is of *id*.
        """
        with self._lock:
            record = self._records.get(id)
            if record is None:
                return None
            owned = self._owned.get(id)
            owner = None if owned is None else owned.owner
            version = facts_of(record)[0] if owned is None else owned.version
            return Stored(version, record, self._end(id), owner, len(record))

    def pages(self, id: str, name: str, numbers: Sequence[int]) -> dict[int, bytes]:
        """
        Always empty: histories are in the record.
        """
        return {}

    def due(self, now: float, most: int) -> list[str]:
        """
        Ids of nobody's sessions that have expired. They stay queued until they go.
        """
        found: list[tuple[float, str]] = []
        with self._lock:
            queue = self._queue
            while len(found) < most:
                head = queue.head()
                if head is None or head[0] > now:
                    break
                queue.pop()
                if self._counts(*head):
                    found.append(head)
            for entry in found:
                queue.put(*entry)
        return list(dict.fromkeys(id for _, id in found))

    def next_due(self) -> float | None:
        """
        When the earliest of nobody's sessions expires.
        """
        with self._lock:
            while True:
                head = self._queue.head()
                if head is None:
                    return None
                if self._counts(*head):
                    return head[0]
                self._queue.pop()

    def count(self) -> tuple[int, int]:
        """
        How many sessions are nobody's, and their bytes.
        """
        with self._lock:
            return len(self._records) - self._held, self._bytes

    def ids(self) -> list[str]:
        """
        The ids of all sessions that have a record.
        """
        with self._lock:
            return list(self._records)

    def close(self) -> None:
        """
        Nothing is open.
        """

    # -- as a dictionary ---------------------------------------------------------------

    def replace(self, id: str, record: bytes | None) -> None:
        """
        Keep *record* whoever has the session, or none.
        """
        with self._lock:
            old = self._records.pop(id, None)
            self._ends.pop(id, None)
            if id in self._owned:
                self._held += (record is not None) - (old is not None)
            else:
                self._bytes += len(record or b"") - len(old or b"")
            if record is not None:
                self._records[id] = record
                self._enqueue(id)

    # -- ends --------------------------------------------------------------------------

    def _end(self, id: str) -> float | None:
        if id in self._ends:
            return self._ends[id]
        return facts_of(self._records[id])[1]

    def _note_end(self, id: str, at: float | None) -> None:
        if at == facts_of(self._records[id])[1]:
            self._ends.pop(id, None)
        else:
            self._ends[id] = at

    def _enqueue(self, id: str) -> None:
        at = self._end(id)
        if at is not None:
            self._queue.put(at, id)
        # Void entries never outnumber the others by much.
        if len(self._queue) > 1.5 * len(self._records) + 16:
            self._queue.keep(self._counts)

    def _counts(self, at: float, id: str) -> bool:
        return id in self._records and id not in self._owned and self._end(id) == at
