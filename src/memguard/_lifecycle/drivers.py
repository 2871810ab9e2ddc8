"""
The drivers: what the plan asks for, done with threads and with tasks.

`run_plan` blocks the calling thread, `arun_plan` waits on the running loop; both
hand batches to the same runners. `run_inline` and `arun_inline` close a small part
of the tree in place, without deadlines, as an ExitStack would.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, Protocol

from memguard._lifecycle.order import Entry
from memguard._lifecycle.perform import LoopGone, aperform, finish, perform
from memguard._lifecycle.plan import Abandon, Batch, Command, Start, Wait
from memguard._phases import Ending, Outcome
from memguard._sites import frames_text
from memguard._tree import Node

__all__ = ("Spawner", "arun_inline", "arun_plan", "run_inline", "run_plan")

# A wait on somebody else's loop or on a fresh one ends by itself at last, so that an
# abandoned runner does not hold its thread for ever.
_LOOP_WAIT_S: Final = 30.0


class Spawner(Protocol):
    """
    Runs a function on a thread of its own; False when no thread can be had.
    """

    def submit(self, fn: Callable[[], object]) -> bool: ...


Plan = Generator[Command, float, None]


def run_inline(ordered: list[Entry], now: Callable[[], float]) -> None:
    """
    Close *ordered* here and now. A KeyboardInterrupt is raised at the end.
    """
    batch = Batch(deque(), "any")
    for entry in ordered:
        _begin(batch, entry, now)
        perform(batch, entry, now, _wait_in_thread)
    if batch.interrupt is not None:
        raise batch.interrupt


async def arun_inline(ordered: list[Entry], now: Callable[[], float]) -> None:
    """
    Close *ordered* on the running loop, one after the other.
    """
    batch = Batch(deque(), "loop")
    for entry in ordered:
        _begin(batch, entry, now)
        if entry.node.drains and entry.node.affinity == "any":
            # Its drain may block a thread: not this one, the loop runs on it.
            import asyncio

            await asyncio.to_thread(perform, batch, entry, now, _wait_in_thread)
        else:
            await aperform(batch, entry, now)
    if batch.interrupt is not None:
        raise batch.interrupt


class _Desk:
    """
    What both drivers share: starting runners, and abandoning what hangs.
    """

    def __init__(self, now: Callable[[], float], spawner: Spawner) -> None:
        self.now = now
        self.spawner = spawner
        self.moved = threading.Event()
        self.home: Any = None  # the loop of the asynchronous driver

    def notify(self) -> None:
        self.moved.set()

    def start(self, batch: Batch) -> None:
        if batch.lane == "thread" or not self.spawner.submit(
            lambda: self.run_in_thread(batch)
        ):
            # Bound to this thread, or no thread to be had at interpreter exit.
            self.run_in_thread(batch)

    def run_in_thread(self, batch: Batch) -> None:
        batch.runner = threading.get_ident()
        try:
            for entry in _entries(batch, self.now):
                if entry.node.affinity == "loop":
                    self._on_its_loop(batch, entry)
                else:
                    perform(batch, entry, self.now, self._wait)
        finally:
            batch.finished = True
            self.notify()

    def _on_its_loop(self, batch: Batch, entry: Entry) -> None:
        loop = _loop_of(entry.node)
        if loop is not None and loop.is_running():
            self._wait(entry.node, aperform(batch, entry, self.now))
        elif loop is not None and loop.is_closed() and entry.node.forces:
            batch.stage = "force"
            perform(batch, entry, self.now, self._wait)
        elif loop is not None and loop.is_closed():
            reason = "its event loop is closed"
            finish(entry, Ending(Outcome.UNCLOSABLE, reason))
        else:
            perform(batch, entry, self.now, self._wait)

    def _wait(self, node: Node, awaitable: Awaitable[Any]) -> Any:
        loop = _loop_of(node)
        if loop is None or not loop.is_running():
            loop = self.home
        return _wait_in_thread(node, awaitable, loop)

    def abandon(self, command: Abandon) -> None:
        entry = command.entry
        ms = (self.now() - command.batch.since) * 1000
        stack = _stack(command.batch, entry)
        finish(entry, Ending(Outcome.ABANDONED, command.reason, ms, stack))


def run_plan(plan: Plan, now: Callable[[], float], spawner: Spawner) -> None:
    """
    Carry *plan* out, blocking this thread; never longer than the plan's budget.
    """
    desk = _Desk(now, spawner)
    try:
        command = next(plan)
        while True:
            if isinstance(command, Start):
                desk.start(command.batch)
            elif isinstance(command, Wait):
                desk.moved.wait(max(0.0, command.until - now()))
                desk.moved.clear()
            else:
                desk.abandon(command)
            command = plan.send(now())
    except StopIteration:
        return


class _LoopDesk(_Desk):
    """
    The desk of the asynchronous driver: loop-bound batches become tasks here.
    """

    def __init__(self, now: Callable[[], float], spawner: Spawner, loop: Any) -> None:
        super().__init__(now, spawner)
        import asyncio

        self.home = loop
        self.awake = asyncio.Event()
        self.tasks: set[Any] = set()

    def notify(self) -> None:
        # From a runner's thread; the loop may be gone by the time a late one ends.
        if not self.home.is_closed():
            self.home.call_soon_threadsafe(self.awake.set)

    def start(self, batch: Batch) -> None:
        if batch.lane != "loop":
            super().start(batch)
            return
        task = self.home.create_task(self.run_on_loop(batch))
        batch.runner = task
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run_on_loop(self, batch: Batch) -> None:
        import asyncio

        try:
            for entry in _entries(batch, self.now):
                loop = _loop_of(entry.node)
                if loop is None or loop is self.home:
                    await aperform(batch, entry, self.now)
                elif loop.is_running():
                    await asyncio.wrap_future(
                        asyncio.run_coroutine_threadsafe(
                            aperform(batch, entry, self.now), loop
                        )
                    )
                else:
                    self._on_its_loop(batch, entry)
        finally:
            batch.finished = True
            self.awake.set()

    def abandon(self, command: Abandon) -> None:
        super().abandon(command)
        if command.batch.runner in self.tasks:
            command.batch.runner.cancel()


async def arun_plan(plan: Plan, now: Callable[[], float], spawner: Spawner) -> None:
    """
    Carry *plan* out on the running loop, which stays responsive meanwhile.
    """
    import asyncio

    desk = _LoopDesk(now, spawner, asyncio.get_running_loop())
    try:
        command = next(plan)
        while True:
            if isinstance(command, Start):
                desk.start(command.batch)
            elif isinstance(command, Wait):
                pause = max(0.0, command.until - now())
                try:
                    await asyncio.wait_for(desk.awake.wait(), pause)
                except asyncio.TimeoutError:
                    pass  # the time the plan asked for has come
                desk.awake.clear()
            else:
                desk.abandon(command)
            command = plan.send(now())
    except StopIteration:
        return


def _begin(batch: Batch, entry: Entry, now: Callable[[], float]) -> None:
    batch.since = now()
    batch.current = entry


def _entries(batch: Batch, now: Callable[[], float]) -> Any:
    """
    The entries of *batch* in turn; the plan may take the rest back at any time.
    """
    stage = batch.stage
    while True:
        try:
            entry = batch.todo.popleft()
        except IndexError:
            return
        batch.stage = stage
        _begin(batch, entry, now)
        yield entry
        batch.done += 1


def _loop_of(node: Node) -> Any:
    reference = getattr(node, "loop", None)
    return None if reference is None else reference()


def _wait_in_thread(node: Node, awaitable: Awaitable[Any], loop: Any = None) -> Any:
    """
    Wait for *awaitable* from a thread: on its loop, else on a loop made for it.
    """
    import asyncio

    async def bounded() -> Any:
        return await asyncio.wait_for(awaitable, _LOOP_WAIT_S)

    loop = loop or _loop_of(node)
    if loop is None:
        return asyncio.run(bounded())
    if loop.is_closed() or not loop.is_running():
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()  # no "never awaited" warning for what nobody can await
        state = "closed" if loop.is_closed() else "not running"
        msg = f"its event loop is {state}"
        raise LoopGone(msg)
    return asyncio.run_coroutine_threadsafe(bounded(), loop).result(_LOOP_WAIT_S)


def _stack(batch: Batch, entry: Entry) -> str:
    """
    Where the current entry of *batch* hangs, without values.
    """
    tell = getattr(entry.node, "stack", None)
    if tell is not None:
        return str(tell())
    runner = batch.runner
    if isinstance(runner, int):
        return frames_text(sys._current_frames().get(runner))
    if runner is None:
        return ""
    return "\n".join(frames_text(frame, 1) for frame in reversed(runner.get_stack()))
