"""
What a timer is made of below its schedule: a function that is called elsewhere.

Plain functions run on the workers of the guard's scheduler, `async def` on an event
loop. Each call has a context of its own in which the owner is the current scope. No
lock is held while one runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

from memguard._kinds.callbacks import (
    Call,
    Ended,
    is_async,
    is_coroutine,
    live_loop,
    name_of,
    thread_safely,
)
from memguard._kinds.closers import running_loop
from memguard._sites import call_site
from memguard._tree import Branch, Node, current

if TYPE_CHECKING:
    from memguard._registry import Registry

__all__ = ("Calling",)


class Calling(Node):
    """
    A node that calls one function, never twice at once unless it may overlap.
    """

    __slots__ = (
        "_calls",
        "_changed",
        "_fn",
        "_fn_name",
        "_halted",
        "_is_async",
        "_overlap",
        "failures",
        "loop",
        "runs",
        "skipped",
    )

    forces: ClassVar[bool] = True

    def __init__(
        self, owner: Branch, name: str | None, fn: Any, *, overlap: bool
    ) -> None:
        super().__init__(owner, name)
        if not callable(fn):
            msg = (
                f"a {self.kind} needs something to call, not a {type(fn).__qualname__}"
            )
            raise TypeError(msg)
        self._fn: Callable[[], Any] | None = fn
        self._fn_name = name_of(fn)
        self._is_async = is_async(fn)
        self._overlap = bool(overlap)
        loop = running_loop() if self._is_async else None
        #: The loop of asynchronous calls, weakly.
        self.loop: ref[Any] | None = None if loop is None else ref(loop)
        # Replaced as a whole, under the registry's lock; read without.
        self._calls: tuple[Call, ...] = ()
        self._changed: threading.Event | None = None
        self._halted = False
        self.runs = 0
        self.skipped = 0
        self.failures = 0

    @property
    def label(self) -> str:
        """
        The name, else that of the function.
        """
        return self.name or self._fn_name

    def _halt(self) -> None:
        """
        Begin no call any more.
        """
        self._halted = True

    # -- one call ----------------------------------------------------------------------

    def _begin(self, *, last: bool) -> None:
        call = Call()
        registry = self.registry
        with registry.lock:
            if self._halted or registry.detached:
                return
            # The only scheduled call of an `after` timer is never left out.
            if self._calls and not (self._overlap or last):
                self.skipped += 1
                return
            self._calls = (*self._calls, call)
        if self._is_async:
            self._post(call, last)
        else:
            registry.scheduler.submit(partial(Context().run, self._run, call, last))

    def _run(self, call: Call, last: bool) -> None:
        """
        One call of a plain function, in a worker and in a context of its own.
        """
        call.thread = threading.get_ident()
        try:
            fn = self._enter(call)
            if fn is None:
                last = False  # it was stopped before its time came
            else:
                result = fn()
                if is_coroutine(result):
                    result.close()
                    msg = (
                        "a plain function gave a coroutine, which nothing awaits; make"
                        " it `async def`, or pass the coroutine function itself"
                    )
                    raise TypeError(msg)
        except Exception as error:
            self._failed(error)
        finally:
            self._over(call, last)

    def _post(self, call: Call, last: bool) -> None:
        """
        Have an asynchronous call begin on its loop.
        """
        loop = live_loop(self.loop, self.registry.loop)
        posted = False
        if loop is not None and (not self._overlap or loop.is_running()):
            try:
                loop.call_soon_threadsafe(
                    self._start_task, call, last, context=Context()
                )
                posted = True
            except RuntimeError:
                loop = None  # closed this very moment
        if not posted:
            with self.registry.lock:
                self.skipped += 1
            if loop is None:
                self._without_loop()
            self._over(call, last)

    def _without_loop(self) -> None:
        what = f"an asynchronous {self.kind}"
        if self.loop is not None or self.registry.loop is not None:
            self._halt()
            msg = f"the event loop of {what} is closed; it stands still from now on"
        else:
            msg = (
                f"{what} has no event loop to run on; make it inside a running loop, or"
                " enter its guard with `async with`"
            )
        self._record(RuntimeError(msg))

    def _start_task(self, call: Call, last: bool) -> None:
        """
        On the loop, in a context of its own: make the task of one call.
        """
        import asyncio

        try:
            fn = self._enter(call)
            if fn is None:
                self._over(call, False)
                return
            loop = asyncio.get_running_loop()
            self.loop = ref(loop)
            task = loop.create_task(fn())
        except Exception as error:
            self._failed(error)
            self._over(call, last)
            return
        call.task = task
        task.add_done_callback(partial(self._task_over, call, last))

    def _task_over(self, call: Call, last: bool, task: Any) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)
        self._over(call, last)

    def _enter(self, call: Call) -> Callable[[], Any] | None:
        """
        The function, if it may still be called; the context then belongs to the call.
        """
        with self.registry.lock:
            fn, owner = self._fn, self.owner
            if fn is None or self._halted:
                return None
            self.runs += 1
        call.enter()
        current.set(owner)
        return fn

    def _over(self, call: Call, last: bool) -> None:
        call.end()
        with self.registry.lock:
            self._calls = tuple(one for one in self._calls if one is not call)
        changed = self._changed
        if changed is not None:
            changed.set()
        if last:
            self.close()

    def _failed(self, error: BaseException) -> None:
        with self.registry.lock:
            self.failures += 1
        self._record(error)

    def _record(self, error: BaseException) -> None:
        self.registry.failures.record(self.kind, error, call_site(self.site))

    # -- the end -----------------------------------------------------------------------

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
        """
        self._halt()
        self._changed = changed = threading.Event()
        # What has not begun by now never will.
        others = [one for one in self._calls if not one.is_around]
        longest = self.registry.drain_s
        if self._is_async:
            return Ended((one.task for one in others if one.task), longest)
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
        if not self.declared:
            self._fn = None

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        # The loop, and whatever was running, stayed in the parent.
        self._calls = ()
        self._changed = None
        self.loop = None
