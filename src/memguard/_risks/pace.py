"""
Long work in short slices, so that nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from memguard._clock import give_way

__all__ = ("Pace",)

_SLICE_S = 0.0004
# Not 0: who only lets go of the interpreter's lock mostly gets it back at once.
_PAUSE_S = 0.00001


class Pace:
    """
    Lets other threads run whenever a slice is over. `step` is called between things.
    """

    __slots__ = ("_end", "_pause", "_pause_s", "_slice_s")

    def __init__(
        self,
        slice_s: float = _SLICE_S,
        *,
        pause: Callable[[float], object] = give_way,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._slice_s = slice_s
        self._pause = pause
        self._pause_s = pause_s
        self._end = perf_counter() + slice_s

    def step(self) -> None:
        """
        Give way if it is time to.
        """
        if perf_counter() >= self._end:
            self._pause(self._pause_s)
            self._end = perf_counter() + self._slice_s
