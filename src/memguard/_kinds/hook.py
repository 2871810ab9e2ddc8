"""
Functions that want to be called at shutdown, in a phase of their choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from memguard._kinds.closers import is_coroutine
from memguard._kinds.ordering import to_phase
from memguard._phases import Phase
from memguard._settings import parse_duration
from memguard._tree import Branch, Node

__all__ = ("ShutdownHook",)


class ShutdownHook(Node):
    """
    One function, sync or async, called once in every shutdown.
    """

    __slots__ = ("_fn", "affinity", "awaits", "phase", "timeout")

    kind: ClassVar[str] = "hook"

    def __init__(
        self,
        owner: Branch,
        fn: Callable[[], Any],
        *,
        phase: Phase | str,
        timeout: float | str | None,
    ) -> None:
        if not callable(fn):
            msg = f"a shutdown hook must be callable, not a {type(fn).__qualname__}"
            raise TypeError(msg)
        super().__init__(owner, getattr(fn, "__qualname__", type(fn).__qualname__))
        self._fn: Callable[[], Any] | None = fn
        self.phase = to_phase(phase)
        self.timeout = (
            None if timeout is None else parse_duration(timeout, what="timeout")
        )
        self.awaits = is_coroutine(fn)
        self.affinity = "loop" if self.awaits else "any"

    def _disarm(self) -> Any:
        return None if self._fn is None else self._fn()

    def _release(self) -> Any:
        fn, self._fn = self._fn, None
        return None if fn is None else fn()
