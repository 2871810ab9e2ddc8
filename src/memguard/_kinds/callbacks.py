"""
What timers, tasks and emitters have to know about functions and running calls.

A call of a timer, or a task, may close the very scope that owns it. Waiting for it
would then be waiting for oneself; so every such call is a `Call`, and its context
says which calls it stands inside of.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import ContextVar
from functools import partial
from types import (
    BuiltinMethodType,
    CoroutineType,
    FunctionType,
    MethodType,
    MethodWrapperType,
)
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from memguard._sites import Site, call_site

if TYPE_CHECKING:
    from memguard._registry import Registry

__all__ = (
    "Call",
    "Ended",
    "await_chain",
    "checked_name",
    "identity",
    "is_async",
    "is_coroutine",
    "live_loop",
    "name_of",
    "thread_safely",
    "warn_at",
)

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

#: The calls and tasks that the code of this context was started by, outermost first.
_inside: ContextVar[tuple[Call, ...]] = ContextVar("memguard_inside", default=())


class Call:
    """
    One call that runs: on a thread, or as a task of a loop.
    """

    __slots__ = ("over", "task", "thread")

    def __init__(self) -> None:
        self.task: Any = None
        self.thread = 0
        self.over = False

    def enter(self) -> None:
        """
        Mark the running context, and what is started in it, as inside of this call.
        """
        # Ended ones are left out, or a task that starts its successor would make
        # this grow for ever.
        _inside.set((*(one for one in _inside.get() if not one.over), self))

    def end(self) -> None:
        """
        Nothing is inside of it any more; it keeps nothing alive.
        """
        self.over = True
        self.task = None
        self.thread = 0

    @property
    def is_around(self) -> bool:
        """
        True where the caller stands inside of this call: it cannot wait for it.
        """
        return self.thread == threading.get_ident() or self in _inside.get()

    @property
    def closes_itself(self) -> bool:
        """
        True where this call waits, through memguard, for what the caller does.

        Cancelling it would interrupt the close that is going on.
        """
        if not self.is_around:
            return False
        task = self.task
        if task is None:
            return True
        asyncio = sys.modules["asyncio"]
        try:
            current = asyncio.current_task()
        except RuntimeError:  # no loop runs in this thread
            current = None
        return current is task or any(
            code.co_filename.startswith(_PACKAGE)
            for _, code in await_chain(task.get_coro())
        )


class Ended:
    """
    Awaitable: comes back when all *tasks* ended, or after *seconds*.

    Not a coroutine, because nobody has to await it.
    """

    __slots__ = ("_seconds", "_tasks")

    def __init__(self, tasks: Iterable[Any], seconds: float) -> None:
        self._tasks = tuple(tasks)
        self._seconds = seconds

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        import asyncio

        # What runs on another loop cannot be awaited on this one.
        here = asyncio.get_running_loop()
        tasks = [one for one in self._tasks if one.get_loop() is here]
        if tasks:
            await asyncio.wait(tasks, timeout=self._seconds)


def await_chain(awaitable: Any) -> Iterator[tuple[Any, Any]]:
    """
    Frame and code of a suspended coroutine and of all it waits for, outermost first.
    """
    while awaitable is not None:
        for prefix, waits_for in _SUSPENDED:
            code = getattr(awaitable, f"{prefix}_code", None)
            if code is not None:
                yield getattr(awaitable, f"{prefix}_frame"), code
                awaitable = getattr(awaitable, waits_for)
                break
        else:
            return


_COROUTINE: Final = 0x80  # inspect.CO_COROUTINE
_SUSPENDED: Final = (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await"))


def is_async(fn: Callable[..., Any]) -> bool:
    """
    True where calling *fn* gives a coroutine: `async def`, also behind a partial.
    """
    while isinstance(fn, partial):
        fn = fn.func
    function = getattr(fn, "__func__", fn)
    if isinstance(function, BuiltinMethodType):
        return False
    if isinstance(function, FunctionType) and not function.__dict__:
        # The way of nearly all: without a mark its code tells, and inspect is large.
        return bool(function.__code__.co_flags & _COROUTINE)
    import inspect

    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
        getattr(type(fn), "__call__", None)  # noqa: B004 (asks for the method itself)
    ):
        return True
    # Marked as one without being one: mocks, compiled functions. Before 3.12 only
    # asyncio knew the mark, and from 3.14 on only inspect.
    asyncio = sys.modules.get("asyncio")
    return (
        asyncio is not None
        and sys.version_info < (3, 14)
        and bool(asyncio.iscoroutinefunction(fn))
    )


def is_coroutine(result: object) -> bool:
    """
    True for a coroutine that somebody has to run or to close.
    """
    return type(result) is CoroutineType


def name_of(fn: Any) -> str:
    """
    What to call a callable in reports: its qualified name, else that of its type.
    """
    while isinstance(fn, partial):
        fn = fn.func
    name = getattr(fn, "__qualname__", None)
    return name if isinstance(name, str) else type(fn).__qualname__


def checked_name(kind: str, name: Any) -> str:
    """
    *name*, if it is a non-empty text; the error says what needs it.
    """
    if not isinstance(name, str) or not name:
        msg = f"the name of {kind} must be a non-empty text, not {name!r}"
        raise ValueError(msg)
    return name


def identity(fn: Any) -> tuple[int, object]:
    """
    Equal for what is the same callable, without asking the callable.

    A method is made anew each time it is read, so its object and name tell.
    """
    kind = type(fn)
    if kind is MethodType:
        return id(fn.__self__), id(fn.__func__)
    if kind in (BuiltinMethodType, MethodWrapperType):
        return id(fn.__self__), fn.__name__
    return id(fn), None


def warn_at(site: Site | None, warning: Warning, registry: Registry) -> None:
    """
    Issue *warning* at the place where something was made.

    A filter that turns it into an error has no caller here who could take it: then it
    is a background failure.
    """
    import warnings

    filename, line = ("unknown", 0) if site is None else (site.filename, site.line)
    try:
        warnings.warn_explicit(warning, None, filename, line, "memguard")
    except Warning as error:
        registry.failures.record("warning", error, call_site(site))


def live_loop(*references: ref[Any] | None) -> Any:
    """
    The first of the weakly held event loops that is there and not closed.
    """
    for reference in references:
        loop = None if reference is None else reference()
        if loop is not None and not loop.is_closed():
            return loop
    return None


def thread_safely(loop: Any, fn: Callable[[], object]) -> bool:
    """
    Call *fn* on *loop*: at once if it runs in this thread, else soon.

    False when the loop is closed.
    """
    asyncio = sys.modules["asyncio"]
    if asyncio._get_running_loop() is loop:
        fn()
        return True
    try:
        loop.call_soon_threadsafe(fn)
    except RuntimeError:
        return False
    return True
