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
from typing import Any
from weakref import ref

from memguard._kinds.callbacks import (
    Call,
    is_async,
    is_coroutine,
    live_loop,
    name_of,
)
from memguard._kinds.closers import running_loop
from memguard._kinds.running import Running
from memguard._sites import call_site
from memguard._tree import Branch, current

__all__ = ("Calling",)


class Calling(Running):
    """
    A node that calls one function, never twice at once unless it may overlap.
    """

    __slots__ = (
        "_fn",
        "_fn_name",
        "_halted",
        "_is_async",
        "_overlap",
        "failures",
        "runs",
        "skipped",
    )

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
        if loop is not None:
            self.loop = ref(loop)
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
        self._call_over(call)
        if last:
            self.close()

    def _failed(self, error: BaseException) -> None:
        with self.registry.lock:
            self.failures += 1
        self._record(error)

    def _record(self, error: BaseException) -> None:
        self.registry.failures.record(self.kind, error, call_site(self.site))

    def _force(self) -> None:
        super()._force()
        if not self.declared:
            self._fn = None
