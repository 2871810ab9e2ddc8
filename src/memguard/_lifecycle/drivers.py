"""
The drivers: what the plan asks for, done with threads and with tasks.

`run_plan` blocks the calling thread, `arun_plan` waits on the running loop; both
hand batches to runners, which perform them entry by entry.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextvars import copy_context
from typing import Any, Final, Protocol

from memguard._kinds.callbacks import await_chain
from memguard._lifecycle.batch import Abandon, Batch, Command, Start, Wait
from memguard._lifecycle.order import Entry
from memguard._lifecycle.perform import finish
from memguard._lifecycle.waiting import (
    InThread,
    OnLoop,
    perform_in_thread,
    perform_on_loop,
)
from memguard._phases import Ending, Outcome
from memguard._sites import frames_text

__all__ = ("Plan", "Spawner", "arun_plan", "run_plan")

_LONGEST_PAUSE_S: Final = 0.1


class Spawner(Protocol):
    """
    Runs a function on a thread of its own; False when no thread can be had.
    """

    def submit(self, fn: Callable[[], object]) -> bool: ...


Plan = Generator[Command, float, None]


def run_plan(
    plan: Plan,
    now: Callable[[], float],
    spawner: Spawner,
    hurry: Callable[[], None] | None = None,
) -> BaseException | None:
    """
    Carry *plan* out, blocking this thread; never longer than the plan's budget.

    What is bound to this thread is closed in it, and cannot be interrupted. A Ctrl-C
    calls *hurry* and is returned, as is a SystemExit that a close raised, for the
    caller to raise when all is done.
    """
    desk = _Desk(now, spawner)
    try:
        command = next(plan)
        while True:
            if isinstance(command, Start):
                desk.start(command.batch)
            elif isinstance(command, Wait):
                began = desk.now()
                pause = _pause(command, began)
                try:
                    if not desk.moved.wait(pause):
                        desk.at_least(began + pause)
                except KeyboardInterrupt as error:
                    desk.interrupt = error
                    if hurry is not None:
                        hurry()
                desk.moved.clear()
            else:
                desk.abandon(command)
            command = plan.send(desk.now())
    except StopIteration:
        return desk.interrupt


async def arun_plan(
    plan: Plan, now: Callable[[], float], spawner: Spawner
) -> BaseException | None:
    """
    Carry *plan* out on the running loop, which stays responsive meanwhile.

    What is bound to this thread or this loop is closed in tasks of the loop.
    """
    import asyncio

    desk = _LoopDesk(now, spawner, asyncio.get_running_loop())
    try:
        command = next(plan)
        while True:
            if isinstance(command, Start):
                desk.start(command.batch)
            elif isinstance(command, Wait):
                began = desk.now()
                pause = _pause(command, began)
                try:
                    await asyncio.wait_for(desk.awake.wait(), pause)
                except asyncio.TimeoutError:
                    desk.at_least(began + pause)
                desk.awake.clear()
            else:
                desk.abandon(command)
            command = plan.send(desk.now())
    except StopIteration:
        return desk.interrupt


class _Desk:
    """
    What both drivers share: starting runners, and abandoning what hangs.
    """

    def __init__(self, now: Callable[[], float], spawner: Spawner) -> None:
        self._clock = now
        self._ahead = 0.0
        self.spawner = spawner
        self.moved = threading.Event()
        self.home: Any = None  # the loop of the asynchronous driver
        self.interrupt: BaseException | None = None
        # Runners see the context of whoever shuts down, and so does what they close:
        # a call that asked for the shutdown is not waited for.
        self._context = copy_context()

    def now(self) -> float:
        """
        The time of this shutdown: the clock's, but never standing still.
        """
        return self._clock() + self._ahead

    def at_least(self, moment: float) -> None:
        """
        A wait until *moment* is over. With a clock that stands still, as a test's may,
        a hanging close would otherwise be waited for without end.
        """
        self._ahead += max(0.0, moment - self.now())

    def notify(self) -> None:
        self.moved.set()

    def start(self, batch: Batch) -> None:
        self._take_over(batch)
        context = self._context.copy()
        if batch.lane == "thread" or not self.spawner.submit(
            lambda: context.run(self.run_in_thread, batch)
        ):
            # Bound to this thread, or no thread to be had at interpreter exit.
            self.run_in_thread(batch)

    def _take_over(self, batch: Batch) -> None:
        """
        Note where the batch hangs that this one is to go on for.
        """
        hung = batch.instead_of
        if hung is not None and hung.at is not None:
            entry = hung.at.entry
            entry.stack = entry.stack or _stack(hung, entry)

    def run_in_thread(self, batch: Batch) -> None:
        batch.runner = threading.get_ident()
        waiting = InThread(self.home)
        try:
            for entry in _entries(batch):
                perform_in_thread(entry, batch, self.now, waiting)
        finally:
            self._over(batch)
            self.notify()

    def _over(self, batch: Batch) -> None:
        if batch.interrupt is not None:
            self.interrupt = batch.interrupt
        batch.finished = True

    def abandon(self, command: Abandon) -> None:
        entry, batch = command.entry, command.batch
        reason = "; ".join(filter(None, (entry.trouble, command.reason)))
        ms = 0.0
        if batch is not None and batch.at is not None:
            ms = (self.now() - batch.at.since) * 1000
            entry.stack = entry.stack or _stack(batch, entry)
        finish(entry, Ending(Outcome.ABANDONED, reason, ms, entry.stack))


class _LoopDesk(_Desk):
    """
    The desk of the asynchronous driver: what is bound to a thread or a loop becomes a
    task of this loop.
    """

    def __init__(self, now: Callable[[], float], spawner: Spawner, loop: Any) -> None:
        super().__init__(now, spawner)
        import asyncio

        self.home = loop
        self.awake = asyncio.Event()
        self.tasks: set[Any] = set()

    def notify(self) -> None:
        # From a runner's thread; the loop may be gone by the time a late one ends.
        try:
            self.home.call_soon_threadsafe(self.awake.set)
        except RuntimeError:
            return

    def start(self, batch: Batch) -> None:
        if batch.lane == "any":
            super().start(batch)
        else:
            self._take_over(batch)
            task = self.home.create_task(self.run_on_loop(batch))
            batch.runner = task
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        if batch.instead_of is not None:
            self._cancel(batch.instead_of)

    async def run_on_loop(self, batch: Batch) -> None:
        waiting = OnLoop()
        try:
            for entry in _entries(batch):
                await perform_on_loop(entry, batch, self.now, waiting)
        finally:
            self._over(batch)
            self.awake.set()

    def abandon(self, command: Abandon) -> None:
        super().abandon(command)
        if command.batch is not None:
            self._cancel(command.batch)

    def _cancel(self, batch: Batch) -> None:
        """
        Nobody waits for it any more: the task of a batch that hangs.
        """
        if batch.runner in self.tasks:
            batch.runner.cancel()


def _entries(batch: Batch) -> Iterator[Entry]:
    """
    The entries of *batch* in turn; the plan may take the rest back at any time.
    """
    while True:
        try:
            entry = batch.todo.popleft()
        except IndexError:
            return
        yield entry
        batch.done += 1


def _stack(batch: Batch, entry: Entry) -> str:
    """
    Where the current entry of *batch* hangs, without values.
    """
    tell = getattr(entry.node, "stack", None)
    told = "" if tell is None else str(tell())
    if told:
        return told
    runner = batch.runner
    if isinstance(runner, int):
        return frames_text(sys._current_frames().get(runner))
    if runner is None:
        return ""
    frames = [frame for frame, _ in await_chain(runner.get_coro()) if frame is not None]
    places = (frames_text(frame, 1) for frame in reversed(frames))
    return "\n".join(filter(None, places))


def _pause(command: Wait, now: float) -> float:
    """
    How long to wait: never long, for a second signal may cut the budget meanwhile.
    """
    return min(max(0.0, command.until - now), _LONGEST_PAUSE_S)
