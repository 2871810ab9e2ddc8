"""
What a cache is to a budget that it shares with others.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from memguard._kinds.cache.capping import Capping
from memguard._kinds.cache.cells import value_of
from memguard._kinds.cache.options import Options
from memguard._kinds.cache.shadow import Shadow
from memguard._kinds.cache.store import OVERHEAD
from memguard._kinds.cache.trust import key_of
from memguard._kinds.demand import IDLE, Demand
from memguard._phases import CLOSING
from memguard._tree import Branch

__all__ = ("ASK", "Sharing")

# Entries of each end that are weighed to know about all of them.
_SOME: Final = 24
# Where nothing has been weighed yet.
_GUESS: Final = 200.0


class Asked(Protocol):
    """
    The place of a cache under a budget.
    """

    def waits(self, nbytes: int) -> bool:
        """
        True if an entry of *nbytes* that finds no room need not ask.
        """

    def ask(self, nbytes: int) -> bool:
        """
        An entry of *nbytes* finds no room: True if the allowance grew meanwhile.
        """


#: In place of who left: ask the budget first.
ASK: Final = ("ask",)


class Sharing(Capping):
    """
    Entries within caps, and within what a budget allows.
    """

    __slots__ = (
        "_each",
        "_load_seconds",
        "_misses",
        "_told",
        "_weighed_at",
        "seat",
    )

    rationed = True

    def __init__(self, owner: Branch, name: str, options: Options) -> None:
        super().__init__(owner, name, options)
        self._misses = 0
        self._load_seconds = 0.0
        #: Its place under a budget, if there is one.
        self.seat: Asked | None = None
        # Misses and seconds at the last `demand`.
        self._told = 0, 0.0
        # Of unweighed entries: the mean weight, and how many came until it was taken.
        self._each = _GUESS
        self._weighed_at = -1

    # -- how much ----------------------------------------------------------------------

    def memory_bytes(self) -> int:
        """
        Bytes of keys and values, and about what it takes to hold them.

        With a weigher of the user's: what that said.
        """
        return self.content_bytes() + OVERHEAD * len(self._engine.table)

    def content_bytes(self) -> int:
        """
        What keys and values weigh: their sum where each is weighed, else estimated
        from some of the oldest and some of the newest. Runs `__sizeof__`, no lock held.
        """
        if self._weighs:
            return self._weight
        self._weigh_some()
        return int(self._each * len(self._engine.table))

    def _weigh_some(self) -> None:
        entries = len(self._engine.table)
        came = entries + self._evicted + self._replaced
        if entries > 2 * _SOME and abs(came - self._weighed_at) <= entries // 4:
            return
        some = self._some()
        if some:
            self._weighed_at = came
            weigh = self._weights.of
            total = sum(weigh(key, value, self._failed) for key, value in some)
            self._each = total / len(some)

    def _some(self) -> list[tuple[Any, Any]]:
        """
        Some entries, old and new ones.
        """

        def step() -> list[tuple[Any, Any]]:
            table = self._engine.table
            held = [(one, table[one]) for one in self._engine.some(_SOME)]
            return [
                (
                    key_of(one),
                    value_of(what),
                )
                for one, what in held
            ]

        if self._is_inside() or self.registry.detached:
            return []
        return self._locked(step)

    # -- what a budget asks ------------------------------------------------------------

    @property
    def allowance(self) -> int | None:
        """
        Bytes it may hold, by the budget; None without one.
        """
        return self._allowance

    @allowance.setter
    def allowance(self, nbytes: int | None) -> None:
        # May be set with a lock held: arithmetic, nothing else.
        self._allowance = nbytes
        self._share_out()

    def _share_out(self) -> None:
        most, allowance = self._max_entries, self._allowance
        if allowance is not None and not self._weighs and most is not None:
            most = min(most, max(1, int(allowance / (self._each + OVERHEAD))))
        self._most = most
        self._engine.credit = 0

    @property
    def ceiling_bytes(self) -> int | None:
        """
        What it can hold by its own cap in bytes, with about what it takes to hold that.
        """
        limit = self._max_bytes
        if limit is None:
            return None
        # Its own cap has to be reached first, or it would ask for ever.
        return limit + OVERHEAD * (2 * len(self._engine.table) + _SOME)

    def demand(self) -> Demand:
        """
        What happened since the last call. With the first it begins to look.
        """
        if self._is_inside() or self.registry.detached:
            return IDLE
        return self._locked(self._take_demand)

    def _take_demand(self) -> Demand:
        engine = self._engine
        entries = len(engine.table)
        shadow = engine.shadow
        if shadow is None or entries > 2 * shadow.entries:
            engine.shadow = Shadow(entries)
            engine.credit = 0
        misses, seconds = self._told
        self._told = self._misses, self._load_seconds
        return Demand(
            marginal_hits=() if shadow is None else shadow.take(),
            load_seconds=self._load_seconds - seconds,
            misses=self._misses - misses,
        )

    # -- what it asks ------------------------------------------------------------------

    def _ask(self, weight: int) -> None:
        seat = self.seat
        if seat is None or self._allowance is None:
            return
        if not self._weighs:
            most = self._most or 0
            if len(self._engine.table) >= most < (self._max_entries or 0):
                self._ask_for_more()
        elif not self._has_room(weight) and self._is_allowed(weight):
            seat.ask(weight + OVERHEAD)

    def _is_allowed(self, weight: int) -> bool:
        """
        True where its own caps would let this weight in.
        """
        most, limit = self._max_entries, self._max_bytes
        return (most is None or len(self._engine.table) < most) and (
            limit is None or self._weight + weight <= limit
        )

    def _should_ask(self) -> bool:
        """
        True where the budget may have more. Lock held.
        """
        seat = self.seat
        return seat is not None and not seat.waits(int(self._each) + OVERHEAD)

    def _ask_for_more(self) -> None:
        self._weigh_some()
        seat = self.seat
        if seat is not None:
            seat.ask(int(self._each) + OVERHEAD)
        self._share_out()

    def shrink(self, nbytes: int) -> int:
        """
        Give *nbytes* back under pressure, the least used first, but none below
        `floor_bytes`; returns the bytes that were given.
        """
        if self._is_inside() or self.state >= CLOSING or self.registry.detached:
            return 0
        before = self.content_bytes()
        target = max(self.floor_bytes, before - nbytes)
        if self._weighs:
            return self._evict("pressure", lambda: self._weight <= target)
        entries = len(self._engine.table)
        if not entries or target >= before:
            return 0
        each = before / entries
        stay = int(target / each)
        self._evict("pressure", lambda: len(self._engine.table) <= stay, stay)
        # Others may have put something meanwhile.
        return max(0, int((entries - len(self._engine.table)) * each))
