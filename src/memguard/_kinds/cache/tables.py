"""
The tables of a cache: what is in, and which of it has been used.

All entries are in `table`. That one was used since it was last looked at is not written
down: its value is in `front` as well, a dict subclass whose C lookup is the fast path
of the cache. So the first use of an entry is seen, and the others cost nothing. An
entry that must not be in there (its age has to be looked at, its uses are to be
counted, its key is not trusted) has its mark in `seen`, or in its cell.

Everything here needs the cache's lock, but for reading `front` and `table`. It runs no
code of users: keys are of trusted types, or stand for those that are not.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from memguard._kinds.cache.cells import GONE, Cell, Front, value_of
from memguard._kinds.cache.shadow import Shadow
from memguard._kinds.cache.wide import MOST, Wide

__all__ = ("Tables", "parts_of")


class Tables:
    """
    Entries with their marks. In which order they leave is said by subclasses.

    `fill` takes in what nobody had to leave for, `admit` what somebody left for;
    `evict` takes out who is next.
    """

    __slots__ = ("credit", "front", "seen", "shadow", "table")

    def __init__(self, missing: Any) -> None:
        self.front = Front()
        self.front.__missing__ = missing
        self.table: Any = {}
        self.seen: set[Any] = set()
        #: So many may come without a look at the cap. Who lets one come spends one, or
        #: all of it.
        self.credit = 0
        #: What more room would have been worth; there once somebody has asked.
        self.shadow: Shadow | None = None

    def fill(self, key: Any, held: Any, room: int) -> None:
        """
        Take *key* in, which is not in here, with *room* for so many in all.
        """
        raise NotImplementedError

    def admit(self, key: Any, held: Any) -> None:
        """
        Take *key* in, which is not in here, where others left for it.
        """
        raise NotImplementedError

    def evict_some(self, count: int) -> list[Any]:
        """
        As `evict`, up to *count* times: what was held.
        """
        gone = (self.evict()[1] for _ in range(count))
        return [held for held in gone if held is not GONE]

    def missed(self, key: Any) -> None:
        """
        Told when *key* was asked for and is not in here. Needs no lock.
        """

    def evict(self) -> tuple[Any, Any]:
        """
        Take out who is next: the key and what was held; GONE if nobody is left.
        """
        raise NotImplementedError

    def settle(self) -> None:
        """
        Be ready to evict from as many as are in here.
        """
        raise NotImplementedError

    def is_settled(self) -> bool:
        """
        True where the last `settle` is good for as many as are in here.
        """
        raise NotImplementedError

    def shrunk(self, before: int) -> None:
        """
        Told after many were evicted, of so many *before*.
        """

    def some(self, most: int) -> list[Any]:
        """
        Some keys, old and new ones, about so many of each.
        """
        return list(islice(self.table, most))

    def queues(self) -> list[Any]:
        """
        The queues of now, to be taken apart once there are others.
        """
        raise NotImplementedError

    def _forget_places(self) -> None:
        """
        Begin with empty queues.
        """
        raise NotImplementedError

    def _removed(self) -> None:
        """
        One was taken out of the table, and its place in a queue is empty.
        """
        raise NotImplementedError

    def replace(self, key: Any, held: Any) -> None:
        """
        *held* in the place of what is held for *key*.
        """
        self.table[key] = held

    # -- going -------------------------------------------------------------------------

    def remove(self, key: Any) -> Any:
        """
        Take *key* out, not as a victim; what was held, or GONE.
        """
        # In this order: what is in front must be in the table, whatever comes between.
        self.front.pop(key, None)
        self.seen.discard(key)
        held = self.table.pop(key, GONE)
        if held is not GONE:
            self._removed()
        return held

    def clear(self) -> tuple[Any, list[Any]]:
        """
        Take everything out: the table and the queues that were.
        """
        was = self.table, self.queues()
        self.credit = 0
        self.table = {}
        self.front.clear()
        self.seen.clear()
        self._forget_places()
        return was

    def mend(self) -> None:
        """
        Set right what an exception in the middle of a change has left.
        """
        table = self.table
        if type(table) is not dict:
            table.mend()
        for key, value in list(self.front.items()):
            held = table.get(key, GONE)
            if (value_of(held)) is not value:
                del self.front[key]
        self.seen.difference_update([key for key in self.seen if key not in table])
        self.credit = 0
        self._mend_places()

    def _mend_places(self) -> None:
        """
        Give each entry a place in a queue.
        """
        raise NotImplementedError

    # -- uses --------------------------------------------------------------------------

    def expose(self, key: Any, value: Any) -> None:
        """
        *key*, which is in here, was used. The next uses take the fast path.
        """
        front = self.front
        if len(front) < MOST:
            front[key] = value
            self.seen.discard(key)
        else:
            # It takes the slow path until some others have lost their marks.
            self.seen.add(key)

    def cover(self) -> None:
        """
        No use of any entry takes the fast path until it is exposed again.
        """
        self.seen.update(self.front)
        self.front.clear()

    def cover_one(self, key: Any) -> None:
        """
        The next use of *key* does not take the fast path.
        """
        if key in self.front:
            del self.front[key]
            self.seen.add(key)

    def take_mark(self, key: Any, held: Any) -> bool:
        """
        True where *key* was used; from now on it was not.
        """
        if key in self.front:
            del self.front[key]
            self.seen.discard(key)
            return True
        if key in self.seen:
            self.seen.discard(key)
            return True
        if type(held) is Cell and held.used:
            held.used = False
            return True
        return False

    def take_over(self, other: Tables) -> None:
        """
        Begin with the entries of *other*, which is not used any more.
        """
        self.front, self.seen = other.front, other.seen
        for key, held in list(other.table.items()):
            self.fill(key, held, 0)
        self.widen()

    # -- size --------------------------------------------------------------------------

    def widen(self) -> None:
        """
        Go on with a table that grows without a pause, if there are many entries.
        """
        if type(self.table) is dict and len(self.table) > MOST:
            self.table = Wide(self.table)


def parts_of(table: Any) -> list[dict[Any, Any]]:
    """
    The dicts that a table consists of.
    """
    return [table] if type(table) is dict else table.parts()
