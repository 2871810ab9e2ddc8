"""
Counting what is made and how it ends, exactly, from many threads and without a lock.
"""

from __future__ import annotations

from itertools import count

from memguard._phases import PLAIN, Ending

__all__ = ("Tally", "reading")


class Tally:
    """
    How many of one kind and name were made, and how they ended.

    Counted without a lock, each step by an `itertools` counter. What lives is the
    difference, so that made, living and ended always agree.
    """

    __slots__ = ("_closed", "_made", "_other", "closed_one", "made")

    def __init__(self) -> None:
        self._made = count()
        self._closed = count()
        self._other: dict[str, count[int]] = {}
        #: Count one more that was made.
        self.made = self._made.__next__
        #: Count one more that closed by itself, with nothing to say about it.
        self.closed_one = self._closed.__next__

    def ended(self, ending: Ending) -> None:
        """
        Count one ending.
        """
        if ending is PLAIN:
            self.closed_one()
        else:
            next(self._other.setdefault(ending.outcome.value, count()))

    def counts(self) -> tuple[int, int, dict[str, int]]:
        """
        Made, living, and ended by outcome; they agree with one another.
        """
        # Ends first: what ends between the readings then counts as living.
        others = list(self._other.items())
        released = {outcome: reading(many) for outcome, many in others}
        closed = released.get("closed", 0) + reading(self._closed)
        if closed:
            released["closed"] = closed
        created = reading(self._made)
        return created, created - sum(released.values()), released

    @property
    def created(self) -> int:
        return reading(self._made)

    @property
    def live(self) -> int:
        """
        How many there are now.
        """
        return self.counts()[1]

    @property
    def released(self) -> dict[str, int]:
        """
        How many ended, by outcome.
        """
        return self.counts()[2]


def reading(counter: count[int]) -> int:
    """
    The number a counter would give next, which it keeps.
    """
    # It tells that only in its repr, which is documented, or in its pickle form,
    # which is on its way out.
    return int(repr(counter)[6:-1])
