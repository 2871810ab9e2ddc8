"""
When entries end: keys by deadline, in buckets of 50 ms.

Setting and dropping a deadline cost a few dict operations however many there are, and
nothing of a key stays when it is dropped. A bucket is swept in parts, so a million
entries that end together do not stop the process.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any, Final

from memguard._kinds.container import NEVER

__all__ = ("Deadlines",)

#: Buckets a second.
_RATE: Final = 20.0
# Times of buckets that are gone may lie in the heap up to this, and twice the others.
_SLACK: Final = 64


class Deadlines:
    """
    A deadline for each of some keys. Used with the cache's lock held.

    Keys are hashed and compared under that lock: of trusted types, or stand-ins.
    """

    __slots__ = ("_at", "_buckets", "_heap")

    def __init__(self) -> None:
        self._at: dict[Any, float] = {}
        # Bucket n holds what ends in the 50 ms up to n / 20 s.
        self._buckets: dict[int, dict[Any, None]] = {}
        self._heap: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._at)

    def set(self, key: Any, deadline: float) -> None:
        """
        *key* ends then; its deadline of before is forgotten.
        """
        if self._at:
            self.drop(key)
        if deadline == NEVER:
            return
        self._at[key] = deadline
        number = -int(-deadline * _RATE // 1)
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
            heappush(self._heap, number)
        bucket[key] = None

    def drop(self, key: Any) -> None:
        """
        *key* has no deadline any more.
        """
        deadline = self._at.pop(key, None)
        if deadline is None:
            return
        number = -int(-deadline * _RATE // 1)
        bucket = self._buckets[number]
        del bucket[key]
        if not bucket:
            del self._buckets[number]
            if len(self._heap) > 2 * len(self._buckets) + _SLACK:
                self._heap = list(self._buckets)
                heapify(self._heap)

    def take_due(self, now: float, most: int) -> list[Any]:
        """
        Up to *most* keys whose deadline is not after *now*; they have none any more.
        """
        due: list[Any] = []
        heap, buckets = self._heap, self._buckets
        while heap and len(due) < most:
            number = heap[0]
            bucket = buckets.get(number)
            if bucket is None:
                heappop(heap)
                continue
            if number / _RATE <= now:
                while bucket and len(due) < most:
                    due.append(bucket.popitem()[0])
            elif (number - 1) / _RATE <= now:
                # The bucket of this moment: some of it is due.
                room = most - len(due)
                at = self._at
                some = [key for key in bucket if at[key] <= now][:room]
                for key in some:
                    del bucket[key]
                due += some
            if not bucket:
                del buckets[number]
                heappop(heap)
            elif number / _RATE > now:
                break
        for key in due:
            del self._at[key]
        return due

    def has_due(self, now: float) -> bool:
        """
        True where a whole bucket is due.
        """
        return self.next() + 1 / _RATE <= now

    def next(self) -> float:
        """
        No deadline is before this time, and one within 50 ms after it.
        """
        heap, buckets = self._heap, self._buckets
        while heap and heap[0] not in buckets:
            heappop(heap)
        return (heap[0] - 1) / _RATE if heap else NEVER

    def clear(self) -> None:
        """
        Nobody has a deadline any more.
        """
        self.__init__()  # type: ignore[misc]
