"""
`limiter.map` over what is plain: read and iterated in one thread, called on others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memguard._kinds.callbacks import is_async
from memguard._kinds.closers import running_loop
from memguard._kinds.flow import JOIN_S, Flow, Place
from memguard._workers import Workers
from memguard.errors import WouldBlockLoop

if TYPE_CHECKING:
    from memguard._kinds.gate import Gate

__all__ = ("Mapped", "Threads", "mapped")

_R = TypeVar("_R")


def mapped(
    gate: Gate, fn: Callable[[Any], Any], source: Any, weigh: Any, timeout: float
) -> Any:
    """
    The iterator that fits *fn* and *source*.
    """
    if not callable(fn):
        kind = type(fn).__qualname__
        msg = f"limiter.map() takes a function and a source, not a {kind}"
        raise TypeError(msg)
    weigh = 0 if weigh is None else weigh
    asynchronous = hasattr(type(source), "__aiter__")
    if not asynchronous and not is_async(fn):
        return Mapped(gate, fn, iter(source), weigh, timeout)
    from memguard._kinds.amapping import AsyncMapped

    if asynchronous:
        return AsyncMapped(gate, fn, source.__aiter__(), weigh, timeout)
    return AsyncMapped(gate, fn, _Plain(iter(source)), weigh, timeout)


class _Plain:
    """
    A plain iterator, read on the loop.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items

    async def __anext__(self) -> Any:
        try:
            return next(self._items)
        except StopIteration:
            raise StopAsyncIteration from None


class Threads:
    """
    Calls the function of a flow on threads of its own.
    """

    __slots__ = ("_submit", "_threads", "workers")

    def __init__(self, gate: Gate) -> None:
        self._threads, _ = gate.window()
        self._submit = gate.registry.scheduler.submit
        self.workers = Workers(
            f"memguard-{gate.label}",
            limit=self._threads,
            on_error=gate.registry.failures.record,
        )

    def quit(self) -> None:
        """
        End the threads, each after what it runs. Takes no lock, and waits for nothing.
        """
        for fn in self.workers.end():
            self._submit(fn)  # never began: gives its turn back

    def launch(self, flow: Flow, place: Place) -> None:
        """
        Call on a thread. Runs in any thread, without a lock.
        """
        wanted, _ = flow.gate.window()
        if wanted > self._threads:  # resized meanwhile
            self.workers.allow(wanted - self._threads)
            self._threads = wanted
        if not self.workers.submit(lambda: _call(flow, place)):
            if flow.stopped:
                flow.drop(place)
            else:
                msg = "no thread could be started for limiter.map()"
                flow.over(place, None, RuntimeError(msg))


def _call(flow: Flow, place: Place) -> None:
    """
    Call the function of *flow* in this thread.
    """
    context, item = place.context, place.item
    if flow.stopped or context is None:
        flow.drop(place)
        return
    value: Any = None
    error: BaseException | None = None
    try:
        value = context.run(flow.fn, item)
        if hasattr(type(value), "__await__"):
            value = _refuse(value)
    except BaseException as raised:
        error = raised
    del item
    flow.over(place, value, error)


def _refuse(awaitable: Any) -> Any:
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
    msg = (
        "the function of limiter.map() returned an awaitable without being an"
        " `async def`; wrap it into one"
    )
    raise TypeError(msg)


class Mapped(Iterator[_R], Generic[_R]):
    """
    The results of `limiter.map` in order, for one thread that iterates.

    `close` ends it early, as leaving a `with` block of it does.
    """

    __slots__ = ("_flow", "_items", "_threads")

    def __init__(
        self,
        gate: Gate,
        fn: Callable[[Any], Any],
        items: Iterator[Any],
        weigh: Any,
        timeout: float,
    ) -> None:
        self._items: Iterator[Any] | None = items
        self._flow = flow = Flow(gate, fn, weigh, timeout)
        self._threads = threads = Threads(gate)
        flow.launch = threads.launch
        flow.quit = threads.quit

    def __iter__(self) -> Mapped[_R]:
        return self

    def __next__(self) -> _R:
        flow = self._flow
        try:
            flow.refuse_if_ended()
            self._read()
            if not flow.places:
                raise StopIteration
            place = flow.places[0]
            if not place.done.is_set and running_loop() is not None:
                verb = f"iterating over a map of limiter {flow.gate.label!r}"
                instead = "`async for`, with an `async def` or an asynchronous source"
                raise WouldBlockLoop(verb, instead)
            while not place.done.wait(flow.patience(place)):
                flow.look_after(place)
            del place
            value: _R = flow.pop()
        except BaseException:
            self.close()
            raise
        return value

    def _read(self) -> None:
        """
        Read until the window is full; one item is enough when a result is ready.
        """
        flow, items = self._flow, self._items
        count = 0
        while items is not None and flow.has_room():
            if count and flow.places[0].done.is_set:
                return
            count += 1
            try:
                item = next(items)
            except StopIteration:
                flow.exhausted = True
                self._items = items = None
            except Exception as error:  # the source's own: it comes at its place
                self._items = items = None
                flow.fail(error)
            else:
                flow.take(item)
                del item

    def close(self) -> None:
        """
        Begin nothing more and wait, at most 5 s, for what runs. Twice does nothing.

        Inside a running loop it does not wait.
        """
        flow, self._items = self._flow, None
        if flow.stopped and not flow.places:
            return
        flow.leave()
        self._threads.workers.close(JOIN_S if running_loop() is None else 0.0)
        flow.places.clear()

    def __enter__(self) -> Mapped[_R]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Takes no lock and waits for nothing: it may run in a collection.
        flow = getattr(self, "_flow", None)
        if flow is not None and not flow.stopped:
            flow.abandon()
