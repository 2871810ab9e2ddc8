"""
Nodes that have calls running: in workers, or as tasks of a loop.

Before such a node closes, its calls may end; then those that are tasks are cancelled.
A call that closes its own node is neither waited for nor interrupted.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import ref

from memguard._kinds.callbacks import Call, Ended, thread_safely
from memguard._tree import Branch, Node

if TYPE_CHECKING:
    from memguard._registry import Registry

__all__ = ("Running",)

_PATIENCE_S: Final = 1.0


class Running(Node):
    """
    A node with calls that run.
    """

    __slots__ = ("_calls", "_changed", "loop")

    forces: ClassVar[bool] = True
    #: Whether the calls are tasks of a loop; else they run in threads.
    _is_async: bool = True

    def __init__(self, owner: Branch, name: str | None) -> None:
        super().__init__(owner, name)
        # Replaced as a whole, under the registry's lock; read without.
        self._calls: tuple[Call, ...] = ()
        self._changed: threading.Event | None = None
        #: The loop of asynchronous calls, weakly.
        self.loop: ref[Any] | None = None

    def _halt(self) -> None:
        """
        Begin no call any more.
        """

    def _call_over(self, call: Call) -> None:
        """
        Forget a call that has ended, and tell whoever waits for it.
        """
        call.end()
        with self.registry.lock:
            self._calls = tuple(one for one in self._calls if one is not call)
        changed = self._changed
        if changed is not None:
            changed.set()

    @property
    def tasks(self) -> tuple[Any, ...]:
        """
        The tasks that run now: they have an owner.
        """
        tasks = [call.task for call in self._calls]
        return tuple(task for task in tasks if task is not None)

    @property
    def drains(self) -> bool:  # type: ignore[override]
        """
        True while a call runs, or is about to, that is not the one that asks.
        """
        return bool(self._calls) and any(
            not (call.is_around or (self._is_async and call.task is None))
            for call in self._calls
        )

    @property
    def awaits(self) -> bool:  # type: ignore[override]
        """
        True while a call runs on a loop.
        """
        return self._is_async and self.drains

    @property
    def affinity(self) -> str:  # type: ignore[override]
        """
        Bound to its loop while a call runs there.
        """
        return "loop" if self.awaits else "any"

    def _drain(self) -> Any:
        """
        No further calls; wait for those that run, but not for the one that asks.

        A task gets a second, for it can be cancelled; a thread gets what the guard
        allows, for it cannot.
        """
        self._halt()
        self._changed = changed = threading.Event()
        # What has not begun by now never will.
        others = [one for one in self._calls if not one.is_around]
        longest = self.registry.drain_s
        if self._is_async:
            tasks = [one.task for one in others]
            patience = min(longest, _PATIENCE_S)
            return Ended((task for task in tasks if task is not None), patience)
        for call in others:
            while call.thread and changed.wait(longest):
                changed.clear()
        return None

    def _cancel_calls(self) -> Any:
        """
        Cancel what runs on a loop; awaitable until it ended. A thread is left to end.
        """
        awaited = []
        for call in self._calls:
            task = call.task
            if task is None or call.closes_itself:
                continue
            if thread_safely(task.get_loop(), task.cancel) and not call.is_around:
                awaited.append(task)
        return Ended(awaited, self.registry.drain_s) if awaited else None

    def _force(self) -> None:
        self._halt()
        self._calls = ()

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        # The loop, and whatever was running, stayed in the parent.
        self._calls = ()
        self._changed = None
        self.loop = None
