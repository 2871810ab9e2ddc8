"""
How long things were at earlier looks: numbers by place, and nothing else.

Places are kept as the hashes of their names: what is remembered keeps no object alive
and is bounded.
"""

from __future__ import annotations

from typing import Final

from memguard._records import record

__all__ = ("Looks", "Trend")

_MOST: Final = 20_000
_STEADY_S: Final = 30.0


@record
class Trend:
    """
    The length of one thing over the looks so far, this one included.

    `since_s` is the time since the first look at it. One that was looked at once has
    no trend: it is neither `growing` nor `steady`.
    """

    first: int
    now: int
    looks: int
    rises: int
    falls: int
    since_s: float

    @property
    def growing(self) -> bool:
        """
        True where it is longer than at the last look, and never was shorter.
        """
        return self.rises > 0 and self.falls == 0 and self.now > self.first

    @property
    def steady(self) -> bool:
        """
        True where the first look was half a minute ago, and it has not grown since.
        """
        return self.since_s >= _STEADY_S and not self.growing


class Looks:
    """
    What earlier looks have seen. At most 20,000 places; later ones are not remembered.
    """

    __slots__ = ("_known", "count")

    def __init__(self) -> None:
        #: Looks that were begun.
        self.count = 0
        # Hash of the place: first length, last one, looks, rises, falls, first time,
        # number of the last look.
        self._known: dict[int, tuple[int, int, int, int, int, float, int]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def begin(self) -> int:
        """
        The number of a new look.
        """
        self.count += 1
        return self.count

    def note(self, place: str, length: int, now: float) -> Trend:
        """
        What became of *place*, which is *length* long at *now*.
        """
        key = hash(place)
        known = self._known.get(key)
        if known is None:
            if len(self._known) < _MOST:
                self._known[key] = (length, length, 1, 0, 0, now, self.count)
            return Trend(length, length, 1, 0, 0, 0.0)
        first, last, looks, rises, falls, began, number = known
        if number != self.count:
            looks += 1
        rises += length > last
        falls += length < last
        self._known[key] = (first, length, looks, rises, falls, began, self.count)
        return Trend(first, length, looks, rises, falls, now - began)

    def forget_old(self) -> None:
        """
        Let go of places that were not there at the last two looks.
        """
        oldest = self.count - 2
        if len(self._known) >= _MOST:
            for key, known in list(self._known.items()):
                if known[-1] < oldest:
                    self._known.pop(key, None)
