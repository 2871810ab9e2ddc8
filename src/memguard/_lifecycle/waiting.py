"""
How a close waits, and where it runs: in a thread, on a loop, or on somebody else's.

Every wait has an end. A thread never waits for the loop that runs in it, and what is
bound to a loop is called on that loop, if it still runs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from memguard._kinds.closers import running_loop
from memguard._lifecycle.batch import FORCE, At, Batch
from memguard._lifecycle.order import Entry
from memguard._lifecycle.perform import LoopGone, finish, perform, run_now
from memguard._phases import Ending, Outcome
from memguard._sites import call_site
from memguard._tree import Node

__all__ = ("InThread", "OnLoop", "Patiently", "perform_in_thread", "perform_on_loop")

# A wait on somebody else's loop or on a fresh one ends by itself at last, so that an
# abandoned runner does not hold its thread for ever.
_LOOP_WAIT_S: Final = 30.0
_PAUSE_S: Final = 0.002

Now = Callable[[], float]


class InThread:
    """
    Waits by blocking this thread. Nothing here is ever suspended.

    Awaitables run on their own loop, else on *home*, else on one made for them.
    """

    __slots__ = ("home",)

    def __init__(self, home: Any = None) -> None:
        self.home = home

    async def result(self, node: Node, awaitable: Awaitable[Any]) -> None:
        """
        Block until it is done; in the thread of a running loop, leave it to a task.
        """
        self.block(node, awaitable)

    def block(self, node: Node, awaitable: Awaitable[Any]) -> bool:
        """
        As `result`, as a plain function; always True.
        """
        here = running_loop()
        if here is not None:
            node.registry.background(here, _later(node, awaitable))
            return True
        loop = loop_of(node)
        if (loop is None or not loop.is_running()) and self.home is not None:
            loop = self.home
        _block(awaitable, loop)
        return True

    async def pause(self) -> None:
        threading.Event().wait(_PAUSE_S)


class OnLoop:
    """
    Waits on the running loop.
    """

    __slots__ = ()

    async def result(self, node: Node, awaitable: Awaitable[Any]) -> None:  # noqa: ARG002
        """
        Await it in this task.
        """
        await awaitable

    async def whole(self, awaitable: Awaitable[Any]) -> None:
        """
        Await something of memguard's own.
        """
        await awaitable

    async def pause(self) -> None:
        import asyncio

        await asyncio.sleep(_PAUSE_S)


class Patiently(OnLoop):
    """
    Waits on the running loop, and lets each close end although its task is cancelled.

    The cancellation is kept, for the caller to raise when everything is closed.
    """

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled: BaseException | None = None

    async def result(self, node: Node, awaitable: Awaitable[Any]) -> None:
        """
        Await it in a task of its own, where the node does not mind.
        """
        if not node.same_task:
            await self.whole(awaitable)
            return
        import asyncio

        try:
            await awaitable
        except asyncio.CancelledError as error:
            self.cancelled = error
            raise

    async def whole(self, awaitable: Awaitable[Any]) -> None:
        """
        Await it to its end, whatever happens to this task meanwhile.
        """
        import asyncio

        task = asyncio.ensure_future(awaitable)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise  # not this task was cancelled: the close itself was
            self.cancelled = error
            # A second cancellation ends the wait, and the next one, but no close.
            await asyncio.wait([task], timeout=_LOOP_WAIT_S)
            if task.done():
                task.result()


def perform_in_thread(entry: Entry, batch: Batch, now: Now, waiting: InThread) -> None:
    """
    Perform *entry* from this thread, on its loop if it is bound to one.
    """
    loop = loop_of(entry.node) if entry.node.affinity == "loop" else None
    if loop is None or loop is running_loop():
        run_now(perform(entry, batch, now, waiting))
    elif loop.is_running():
        _hand_to(loop, entry, batch, now)
    elif not loop.is_closed():
        run_now(perform(entry, batch, now, waiting))
    else:
        _without_loop(entry, batch, now, waiting)


async def perform_on_loop(
    entry: Entry, batch: Batch, now: Now, waiting: OnLoop
) -> None:
    """
    Perform *entry* on the running loop, or on the other one that it is bound to.
    """
    import asyncio

    node = entry.node
    here = running_loop()
    affinity = node.affinity
    loop = loop_of(node) if affinity == "loop" else None
    if affinity == "any" and node.drains:
        # Its drain may block a thread: not this one, the loop runs on it.
        home = InThread(here)
        elsewhere = asyncio.to_thread(perform_in_thread, entry, batch, now, home)
        await waiting.whole(elsewhere)
    elif loop is None or loop is here:
        await perform(entry, batch, now, waiting)
    elif loop.is_closed():
        _without_loop(entry, batch, now, InThread())
    elif loop.is_running():
        performing = perform(entry, batch, now, OnLoop())
        future = asyncio.run_coroutine_threadsafe(performing, loop)
        await waiting.whole(asyncio.wrap_future(future))
    else:
        await perform(entry, batch, now, waiting)


def loop_of(node: Node) -> Any:
    """
    The loop a node is bound to, or None. One that was collected counts as closed.
    """
    reference = getattr(node, "loop", None)
    if reference is None:
        return None
    loop = reference()
    return _Gone if loop is None else loop


class _Gone:
    """
    What is left of an event loop that nobody refers to any more.
    """

    @staticmethod
    def is_running() -> bool:
        return False

    @staticmethod
    def is_closed() -> bool:
        return True


def _hand_to(loop: Any, entry: Entry, batch: Batch, now: Now) -> None:
    """
    Have the loop of another thread perform *entry*, and wait for it.
    """
    import asyncio

    performing = perform(entry, batch, now, OnLoop())
    try:
        future = asyncio.run_coroutine_threadsafe(performing, loop)
    except RuntimeError:  # closed this very moment
        performing.close()
        _without_loop(entry, batch, now, InThread())
        return
    try:
        future.result(_LOOP_WAIT_S)
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            batch.interrupt = error
        future.cancel()
        reason = f"waiting for its event loop ended with {type(error).__qualname__}"
        finish(entry, Ending(Outcome.ABANDONED, reason))


def _without_loop(entry: Entry, batch: Batch, now: Now, waiting: InThread) -> None:
    """
    Its loop is closed: force it, for nothing can be awaited any more.
    """
    if entry.node.forces:
        batch.at = At(entry, FORCE, now())
        forcing = Batch(deque(), batch.lane, stage=FORCE)
        run_now(perform(entry, forcing, now, waiting))
    else:
        finish(entry, Ending(Outcome.UNCLOSABLE, "its event loop is closed"))


def _block(awaitable: Awaitable[Any], loop: Any) -> None:
    """
    Wait in this thread for *awaitable*: on *loop*, else on one made for it.
    """
    import asyncio

    async def bounded() -> None:
        await asyncio.wait_for(awaitable, _LOOP_WAIT_S)

    if loop is None:
        asyncio.run(bounded())
    elif loop.is_closed() or not loop.is_running():
        _drop(awaitable)
        state = "closed" if loop.is_closed() else "not running"
        msg = f"its event loop is {state}"
        raise LoopGone(msg)
    else:
        asyncio.run_coroutine_threadsafe(bounded(), loop).result(_LOOP_WAIT_S)


async def _later(node: Node, awaitable: Awaitable[Any]) -> None:
    import asyncio

    try:
        await asyncio.wait_for(awaitable, _LOOP_WAIT_S)
    except Exception as error:  # nobody else could be told of it
        where = f"closing {node.kind} {node.label}"
        node.registry.failures.record(where, error, call_site(node.site))


def _drop(awaitable: Any) -> None:
    """
    No "was never awaited" warning for what nobody can await.
    """
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
