"""
Who gives to whom under a budget, and how much. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memguard._records import record

__all__ = ("HYSTERESIS", "Row", "chunk_of", "due", "gift", "rebalance")

#: Bytes move when they are worth so many times as much elsewhere: less is noise.
HYSTERESIS: Final = 1.3

_KIB: Final = 1024
_CHUNK: Final = 64 * _KIB
_PERCENT: Final = 100
# A member is due a quarter of an equal share, whatever its price: with less it has no
# entries to show what more would be worth.
_DUE_SHARE: Final = 4


@record
class Row:
    """
    One member at one moment, in bytes; `due` is what nobody takes from it, `unused`
    what it does not need, not even to grow by a step.
    """

    allowance: int
    held: int
    unused: int
    due: int
    ceiling: int | None
    price: float

    @property
    def room(self) -> int:
        """
        How much more it may be allowed before its own cap is reached.
        """
        if self.ceiling is None:
            return 1 << 62
        return max(0, self.ceiling - self.allowance)

    @property
    def spare(self) -> int:
        """
        What may be taken from it.
        """
        return max(0, self.allowance - self.due)


def chunk_of(limit: int, members: int) -> int:
    """
    The step in which allowances grow: 64 KiB or 1 % of the limit, whichever is more,
    but never so much that a few would leave nothing to the others.
    """
    most = max(1, limit // (_DUE_SHARE * max(members, 1)))
    return max(1, min(max(_CHUNK, limit // _PERCENT), most))


def due(limit: int, members: int, floors: int, floor: int) -> int:
    """
    What one of so many members is due: its *floor*, and in any case a part of an equal
    share. *floors* is the sum of all floors; more than the limit, all are cut in
    proportion.
    """
    if floors > limit:
        return floor * limit // floors
    return max(floor, (limit - floors) // (_DUE_SHARE * max(members, 1)))


def gift(giver: Row, taker: Row, wanted: int, fair: int) -> int:
    """
    How many of the *wanted* bytes *giver* has to give to *taker*.

    What the giver does not use, it gives. What it uses goes to who pays clearly more,
    to who is below its due, and to who has not room for one single entry while the
    giver has more than its *fair* share.
    """
    wanted = min(wanted, taker.room, giver.spare)
    if wanted <= 0 or giver.price * HYSTERESIS < taker.price:
        return max(0, wanted)
    unused = min(wanted, giver.unused)
    owed = min(wanted, max(0, taker.due - taker.allowance))
    if wanted > taker.allowance and taker.allowance + wanted <= fair:
        owed = max(owed, min(wanted, giver.allowance - fair))
    return max(unused, owed)


def rebalance(rows: Sequence[Row], chunk: int) -> list[tuple[int, int]]:
    """
    What to change when time has passed: (index of a member, bytes more or less).

    What members do not use, but for one chunk to grow into, is freed. One chunk goes
    from the lowest price to the highest where that has use for it.
    """
    moves: list[tuple[int, int]] = []
    for at, row in enumerate(rows):
        unused = row.allowance - row.held - chunk
        if unused > 0:
            moves.append((at, -unused))
    full = [
        at
        for at, row in enumerate(rows)
        if row.room and row.held + chunk > row.allowance
    ]
    givers = [at for at, row in enumerate(rows) if row.spare and row.held]
    if full and givers:
        high = max(full, key=lambda at: rows[at].price)
        low = min(givers, key=lambda at: rows[at].price)
        if high != low and rows[low].price * HYSTERESIS < rows[high].price:
            moved = min(chunk, rows[low].spare, rows[high].room)
            moves += [(low, -moved), (high, moved)]
    return moves
