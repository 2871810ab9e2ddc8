"""
The engine of a cache: who is in, who goes next, and when.

Entries leave in the order in which they came, but one that was used since it was last
looked at is passed over (second chance: nearly least recently used). So a hit only
sets a mark, and needs no lock. No user code runs in here: keys are only carried, and
found by who uses the engine. Queues hold numbers, so that what left is not kept alive.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Final

from memguard._kinds.cache.buckets import Buckets
from memguard._kinds.container import NEVER

__all__ = ("Engine", "Entry")

# Entries passed over in one search for a victim; then the next one goes, used or not.
_CHANCES: Final = 512
# Numbers of entries that are gone may lie in a queue up to its double length and this.
_SLACK: Final = 64


class Entry:
    """
    One key with its value. Only `used` and `touched` change, and without a lock.
    """

    __slots__ = (
        "expires",
        "hashed",
        "key",
        "number",
        "touched",
        "used",
        "value",
        "weight",
    )

    def __init__(
        self,
        key: Any,
        hashed: int,
        value: Any,
        weight: int,
        *,
        now: float,
        expires: float,
    ) -> None:
        self.key = key
        self.hashed = hashed
        self.value = value
        self.weight = weight
        self.expires = expires  # monotonic time, or NEVER
        self.used = now
        self.touched = False
        self.number = 0


class Engine:
    """
    Entries within a number and a weight, with their deadlines.

    `at` may be called at any time; everything else by who holds the cache's lock.
    """

    __slots__ = (
        "_buckets",
        "_deadlines",
        "_live",
        "_next_number",
        "_order",
        "at",
        "idle",
        "max_bytes",
        "max_entries",
        "weight",
    )

    def __init__(
        self, max_entries: int | None, max_bytes: int | None, idle: float | None
    ) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.idle = idle
        self._next_number = count().__next__
        self._begin()

    def _begin(self) -> None:
        self._live: dict[int, Entry] = {}
        self._buckets: Buckets[Entry] = Buckets()
        self.at = self._buckets.at
        self._order: deque[int] = deque()
        self._deadlines: list[tuple[float, int]] = []
        self.weight = 0

    def clear(self) -> list[Entry]:
        """
        Take everything out.
        """
        entries = self.entries()
        self._begin()
        return entries

    def __len__(self) -> int:
        return len(self._live)

    def entries(self) -> list[Entry]:
        """
        Everything in here, oldest first.
        """
        return list(self._live.values())

    # -- coming and going --------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        """
        Take *entry* in; its key is not in here, and there is room for it.
        """
        number = entry.number = self._next_number()
        self._live[number] = entry
        self._buckets.add(entry)
        self._order.append(number)
        self.weight += entry.weight
        due = self._due(entry)
        if due != NEVER:
            heappush(self._deadlines, (due, number))
        self._compact()

    def remove(self, entry: Entry) -> bool:
        """
        Take *entry* out; False if it has left already.
        """
        if self._live.get(entry.number) is not entry:
            return False
        del self._live[entry.number]
        self._buckets.remove(entry)
        self.weight -= entry.weight
        return True

    def has_room(self, weight: int, old: Entry | None = None) -> bool:
        """
        True where an entry of this weight needs nobody to leave, but for *old*.
        """
        count, total = len(self._live), self.weight
        if old is not None and self._live.get(old.number) is old:
            count -= 1
            total -= old.weight
        most, limit = self.max_entries, self.max_bytes
        return (most is None or count < most) and (
            limit is None or total + weight <= limit
        )

    def is_over(self) -> bool:
        """
        True where a cap is exceeded, as after it was lowered.
        """
        most, limit = self.max_entries, self.max_bytes
        return (most is not None and len(self._live) > most) or (
            limit is not None and self.weight > limit
        )

    def make_room(self, weight: int) -> list[Entry]:
        """
        Take victims out until there is room; *weight* is within the caps by itself.
        """
        victims = []
        while not self.has_room(weight):
            victim = self.take_victim()
            if victim is None:
                break
            victims.append(victim)
        return victims

    def take_victim(self) -> Entry | None:
        """
        Take out who goes next; None when nobody is left.
        """
        order, live = self._order, self._live
        # Counted, because readers go on setting marks while this looks for one without.
        chances = min(len(live), _CHANCES)
        while order:
            number = order.popleft()
            entry = live.get(number)
            if entry is None:
                continue
            if entry.touched and chances:
                chances -= 1
                entry.touched = False
                order.append(number)
                continue
            self.remove(entry)
            return entry
        return None

    # -- time --------------------------------------------------------------------------

    def _due(self, entry: Entry) -> float:
        idle = self.idle
        return entry.expires if idle is None else min(entry.expires, entry.used + idle)

    def cause(self, entry: Entry, now: float) -> str | None:
        """
        Why *entry* is over: "ttl", "idle", or None if it is not. Needs no lock.
        """
        if entry.expires <= now:
            return "ttl"
        if self.idle is not None and entry.used + self.idle <= now:
            return "idle"
        return None

    def take_expired(self, now: float, most: int) -> list[tuple[Entry, str]]:
        """
        Take out up to *most* entries whose time is over, each with the cause.
        """
        gone: list[tuple[Entry, str]] = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now and len(gone) < most:
            _, number = heappop(deadlines)
            entry = self._live.get(number)
            if entry is None:
                continue
            cause = self.cause(entry, now)
            if cause is None:
                # It was used meanwhile.
                heappush(deadlines, (self._due(entry), number))
            else:
                self.remove(entry)
                gone.append((entry, cause))
        return gone

    def next_deadline(self) -> float:
        """
        No entry expires before this time.
        """
        return self._deadlines[0][0] if self._deadlines else NEVER

    def _compact(self) -> None:
        """
        Forget the numbers of who left: the work of one step is paid by many.
        """
        live = self._live
        most = 2 * len(live) + _SLACK
        if len(self._order) > most:
            self._order = deque(one for one in self._order if one in live)
        if len(self._deadlines) > most:
            self._deadlines = [one for one in self._deadlines if one[1] in live]
            heapify(self._deadlines)
