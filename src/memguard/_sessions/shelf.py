"""
Which pages of a session's histories its store has, and what a save has to change. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from memguard._sessions.parts import Numbers

__all__ = ("Shelf",)


class _Pending(NamedTuple):
    version: int
    wanted: dict[str, Numbers]
    stale: dict[str, set[int]]


class Shelf:
    """
    Which pages of a session's histories its store has, and what a save has to change.

    What a save was going to change is known to have happened when the record has got
    the version of that save; otherwise it may have happened or not.
    """

    __slots__ = ("_has", "_pending", "_stale")

    def __init__(self) -> None:
        self._has: dict[str, Numbers] = {}
        # Numbers of pages that are of no use: of a history that ended.
        self._stale: dict[str, set[int]] = {}
        self._pending: _Pending | None = None

    def has(self, name: str, numbers: Numbers) -> None:
        """
        The store has these pages of that history.
        """
        self._has[name] = numbers

    def drop(self, name: str) -> None:
        """
        The pages of that history are of no use any more, whatever was saved.
        """
        stale = self._stale.setdefault(name, set())
        known = [self._has.pop(name, None)]
        if self._pending is not None:
            known.append(self._pending.wanted.pop(name, None))
        for numbers in known:
            if numbers is not None:
                stale.update(range(numbers.low, numbers.high))

    def _settle(self, version: int) -> None:
        """
        The record has that version, as far as is known.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        if pending.version == version:
            self._has = pending.wanted
            return
        # Nobody knows whether it was written. What it added may be there.
        for name, wanted in pending.wanted.items():
            added = range(wanted.low, wanted.high)
            self._stale.setdefault(name, set()).update(added)
        for name, numbers in pending.stale.items():
            self._stale.setdefault(name, set()).update(numbers)

    def plan(
        self, wanted: dict[str, Numbers], version: int, before: int
    ) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """
        The pages to be written for the record of *version*, and those to be deleted.

        *before* is the version that the record has.
        """
        self._settle(before)
        missing: list[tuple[str, int]] = []
        gone: list[tuple[str, int]] = []
        none = Numbers(0, 0, False)
        for name in {*wanted, *self._has, *self._stale}:
            low, high, _ = wanted.get(name, none)
            had, until, _ = self._has.get(name, none)
            stale = self._stale.get(name, set())
            missing += (
                (name, one) for one in range(low, high) if not had <= one < until
            )
            useless = {*range(had, until), *stale}.difference(range(low, high))
            gone += ((name, one) for one in useless)
        # What becomes of no use from now on is a matter of the next save.
        self._pending = _Pending(version, dict(wanted), self._stale)
        self._stale = {}
        return missing, gone
