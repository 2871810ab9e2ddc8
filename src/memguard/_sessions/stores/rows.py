"""
What one process knows of the sessions in a plain store, and which expires next.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

__all__ = ("Row", "Rows")


class Row:
    """
    What this process knows of one id. `version` is 0 while nothing is stored.
    """

    __slots__ = ("expires_at", "owner", "queued", "size", "version", "wanted")

    def __init__(self) -> None:
        self.owner: str | None = None
        self.version = 0
        self.expires_at: float | None = None
        self.size = 0
        self.wanted = False
        # The entry of the queue that counts.
        self.queued: float | None = None


class Rows(dict[str, Row]):
    """
    Rows by id, and a queue of those that are nobody's. The caller holds a lock.
    """

    __slots__ = ("asleep", "bytes", "queue")

    def __init__(self) -> None:
        super().__init__()
        # Sessions that have a record and are nobody's, and their bytes.
        self.asleep = 0
        self.bytes = 0
        self.queue: list[tuple[float, str]] = []

    def count(self, row: Row, *, asleep: bool) -> None:
        """
        Note that *row* falls asleep, or wakes up.
        """
        if row.version:
            self.asleep += 1 if asleep else -1
            self.bytes += row.size if asleep else -row.size

    def enqueue(self, id: str, row: Row) -> None:
        """
        Note when *row* expires.
        """
        at = row.expires_at
        if at == row.queued:
            return
        row.queued = at
        if at is not None:
            heappush(self.queue, (at, id))
        # Void entries never outnumber the others by much.
        if len(self.queue) > 2 * len(self) + 16:
            self.queue = [entry for entry in self.queue if self._counts(*entry)]
            heapify(self.queue)

    def _counts(self, at: float, id: str) -> bool:
        row = self.get(id)
        return row is not None and row.queued == at

    def due(self, now: float, most: int) -> list[str]:
        """
        Ids of nobody's rows that have expired. They stay in the queue until they go.
        """
        found: list[tuple[float, str]] = []
        queue = self.queue
        while queue and queue[0][0] <= now and len(found) < most:
            at, id = heappop(queue)
            row = self.get(id)
            if row is None or row.queued != at:
                continue
            if row.owner is None:
                found.append((at, id))
            else:
                row.queued = None
        for entry in found:
            heappush(queue, entry)
        return [id for _, id in found]

    def next_due(self) -> float | None:
        """
        When the earliest of nobody's rows expires.
        """
        queue = self.queue
        while queue:
            at, id = queue[0]
            row = self.get(id)
            if row is not None and row.queued == at and row.owner is None:
                return at
            heappop(queue)
            if row is not None and row.queued == at:
                row.queued = None
        return None
