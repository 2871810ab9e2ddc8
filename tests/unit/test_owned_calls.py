"""
Timers, tasks and emitters under a real guard: who closes whom, and from where.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest

from memguard import Guard
from memguard.errors import ScopeClosed
from memguard.testing import FakeClock

SOON = 5.0


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "memguard")


def on_a_loop(main: Callable[[Guard], Awaitable[None]], guard: Guard) -> float:
    """
    Run *main* inside `async with guard`; returns the seconds it all took.
    """

    async def run() -> None:
        async with guard:
            await asyncio.wait_for(main(guard), SOON)

    begun = monotonic()
    asyncio.run(run())
    return monotonic() - begun


class TestClosingFromInside:
    """
    What runs may close its own owner: nothing waits for itself.
    """

    def test_a_plain_timer_closes_its_scope(self) -> None:
        """
        The worker closes the scope whose timer it is calling.
        """
        done = threading.Event()
        with Guard() as guard:
            scope = guard.scope("connection", work=False)

            def expire() -> None:
                scope.close()
                done.set()

            timer = scope.timer(expire, after="1ms")
            begun = monotonic()
            assert done.wait(SOON)
            assert monotonic() - begun < 1
            assert scope.closed
            assert timer.closed

    def test_an_asynchronous_timer_closes_its_scope(self) -> None:
        """
        The call is not cancelled by the close it waits for.
        """
        ended: list[str] = []

        async def main(guard: Guard) -> None:
            done = asyncio.Event()
            scope = guard.scope("connection", work=False)

            async def expire() -> None:
                await scope.aclose()
                await asyncio.sleep(0)
                ended.append("expired")
                done.set()

            scope.timer(expire, after="1ms")
            await done.wait()
            assert scope.closed

        assert on_a_loop(main, Guard()) < 1
        assert ["expired"] == ended

    def test_a_task_closes_its_scope(self) -> None:
        """
        It goes on to its end, and gives its result.
        """

        async def main(guard: Guard) -> None:
            scope = guard.scope("connection", work=False)

            async def work() -> str:
                await scope.aclose()
                await asyncio.sleep(0)
                return "done"

            assert "done" == await scope.spawn(work())
            assert scope.closed

        assert on_a_loop(main, Guard()) < 1

    def test_a_task_closes_its_scope_through_another_task(self) -> None:
        """
        Then it is cancelled when the close is done: nothing hangs.
        """

        async def main(guard: Guard) -> None:
            scope = guard.scope("connection", work=False)

            async def work() -> None:
                await asyncio.gather(scope.aclose(), asyncio.sleep(0))

            task = scope.spawn(work())
            await asyncio.wait([task.task])
            assert scope.closed

        assert on_a_loop(main, Guard()) < 1

    def test_a_plain_timer_shuts_its_guard_down(self) -> None:
        """
        The shutdown is clean and does not wait for the call that asked for it.
        """
        reports: list[Any] = []
        done = threading.Event()
        guard = Guard().start()

        def stop() -> None:
            reports.append(guard.shutdown())
            done.set()

        guard.timer(stop, every="1ms")
        begun = monotonic()
        assert done.wait(SOON)
        assert monotonic() - begun < 1
        assert reports[0].clean

    def test_a_listener_closes_the_scope_it_is_tied_to(self) -> None:
        """
        A listener that runs as a task may close its own owner.
        """
        ended: list[bool] = []

        async def main(guard: Guard) -> None:
            scope = guard.scope("connection", work=False)
            bus = scope.emitter("bus")
            done = asyncio.Event()

            async def hang_up() -> None:
                await scope.aclose()
                ended.append(True)
                done.set()

            scope.listen(bus, "line", hang_up)
            bus.emit("line")
            await done.wait()
            assert bus.closed

        assert on_a_loop(main, Guard()) < 1
        assert [True] == ended


class TestShutdown:
    """
    What a guard does with calls in hand.
    """

    def test_calls_in_hand_end(self) -> None:
        """
        A call of a timer and a task's clean-up are finished before the guard is.
        """
        order: list[str] = []

        async def main(guard: Guard) -> None:
            began = asyncio.Event()

            async def call() -> None:
                began.set()
                await asyncio.sleep(0.02)
                order.append("call")

            async def work() -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0.01)
                    order.append("cleaned up")

            guard.timer(call, every="1ms")
            guard.spawn(work())
            await began.wait()

        assert on_a_loop(main, Guard()) < 2
        assert ["call", "cleaned up"] == order

    def test_a_task_that_refuses_is_named(self) -> None:
        """
        The report says where it stands.
        """
        stop: list[asyncio.Task[None]] = []

        async def stubborn() -> None:
            while not stop:
                try:
                    await asyncio.sleep(SOON)
                except asyncio.CancelledError:
                    continue

        async def run() -> Any:
            guard = Guard(shutdown_timeout="500ms").start()
            task = guard.spawn(stubborn(), name="stubborn")
            await asyncio.sleep(0)
            report = await guard.ashutdown()
            stop.append(task.task)
            for left in asyncio.all_tasks() - {asyncio.current_task()}:
                left.cancel()
            await asyncio.sleep(0)
            return report

        report = asyncio.run(run())
        assert not report.clean
        assert "stubborn" in str(report)

    def test_declarations_live_on(self) -> None:
        """
        A timer and a listener of module level work again after a restart.
        """
        clock = FakeClock()
        guard = Guard(clock=clock)
        seen: list[str] = []
        bus = guard.emitter("bus")

        @guard.timer(every="10s")
        def refresh() -> None:
            seen.append("refresh")

        bus.on("line", lambda: seen.append("line"))
        clock.advance("1m")
        assert [] == seen

        for _ in range(2):
            guard.start()
            clock.advance("10s")
            bus.emit("line")
            guard.shutdown()
            clock.advance("1m")
        assert ["refresh", "line"] * 2 == seen

    def test_many_starts(self) -> None:
        """
        Starting and shutting down leaves no scheduled call and no listener behind.
        """
        clock = FakeClock()
        guard = Guard(clock=clock)
        guard.timer(list, every="10s")
        bus = guard.emitter("bus")
        for _ in range(100):
            guard.start()
            guard.timer(list, every="1s")
            bus.on("line", print)
            guard.shutdown()
        assert 0 == clock.pending
        assert 0 == bus.listening

    def test_a_name_replaces(self) -> None:
        """
        A timer, or a task, of the same name takes the place of the first.
        """
        clock = FakeClock()

        async def main(guard: Guard) -> None:
            first = guard.timer(list, every="1s", name="beat")
            second = guard.timer(list, every="1s", name="beat")
            await clock.aadvance("3s")
            assert (True, 0, 3) == (first.closed, first.runs, second.runs)

            one = guard.spawn(asyncio.Event().wait(), name="work")
            two = guard.spawn(asyncio.sleep(0, "result"), name="work")
            assert "result" == await two
            with pytest.raises(asyncio.CancelledError):
                await one

        on_a_loop(main, Guard(clock=clock))

    def test_a_closed_scope_refuses(self) -> None:
        """
        Nothing is made in a scope that has ended, and no coroutine is forgotten.
        """

        async def main(guard: Guard) -> None:
            async with guard.scope("request") as scope:
                scope.timer(list, every="1s")
            coro = asyncio.sleep(0)
            with pytest.raises(ScopeClosed):
                scope.spawn(coro)
            assert coro.cr_frame is None
            with pytest.raises(ScopeClosed):
                scope.timer(list, every="1s")
            with pytest.raises(ScopeClosed):
                scope.listen(guard.emitter("bus"), "line", print)

        on_a_loop(main, Guard())
