"""
Rings and series that belong to a session: what they hold is saved with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from memguard._kinds.page import Page
from memguard._kinds.ring import Ring
from memguard._kinds.series import Series
from memguard._sessions.histories import Frozen
from memguard._sessions.older import Older, complete
from memguard._sessions.packing import fetch
from memguard._sessions.parts import Dumped, Kept

if TYPE_CHECKING:
    from memguard._sessions.session import Session

__all__ = ("SessionRing", "SessionSeries")

_T = TypeVar("_T")
# Threads that append at the same time may come in another order than their numbers.
_SWAPPED: Final = 16


class SessionRing(Ring[_T], Generic[_T]):
    """
    A ring whose owner is a session.

    Where it was long, its older entries stay in the store until somebody looks for
    them; `older` is what there is of them. They count as held all the same.
    """

    __slots__ = ("_saved", "older")

    owner: Session | None

    def __init__(self, owner: Session, name: str, **options: Any) -> None:
        super().__init__(owner, name, **options)
        self.older: Older | None = None
        self._saved = self.version

    # -- saving and restoring ----------------------------------------------------------

    @property
    def dirty(self) -> bool:
        """
        True when it changed since it was saved.
        """
        return self.version != self._saved

    def freeze(self) -> Kept:
        """
        Its content for a record, marked as saved.
        """
        # Marked before the content is read: what comes in between is saved once more.
        self._saved = self.version
        entries: list[tuple[Any, ...]]
        entries, gone = self._look(self._all)
        del gone
        after = self._numbered() + 1
        if entries:
            after = max(one[0] for one in entries[-_SWAPPED:]) + 1
        head = self._described(after)
        times = None
        if self.ttl is not None:
            head["ttl"] = self.ttl
            ahead = head["time"] - self._now()
            times = [one[3] + ahead for one in entries]
        return Frozen(head, entries, times, self._still_older(), self._is_whole)

    @property
    def _is_whole(self) -> bool:
        """
        True where every entry has to be in memory: it is weighed, or has an age.
        """
        return self._timed or self._sized or self.shrinkable

    def restore(self, kept: Kept, session: Session) -> None:
        """
        Take over what was saved; older pages are left where they are, if they may be.
        """
        head, values, fetched = kept.open(session._core_of().options.codec)
        pages = head.get("pages")
        older = None
        if pages is not None and self._is_whole:
            apart = Older(pages[0], pages[1], fetched)
            fetch(session, self.label, apart, apart.first, apart.end)
            head, values = complete(
                session._core_of().options.codec, apart, head, values
            )
        elif pages is not None:
            older = Older(pages[0], pages[1], fetched)
        super().load([head, *values])
        if older is not None:
            # Neither dropped nor gone.
            self._left -= older.end - older.first
            self.older = older
            self.told_drops = self.dropped
        self._saved = self.version

    def load(self, dumped: list[Any]) -> None:
        """
        Replace the content by what `dump` returned, within the caps of this ring.
        """
        session = self.owner
        if session is not None and session._shelf is not None:
            session._shelf.drop(self.label)
        self.older = None
        super().load(dumped)

    def dump(self) -> list[Any]:
        """
        The content for a store: a header, then the values as they are.
        """
        if self._still_older() is None:
            return super().dump()
        values = list(self)
        head, *_ = super().dump()
        return [head, *values]

    def _release(self) -> Any:
        session = self.owner
        if session is not None:
            session._keep(self)
        return super()._release()

    # -- the older part ----------------------------------------------------------------

    def _still_older(self) -> Older | None:
        """
        What is older than the entries in memory, and not dropped yet.
        """
        older = self.older
        if older is None:
            return None
        low = self._numbered() + 1 - self._most
        if low > older.first:
            older.first = low
            if low >= older.end:
                self.older = None
                return None
        return older

    def _held(self) -> int:
        older = self._still_older()
        return len(self._entries) + (0 if older is None else older.end - older.first)

    def lacking(self, before: int | None, n: int) -> list[int]:
        """
        The pages that have to be fetched for the *n* entries before *before*.
        """
        older = self._still_older()
        if older is None:
            return []
        low, high = self._asked(older, before, n - len(self._newest_before(before, n)))
        return older.lacking(low, high)

    def take(self, asked: list[int], fetched: dict[int, bytes]) -> None:
        """
        Note the pages that were *asked* for.
        """
        older = self.older
        if older is not None:
            older.take(asked, fetched)

    @staticmethod
    def _asked(older: Older, before: int | None, n: int) -> tuple[int, int]:
        high = older.end if before is None else min(before, older.end)
        high = max(high, older.first)
        return max(older.first, high - max(n, 0)), high

    def page(self, before: int | None, n: int) -> Page[_T]:
        """
        As `Ring.page`; pages that are not in memory are fetched from the store.

        Inside a loop that raises WouldBlockLoop: `await sessions.apage(...)`.
        """
        older = self._still_older()
        session = self.owner
        if older is not None and session is not None and type(n) is int and n > 0:
            if not (before is None or type(before) is int):
                return super().page(before, n)
            rest = n - len(self._newest_before(before, n))
            if rest > 0:
                low, high = self._asked(older, before, rest)
                fetch(session, self.label, older, low, high)
        return super().page(before, n)

    def _page(
        self, now: float, before: int | None, n: int
    ) -> tuple[list[tuple[Any, ...]], int | None, list[tuple[Any, ...]]]:
        older = self._still_older()
        if older is None:
            return super()._page(now, before, n)
        chosen = self._newest_before(before, n)
        chosen.reverse()
        if len(chosen) >= n:
            return chosen, (chosen[0][0] if chosen else None), []
        low, high = self._asked(older, before, n - len(chosen))
        found = older.between(low, high)
        return found + chosen, (low if low > older.first else None), []

    def drain(self) -> list[_T]:
        """
        Take all entries out, oldest first, and return them.
        """
        older, session = self._still_older(), self.owner
        if older is not None and session is not None:
            fetch(session, self.label, older, older.first, older.end)
        return super().drain()

    def _empty(self) -> list[tuple[Any, ...]]:
        older, self.older = self._still_older(), None
        taken = super()._empty()
        if older is None:
            return taken
        self._left += older.end - older.first
        self._revisions += 1
        return older.between(older.first, older.end) + taken

    def memory_bytes(self) -> int:
        """
        Bytes of what it has in memory.
        """
        known, older = super().memory_bytes(), self.older
        if older is None:
            return known
        share = older.read / max(len(self._entries), 1)
        return round(known * (1 + share)) + older.unread_bytes


class SessionSeries(Series):
    """
    A series whose owner is a session.
    """

    __slots__ = ("_saved",)

    owner: Session | None

    def __init__(self, owner: Session, name: str, **options: Any) -> None:
        super().__init__(owner, name, **options)
        self._saved = self.version

    @property
    def dirty(self) -> bool:
        """
        True when it changed since it was saved.
        """
        return self.version != self._saved

    def freeze(self) -> Kept:
        """
        Its content for a record, marked as saved.
        """
        self._saved = self.version
        return Dumped(self.dump())

    def restore(self, kept: Kept, session: Session) -> None:
        """
        Take over what was saved.
        """
        head, values, _ = kept.open(session._core_of().options.codec)
        self.load([head, *values])
        self._saved = self.version

    def _release(self) -> Any:
        session = self.owner
        if session is not None:
            session._keep(self)
        return super()._release()
