"""
Tasks: coroutines that belong to a scope and end with it.

The event loop holds its tasks weakly; a scope holds them until they ended. Nobody
can end a task that refuses its cancellation: the report says where it stands.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Coroutine, Generator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

from memguard._kinds.callbacks import (
    Call,
    Ended,
    await_chain,
    checked_name,
    live_loop,
    thread_safely,
)
from memguard._kinds.closers import running_loop
from memguard._phases import CLOSED, Phase
from memguard._sites import Site, call_site, frames_text
from memguard._tree import Branch, Node, current
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from memguard._registry import Registry

__all__ = ("Task",)


class Task(Node):
    """
    One coroutine, run by the loop of its creation, else by the guard's.

    It leaves its scope when it ends. A failure that nobody was awaiting by then is
    reported; a cancellation is none. Closing the scope cancels it and, where that is
    possible, waits for its end. A task that closes its own scope goes on to its end.
    """

    __slots__ = (
        "_awaited",
        "_call",
        "_context",
        "_coro",
        "_name",
        "_task",
        "_thread",
        "loop",
    )

    kind: ClassVar[str] = "task"
    phase = Phase.WORK
    forces: ClassVar[bool] = True
    affinity = "loop"

    def __init__(
        self, owner: Branch, coro: Coroutine[Any, Any, Any], *, name: str | None = None
    ) -> None:
        self._coro: Coroutine[Any, Any, Any] | None = _checked(coro)
        try:
            super().__init__(
                owner, None if name is None else checked_name("a task", name)
            )
            self.loop = ref(self._find_loop())
        except BaseException:
            coro.close()
            raise
        self._name = getattr(coro, "__qualname__", type(coro).__qualname__)
        self._task: Any = None
        self._awaited = False
        self._call = Call()
        self._thread = 0
        self._context: Context | None = copy_context()

    def _find_loop(self) -> Any:
        loop = running_loop() or live_loop(self.registry.loop)
        if loop is None:
            msg = (
                "spawn() found no event loop to run the coroutine on; call it inside a"
                " running loop, or enter the guard with `async with` first"
            )
            raise RuntimeError(msg)
        return loop

    @property
    def declared(self) -> bool:
        """
        Never: a coroutine cannot be run a second time.
        """
        return False

    @declared.setter
    def declared(self, value: bool) -> None:
        pass

    # -- verbs -------------------------------------------------------------------------

    def cancel(self) -> bool:
        """
        Ask the task to end; False when it has ended. From any thread, without waiting.
        """
        if self.state == CLOSED or self.registry.detached:
            return False
        task = self._task
        if task is None:
            self.refuse()
            super().close()
            return True
        if task.done():
            return False
        loop = self.loop()
        return loop is not None and thread_safely(loop, task.cancel)

    def close(self) -> None:
        """
        The same as `cancel`: the task leaves its scope when it has ended.
        """
        self.cancel()

    @property
    def task(self) -> Any:
        """
        The asyncio task, or None before it has begun.
        """
        return self._task

    def done(self) -> bool:
        """
        True when the task has ended, whichever way.
        """
        task = self._task
        return self.state == CLOSED if task is None else bool(task.done())

    def result(self) -> Any:
        """
        What the coroutine returned, or raises what it raised.

        Raises asyncio.InvalidStateError while it runs.
        """
        if self._task is None:
            raise self._not_started()
        return self._task.result()

    def __await__(self) -> Generator[Any, None, Any]:
        """
        Wait for the end, on the task's own loop; gives the result, or raises.
        """
        if self._task is None:
            raise self._not_started()
        if running_loop() is not self.loop():
            msg = (
                f"task {self.label!r} runs on the event loop of another thread; await"
                " it there"
            )
            raise RuntimeError(msg)
        self._awaited = True
        return self._task.__await__()  # type: ignore[no-any-return]

    def stack(self) -> str:
        """
        Where the task stands, innermost first, one place a line and no values.
        """
        task = self._task
        if task is None or task.done():
            return ""
        coro = task.get_coro()
        if getattr(coro, "cr_running", False):
            return frames_text(sys._current_frames().get(self._thread))
        places = [
            str(Site(code, frame.f_lasti))
            for frame, code in await_chain(coro)
            if frame is not None
        ]
        return "\n".join(reversed(places))

    @property
    def label(self) -> str:
        """
        The name, else that of the coroutine's function.
        """
        return self.name or self._name

    def _not_started(self) -> Exception:
        if self.state == CLOSED:
            return ScopeClosed(self._ended_text())
        return RuntimeError(
            f"task {self.label!r} has not begun: start its guard first, or let its loop"
            " run"
        )

    # -- life --------------------------------------------------------------------------

    def refuse(self) -> None:
        """
        Never run the coroutine: nobody took the task.
        """
        coro, _ = self._take()
        if coro is not None:
            coro.close()

    def _take(self) -> tuple[Coroutine[Any, Any, Any] | None, Context | None]:
        """
        The coroutine and its context, for the first who asks: to run it, or not to.
        """
        with self.registry.lock:
            taken = self._coro, self._context
            self._coro = self._context = None
        return taken

    def _arm(self) -> None:
        if self._coro is None:
            return
        loop = self.loop()
        if loop is None or not thread_safely(loop, self._start):
            self.refuse()
            super().close()
            msg = "the event loop of a task was closed before the task had begun"
            self._record(RuntimeError(msg))

    def _start(self) -> None:
        """
        On the loop: make the asyncio task, in a copy of the spawner's context.
        """
        coro, context = self._take()
        if coro is not None and context is not None:
            context.run(self._create, coro)

    def _create(self, coro: Coroutine[Any, Any, Any]) -> None:
        # `create_task` copies the context it is called in; its own parameter for
        # that is 3.11+.
        current.set(self.owner)
        call = self._call
        call.enter()
        self._thread = threading.get_ident()
        task = running_loop().create_task(coro, name=self.label)
        call.task = self._task = task
        task.add_done_callback(self._ended)

    def _ended(self, task: Any) -> None:
        self._call.end()
        if not task.cancelled():
            error = task.exception()
            if error is not None and not self._awaited:
                self._record(error)
        # If somebody else has claimed it (its scope closes), they settle it.
        if not self.registry.detached and self.claim():
            self.settle()

    def _record(self, error: BaseException) -> None:
        self.registry.failures.record("task", error, call_site(self.site))

    @property
    def awaits(self) -> bool:  # type: ignore[override]
        """
        True until it has ended, but for the task that asks.
        """
        task = self._task
        return task is not None and not task.done() and not self._call.is_around

    def _release(self) -> Any:
        self.refuse()
        task = self._task
        if task is None or task.done() or self._call.closes_itself:
            return None
        if thread_safely(task.get_loop(), task.cancel) and not self._call.is_around:
            return Ended((task,), self.registry.drain_s)
        return None

    def _force(self) -> None:
        self.refuse()
        self._task = None

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        self._coro = self._task = self._context = None


def _checked(coro: Any) -> Coroutine[Any, Any, Any]:
    if isinstance(coro, Coroutine):
        return coro
    if callable(coro):
        msg = "spawn() takes a coroutine: call the function, spawn(fn()), not spawn(fn)"
    else:
        msg = f"spawn() takes a coroutine, not a {type(coro).__qualname__}"
    raise TypeError(msg)
