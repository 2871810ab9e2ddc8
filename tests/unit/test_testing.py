"""
The fake clock: time that moves when told, and runs what is due on its way.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from memguard._events import Dropped
from memguard._probes.probe import MemoryProbe
from memguard._registry import Registry
from memguard.testing import FakeClock, FakeProbe, capture_events


def test_time_stands_still() -> None:
    """
    Both clocks move only by `advance`, and together.
    """
    clock = FakeClock(start=50.0, epoch=2_000.0)

    assert (50.0, 2_000.0) == (clock.monotonic(), clock.time())
    clock.advance(2.5)
    clock.advance("1m")
    assert (112.5, 2_062.5) == (clock.monotonic(), clock.time())
    assert "<FakeClock 62.5 s after its start>" == repr(clock)


def test_each_call_runs_at_its_own_instant() -> None:
    """
    Calls run in the order of their time and see the clock at exactly that time.
    """
    clock = FakeClock(start=0.0)
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, clock.monotonic()))

    clock.call_at(3.0, partial(note, "third"))
    clock.call_at(1.0, partial(note, "first"))
    clock.call_at(1.0, partial(note, "second"))
    clock.call_at(9.0, partial(note, "not yet"))

    clock.advance(5)

    assert [("first", 1.0), ("second", 1.0), ("third", 3.0)] == seen
    assert 5.0 == clock.monotonic()
    assert 1 == clock.pending


def test_what_is_scheduled_on_the_way_runs_too() -> None:
    """
    A call may schedule the next one; what falls due before the end runs.
    """
    clock = FakeClock(start=0.0)
    seen: list[float] = []

    def again() -> None:
        seen.append(clock.monotonic())
        clock.call_at(clock.monotonic() + 2, again)

    clock.call_at(2.0, again)
    clock.advance(7)

    assert [2.0, 4.0, 6.0] == seen


def test_what_is_overdue_runs_without_turning_time_back() -> None:
    """
    A call for the past runs at the next advance, at the present.
    """
    clock = FakeClock(start=10.0)
    seen: list[float] = []
    clock.call_at(3.0, lambda: seen.append(clock.monotonic()))

    clock.advance(0)

    assert [10.0] == seen


def test_cancelled_calls_are_not_pending() -> None:
    """
    A cancelled call neither runs nor counts.
    """
    clock = FakeClock()
    ran: list[int] = []
    handles = [clock.call_at(0.0, partial(ran.append, i)) for i in range(3)]
    handles[1].cancel()

    assert 2 == clock.pending
    clock.advance(1)
    assert [0, 2] == ran
    assert 0 == clock.pending


def test_submit_runs_at_once_and_start_and_stop_do_nothing() -> None:
    """
    There is no thread: slow calls run in the caller's.
    """
    clock = FakeClock()
    threads: list[int] = []
    clock.start()
    clock.submit(lambda: threads.append(threading.get_ident()))
    clock.stop(1.0)

    assert [threading.get_ident()] == threads


def test_an_error_reaches_the_test_and_the_clock_goes_on() -> None:
    """
    What a call raises comes out of `advance`, which can be called again.
    """
    clock = FakeClock(start=0.0)
    ran: list[float] = []
    clock.call_at(1.0, partial(int, "no number"))
    clock.call_at(2.0, lambda: ran.append(clock.monotonic()))

    with pytest.raises(ValueError, match="invalid literal"):
        clock.advance(5)
    clock.advance(5)

    assert [2.0] == ran
    assert 6.0 == clock.monotonic()


def test_advance_inside_a_call() -> None:
    """
    A call that lets time pass itself moves the same clock, never back.
    """
    clock = FakeClock(start=0.0)
    seen: list[float] = []
    clock.call_at(1.0, lambda: clock.advance(10))
    clock.call_at(2.0, lambda: seen.append(clock.monotonic()))

    clock.advance(5)

    assert [2.0] == seen
    assert 11.0 == clock.monotonic()


@pytest.mark.parametrize("bad", [-1, "soon", None])
def test_time_does_not_go_back(bad: Any) -> None:
    """
    Only durations can pass.
    """
    with pytest.raises(ValueError, match="duration"):
        FakeClock().advance(bad)


def test_await_scheduled_waits_for_threads() -> None:
    """
    The test goes on when as many calls are pending as it asked for.
    """
    clock = FakeClock()
    threads = [
        threading.Thread(target=clock.call_at, args=(5.0 + i, list)) for i in range(3)
    ]
    for thread in threads:
        thread.start()

    clock.await_scheduled(3)

    assert 3 == clock.pending
    for thread in threads:
        thread.join()
    with pytest.raises(TimeoutError, match="3 of 4 calls were scheduled"):
        clock.await_scheduled(4, timeout=0.01)


async def settle_chain(seen: list[tuple[int, float]], clock: FakeClock) -> None:
    """
    Work of several steps that is ready all the time.
    """
    for step in range(5):
        await asyncio.sleep(0)
        seen.append((step, clock.monotonic()))


def test_aadvance_lets_the_loop_settle_after_each_instant() -> None:
    """
    What a call started on the loop runs before time goes on.
    """
    clock = FakeClock(start=0.0)
    seen: list[tuple[int, float]] = []

    async def main() -> None:
        tasks: set[asyncio.Task[None]] = set()

        def spawn() -> None:
            tasks.add(asyncio.create_task(settle_chain(seen, clock)))

        clock.call_at(1.0, spawn)
        clock.call_at(2.0, spawn)
        await clock.aadvance(10)
        assert all(task.done() for task in tasks)

    asyncio.run(main())

    expected = [(step, at) for at in (1.0, 2.0) for step in range(5)]
    assert expected == seen
    assert 10.0 == clock.monotonic()


def test_aadvance_does_not_wait_for_what_never_settles() -> None:
    """
    A task that is ready for ever, or waits for something real, holds nothing up.
    """
    clock = FakeClock()

    async def spin() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(spin())
        await clock.aadvance(1)
        task.cancel()

    asyncio.run(main())


@given(
    st.lists(st.floats(0, 100), max_size=20),
    st.lists(st.floats(0.001, 30), min_size=1, max_size=8),
)
def test_how_time_passes_does_not_matter(
    times: list[float], steps: list[float]
) -> None:
    """
    Many small steps run the same calls at the same instants as one large step.
    """

    def run(clock: FakeClock, advances: list[float]) -> list[tuple[float, float]]:
        seen: list[tuple[float, float]] = []
        for when in times:
            clock.call_at(when, lambda w=when: seen.append((w, clock.monotonic())))  # type: ignore[misc]
        for step in advances:
            clock.advance(step)
        return seen

    in_steps, at_once = FakeClock(start=0.0), FakeClock(start=0.0)
    first = run(in_steps, steps)
    second = run(at_once, [in_steps.monotonic()])

    assert first == second
    assert [(when, when) for when in sorted(times)][: len(first)] == first


def test_capture_events() -> None:
    """
    Events are collected inside the block and no longer after it.
    """
    clock = FakeClock()
    guard: Any = SimpleNamespace(registry=Registry(clock, clock))
    one, two = Dropped("ring", "a", 1), Dropped("ring", "a", 2)

    with capture_events(guard) as events:
        guard.registry.events.emit(one)
    guard.registry.events.emit(two)

    assert [one] == events


def test_fake_probe() -> None:
    """
    Readings are what the test says, also when it changes its mind.
    """
    probe = FakeProbe(rss="100MiB", limit="1GiB")

    assert isinstance(probe, MemoryProbe)
    assert (100 << 20, 100 << 20) == (probe.memory().rss, probe.memory().virtual)
    probe.rss = "200MiB"
    assert 200 << 20 == probe.memory().rss
    probe.rss = 1
    assert 1 == probe.rss
    assert 4096 == FakeProbe(virtual=4096).memory().virtual
    with pytest.raises(ValueError, match="rss must be a size"):
        probe.rss = -1
    probe.close()


def test_the_limit_of_a_fake_probe() -> None:
    """
    The smaller one of the fake's limit and of what is configured holds.
    """
    probe = FakeProbe(limit=1000)
    readings = [probe.limit("auto"), probe.limit(500), probe.limit(2000)]
    assert [1000, 500, 1000] == [one.limit_bytes for one in readings]
    assert ["cgroup", "config", "cgroup"] == [one.source for one in readings]
    assert probe.limit(None).limit_bytes is None

    probe.limit_bytes = None
    assert (None, "none") == (probe.limit().limit_bytes, probe.limit().source)
    assert 500 == probe.limit(500).limit_bytes
