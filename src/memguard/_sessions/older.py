"""
The older part of a history, in pages that are read when somebody looks for them.

The page of an entry is its sequence number divided by `PAGE`. A page is written once,
when it is complete: entries are never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from memguard._sessions.parts import Encoder
from memguard._sessions.record import Torn, read_page

__all__ = ("PAGE", "Older", "complete")

#: Entries of one page.
PAGE: Final = 100


class _Leaf(NamedTuple):
    """
    One decoded page: its newest value has the number `last`.

    `times` are wall-clock seconds, for a history whose entries expire.
    """

    last: int
    values: list[Any]
    times: list[float] | None


class Older:
    """
    The older part of a history: entries `first` to `end`, excluded, in pages.

    They are read when somebody looks for them; what was read stays. Several threads
    may use it: what two of them read is the same.
    """

    __slots__ = ("_raw", "_read", "end", "first")

    def __init__(self, first: int, end: int, fetched: Mapping[int, bytes]) -> None:
        self.first = first
        self.end = end
        # As the store has them, and decoded, by number.
        self._raw = dict(fetched)
        self._read: dict[int, _Leaf] = {}

    @property
    def read(self) -> int:
        """
        How many entries are in memory, decoded.
        """
        return sum(len(leaf.values) for leaf in list(self._read.values()))

    @property
    def unread_bytes(self) -> int:
        """
        Bytes of the pages that are in memory as the store has them.
        """
        return sum(map(len, list(self._raw.values())))

    def lacking(self, low: int, high: int) -> list[int]:
        """
        The numbers of the pages that have to be fetched for entries *low* to *high*.
        """
        low, high = max(low, self.first), min(high, self.end)
        if low >= high:
            return []
        known, raw = self._read, self._raw
        wanted = range(low // PAGE, (high - 1) // PAGE + 1)
        return [one for one in wanted if one not in known and one not in raw]

    def take(self, asked: Iterable[int], fetched: Mapping[int, bytes]) -> None:
        """
        Note the pages that were *asked* for; those that there are not are empty.
        """
        for number in asked:
            page = fetched.get(number)
            if page is not None:
                self._raw[number] = page
            else:
                self._read.setdefault(number, _Leaf(number * PAGE + PAGE - 1, [], None))

    def decode(self, codec: Encoder, low: int, high: int) -> None:
        """
        Decode what has been fetched of those entries.

        Raises Torn for a page that is not whole, which is empty from then on; the
        others are decoded all the same.
        """
        low, high = max(low, self.first), min(high, self.end)
        torn: Torn | None = None
        for number in range(low // PAGE, (max(low, high) - 1) // PAGE + 1):
            raw = self._raw.get(number)
            if raw is None or number in self._read:
                continue
            last = number * PAGE + PAGE - 1
            try:
                values, *times = codec.loads(read_page(raw))
            except Torn as error:
                torn = error
                values, times = [], []
            self._read[number] = _Leaf(last, values, times[0] if times else None)
            self._raw.pop(number, None)
        if torn is not None:
            raise torn

    def between(self, low: int, high: int) -> list[tuple[Any, ...]]:
        """
        Number, value and perhaps time of those entries that are decoded, oldest first.
        """
        low, high = max(low, self.first), min(high, self.end)
        found: list[tuple[Any, ...]] = []
        for number in range(low // PAGE, (max(low, high) - 1) // PAGE + 1):
            leaf = self._read.get(number)
            if leaf is None:
                continue
            _, values, times = leaf
            start = leaf.last + 1 - len(values)
            some = range(max(low, start) - start, min(high, leaf.last + 1) - start)
            if times is None:
                found += ((start + at, values[at]) for at in some)
            else:
                found += ((start + at, values[at], times[at]) for at in some)
        return found


def complete(
    codec: Encoder, older: Older, head: dict[str, Any], values: list[Any]
) -> tuple[dict[str, Any], list[Any]]:
    """
    Head and values of a history as if it had never been in pages: *older* has them.

    Raises Torn as `Older.decode` does.
    """
    first, end = head["pages"]
    older.decode(codec, first, end)
    found = older.between(first, end)
    head = {key: value for key, value in head.items() if key != "pages"}
    if "ages" in head:
        saved = head["time"]
        head["ages"] = [*(saved - one[2] for one in found), *head["ages"]]
    return head, [*(one[1] for one in found), *values]
