"""
Tasks: where they run, how their end is known, and what cannot be ended.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import warnings
import weakref
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest

from memguard._kinds.task import Task
from memguard._phases import CLOSED, Ending, Outcome
from memguard._registry import Registry
from memguard._tree import Branch, current
from memguard.errors import ScopeClosed
from memguard.testing import FakeClock

SOON = 5.0

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Root(Branch):
    """
    The least that can own a task.
    """

    __slots__ = ()

    def __init__(self) -> None:
        clock = FakeClock()
        registry = Registry(clock, clock)
        registry.drain_s = SOON
        super().__init__(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        self.owner = None
        self._children = {}

    def spawn(self, coro: Coroutine[Any, Any, Any], **options: Any) -> Task:
        """
        A task that is in the tree and has been begun.
        """
        task = Task(self, coro, **options).attach()
        task._arm()
        return task

    @property
    def failed(self) -> list[tuple[str, str]]:
        """
        Background failures by place and type.
        """
        return [key[:2] for key in self.registry.failures.counts]


@pytest.fixture
def root() -> Root:
    """
    An owner of tasks.
    """
    return Root()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "memguard")


@contextmanager
def other_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """
    A loop that runs in another thread.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SOON)
        loop.close()


async def value(result: Any = 42) -> Any:
    """
    A coroutine that returns.
    """
    await asyncio.sleep(0)
    return result


async def fail() -> None:
    """
    A coroutine that fails.
    """
    await asyncio.sleep(0)
    raise KeyError


async def forever() -> None:
    """
    A coroutine that waits until it is cancelled.
    """
    await asyncio.Event().wait()


class TestRunning:
    """
    Where a task runs, and with what around it.
    """

    def test_result(self, root: Root) -> None:
        """
        A task runs on the loop it was made in; awaiting it gives its result.
        """

        async def main() -> None:
            task = root.spawn(value())
            assert [task] == list(root.children())
            assert not task.done()
            with pytest.raises(asyncio.InvalidStateError):
                task.result()
            assert 42 == await task
            assert task.done()
            assert 42 == task.result()
            assert 42 == await task

        asyncio.run(main())

    def test_it_leaves_the_tree_by_itself(self, root: Root) -> None:
        """
        A task that ended is in no scope, and counted as closed.
        """

        async def main() -> Task:
            task = root.spawn(value(), name="load")
            await task
            await asyncio.sleep(0)
            return task

        task = asyncio.run(main())
        assert task.closed
        assert [] == list(root.children())
        tally = root.registry.tallies["task"]["load"]
        assert (1, 0, {"closed": 1}) == (tally.created, tally.live, tally.released)

    def test_the_context_of_the_spawner(self, root: Root) -> None:
        """
        The task sees the spawner's context variables, and its owner as current scope.
        """
        owner = Branch(root, "mine")
        seen: list[Any] = []

        async def look() -> None:
            seen.append((tenant.get(), current.get()))
            tenant.set("changed")

        async def main() -> None:
            tenant.set("acme")
            token = current.set(root)
            task = Task(owner, look()).attach()
            task._arm()
            assert root is current.get()
            await task
            current.reset(token)
            assert "acme" == tenant.get()

        asyncio.run(main())
        assert [("acme", owner)] == seen

    def test_on_the_guards_loop_from_another_thread(self, root: Root) -> None:
        """
        Without a loop in this thread the guard's is used, with this thread's context.
        """
        seen: list[Any] = []
        came = threading.Event()

        async def look() -> None:
            seen.append((threading.get_ident(), tenant.get()))
            came.set()

        with other_loop() as loop:
            root.registry.loop = weakref.ref(loop)
            token = tenant.set("thread")
            task = root.spawn(look())
            tenant.reset(token)
            assert came.wait(SOON)
            assert seen[0][0] != threading.get_ident()
            assert "thread" == seen[0][1]
            with pytest.raises(RuntimeError, match="event loop of another thread"):
                asyncio.run(awaiting(task))

    def test_the_task_is_held(self, root: Root) -> None:
        """
        The loop holds tasks weakly; the scope holds them until they ended.
        """
        waiting: list[weakref.ref[asyncio.Future[None]]] = []

        async def wait() -> str:
            future = asyncio.get_running_loop().create_future()
            waiting.append(weakref.ref(future))
            await future
            return "survived"

        async def main() -> str:
            root.spawn(wait())
            await asyncio.sleep(0)
            gc.collect()
            future = waiting[0]()
            assert future is not None
            future.set_result(None)
            (task,) = root.children()
            assert isinstance(task, Task)
            return str(await task)

        assert "survived" == asyncio.run(main())

    def test_nothing_is_held_after_the_end(self, root: Root) -> None:
        """
        An ended task leaves neither its result nor its arguments behind.
        """

        class Thing:
            pass

        async def use(thing: Thing) -> Thing:
            await asyncio.sleep(0)
            return thing

        async def main() -> list[weakref.ref[Thing]]:
            thing = Thing()
            alive = [weakref.ref(thing)]
            task = root.spawn(use(thing))
            await asyncio.sleep(0)
            await task
            await asyncio.sleep(0)
            del thing, task
            gc.collect()
            assert [None] == [one() for one in alive]
            return alive

        asyncio.run(main())

    @pytest.mark.stress
    def test_a_chain_of_successors_does_not_grow(self, root: Root) -> None:
        """
        A task that spawns its successor, again and again, hands nothing on.
        """
        from memguard._kinds.callbacks import _inside

        depths: list[int] = []

        async def step(left: int, done: asyncio.Event) -> None:
            depths.append(len(_inside.get()))
            await asyncio.sleep(0)
            if left:
                root.spawn(step(left - 1, done))
            else:
                done.set()

        async def main() -> None:
            done = asyncio.Event()
            root.spawn(step(2000, done))
            await done.wait()
            await asyncio.sleep(0)

        asyncio.run(main())
        assert max(depths) <= 3
        assert [] == list(root.children())


async def awaiting(task: Task) -> Any:
    """
    A coroutine that awaits a task.
    """
    return await task


class TestRefusing:
    """
    A coroutine that will not be run is closed: no warning comes later.
    """

    @pytest.fixture(autouse=True)
    def _no_warnings(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
            gc.collect()

    def test_without_a_loop(self, root: Root) -> None:
        """
        The error names what to do.
        """
        coro = value()
        with pytest.raises(RuntimeError, match="enter the guard with `async with`"):
            Task(root, coro)
        assert coro.cr_frame is None

    @pytest.mark.parametrize(
        ("what", "text"),
        [(value, r"spawn\(fn\(\)\), not spawn\(fn\)"), (7, "not a int")],
    )
    def test_what_is_no_coroutine(self, root: Root, what: Any, text: str) -> None:
        """
        Passing the function instead of its coroutine is the usual mistake.
        """
        with pytest.raises(TypeError, match=text):
            Task(root, what)

    def test_a_bad_name(self, root: Root) -> None:
        """
        A name that is no name closes the coroutine as well.
        """
        with pytest.raises(ValueError, match="name of a task"):
            Task(root, value(), name="")

    def test_refuse(self, root: Root) -> None:
        """
        Whoever cannot place the task says so; it is never run.
        """

        async def main() -> None:
            owner = Branch(root, "gone")
            owner.state = CLOSED
            task = Task(owner, value())
            with pytest.raises(ScopeClosed):
                task.attach()
            task.refuse()
            task._arm()

        asyncio.run(main())

    def test_cancelled_before_it_began(self, root: Root) -> None:
        """
        A task that waits for its guard to start can be cancelled, and is gone.
        """

        async def main() -> None:
            task = Task(root, value()).attach()
            with pytest.raises(RuntimeError, match="has not begun"):
                await task
            with pytest.raises(RuntimeError, match="has not begun"):
                task.result()
            assert task.cancel()
            assert task.done()
            assert not task.cancel()
            with pytest.raises(ScopeClosed, match="is closed"):
                await task
            assert [] == list(root.children())

        asyncio.run(main())

    def test_a_loop_that_was_closed_before_it_began(self, root: Root) -> None:
        """
        Then it is reported, and gone.
        """

        async def make() -> Task:
            return Task(root, value()).attach()

        task = asyncio.run(make())
        task._arm()

        assert [("task", "RuntimeError")] == root.failed
        assert task.closed
        assert [] == list(root.children())


class TestFailing:
    """
    A failure reaches whoever awaits, else the report.
    """

    def test_nobody_awaits(self, root: Root, caplog: pytest.LogCaptureFixture) -> None:
        """
        The failure is reported once, by memguard and not by asyncio again.
        """

        async def main() -> None:
            root.spawn(fail())
            await asyncio.sleep(0.001)

        asyncio.run(main())
        gc.collect()
        assert [("task", "KeyError")] == root.failed
        assert [] == [one for one in caplog.records if one.name == "asyncio"]
        assert [] == list(root.children())

    def test_somebody_awaits(self, root: Root) -> None:
        """
        Whoever awaits gets the exception, and the report does not.
        """

        async def main() -> None:
            task = root.spawn(fail())
            with pytest.raises(KeyError):
                await task

        asyncio.run(main())
        assert [] == root.failed

    def test_a_cancellation_is_no_failure(self, root: Root) -> None:
        """
        A cancelled task ended as it should.
        """

        async def main() -> None:
            task = root.spawn(forever())
            await asyncio.sleep(0)
            assert task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not task.cancel()

        asyncio.run(main())
        assert [] == root.failed

    def test_it_fails_while_its_scope_closes(self, root: Root) -> None:
        """
        A failure during the clean-up after a cancellation is reported.
        """

        async def stubborn() -> None:
            try:
                await forever()
            finally:
                raise ValueError

        async def main() -> None:
            task = root.spawn(stubborn())
            await asyncio.sleep(0)
            assert task.claim()
            await task._release()
            assert not task.closed  # who has claimed it settles it
            task.settle(Ending(Outcome.CLOSED))

        asyncio.run(main())
        assert [("task", "ValueError")] == root.failed


class TestEnding:
    """
    Closing cancels; who cannot be ended is named.
    """

    def test_close(self, root: Root) -> None:
        """
        `close` asks the task to end; it leaves when it has.
        """

        async def main() -> None:
            task = root.spawn(forever())
            await asyncio.sleep(0)
            task.close()
            assert [task] == list(root.children())
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            assert task.closed

        asyncio.run(main())

    def test_release_waits_for_the_end(self, root: Root) -> None:
        """
        What the task does to clean up has been done when the release comes back.
        """
        order: list[str] = []

        async def clean_up() -> None:
            try:
                await forever()
            finally:
                await asyncio.sleep(0)
                order.append("cleaned up")

        async def main() -> None:
            task = root.spawn(clean_up())
            await asyncio.sleep(0)
            assert (True, "loop") == (task.awaits, task.affinity)
            assert task.claim()
            await task._release()
            order.append("released")
            task.settle()
            assert not task.awaits
            assert task._release() is None

        asyncio.run(main())
        assert ["cleaned up", "released"] == order

    def test_from_another_thread(self, root: Root) -> None:
        """
        The cancellation is delivered on the task's loop.
        """
        ended = threading.Event()

        async def wait() -> None:
            try:
                await forever()
            finally:
                ended.set()

        with other_loop() as loop:
            root.registry.loop = weakref.ref(loop)
            task = root.spawn(wait())
            began = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)
            began.result(SOON)
            assert task.cancel()
            assert ended.wait(SOON)

    def test_a_refusing_task(self, root: Root) -> None:
        """
        It stays pending, says where it stands, and can be let go.
        """

        async def inner() -> None:
            while not done:
                try:
                    await asyncio.sleep(SOON)
                except asyncio.CancelledError:
                    continue

        async def refuse() -> None:
            await inner()

        done: list[bool] = []

        async def main() -> None:
            task = root.spawn(refuse())
            await asyncio.sleep(0)
            assert task.claim()
            ended = task._release()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.ensure_future(wait_for(ended)), 0.01)

            lines = task.stack().splitlines()
            assert any("inner" in line for line in lines)
            assert "refuse" in lines[-1]
            assert "test_task.py:" in lines[-1]
            pending = task._task
            task._force()
            task.settle(Ending(Outcome.ABANDONED))
            assert task.done()
            assert "" == task.stack()
            done.append(True)
            pending.cancel()
            await asyncio.wait([pending])

        asyncio.run(main())

    def test_the_stack_of_a_task_that_blocks_its_loop(self, root: Root) -> None:
        """
        A task that is in the middle of a call shows that call.
        """
        inside, go_on = threading.Event(), threading.Event()

        def block() -> None:
            inside.set()
            go_on.wait(SOON)

        async def work() -> None:
            block()

        with other_loop() as loop:
            root.registry.loop = weakref.ref(loop)
            task = root.spawn(work())
            assert inside.wait(SOON)
            stack = task.stack()
            go_on.set()

        assert any(line.endswith("block") for line in stack.splitlines())

    def test_closing_from_inside(self, root: Root) -> None:
        """
        A task that closes what owns it is neither awaited nor cancelled.
        """
        ended: list[bool] = []

        async def main() -> None:
            async def work() -> None:
                assert not task.awaits
                assert task.claim()
                assert task._release() is None
                task.settle()
                await asyncio.sleep(0)
                ended.append(True)

            task = root.spawn(work())
            await task

        asyncio.run(main())
        assert [True] == ended

    def test_closed_by_what_it_started(self, root: Root) -> None:
        """
        Closed from a task it made it is cancelled, and not awaited: that might wait
        for it in turn.
        """
        order: list[str] = []

        async def main() -> None:
            async def child() -> None:
                assert task.claim()
                order.append(f"released, awaiting {task._release()}")
                task.settle()

            async def work() -> None:
                try:
                    await asyncio.create_task(child())
                except asyncio.CancelledError:
                    order.append("cancelled")

            task = root.spawn(work())
            await asyncio.wait([task._task])

        asyncio.run(main())
        assert ["released, awaiting None", "cancelled"] == order

    def test_never_declared(self, root: Root) -> None:
        """
        A coroutine runs once: a task is released at shutdown, not disarmed.
        """

        async def main() -> None:
            task = root.spawn(value())
            task.declared = True
            assert not task.declared
            await task

        asyncio.run(main())

    def test_after_fork(self, root: Root) -> None:
        """
        In the child the parent's task is nothing.
        """

        async def main() -> None:
            task = root.spawn(forever())
            await asyncio.sleep(0)
            root.registry.detached = True
            assert not task.cancel()
            mine = task._task
            task._after_fork(Registry(FakeClock(), FakeClock()))
            assert not task.awaits
            assert "" == task.stack()
            mine.cancel()

        asyncio.run(main())

    def test_labels(self, root: Root) -> None:
        """
        A task is called by its name, else by its function; asyncio is told.
        """

        async def main() -> None:
            named, unnamed = root.spawn(value(), name="load"), root.spawn(value())
            assert ("load", "value") == (named.label, unnamed.label)
            assert "load" == named._task.get_name()
            await asyncio.gather(named, unnamed)

        asyncio.run(main())

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are 3.12+")
    def test_eager_tasks(self, root: Root) -> None:
        """
        A loop that begins tasks at once changes nothing.
        """

        async def at_once() -> str:
            return "done"

        async def main() -> None:
            factory = getattr(asyncio, "eager_task_factory")  # noqa: B009
            asyncio.get_running_loop().set_task_factory(factory)
            assert "done" == await root.spawn(at_once())
            assert 42 == await root.spawn(value())
            await asyncio.sleep(0)

        asyncio.run(main())
        assert [] == list(root.children())

    @pytest.mark.stress
    def test_many_tasks(self, root: Root) -> None:
        """
        Thousands of tasks, half of them cancelled, leave nothing.
        """

        async def main() -> None:
            tasks = [root.spawn(value(i)) for i in range(3000)]
            tasks += [root.spawn(forever()) for _ in range(3000)]
            await asyncio.sleep(0)
            for task in tasks[3000:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(main())
        assert [] == list(root.children())
        assert [] == root.failed


async def wait_for(awaitable: Any) -> None:
    """
    Awaits what is no coroutine.
    """
    await awaitable
