"""
Times loops next to each other: round by round in one process, and as ratios.

A machine that is slow for a while is slow for all of them, so a ratio is taken inside a
round, and the median of the rounds counts. Each loop is timed with code of its own: the
interpreter adapts code to what it calls, and what came first would have the advantage.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from statistics import median
from types import FunctionType
from typing import Any

__all__ = ("Figures", "Fresh", "Run", "alternate", "timed")

Run = Callable[[], float]

EMPTY = "empty"


def timed(loop: Any, subject: Any, *others: Any) -> Run:
    """
    A run of *loop*, a function that returns seconds, in a copy of its own.

    A `Fresh` subject is asked for in each round.
    """
    own = FunctionType(
        loop.__code__.replace(), loop.__globals__, loop.__name__, loop.__defaults__
    )
    if isinstance(subject, Fresh):
        return lambda: own(subject.get(), *others)
    return lambda: own(subject, *others)


class Fresh:
    """
    A subject that has to be fetched for each round.
    """

    def __init__(self, get: Callable[[], Any]) -> None:
        self.get = get


class Figures:
    """
    Seconds of every run in every round, the empty loop taken off.
    """

    def __init__(self, seconds: Mapping[str, list[float]], count: int) -> None:
        empty = seconds.get(EMPTY)
        self._count = count
        self._seconds = {
            name: [
                max(mine - (0.0 if empty is None else empty[number]), 1e-12)
                for number, mine in enumerate(rounds)
            ]
            for name, rounds in seconds.items()
            if name != EMPTY
        }

    @property
    def names(self) -> list[str]:
        return list(self._seconds)

    def each_ns(self, name: str) -> float:
        """
        Nanoseconds an operation.
        """
        return median(self._seconds[name]) / self._count * 1e9

    def ratio(self, name: str, peer: str) -> float:
        """
        How much longer *name* takes than *peer*.
        """
        return median(
            mine / other
            for mine, other in zip(
                self._seconds[name], self._seconds[peer], strict=True
            )
        )

    def best(self, name: str, peer: str) -> float:
        """
        How much longer *name* takes than *peer*, each in its best round.

        For a machine that is busy otherwise: all it does is add to single rounds.
        """
        return min(self._seconds[name]) / min(self._seconds[peer])


def alternate(runs: Mapping[str, Run], *, count: int, rounds: int = 31) -> Figures:
    """
    Call every run once a round, each round another one first; *count* operations a run.

    The run named "empty" is the loop without the operation.
    """
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for run in runs.values():
        run()
    gc.collect()
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(runs[name]())
    return Figures(seconds, count)
