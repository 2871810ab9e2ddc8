"""
`no_leaks` and `assert_no_growth`: they find what is planted, and nothing else.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memguard import Guard
from memguard.errors import BackgroundFailures, WouldBlockLoop
from memguard.testing import (
    FakeClock,
    aassert_no_growth,
    assert_no_growth,
    no_leaks,
)


@pytest.fixture
def guard() -> Iterator[Guard]:
    """
    A guard that runs.
    """
    with Guard() as made:
        yield made


class Thing:
    """
    Something to register.
    """

    def close(self) -> None:
        """
        End it.
        """


def found(guard: Guard | None, leak: Callable[[], Any], **options: Any) -> str:
    """
    What `no_leaks` says about a block that leaks.
    """
    kept: list[Any] = []
    with (
        pytest.raises(AssertionError, match="left behind") as caught,
        no_leaks(guard, timeout="20ms", **options),
    ):
        kept.append(leak())
    return str(caught.value)


async def forever() -> None:
    """
    A coroutine of the application that does not end.
    """
    await asyncio.Event().wait()


async def a_moment() -> None:
    """
    A call of a timer that takes a moment.
    """
    await asyncio.sleep(0.005)


class TestNoLeaks:
    """
    What is left behind, and what is not.
    """

    def test_a_clean_block(self, guard: Guard) -> None:
        """
        What was made and ended is no leak; nor is what was there before.
        """
        before = guard.timer(list, every=1)
        with no_leaks(guard):
            with guard.scope("request") as scope:
                scope.register(Thing())
                scope.timer(list, every=1)
                scope.emitter("bus").on("line", print)
            thread = threading.Thread(target=list)
            thread.start()
            thread.join()
        assert not before.closed

    def test_of_the_process(self, guard: Guard) -> None:
        """
        A descriptor that nobody closed is found, whoever opened it.
        """
        left: list[socket.socket] = []

        def leak() -> socket.socket:
            left.append(socket.socket())
            return left[0]

        text = found(guard, leak)
        left[0].close()
        assert "leaked socket" in text

    def test_a_thread(self, guard: Guard) -> None:
        """
        A thread that runs on is found.
        """
        go_on = threading.Event()
        thread = threading.Thread(target=go_on.wait, args=(5.0,), name="left-behind")

        text = found(guard, thread.start)

        go_on.set()
        thread.join()
        assert "left-behind" in text

    def test_what_the_guard_owns(self, guard: Guard) -> None:
        """
        Each kind of thing left on the guard is named with the place that made it.
        """
        thing = Thing()
        scope = guard.scope("connection", work=False)

        def leak() -> None:
            guard.register(thing)
            guard.timer(list, every=1, name="refresh")
            scope.register(thing)

        text = found(guard, leak)

        assert "timer refresh, " in text
        assert "resource Thing, " in text
        assert "scope connection, " in text
        assert text.count("in TestNoLeaks.test_what_the_guard_owns") >= (
            2 if sys.version_info >= (3, 11) else 0
        )
        assert "test_no_leaks.py:" in text

    def test_a_listener_in_a_scope_that_was_there(self, guard: Guard) -> None:
        """
        Inside of what existed before, it looks for what is new.
        """
        scope = guard.scope("connection", work=False)
        scope.register(Thing(), keep=True)
        bus = guard.emitter("bus")

        text = found(guard, lambda: scope.listen(bus, "line", print))

        assert "listener print, " in text

    def test_containers_stay(self, guard: Guard) -> None:
        """
        A container is made once, by whoever needs it first.
        """
        with no_leaks(guard):
            guard.emitter("bus")

    def test_what_is_on_its_way_out(self, guard: Guard) -> None:
        """
        It is waited for, as long as the timeout allows.
        """
        thread = threading.Thread(target=threading.Event().wait, args=(0.05,))
        with no_leaks(guard):
            thread.start()

    def test_ignore(self, guard: Guard) -> None:
        """
        What is meant to stay can be named.
        """
        left: list[socket.socket] = []
        with no_leaks(guard, ignore=("socket",)):
            left.append(socket.socket())
        left[0].close()

    def test_a_failing_block(self, guard: Guard) -> None:
        """
        The block's own exception is the one that is seen.
        """

        def fail() -> None:
            guard.timer(list, every=1)
            raise KeyError

        with pytest.raises(KeyError), no_leaks(guard):
            fail()

    def test_strict_failures(self) -> None:
        """
        What failed in the background of a strict guard is raised at the end.
        """
        clock = FakeClock()
        guard = Guard(clock=clock, strict=True).start()

        def fail() -> None:
            raise KeyError

        guard.timer(fail, after=1)
        with (
            pytest.raises(BackgroundFailures) as caught,
            no_leaks(guard, ignore=("timer",)),
        ):
            clock.advance(2)

        assert [KeyError] == [type(one) for one in caught.value.exceptions]
        guard.shutdown()

    def test_on_a_loop(self) -> None:
        """
        In a coroutine it is `async with`, and tasks are looked at.
        """

        async def main() -> None:
            async with Guard() as guard:
                async with no_leaks(guard), guard.scope("request") as scope:
                    scope.spawn(asyncio.sleep(5))
                    scope.timer(a_moment, every="1ms")
                    await asyncio.sleep(0.01)
                with pytest.raises(WouldBlockLoop, match="async with no_leaks"):
                    no_leaks(guard).__enter__()
                left: list[asyncio.Task[None]] = []
                with pytest.raises(AssertionError, match="leaked task"):
                    async with no_leaks(guard, timeout="20ms"):
                        left.append(asyncio.create_task(forever()))
                left[0].cancel()

        asyncio.run(main())

    def test_without_a_guard(self) -> None:
        """
        By default it is the current guard.
        """
        with Guard() as guard:
            assert "timer refresh" in found(
                None, lambda: guard.timer(list, every=1, name="refresh")
            )

    def test_what_is_no_guard(self) -> None:
        """
        A wrong argument is told before the block begins.
        """
        wrong: Any = "guard"
        with pytest.raises(TypeError, match="takes a guard, not a str"):
            no_leaks(wrong)


class TestNoGrowth:
    """
    What is kept from call to call.
    """

    def test_no_growth(self) -> None:
        """
        What is allocated and freed is no growth; nor is what the warm-up fills.
        """
        cache: dict[int, bytes] = {}
        calls: list[int] = []

        def work() -> None:
            calls.append(1)
            cache.setdefault(1, bytes(10_000_000))
            bytes(100_000)

        assert assert_no_growth(work, iterations=20, warmup=2) < 64 * 1024
        assert 22 == len(calls)
        assert not tracemalloc.is_tracing()

    def test_growth(self) -> None:
        """
        What is kept fails, and the place that allocated it is named.
        """
        kept: list[bytes] = []

        with pytest.raises(AssertionError) as caught:
            assert_no_growth(lambda: kept.append(bytes(10_000)), iterations=20)

        first, place = str(caught.value).splitlines()[:2]
        assert "more after 20 calls, and 64KiB are allowed" in first
        assert f"{__file__}:" in place
        assert "in 20 blocks" in place or "in 21 blocks" in place

    def test_the_limit(self) -> None:
        """
        The limit is for all calls together; the growth is returned.
        """
        kept: list[bytes] = []
        grown = assert_no_growth(
            lambda: kept.append(bytes(10_000)), limit="1MiB", iterations=20
        )
        assert 200_000 <= grown < 230_000

    def test_cycles_are_collected(self) -> None:
        """
        Garbage that waits for its collection is no growth.
        """

        def cycle() -> None:
            ring: list[Any] = [bytes(10_000)]
            ring.append(ring)

        assert_no_growth(cycle, iterations=100)

    def test_on_a_loop(self) -> None:
        """
        The asynchronous form awaits each call.
        """
        kept: list[bytes] = []

        async def work() -> None:
            await asyncio.sleep(0)
            kept.append(bytes(10_000))

        async def main() -> None:
            await aassert_no_growth(work, limit="1MiB")
            with pytest.raises(AssertionError, match="more after 50 calls"):
                await aassert_no_growth(work)
            with pytest.raises(WouldBlockLoop, match="await aassert_no_growth"):
                assert_no_growth(list)

        asyncio.run(main())
        assert 55 * 2 == len(kept)

    def test_a_failing_call(self) -> None:
        """
        Its exception is the one that is seen, and nothing stays switched on.
        """
        calls = iter([None, None, KeyError])

        def fail() -> None:
            error = next(calls)
            if error is not None:
                raise error

        with pytest.raises(KeyError):
            assert_no_growth(fail, warmup=2)
        assert not tracemalloc.is_tracing()

    def test_tracing_goes_on_if_it_was_on(self) -> None:
        """
        Somebody else's measuring is left alone.
        """
        tracemalloc.start()
        try:
            assert_no_growth(list)
            assert tracemalloc.is_tracing()
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"iterations": 0}, "iterations must be a whole number of at least 1"),
            ({"warmup": -1}, "warmup must be a whole number of at least 0"),
            ({"iterations": True}, "iterations must be"),
            ({"limit": "64M"}, "limit must be a size"),
        ],
    )
    def test_bad_options(self, options: dict[str, Any], text: str) -> None:
        """
        Options are checked before anything is called.
        """
        with pytest.raises(ValueError, match=text):
            assert_no_growth(list, **options)
