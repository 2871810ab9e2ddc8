"""
Who has how many bytes of a budget: seats, allowances, and their one sum.

The lock is held for a few additions, and never while a member is called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final

from memguard._kinds.demand import Member
from memguard._kinds.prices import Appraisal
from memguard._kinds.shares import chunk_of

__all__ = ("Ledger", "Seat")

# Puts beyond the allowance between two comparisons of prices, at most.
_PUTS: Final = 64
# A comparison is due after this part of a chunk, too.
_PART: Final = 10
_ENDLESS: Final = 1 << 62


class Seat:
    """
    A member's place under the budget. The member calls `ask`, with no lock held.
    """

    __slots__ = (
        "_asked",
        "_ledger",
        "_refused",
        "_wanted",
        "appraisal",
        "floor",
        "member",
        "squeezed",
    )

    def __init__(self, ledger: Ledger, member: Member) -> None:
        self._ledger = ledger
        self.member = member
        self.appraisal = Appraisal()
        self.floor = max(0, member.floor_bytes)
        self._asked = 0
        self._wanted = 0
        # True where the last question was in vain: then the next one can wait.
        self._refused = False
        #: Bytes that it evicted for others.
        self.squeezed = 0

    def waits(self, nbytes: int) -> bool:
        """
        True if an entry of *nbytes* that finds no room need not ask: evict one's own.

        Counts it. Arithmetic only, so it may be called with a lock held.
        """
        ledger = self._ledger
        self._asked += 1
        self._wanted += nbytes
        return (
            (ledger.is_full or self._refused)
            and self._asked < _PUTS
            and self._wanted < ledger.patience
            and nbytes <= (self.member.allowance or 0)
        )

    def ask(self, nbytes: int) -> bool:
        """
        An entry of *nbytes* finds no room: True if the allowance grew meanwhile.

        False: evict, or refuse what is heavier than the allowance. Mostly a few
        additions; now and then others evict for it here and now.
        """
        if self.waits(nbytes):
            return False
        wanted, self._wanted, self._asked = self._wanted, 0, 0
        self._refused = not self._ledger.serve(self, nbytes, wanted)
        return not self._refused


class Ledger:
    """
    Allowances whose sum, with what is just being moved, is `given`.
    """

    __slots__ = (
        "__weakref__",
        "_floors",
        "_holder",
        "_is_known",
        "_limit",
        "_lock",
        "_moving",
        "_seats",
        "given",
        "is_full",
        "patience",
    )

    def __init__(self) -> None:
        # Re-entrant, because a collection inside a locked section may run a destructor
        # that closes or makes a cache.
        self._lock = threading.RLock()
        self._holder = 0
        self._limit: int | None = None
        # False until somebody needs the limit.
        self._is_known = False
        self._seats: dict[int, Seat] = {}
        self._floors = 0
        self._moving = 0
        #: The sum of all allowances, and of what is on its way between two.
        self.given = 0
        #: True where nothing is free.
        self.is_full = False
        #: Bytes that may be asked for in vain before prices are compared again.
        self.patience = 0

    def serve(self, seat: Seat, nbytes: int, wanted: int) -> bool:
        """
        Find room for *nbytes* more in *seat*; *wanted* is what it has asked for lately.
        """
        raise NotImplementedError

    # -- who is here -------------------------------------------------------------------

    def join(self, member: Member) -> Seat:
        """
        A place for *member*, whose allowance is what it holds already.
        """
        seat = Seat(self, member)
        self._locked(self._enter, seat, member.memory_bytes() or 0)
        return seat

    def _enter(self, seat: Seat, held: int) -> None:
        if self._is_known and self._limit is None:
            seat.member.allowance = None
        else:
            if self._limit is not None:
                held = max(0, min(held, self._limit - self.given))
            seat.member.allowance = held
            self.given += held
        self._seats[id(seat.member)] = seat
        self._floors += seat.floor
        self._recount()

    def leave(self, member: Member) -> None:
        """
        What *member* had is free now. Leaving twice does nothing.
        """
        self._locked(self._go, member)

    def _go(self, member: Member) -> None:
        seat = self._seats.pop(id(member), None)
        if seat is not None:
            self._floors -= seat.floor
            self.given -= member.allowance or 0
            self._recount()

    def members(self) -> list[Member]:
        """
        Who shares the budget now.
        """
        return [seat.member for seat in list(self._seats.values())]

    def _is_here(self, seat: Seat) -> bool:
        return seat.member.allowance is not None and id(seat.member) in self._seats

    # -- changes, all of them under the lock -------------------------------------------

    def _set_limit(self, limit: int | None, held: dict[int, int]) -> None:
        """
        From now on this limit. Who had no allowance gets what it holds.
        """
        self.given = self._moving
        for seat in list(self._seats.values()):
            member = seat.member
            if limit is None:
                member.allowance = None
            else:
                if member.allowance is None:
                    member.allowance = held.get(id(member), 0)
                self.given += member.allowance
        self._limit, self._is_known = limit, True
        self._recount()

    def _give(self, seat: Seat, most: int) -> int:
        """
        Give up to *most* of what is free.
        """
        member = seat.member
        if self._limit is None or not self._is_here(seat):
            return 0
        assert member.allowance is not None
        room = min(most, self._limit - self.given)
        if member.ceiling_bytes is not None:
            room = min(room, member.ceiling_bytes - member.allowance)
        if room <= 0:
            return 0
        member.allowance += room
        self.given += room
        self._recount()
        return room

    def _lower(self, seat: Seat, nbytes: int) -> int:
        """
        Take from an allowance; it counts as given until `_deposit`.
        """
        if not self._is_here(seat):
            return 0
        member = seat.member
        assert member.allowance is not None
        part = min(nbytes, member.allowance)
        member.allowance -= part
        self._moving += part
        return part

    def _deposit(self, seat: Seat | None, nbytes: int) -> bool:
        """
        To the allowance of *seat*; False if that is None or left: then it is free.
        """
        self._moving -= nbytes
        if seat is not None and self._is_here(seat):
            assert seat.member.allowance is not None
            seat.member.allowance += nbytes
            return True
        self.given -= nbytes
        self._recount()
        return False

    def _recount(self) -> None:
        limit = self._limit
        if limit is None:
            self.is_full = self._is_known
            self.patience = _ENDLESS
        else:
            self.patience = max(1, chunk_of(limit, len(self._seats)) // _PART)
            self.is_full = self.given >= limit

    def _locked(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """
        Call *step*, a few additions, with the lock held.
        """
        with self._lock:
            outer, self._holder = self._holder, get_ident()
            try:
                return step(*arguments)
            finally:
                self._holder = outer

    def _is_inside(self) -> bool:
        """
        True in a destructor that runs in the middle of our own locked section.
        """
        return self._holder == get_ident()
