"""
When a timer is due. Pure, but for the default source of randomness.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from memguard._settings import parse_duration

if TYPE_CHECKING:
    from memguard.typing import Duration

__all__ = ("checked_jitter", "checked_periods", "missed_periods", "uniform")

_SHORTEST_S: Final = 0.001


def missed_periods(late: float, every: float) -> int:
    """
    How many whole periods have gone by for a call that is *late* by so many seconds.

    The call after those is due in the future, by at most one period.
    """
    return max(0, math.floor(late / every))


def checked_periods(
    every: Duration | None, after: Duration | None
) -> tuple[float | None, float | None]:
    if (every is None) == (after is None):
        msg = (
            "a timer needs either `every` (call it again and again) or `after` (call it"
            " once), and not both"
        )
        raise ValueError(msg)
    if after is not None:
        return None, parse_duration(after, what="after")
    assert every is not None
    period = parse_duration(every, what="every")
    if period < _SHORTEST_S:
        msg = f"every must be at least 1 ms, not {every!r}"
        raise ValueError(msg)
    return period, None


def checked_jitter(jitter: float, *, repeats: bool) -> float:
    if isinstance(jitter, bool) or not isinstance(jitter, (int, float)):
        msg = f"jitter must be a number, not a {type(jitter).__qualname__}"
        raise TypeError(msg)
    if not 0 <= jitter <= 1:
        msg = f"jitter is a fraction of `every`, from 0 to 1, not {jitter!r}"
        raise ValueError(msg)
    if jitter and not repeats:
        msg = "jitter is a fraction of `every`; a timer with `after` has none"
        raise ValueError(msg)
    return float(jitter)


def uniform() -> float:
    # Neither the sequence of the application's seed, nor the same in every worker.
    import random

    return random.SystemRandom().random()
