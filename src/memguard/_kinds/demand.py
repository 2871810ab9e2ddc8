"""
What lives under a guard's budget: how much it holds, what more room would be worth.

A cache remembers for a while what it evicted. A miss that finds its key there tells
that more room would have made it a hit, and how much: the *age*, how many have been
evicted since, as a share of what is held.
"""

from __future__ import annotations

from typing import Final, Protocol

from memguard._records import record

__all__ = ("DEPTHS", "IDLE", "Demand", "Member")

#: Ages, as shares of the entries held, up to which marginal hits are counted. The
#: first is the slope here and now; the others see a step that lies further on, as
#: where a loop over many keys begins to fit all at once.
DEPTHS: Final = (0.1, 0.3, 1.0)


@record
class Demand:
    """
    What happened since the last question.

    `marginal_hits` are misses that so much more room, a share of DEPTHS, would have
    made hits: the first of them, or one for each depth, each including those before.
    `load_seconds` is what all the misses cost; 0 where nobody can tell.
    """

    marginal_hits: tuple[int, ...] = ()
    load_seconds: float = 0.0
    misses: int = 0


IDLE: Final = Demand()


class Member(Protocol):
    """
    Something that shares a budget. None of its methods is called with a lock held.
    """

    #: Bytes it may hold, by the budget; None before it joined.
    allowance: int | None

    @property
    def label(self) -> str:
        """
        The name for people and metrics; it must come from the code.
        """

    @property
    def priority(self) -> int:
        """
        Each step up doubles what its bytes are worth; under pressure it gives later.
        """

    @property
    def floor_bytes(self) -> int:
        """
        What it keeps in any case.
        """

    @property
    def ceiling_bytes(self) -> int | None:
        """
        Its own cap: more than that is of no use to it.
        """

    def memory_bytes(self) -> int | None:
        """
        Bytes held now, weighed as its allowance is.
        """

    def shrink(self, nbytes: int) -> int:
        """
        Give *nbytes* back, the least useful first; the bytes that were given.
        """

    def demand(self) -> Demand:
        """
        What happened since the last call.
        """
