"""
What a member's bytes are worth: marginal hits x cost of a miss / bytes. Pure.

Counts fade with the work done under the budget, and not with time: half as much after
the whole limit has been turned over twice. So a shift of the load is followed, while a
quiet night changes nothing.
"""

from __future__ import annotations

from typing import Final

from memguard._kinds.demand import DEPTHS, Demand

__all__ = ("UNKNOWN_COST_S", "Appraisal")

#: What a miss costs where nobody measures it, in seconds.
UNKNOWN_COST_S: Final = 1e-3
# Half of a count is forgotten when the limit has been turned over so many times.
_TURNS: Final = 2.0
# Beyond this, a priority is no more than "before all others".
_STEPS: Final = 32


class Appraisal:
    """
    The faded counts of one member.
    """

    __slots__ = ("_hits", "_misses", "_seconds", "_turns")

    def __init__(self) -> None:
        self._hits = [0.0] * len(DEPTHS)
        self._misses = 0.0
        self._seconds = 0.0
        self._turns = 0.0

    def add(self, demand: Demand, turns: float) -> None:
        """
        Take in what happened until the budget had turned over *turns* times.
        """
        kept = 0.5 ** (max(0.0, turns - self._turns) / _TURNS)
        self._turns = max(turns, self._turns)
        marginal = demand.marginal_hits
        for at in range(len(DEPTHS)):
            new = marginal[min(at, len(marginal) - 1)] if marginal else 0
            self._hits[at] = self._hits[at] * kept + new
        self._misses = self._misses * kept + demand.misses
        self._seconds = self._seconds * kept + demand.load_seconds

    def cost(self) -> float:
        """
        Seconds that a miss costs.
        """
        if self._seconds <= 0.0 or self._misses <= 0.0:
            return UNKNOWN_COST_S
        return self._seconds / self._misses

    def price(self, nbytes: int, priority: int, turns: float) -> float:
        """
        Seconds of loading that a byte more would save, of *nbytes* held now.

        The depth that promises most counts: a member takes many steps if it must to
        get there. Dividing by the bytes of now, and not by those of the time of the
        hits, damps the swing of what has just been given or taken.
        """
        kept = 0.5 ** (max(0.0, turns - self._turns) / _TURNS)
        best = max(hits / depth for hits, depth in zip(self._hits, DEPTHS, strict=True))
        steps = max(-_STEPS, min(_STEPS, priority))
        return float(best * kept * self.cost() * 2.0**steps / max(nbytes, 1))
