"""
What a verb of sessions has to wait for, apart from how it is waited for.

A verb is a generator of steps. `run` performs them in this thread, `arun` on the
running loop, so every verb is written once. No step is performed with a lock held.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from memguard._clock import give_way
from memguard._kinds.closers import running_loop
from memguard.errors import WouldBlockLoop

if TYPE_CHECKING:
    import asyncio

    from memguard._latch import Latch
    from memguard._registry import Registry

__all__ = (
    "Call",
    "Pause",
    "Refusal",
    "Steps",
    "Wait",
    "arun",
    "run",
    "start",
    "whole",
)

_T = TypeVar("_T")
# However long somebody else takes: nobody waits for ever.
_PATIENCE_S: Final = 30.0
_GLANCE_S: Final = 0.05

#: The verb and its asynchronous form, for WouldBlockLoop.
Refusal: TypeAlias = tuple[str, str]


class LoopEnded(RuntimeError):
    """
    Raised where a loop ended before it had done what was asked of it.
    """

    def __init__(self) -> None:
        super().__init__("the event loop that this had to run on has ended")


class Step(Protocol):
    """
    One thing to do, which may take its time.
    """

    def perform(self, refusal: Refusal) -> Any:
        """
        Do it in this thread; raises WouldBlockLoop where a loop would stand still.
        """

    async def aperform(self) -> Any:
        """
        Do it on the running loop.
        """


Steps: TypeAlias = Generator[Step, Any, _T]


def run(steps: Steps[_T], refusal: Refusal) -> _T:
    """
    Carry *steps* out in this thread.
    """
    try:
        step = next(steps)
        while True:
            try:
                value = step.perform(refusal)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as stop:
        result: _T = stop.value
        return result


async def arun(steps: Steps[_T], first: Step | None = None) -> _T:
    """
    Carry *steps* out on the running loop, from *first* if that was taken already.
    """
    try:
        step = next(steps) if first is None else first
        while True:
            try:
                value = await step.aperform()
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration as stop:
        result: _T = stop.value
        return result


class Wait:
    """
    Wait until somebody else is done with the session.
    """

    __slots__ = ("_latch",)

    def __init__(self, latch: Latch) -> None:
        self._latch = latch

    def perform(self, refusal: Refusal) -> None:
        if self._latch.is_set:
            return
        if running_loop() is not None:
            raise WouldBlockLoop(*refusal)
        if not self._latch.wait(_PATIENCE_S):
            raise _timed_out()

    async def aperform(self) -> None:
        if not await self._latch.await_(_PATIENCE_S):
            raise _timed_out()


class Pause:
    """
    Wait a moment for another process, which cannot wake us.
    """

    __slots__ = ("_seconds",)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def perform(self, refusal: Refusal) -> None:
        if running_loop() is not None:
            raise WouldBlockLoop(*refusal)
        give_way(self._seconds)

    async def aperform(self) -> None:
        import asyncio

        await asyncio.sleep(self._seconds)


class Call:
    """
    Call a function of the user's or of a store, and await what it gives.

    *blocking* ones go to a thread when a loop runs.
    """

    __slots__ = ("_args", "_blocking", "_fn", "_registry")

    def __init__(
        self,
        registry: Registry,
        fn: Callable[..., Any],
        *args: Any,
        blocking: bool = False,
    ) -> None:
        self._registry = registry
        self._fn = fn
        self._args = args
        self._blocking = blocking

    def perform(self, refusal: Refusal) -> Any:
        if self._blocking and running_loop() is not None:
            raise WouldBlockLoop(*refusal)
        result = self._fn(*self._args)
        if not hasattr(result, "__await__"):
            return result
        if running_loop() is not None:
            _drop(result)
            raise WouldBlockLoop(*refusal)
        return _wait_in_thread(result, self._registry.loop)

    async def aperform(self) -> Any:
        if self._blocking:
            import asyncio

            result = await asyncio.to_thread(self._fn, *self._args)
        else:
            result = self._fn(*self._args)
        return (await result) if hasattr(result, "__await__") else result


async def whole(registry: Registry, steps: Steps[_T]) -> _T:
    """
    Carry *steps* out to their end, even if this task is cancelled meanwhile.
    """
    import asyncio

    return await asyncio.shield(start(registry, steps))


def start(registry: Registry, steps: Steps[_T]) -> asyncio.Future[_T]:
    """
    Begin *steps* now, and carry them out in a task of the running loop.

    A task that is cancelled before it starts runs nothing at all. Steps that have
    begun give back what they have claimed when they are closed.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    try:
        first = next(steps)
    except StopIteration as stop:
        done: asyncio.Future[_T] = loop.create_future()
        done.set_result(stop.value)
        return done
    task = loop.create_task(arun(steps, first))
    registry.tasks.add(task)
    task.add_done_callback(registry.tasks.discard)
    task.add_done_callback(lambda _: steps.close())
    return task


def _wait_in_thread(awaitable: Awaitable[_T], loop: Any) -> _T:
    """
    The result of *awaitable*, from *loop* (or a weak reference) or a fresh one.

    Raises LoopEnded when the loop came to its end before.
    """
    import asyncio

    async def bounded() -> _T:
        return await asyncio.wait_for(awaitable, _PATIENCE_S)

    if callable(loop):
        loop = loop()
    if loop is None or not loop.is_running():
        return asyncio.run(bounded())
    coroutine = bounded()
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    # A loop that ends forgets what it was handed: nobody would ever tell us.
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    while not done.wait(_GLANCE_S):
        if loop.is_closed():
            coroutine.close()
            _drop(awaitable)
            raise LoopEnded
    if future.cancelled():
        _drop(awaitable)
        raise LoopEnded
    return future.result()


def _drop(awaitable: Any) -> None:
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()  # nobody will await it, and nobody need be warned


def _timed_out() -> TimeoutError:
    return TimeoutError(
        f"a session was being brought in, saved or put out for {_PATIENCE_S:g} s, and"
        " still is; see what its on_restore hooks, closes or store wait for"
    )
