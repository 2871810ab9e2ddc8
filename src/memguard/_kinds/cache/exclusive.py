"""
A container that one thread at a time changes, with the lock of `turn`.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

from memguard._kinds.cache.turn import TRIES, is_taken, new_turn, pause
from memguard._kinds.container import Container
from memguard._tree import Branch
from memguard.errors import ScopeClosed

__all__ = ("Exclusive",)

_T = TypeVar("_T")


class Exclusive(Container):
    """
    A container whose locked sections are short enough for a turn.
    """

    __slots__ = ("_turn",)

    def __init__(self, owner: Branch, name: str) -> None:
        super().__init__(owner, name)
        self._turn = new_turn()

    def _mend(self) -> None:
        """
        Set the books right after an exception in the middle of a change. Lock held.
        """
        raise NotImplementedError

    def _locked(self, step: Callable[..., _T], *arguments: Any) -> _T:
        """
        Call *step*, which is memguard's own code, while nobody else is inside.

        The caller has asked `_is_inside` first.
        """
        registry = self.registry
        if registry.detached:
            # A thread of the parent process may have been inside at the fork.
            raise ScopeClosed(self._ended_text())
        # A child that is forked in the middle has another turn: this one is kept.
        me, turn = get_ident(), self._turn
        for tried in range(TRIES):
            try:
                del turn[1]
            except IndexError:
                pause(tried)
                continue
            # Nothing can come between these lines: none of them makes a call.
            self._holder = me
            try:
                result = step(*arguments)
                break
            except BaseException:
                self._mend()
                raise
            finally:
                self._holder = 0
                turn.append(None)
        else:
            msg = (
                f"cache {self.label!r}: a thread has been changing it for a minute; it"
                " was stopped in the middle, perhaps by a debugger"
            )
            raise TimeoutError(msg)
        if self._later is not None:
            self._catch_up()
        return result

    def _is_inside(self) -> bool:
        return is_taken(self._turn) and self._is_mine()

    def _is_mine(self) -> bool:
        """
        True where this thread is the one that is inside.
        """
        return self._holder == get_ident()

    def _renew_turn(self) -> bool:
        """
        A turn that nobody has, in a forked child; whether a thread of the parent was
        inside at the fork.
        """
        was_taken = is_taken(self._turn)
        self._turn = new_turn()
        self._holder = 0
        return was_taken
