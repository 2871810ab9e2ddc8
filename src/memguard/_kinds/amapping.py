"""
`limiter.map` over what is asynchronous: read by a task, called in tasks or on threads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memguard._clock import SystemClock
from memguard._kinds.callbacks import is_async
from memguard._kinds.closers import running_loop
from memguard._kinds.flow import JOIN_S, Flow, Place
from memguard._kinds.mapping import Threads

if TYPE_CHECKING:
    import asyncio

    from memguard._kinds.gate import Gate

__all__ = ("AsyncMapped",)

_R = TypeVar("_R")


class AsyncMapped(AsyncIterator[_R], Generic[_R]):
    """
    The results of `limiter.map` in order, for one task that iterates.

    `aclose` ends it early, as leaving an `async with` block of it does.
    """

    __slots__ = ("_calls", "_flow", "_source")

    def __init__(
        self,
        gate: Gate,
        fn: Callable[[Any], Any],
        source: Any,
        weigh: Any,
        timeout: float,
    ) -> None:
        self._source = source
        self._flow = Flow(gate, fn, weigh, timeout)
        self._calls: _Calls | None = None

    def __aiter__(self) -> AsyncMapped[_R]:
        return self

    async def __anext__(self) -> _R:
        flow, calls = self._flow, self._calls
        flow.refuse_if_ended()
        if flow.stopped:
            raise StopAsyncIteration
        if calls is None:
            calls = self._calls = _Calls(flow, self._source)
            self._source = None
        try:
            while not flow.places:
                if flow.exhausted:
                    raise StopAsyncIteration
                await calls.next_news()
                flow.refuse_if_ended()
            place = flow.places[0]
            while not await place.done.await_(flow.patience(place)):
                flow.look_after(place)
            del place
            value: _R = flow.pop()
            calls.room.set()
        except BaseException:
            await self.aclose()
            raise
        return value

    async def aclose(self) -> None:
        """
        Begin nothing more, cancel tasks and wait, at most 5 s, for what runs.
        """
        self._source = None
        flow, calls = self._flow, self._calls
        if flow.stopped and not flow.places and not (calls and calls.tasks):
            return
        running = flow.leave()
        if calls is not None:
            await calls.end(running)
        flow.places.clear()

    async def __aenter__(self) -> AsyncMapped[_R]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        flow = getattr(self, "_flow", None)
        if flow is not None and not flow.stopped:
            flow.abandon()


class _Calls:
    """
    Reads the source of a flow and calls its function, on the running loop.
    """

    __slots__ = ("_loop", "_news", "_threads", "room", "tasks")

    def __init__(self, flow: Flow, source: Any) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self.room = asyncio.Event()
        self.tasks: set[asyncio.Task[Any]] = set()
        self._threads: Threads | None = None
        if is_async(flow.fn):
            flow.launch = self._launch
        else:
            self._threads = Threads(flow.gate)
            flow.launch = self._threads.launch
        flow.quit = self.quit
        self._own(self._pump(flow, source), lambda _: None)

    def _own(self, work: Any, then: Callable[[Any], object]) -> None:
        task = self._loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(then)

    async def next_news(self) -> None:
        """
        Come back when something was read, or the source has ended.
        """
        self._news.clear()
        await self._news.wait()

    async def _pump(self, flow: Flow, source: Any) -> None:
        try:
            while not flow.stopped:
                if not flow.has_room():
                    self.room.clear()
                    await self.room.wait()
                    continue
                try:
                    item = await source.__anext__()
                except StopAsyncIteration:
                    flow.exhausted = True
                    return
                flow.take(item)
                del item
                self._news.set()
                if flow.exhausted:
                    return
        except Exception as error:  # the source's own: it comes at its place
            flow.fail(error)
        except BaseException as error:  # cancelled by us, or by somebody else
            if not flow.stopped:
                flow.fail(error)
            raise
        finally:
            self._news.set()
            await _close(flow, source)

    def _launch(self, flow: Flow, place: Place) -> None:
        """
        Call in a task. Runs in any thread, without a lock.
        """
        if running_loop() is self._loop:
            self._start(flow, place)
            return
        try:
            self._loop.call_soon_threadsafe(self._start, flow, place)
        except RuntimeError as error:  # the loop is closed
            flow.over(place, None, error)

    def _start(self, flow: Flow, place: Place) -> None:
        context = place.context
        if flow.stopped or context is None:
            flow.drop(place)
            return
        # A task that is cancelled before its first step never runs at all.
        call = _acall(flow, place)
        context.run(self._own, call, lambda _: flow.drop(place))

    # -- ending ------------------------------------------------------------------------

    async def end(self, running: list[Place]) -> None:
        """
        Wait for the tasks, which are cancelled, and for calls on threads.
        """
        import asyncio

        self._cancel()
        until = SystemClock.monotonic() + JOIN_S
        left = {task for task in self.tasks if task is not asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=JOIN_S)
        if self._threads is not None:
            for place in running:
                await place.done.await_(max(0.0, until - SystemClock.monotonic()))

    def _cancel(self) -> None:
        for task in list(self.tasks):
            task.cancel()

    def quit(self) -> None:
        """
        As `end`, without waiting, in any thread and in a destructor: takes no lock.
        """
        if self._threads is not None:
            self._threads.quit()
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            return  # the loop is closed, and its tasks went with it


async def _close(flow: Flow, source: Any) -> None:
    """
    An asynchronous generator ends here, and not whenever it is collected.
    """
    aclose = getattr(source, "aclose", None)
    if aclose is None:
        return
    try:
        await aclose()
    except Exception as error:  # the source's own, and nobody reads it any more
        gate = flow.gate
        gate.registry.failures.record(f"source of a map of {gate.label}", error)


async def _acall(flow: Flow, place: Place) -> None:
    """
    Await the function of *flow*, in a task.
    """
    if flow.stopped:
        flow.drop(place)
        return
    value: Any = None
    error: BaseException | None = None
    try:
        value = await flow.fn(place.item)
    except BaseException as raised:
        error = raised
    if flow.stopped and error is not None:  # most likely that it was cancelled
        flow.drop(place)
    else:
        flow.over(place, value, error)
