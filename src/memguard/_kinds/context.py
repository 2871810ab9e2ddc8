"""
Entered context managers: held strongly, left when their scope closes.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, ClassVar
from weakref import ref

from memguard._kinds.closers import running_loop
from memguard._phases import PLAIN, Ending, Phase
from memguard._tree import Branch, Node

__all__ = ("Entered",)


class Entered(Node):
    """
    One entered context manager, sync or async.

    It is left with no exception, whatever ended the scope: other things of the scope
    close before it, and the exception has its own way up.
    """

    __slots__ = ("_manager", "affinity", "awaits", "loop")

    kind: ClassVar[str] = "context"
    phase = Phase.CLIENTS
    # A task group or a cancel scope refuses to be left by another task.
    same_task: ClassVar[bool] = True

    def __init__(
        self,
        owner: Branch,
        manager: AbstractContextManager[Any] | AbstractAsyncContextManager[Any],
        *,
        is_async: bool,
    ) -> None:
        super().__init__(owner, type(manager).__qualname__)
        needed = "__aexit__" if is_async else "__exit__"
        if not hasattr(type(manager), needed):
            other = "enter" if is_async else "aenter"
            msg = (
                f"a {type(manager).__qualname__} has no {needed}; pass a context"
                f" manager, or use {other}() for one of the other sort"
            )
            raise TypeError(msg)
        self._manager: Any = manager
        self.awaits = is_async
        self.affinity = "loop" if is_async else "any"
        loop = running_loop() if is_async else None
        self.loop: Any = None if loop is None else ref(loop)

    @property
    def plain(self) -> bool:  # type: ignore[override]
        """
        True for synchronous ones, which are left like anything else is closed.
        """
        return not self.awaits

    def _release(self) -> Any:
        manager = self._manager
        if self.awaits:
            return manager.__aexit__(None, None, None)
        manager.__exit__(None, None, None)
        return None

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Leave the tree and let go of the manager.
        """
        super().settle(ending)
        self._manager = None
