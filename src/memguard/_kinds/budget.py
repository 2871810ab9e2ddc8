"""
One budget of bytes for all caches and shrinkable rings of a guard.

Each member has an allowance, and all allowances together are never more than the
limit. Who needs more than its allowance asks: it gets what is free, else what members
of a lower price give, who evict for it at once; else it evicts its own. Members are
called with no lock held. Longer than 300 lines because whoever asks, whoever gives and
time itself move the same bytes by the same prices.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, Final

from memguard._kinds.ledger import Ledger, Seat
from memguard._kinds.release import Released, release
from memguard._kinds.shares import HYSTERESIS, Row, chunk_of, due, gift, rebalance
from memguard._records import record
from memguard._registry import OTHER

__all__ = ("Budget", "BudgetSnapshot", "Share")

# A comparison of prices moves at most so many times the bytes that were asked for
# since the last one: fast enough to follow, slow enough for a put.
_MOVES: Final = 10
# Demand is asked for whenever this part of the limit has been turned over.
_STEPS_A_TURN: Final = 50
# Members looked at in one step; the others have their turn in the next ones.
_AT_ONCE: Final = 256
# Names that squeezes are counted under, then `other`.
_NAMES: Final = 100
_MEGABYTE: Final = 1_000_000


@record
class Share:
    """
    One member's part of the budget, in bytes.

    `price` is the seconds of loading that a megabyte more would save, in the fading
    past. `squeezed` bytes were evicted for others.
    """

    kind: str
    name: str
    allowance: int | None
    held: int
    price: float
    squeezed: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "allowance": self.allowance,
            "held": self.held,
            "price": float(f"{self.price:.6g}"),
            "squeezed": self.squeezed,
        }


@record
class BudgetSnapshot:
    """
    What caches and shrinkable rings may hold together, and who has how much of it.

    Bytes. `allowed` is the sum of all allowances, `held` what is held of that;
    `members` are those with the largest allowances.
    """

    limit: int | None
    allowed: int
    held: int
    members: tuple[Share, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "limit": self.limit,
            "allowed": self.allowed,
            "held": self.held,
            "members": [one.to_dict() for one in self.members],
        }


class Budget(Ledger):
    """
    The allowances of all members, and who gives when there is no more.

    *limit_of* is asked when a member first asks for bytes, and at `renew`; None is no
    limit, and then nobody has an allowance. *on_squeeze* is called when a member
    evicted for another: with its kind and name, and all the bytes of that name so far.
    *later* calls a function before long, or is False where nothing will.
    """

    __slots__ = (
        "_bar",
        "_later",
        "_limit_of",
        "_next",
        "_on_squeeze",
        "_stepped",
        "_takers",
        "_waits",
        "_work",
        "squeezed",
    )

    def __init__(
        self,
        limit_of: Callable[[], int | None],
        on_squeeze: Callable[[str, str, int], object] | None = None,
        later: Callable[[Callable[[], None]], bool] | None = None,
    ) -> None:
        super().__init__()
        self._limit_of = limit_of
        self._on_squeeze = on_squeeze
        self._later = later
        self._waits = False
        #: Bytes that members of a kind and name evicted for others.
        self.squeezed: dict[tuple[str, str], int] = {}
        # Bytes that members asked for when nothing was free: the work that makes old
        # counts fade.
        self._work = 0.0
        self._stepped = 0.0
        self._next = 0
        # Who pays no more than this would get nothing: what the last comparison said.
        self._bar = -1.0
        # Threads that are taking: what is evicted for them may run somebody's code,
        # which may put something somewhere.
        self._takers: set[int] = set()

    # -- the limit ---------------------------------------------------------------------

    @property
    def limit(self) -> int | None:
        """
        Bytes that all members may hold together; None without a limit.
        """
        return self._limit if self._is_known else self._limit_of()

    def renew(self) -> None:
        """
        Ask for the limit anew, as when settings were changed.
        """
        if self._is_known:
            limit = self._limit_of()
            if limit != self._limit:
                self.resize(limit)

    def resize(self, limit: int | None) -> None:
        """
        Another limit, now: over it members give at once, those of low price first.
        """
        held = {id(one): one.memory_bytes() or 0 for one in self.members()}
        self._locked(self._set_limit, limit, held)
        if limit is None or self.given <= limit:
            return
        rows = self._rows(list(self._seats.values()))
        for seat, row in sorted(rows.items(), key=giving_order):
            part = min(row.spare, self.given - limit)
            if part > 0:
                # The allowance goes in any case; what it could not evict now, its own
                # puts will.
                taken = self._withdraw(seat, part)
                taken += self._locked(self._lower, seat, part - taken)
                self._locked(self._deposit, None, taken)

    # -- asking ------------------------------------------------------------------------

    def serve(self, seat: Seat, nbytes: int, wanted: int) -> bool:
        """
        Find room for *nbytes* more in *seat*; *wanted* is what it has asked for lately.

        The member's own `shrink` is never called, other members' may be.
        """
        ident = get_ident()
        if self._is_inside():
            return False
        if not self._is_known:
            self.resize(self._limit_of())
        limit = self._limit
        if limit is None:
            return True
        chunk = chunk_of(limit, len(self._seats))
        got: int = self._locked(self._give, seat, max(chunk, nbytes))
        if got >= nbytes or ident in self._takers:
            return got > 0
        self._work += wanted
        if not self._waits and self._later is not None:
            self._waits = self._later(self._step_later)
        self._takers.add(ident)
        try:
            if (self._work - self._stepped) * _STEPS_A_TURN >= limit:
                self._stepped = self._work
                self._listen()
            most = max(nbytes, min(chunk, _MOVES * wanted))
            return self._take(seat, nbytes, most - got) or got > 0
        finally:
            self._takers.discard(ident)

    def _take(self, taker: Seat, nbytes: int, amount: int) -> bool:
        """
        Let others give up to *amount* to *taker*, in the order of their price.
        """
        limit = self._limit or 0
        mine = self._rows([taker])[taker]
        if mine.price <= self._bar and mine.allowance >= max(mine.due, nbytes):
            return False
        rows = self._rows([seat for seat in self._some() if seat is not taker])
        fair = limit // max(1, len(self._seats))
        amount = min(amount, mine.room)
        got = 0
        for seat, row in sorted(rows.items(), key=_unused_first):
            part = gift(row, mine, amount - got, fair)
            if part:
                got += self._move(seat, taker, part)
                if got >= amount:
                    break
        if not got:
            prices = [row.price for row in rows.values() if row.spare]
            self._bar = min(prices, default=float("inf")) * HYSTERESIS
        return got > 0

    def _move(self, giver: Seat, taker: Seat, nbytes: int) -> int:
        """
        From one allowance to the other, by what the giver could evict for it.
        """
        before = giver.member.memory_bytes() or 0
        taken = self._withdraw(giver, nbytes)
        if not taken:
            return 0
        freed = before - (giver.member.memory_bytes() or 0)
        if freed > 0:
            giver.squeezed += freed
            self._count_squeeze(giver, freed)
        # Where the taker left meanwhile the bytes are free.
        return taken if self._locked(self._deposit, taker, taken) else 0

    def _count_squeeze(self, giver: Seat, freed: int) -> None:
        key = kind_of(giver), giver.member.label
        if key not in self.squeezed and len(self.squeezed) >= _NAMES:
            key = key[0], OTHER
        total = self.squeezed[key] = self.squeezed.get(key, 0) + freed
        if self._on_squeeze is not None:
            self._on_squeeze(*key, total)

    def _withdraw(self, giver: Seat, nbytes: int) -> int:
        """
        Take from an allowance what its member does not use, or can evict at once.
        """
        member = giver.member
        part: int = self._locked(self._lower, giver, nbytes)
        if part:
            over = (member.memory_bytes() or 0) - (member.allowance or 0)
            if over > 0:
                member.shrink(over)
                over = (member.memory_bytes() or 0) - (member.allowance or 0)
            left = min(part, max(0, over))
            if left:
                self._locked(self._deposit, giver, left)
            part -= left
        return part

    # -- under pressure ----------------------------------------------------------------

    def release(
        self, nbytes: int, deadline: float | None = None, **tools: Any
    ) -> Released:
        """
        Let members evict *nbytes*, those of low priority first, then of low price; see
        `memguard._kinds.release`.
        """
        return release(self, nbytes, deadline, **tools)

    def worth(self) -> list[tuple[int, float, Seat]]:
        """
        Priority and price of each member.
        """
        rows = self._rows(list(self._seats.values()))
        return [(seat.member.priority, row.price, seat) for seat, row in rows.items()]

    def price_of(self, seat: Seat) -> float:
        """
        The price of now.
        """
        member = seat.member
        held = member.memory_bytes() or 0
        return seat.appraisal.price(held, member.priority, self._turns())

    def give_back(self, seat: Seat, nbytes: int) -> int:
        """
        Let a member evict up to *nbytes*, but none below its floor; the bytes evicted.
        """
        member = seat.member
        held = member.memory_bytes() or 0
        part = min(nbytes, held - seat.floor)
        if part <= 0:
            return 0
        if member.allowance is None:
            return member.shrink(part)
        # Down to what it will hold, so that it does not grow again by itself.
        taken = self._withdraw(seat, max(0, member.allowance - held) + part)
        self._locked(self._deposit, None, taken)
        return max(0, held - (member.memory_bytes() or 0))

    # -- time --------------------------------------------------------------------------

    def _step_later(self) -> None:
        # Goes off once: the next one is asked for when somebody finds no room again.
        self._waits = False
        self.step()

    def step(self) -> None:
        """
        Follow the load where nobody asks: for a timer. Members may evict in here.
        """
        ident = get_ident()
        limit = self._limit
        if limit is None or self._is_inside() or ident in self._takers:
            return
        self._takers.add(ident)
        try:
            if self.is_full:
                self._listen()
            rows = self._rows(self._some())
            seats = list(rows)
            moves = rebalance(list(rows.values()), chunk_of(limit, len(self._seats)))
            for at, change in moves:
                if change < 0:
                    taken = self._withdraw(seats[at], -change)
                    self._locked(self._deposit, None, taken)
                else:
                    self._locked(self._give, seats[at], change)
        finally:
            self._takers.discard(ident)

    def _listen(self) -> None:
        """
        Ask members for their demand.
        """
        self._bar = -1.0
        self._next += _AT_ONCE
        turns = self._turns()
        for seat in self._some():
            seat.appraisal.add(seat.member.demand(), turns)

    def _some(self) -> list[Seat]:
        """
        All of them, or as many as may be looked at in the course of a put.
        """
        seats = list(self._seats.values())
        if len(seats) <= _AT_ONCE:
            return seats
        start = self._next % len(seats)
        chosen = seats[start : start + _AT_ONCE]
        return chosen + seats[: _AT_ONCE - len(chosen)]

    def _turns(self) -> float:
        return self._work / max(self._limit or 1, 1)

    # -- reading -----------------------------------------------------------------------

    def _rows(self, seats: list[Seat]) -> dict[Seat, Row]:
        limit, members, floors = self._limit or 0, len(self._seats), self._floors
        chunk = chunk_of(limit, members)
        turns = self._turns()
        rows = {}
        for seat in seats:
            member = seat.member
            held = member.memory_bytes() or 0
            allowance = member.allowance or 0
            ceiling = member.ceiling_bytes
            least = due(limit, members, floors, seat.floor)
            rows[seat] = Row(
                allowance=allowance,
                held=held,
                unused=max(0, allowance - held - chunk),
                due=least if ceiling is None else min(least, ceiling),
                ceiling=ceiling,
                price=seat.appraisal.price(held, member.priority, turns),
            )
        return rows

    def shares(self, most: int = 100) -> tuple[Share, ...]:
        """
        What each member has now: the *most* of them with the largest allowances.
        """
        seats = list(self._seats.values())
        if len(seats) > most:
            seats.sort(key=lambda one: one.member.allowance or 0, reverse=True)
            del seats[most:]
        shares = [
            Share(
                kind=kind_of(seat),
                name=seat.member.label,
                allowance=seat.member.allowance,
                held=row.held,
                price=row.price * _MEGABYTE,
                squeezed=seat.squeezed,
            )
            for seat, row in self._rows(seats).items()
        ]
        shares.sort(key=lambda one: (one.allowance or 0, one.held), reverse=True)
        return tuple(shares)

    def snapshot(self, most: int = 100) -> BudgetSnapshot:
        """
        The whole, and the *most* members with the largest allowances.
        """
        held = sum(one.memory_bytes() or 0 for one in self.members())
        return BudgetSnapshot(self.limit, self.given, held, self.shares(most))

    @property
    def is_used(self) -> bool:
        """
        True once somebody has asked for bytes, and the limit is known.
        """
        return self._is_known


def kind_of(seat: Seat) -> str:
    return getattr(seat.member, "kind", "member")


def _unused_first(item: tuple[Seat, Row]) -> tuple[bool, float]:
    """
    Who has something to give for nothing, then the lowest price.
    """
    row = item[1]
    return not row.unused, row.price


def giving_order(item: tuple[Seat, Row]) -> tuple[int, float]:
    """
    Under pressure: low priority, then low price.
    """
    seat, row = item
    return seat.member.priority, row.price
