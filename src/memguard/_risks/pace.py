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

    __slots__ = ("_end", "_pause", "step_s")

    def __init__(
        self,
        step_s: float = _SLICE_S,
        pause: Callable[[float], object] = give_way,
    ) -> None:
        self.step_s = step_s
        self._pause = pause
        self._end = perf_counter() + step_s

    def step(self) -> None:
        """
        Give way if it is time to.
        """
        if perf_counter() >= self._end:
            self._pause(_PAUSE_S)
            self._end = perf_counter() + self.step_s
