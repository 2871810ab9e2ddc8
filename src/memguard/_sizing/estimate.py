"""
A cheap estimate of sizes: a running mean for each type, exact once in a while.
"""

from __future__ import annotations

from typing import Any, Final

from memguard._sizing.anatomy import own_bytes
from memguard._sizing.plans import FLAT, plan_of
from memguard._sizing.walk import sizeof

__all__ = ("Estimator",)

_FIRST: Final = 8  # measured exactly, to begin with
_EVERY: Final = 16  # then one of so many
_WEIGHT: Final = 1 / 8  # of a new figure in the mean
_TYPES: Final = 256  # more types than this share one mean
_NODES: Final = 2_000  # bound of one exact figure


class Estimator:
    """
    Bytes of values of few types, where exact figures would cost too much.

    Texts, numbers and bytes are always exact. Others are measured 1 time in 16 and
    taken as their type's mean in between, so the sum over many is right to a few per
    cent and a single figure may be far off. Two threads may lose an update between
    them: a mean is then an observation older.
    """

    __slots__ = ("_means",)

    def __init__(self) -> None:
        # Type by identity (a type must not be kept alive) to [seen, mean].
        self._means: dict[int, list[float]] = {}

    def weigh(self, value: Any) -> int:
        """
        Bytes of *value*, estimated.
        """
        plan = plan_of(type(value))
        if plan is FLAT:
            return own_bytes(value, plan)
        mean = self._mean_of(id(type(value)))
        seen = mean[0]
        mean[0] = seen + 1
        if seen >= _FIRST and seen % _EVERY:
            return int(mean[1])
        size = sizeof(value, limit=_NODES)
        weight = 1 / (seen + 1) if seen < _FIRST else _WEIGHT
        mean[1] += (size - mean[1]) * weight
        return size

    def _mean_of(self, kind: int) -> list[float]:
        mean = self._means.get(kind)
        if mean is None:
            if len(self._means) >= _TYPES:
                kind = 0
            mean = self._means.setdefault(kind, [0, 0.0])
        return mean
