"""
Whose turn it is in a cache: a lock for sections of a microsecond.

Taking `threading.Lock` and giving it back costs more than all that is done in between.
This is a list with two elements: `del turn[1]` takes the turn, `append` gives it back,
each one step that no other thread can interrupt. Who finds it taken lets the others go
on and tries again; with sections this short that is rare, and soon over.

It is taken with `del`, which is no call: after a call the interpreter may run a signal
handler or a collection, and what a handler raised there would keep the turn for ever.
The first element stays, so that the list never gives its memory back or asks for more.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any, Final, TypeAlias

from memguard._clock import give_way

__all__ = ("TRIES", "Turn", "is_taken", "new_turn", "pause", "runs_in")

Turn: TypeAlias = "list[None]"

# Waits grow to a millisecond, so this is about a minute: longer than any section, even
# on a machine that hardly lets us run.
TRIES: Final = 60_000
_AT_ONCE: Final = 20
_PAUSE_S: Final = 0.000_05
_LONGEST_S: Final = 0.001


def new_turn() -> Turn:
    """
    A turn that nobody has taken.
    """
    return [None, None]


def is_taken(turn: Turn) -> bool:
    """
    True while somebody has it.
    """
    return len(turn) < 2


def pause(tried: int) -> None:
    """
    Let others go on, after so many attempts to take the turn.
    """
    late = tried - _AT_ONCE
    give_way(0.0 if late < 0 else min(_PAUSE_S * late, _LONGEST_S))


def runs_in(code: CodeType, self: Any, name: str) -> bool:
    """
    True where this thread stands inside a call of that method of *self*, between the
    lines that give the local variable *name* a value and that delete it.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is code:
            variables = frame.f_locals
            if variables.get("self") is self and name in variables:
                return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
