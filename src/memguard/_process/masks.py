"""
Signals that wait while a thread forks.

Until its fork hooks have run a child shares the pipe of its parent, and the C part of
the interpreter writes there before anybody could stop it: a child that is signalled at
its birth would stop its parent. So the signals that are hooked are blocked in the
forking thread, and in its child, until the child has a pipe of its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from threading import get_ident
from typing import Final

__all__ = ("hold_while_forking",)


class _Masks:
    """
    Which signals are held, and the masks of the threads that fork at this moment.
    """

    def __init__(self) -> None:
        self.held: frozenset[int] = frozenset()
        self._masks: dict[int, set[signal.Signals]] = {}
        self._registered = False

    def register(self) -> None:
        if not self._registered and hasattr(os, "register_at_fork"):
            # It cannot be undone; without signals to hold it does nothing.
            self._registered = True
            os.register_at_fork(
                before=self._hold,
                after_in_parent=self._let_go,
                after_in_child=self._let_go,
            )

    def _hold(self) -> None:
        if self.held:
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, self.held)
            self._masks[get_ident()] = mask  # type: ignore[assignment]

    def _let_go(self) -> None:
        mask = self._masks.pop(get_ident(), None)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


_masks: Final = _Masks()


def hold_while_forking(numbers: Iterable[int]) -> None:
    """
    Hold these signals around every fork from now on; an empty one holds none.

    To be called after the hook that renews the handlers in a child was registered.
    """
    _masks.held = frozenset(numbers)
    _masks.register()
