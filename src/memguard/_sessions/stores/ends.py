"""
When sessions expire: a queue that needs two words for each of them. Not thread-safe.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from heapq import heapify, heappop, heappush

__all__ = ("Ends",)

# So many places that are free at the front are not worth moving the others.
_FREE = 1024


class Ends:
    """
    Ids by time. They mostly come in the order of their times, because all sessions of a
    container live equally long; a heap takes those that do not.
    """

    __slots__ = ("_first", "_ids", "_late", "_times")

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._times = array("d")
        # Where these two begin: what is before has been taken out.
        self._first = 0
        self._late: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._ids) - self._first + len(self._late)

    def put(self, at: float, id: str) -> None:
        """
        Add *id*, at its time.
        """
        times = self._times
        if self._first < len(times) and at < times[-1]:
            heappush(self._late, (at, id))
        else:
            times.append(at)
            self._ids.append(id)

    def head(self) -> tuple[float, str] | None:
        """
        The earliest.
        """
        first, late = self._first, self._late
        if first < len(self._ids):
            entry = self._times[first], self._ids[first]
            return min(entry, late[0]) if late else entry
        return late[0] if late else None

    def pop(self) -> tuple[float, str] | None:
        """
        Take the earliest out.
        """
        entry = self.head()
        if entry is None:
            return None
        if self._late and self._late[0] == entry:
            return heappop(self._late)
        self._first = first = self._first + 1
        if first > _FREE and 2 * first > len(self._ids):
            del self._ids[:first]
            del self._times[:first]
            self._first = 0
        return entry

    def keep(self, counts: Callable[[float, str], bool]) -> None:
        """
        Drop what does not count any more, and what is there twice.
        """
        first = self._first
        entries = dict.fromkeys(
            zip(self._times[first:], self._ids[first:], strict=True)
        )
        kept = [entry for entry in entries if counts(*entry)]
        self._times = array("d", [at for at, _ in kept])
        self._ids = [id for _, id in kept]
        self._first = 0
        late = {entry for entry in self._late if counts(*entry)}.difference(kept)
        self._late = [*late]
        heapify(self._late)
