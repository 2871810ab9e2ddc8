"""
The histories of rings that are not live: those that closed, and those that sleep. Pure.

The newest entries, at least `AT_HAND` of them, are in the record of the session itself,
older ones in pages (see `older`).
"""

from __future__ import annotations

from typing import Any, Final

from memguard._kinds.page import Page
from memguard._sessions.older import PAGE, Older
from memguard._sessions.parts import Encoder, Numbers, Opened, Part

__all__ = ("AT_HAND", "Frozen", "History")

# Threads that append at the same time may come in another order than their numbers,
# and numbers may be missing that others are just using.
_SLACK: Final = 64
#: So many of the newest entries are always read with the record.
AT_HAND: Final = 20


class Frozen:
    """
    The content of a ring at one moment, to be encoded later, if at all.

    `entries` are number, value, and what else the ring keeps; `times` the wall-clock
    seconds at which they came, where they expire. `older` is what is in pages since
    before the ring was live.
    """

    __slots__ = ("entries", "head", "older", "times", "whole")

    def __init__(
        self,
        head: dict[str, Any],
        entries: list[tuple[Any, ...]],
        times: list[float] | None,
        older: Older | None,
        whole: bool,
    ) -> None:
        self.head = head
        self.entries = entries
        self.times = times
        self.older = older
        self.whole = whole

    @property
    def _first(self) -> int:
        if self.older is not None:
            return self.older.first
        return self.entries[0][0] if self.entries else int(self.head["next"])

    def part(self, codec: Encoder, paged: bool) -> Part:
        """
        The part for the record: all of it, or the newest entries and where others are.
        """
        head, first, after = self.head, self._first, self.head["next"]
        end = (after - AT_HAND) // PAGE * PAGE
        if not paged or after - first <= PAGE or end <= first:
            return Part(codec.dumps([*self._head(self.times), *self._values()]))
        at = self._places(end, after)
        times = None if self.times is None else [self.times[place] for place in at]
        head = {**self._head(times)[0], "pages": [first, end]}
        raw = codec.dumps([head, *(self.entries[place][1] for place in at)])
        # Entries of one page may be there only in part: from `first` on.
        return Part(raw, Numbers(first // PAGE, end // PAGE, self.whole))

    def page(self, codec: Encoder, number: int) -> bytes:
        """
        One page of it, encoded.
        """
        at = self._places(number * PAGE, number * PAGE + PAGE)
        body: list[Any] = [[self.entries[place][1] for place in at]]
        if self.times is not None:
            body.append([self.times[place] for place in at])
        return codec.dumps(body)

    def paged_bytes(self, part: Part) -> int:
        """
        As many for each entry as those in *part* have.
        """
        if part.numbers is None:
            return 0
        at_hand: int = self.head["next"] - part.numbers.high * PAGE
        before = max(0, len(self.entries) - at_hand)
        return len(part.raw) * before // (at_hand + 1)

    def _places(self, low: int, high: int) -> list[int]:
        """
        Where the entries with these numbers are: about where they ought to be.
        """
        entries = self.entries
        if not entries:
            return []
        first = entries[0][0]
        some = range(
            max(0, low - first - _SLACK), min(len(entries), high - first + _SLACK)
        )
        return [place for place in some if low <= entries[place][0] < high]

    def open(self, codec: Encoder) -> Opened:
        """
        As it would be if it had been saved.
        """
        del codec
        (head,) = self._head(self.times)
        if self.older is not None:
            head = {**head, "pages": [self.older.first, self.older.end]}
        return Opened(head, self._values(), {})

    def _values(self) -> list[Any]:
        return [one[1] for one in self.entries]

    def _head(self, times: list[float] | None) -> tuple[dict[str, Any]]:
        if times is None:
            return (self.head,)
        saved = self.head["time"]
        return ({**self.head, "ages": [saved - one for one in times]},)


class History:
    """
    A history that is not live: its newest entries, and the way to the older ones.
    """

    __slots__ = ("_ages", "_first", "_next", "_since", "_ttl", "_values", "older")

    def __init__(self, opened: Opened, now: float) -> None:
        head, self._values, fetched = opened
        self._next: int = head["next"]
        self._ttl: float | None = head.get("ttl")
        saved = head.get("time", now)
        # The wall clock may have been set back meanwhile: nothing gets younger.
        slept = max(0.0, now - saved)
        self._since = saved + slept
        self._ages = [age + slept for age in head.get("ages") or ()]
        pages = head.get("pages")
        self.older = None if pages is None else Older(pages[0], pages[1], fetched)
        self._first = self._next - len(self._values) if pages is None else pages[0]

    def lacking(self, before: int | None, n: int) -> list[int]:
        """
        The pages that have to be fetched for the *n* entries before *before*.
        """
        if self.older is None:
            return []
        low, high = self._asked(before, n)
        return self.older.lacking(low, high)

    def page(self, codec: Encoder, before: int | None, n: int) -> Page[Any]:
        """
        As `Ring.page`, from what has been fetched. Raises Torn as `Older.decode` does.
        """
        low, high = self._asked(before, n)
        if low == high:
            return Page((), None)
        start = self._next - len(self._values)
        found: list[tuple[Any, ...]] = []
        if self.older is not None:
            self.older.decode(codec, low, high)
            found += self.older.between(low, high)
        ttl = self._ttl
        if ttl is not None:
            found = [one for one in found if self._since - one[2] < ttl]
        entries = [one[1] for one in found]
        entries += (
            self._values[at]
            for at in range(max(low, start) - start, max(high - start, 0))
            if ttl is None or not self._ages or self._ages[at] < ttl
        )
        older = low if low > self._first else None
        if ttl is not None and len(entries) < high - low:
            older = None  # the older ones have expired before these
        return Page(tuple(entries), older)

    def _asked(self, before: int | None, n: int) -> tuple[int, int]:
        high = self._next if before is None else min(before, self._next)
        high = max(high, self._first)
        return max(self._first, high - n), high
