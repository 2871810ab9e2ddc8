"""
Whose turn it is in a cache: a lock for sections of a microsecond.

Taking `threading.Lock` and giving it back costs more than all that is done in between.
This is a list with one token: `pop` takes it, `append` gives it back, each one step
that no other thread can interrupt. Who finds it empty lets the others go on and tries
again; with sections this short that is rare, and soon over.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any, Final

from memguard._clock import give_way

__all__ = ("TRIES", "runs_in", "take_turn")

# Waits grow to a millisecond, so this is about a minute: longer than any section, even
# on a machine that hardly lets us run.
TRIES: Final = 60_000
_AT_ONCE: Final = 20
_PAUSE_S: Final = 0.000_05
_LONGEST_S: Final = 0.001


def take_turn(turn: list[None], tries: int = TRIES) -> bool:
    """
    Take the token, or False after so many *tries*. The caller does not hold it.
    """
    for tried in range(tries):
        try:
            turn.pop()
        except IndexError:
            late = tried - _AT_ONCE
            give_way(0.0 if late < 0 else min(_PAUSE_S * late, _LONGEST_S))
        else:
            return True
    return False


def runs_in(code: CodeType, self: Any) -> bool:
    """
    True where this thread stands inside a call of that method of *self*.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is code and frame.f_locals.get("self") is self:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
