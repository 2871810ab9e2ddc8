"""
Emitters: named events, and listeners that go when their owner goes.

Emitting takes no lock: it reads a snapshot that is made anew only after a change. No
lock is held while a listener runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, ClassVar, TypeVar, overload
from weakref import ref

from memguard._kinds.callbacks import Call, is_coroutine, live_loop, thread_safely
from memguard._kinds.closers import running_loop
from memguard._kinds.listener import Listener
from memguard._kinds.listening import Listening, checked_event
from memguard._kinds.slots import SiteGrowth
from memguard._phases import CLOSING, Phase
from memguard._sites import call_site
from memguard._tree import Branch
from memguard.errors import ScopeClosed

__all__ = ("Emitter", "Listener", "SiteGrowth")

_F = TypeVar("_F", bound=Callable[..., Any])


class Emitter(Listening):
    """
    Calls the listeners of an event, in the order in which they were added.

    A listener that fails is reported with the place where it was added; the others
    are called all the same. More than *max_listeners* for one event are a warning,
    once, and are called like the others; None is no ceiling.
    """

    __slots__ = ()

    kind: ClassVar[str] = "emitter"
    phase = Phase.EMITTERS

    # -- listening ---------------------------------------------------------------------

    @overload
    def on(self, event: str, fn: _F, *, owner: Branch | None = None) -> _F: ...

    @overload
    def on(
        self, event: str, fn: None = None, *, owner: Branch | None = None
    ) -> Callable[[_F], _F]: ...

    def on(self, event: str, fn: Any = None, *, owner: Branch | None = None) -> Any:
        """
        Call *fn* for every *event* from now on; also as a decorator. Returns *fn*.

        A Python bound method is held weakly, anything else until it is removed. With
        *owner* it is removed, and let go of, when that scope closes.
        """
        return self._add(event, fn, owner, once=False)

    @overload
    def once(self, event: str, fn: _F, *, owner: Branch | None = None) -> _F: ...

    @overload
    def once(
        self, event: str, fn: None = None, *, owner: Branch | None = None
    ) -> Callable[[_F], _F]: ...

    def once(self, event: str, fn: Any = None, *, owner: Branch | None = None) -> Any:
        """
        As `on`, for the next *event* only: exactly once, whoever emits.
        """
        return self._add(event, fn, owner, once=True)

    def _add(self, event: str, fn: Any, owner: Branch | None, *, once: bool) -> Any:
        def add(function: Any) -> Any:
            self.listen(event, function, owner=owner, once=once)
            return function

        return add if fn is None else add(fn)

    # -- emitting ----------------------------------------------------------------------

    def emit(self, event: str, /, *args: Any, **kwargs: Any) -> int:
        """
        Call the listeners of *event* here and now; returns how many were called.

        What an `async def` listener gives is run as a task: of the loop that runs
        here, else of the guard's. Raises ScopeClosed when the emitter has ended.
        """
        called = 0
        for listener in self._listening(event):
            fn = listener.take_turn()
            if fn is None:
                continue
            called += 1
            try:
                result = fn(*args, **kwargs)
            except Exception as error:
                self._failed(listener, error)
            else:
                if result is not None and is_coroutine(result):
                    self._hand_over(listener, result)
        return called

    async def emit_async(self, event: str, /, *args: Any, **kwargs: Any) -> int:
        """
        As `emit`, one after the other, awaiting what the listeners give.
        """
        called = 0
        for listener in self._listening(event):
            fn = listener.take_turn()
            if fn is None:
                continue
            called += 1
            try:
                result = fn(*args, **kwargs)
                if result is not None and hasattr(result, "__await__"):
                    await result
            except Exception as error:
                self._failed(listener, error)
            except BaseException as error:
                if not _cancelled_inside(error):
                    raise
                self._failed(listener, error)
        return called

    def _listening(self, event: str) -> tuple[Listener, ...]:
        if self.state >= CLOSING:
            raise ScopeClosed(self._ended_text())
        slot = self._slots.get(event if type(event) is str else checked_event(event))
        return () if slot is None else slot.snapshot()

    def _hand_over(self, listener: Listener, coro: Any) -> None:
        """
        Run the coroutine of a listener that was called by a plain `emit`.
        """
        loop = running_loop() or live_loop(self.registry.loop)
        runs = loop is not None and loop.is_running()
        if not runs or not thread_safely(
            loop, partial(copy_context().run, self._start_task, listener, coro)
        ):
            coro.close()
            msg = (
                "an asynchronous listener was called by emit() where there is no event"
                " loop to run it on; use `await emitter.emit_async(...)`"
            )
            self._failed(listener, RuntimeError(msg))

    def _start_task(self, listener: Listener, coro: Any) -> None:
        if self.state >= CLOSING:
            coro.close()
            return
        call = Call()
        call.enter()
        loop = running_loop()
        self.loop = ref(loop)
        call.task = task = loop.create_task(coro)
        with self.registry.lock:
            self._calls = (*self._calls, call)
        task.add_done_callback(partial(self._task_over, call, listener))

    def _task_over(self, call: Call, listener: Listener, task: Any) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(listener, error)
        self._call_over(call)

    def _failed(self, listener: Listener, error: BaseException) -> None:
        site = call_site(listener.site)
        self.registry.failures.record("listener", error, site)


def _cancelled_inside(error: BaseException) -> bool:
    """
    True for a cancellation that is a listener's own, not one of whoever emits.

    Before 3.11 nobody can tell them apart, and the emit is taken to be meant.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return False
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    return cancelling is not None and not cancelling()
