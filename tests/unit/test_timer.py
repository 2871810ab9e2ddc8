"""
Timers: their schedule in virtual time, their threads in real time, and their end.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import math
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from hypothesis import given, strategies as st

from memguard._clock import SystemClock
from memguard._kinds.periods import missed_periods
from memguard._kinds.timer import Timer, TimerInfo
from memguard._phases import NEW
from memguard._registry import Registry
from memguard._scheduler import ThreadScheduler
from memguard._tree import Branch, current
from memguard.errors import ScopeClosed
from memguard.testing import FakeClock

SOON = 5.0


class Root(Branch):
    """
    The least that can own a timer.
    """

    __slots__ = ()

    def __init__(self, clock: Any, scheduler: Any) -> None:
        registry = Registry(clock, scheduler)
        super().__init__(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        self.owner = None
        self._children = {}

    def timer(self, fn: Callable[[], Any], **options: Any) -> Timer:
        """
        A timer that is in the tree and armed.
        """
        timer = Timer(self, fn, **options).attach()
        timer._arm()
        return timer

    @property
    def failures(self) -> dict[tuple[str, str, str], int]:
        """
        Background failures by place, type and site.
        """
        return self.registry.failures.counts


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that starts at zero.
    """
    return FakeClock(start=0.0)


@pytest.fixture
def root(clock: FakeClock) -> Root:
    """
    An owner in virtual time.
    """
    return Root(clock, clock)


@pytest.fixture
def real_root() -> Iterator[Root]:
    """
    An owner with a real scheduler, which is stopped in the end.
    """
    clock = SystemClock()
    scheduler = ThreadScheduler(clock, "memguard-test")
    scheduler.start()
    made = Root(clock, scheduler)
    made.registry.drain_s = SOON
    yield made
    scheduler.stop(SOON)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "memguard")


def nothing() -> None:
    """
    What most timers here call.
    """


async def anothing() -> None:
    """
    The same on a loop.
    """


class TestSchedule:
    """
    When a timer calls.
    """

    def test_every(self, root: Root, clock: FakeClock) -> None:
        """
        The first call comes one period after arming, the others a period apart.
        """
        seen: list[float] = []
        timer = root.timer(lambda: seen.append(clock.monotonic()), every="10s")

        clock.advance(35)

        assert [10.0, 20.0, 30.0] == seen
        assert TimerInfo(3, 0, 0, 5.0) == timer.info()

    def test_after(self, root: Root, clock: FakeClock) -> None:
        """
        It calls once, then leaves the tree by itself.
        """
        seen: list[float] = []
        timer = root.timer(lambda: seen.append(clock.monotonic()), after="1m")

        clock.advance("1h")

        assert [60.0] == seen
        assert timer.closed
        assert [] == list(root.children())
        assert TimerInfo(1, 0, 0, None) == timer.info()

    def test_after_nothing(self, root: Root, clock: FakeClock) -> None:
        """
        `after=0` is as soon as possible, not at once.
        """
        seen: list[int] = []
        root.timer(lambda: seen.append(1), after=0)
        assert [] == seen
        clock.advance(0)
        assert [1] == seen

    def test_late_calls_do_not_drift(self, root: Root, clock: FakeClock) -> None:
        """
        A late call moves none of the later ones.
        """
        seen: list[float] = []

        def slow() -> None:
            seen.append(clock.monotonic())
            if len(seen) == 1:
                clock.advance(4)

        root.timer(slow, every=10)
        clock.advance(40)

        assert [10.0, 20.0, 30.0, 40.0] == seen

    def test_missed_periods_are_skipped_and_counted(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        After a stall there is one call, not one for each missed period.
        """
        seen: list[float] = []
        clock.call_at(5.0, lambda: setattr(clock, "_now", 47.0))  # the process stood
        timer = root.timer(lambda: seen.append(clock.monotonic()), every=10)

        clock.advance(5)  # to 47: late for 10, missed 20, 30 and 40
        clock.advance(23)

        assert [47.0, 50.0, 60.0, 70.0] == seen
        assert (4, 3) == (timer.runs, timer.skipped)

    @given(late=st.floats(0, 1e6), every=st.floats(0.001, 1e4))
    def test_missed_periods(self, late: float, every: float) -> None:
        """
        The next call comes in the future, at most one period from now.
        """
        missed = missed_periods(late, every)
        wait = (missed + 1) * every - late

        rounding = late * 1e-9
        assert missed >= 0
        assert -rounding <= wait <= every + rounding

    @given(periods=st.integers(0, 50))
    def test_missed_whole_periods(self, periods: int) -> None:
        """
        A call that comes at the instant of a later one stands for that one.
        """
        assert periods == missed_periods(periods * 8.0, 8.0)

    @given(
        every=st.integers(1, 50),
        stalls=st.lists(st.integers(0, 200), max_size=6),
    )
    def test_calls_and_skips_cover_every_period(
        self, every: int, stalls: list[int]
    ) -> None:
        """
        Whatever stalls happen, each elapsed period was called or counted as skipped.
        """
        clock = FakeClock(start=0.0)
        root = Root(clock, clock)
        seen: list[float] = []

        def call() -> None:
            seen.append(clock.monotonic())
            if stalls:
                clock._now += stalls.pop()

        timer = root.timer(call, every=every)
        clock.advance(1000)
        clock.advance(every)  # what the last stall delayed

        elapsed = math.floor(clock.monotonic() / every)
        assert elapsed == timer.runs + timer.skipped
        assert len(seen) == timer.runs
        assert sorted(set(seen)) == seen

    def test_no_error_adds_up(self, root: Root, clock: FakeClock) -> None:
        """
        The instants are multiples of the period, not sums of it.
        """
        seen: list[float] = []
        root.timer(lambda: seen.append(clock.monotonic()), every=0.1)

        clock.advance(1000)

        assert [0.1 * tick for tick in range(1, len(seen) + 1)] == seen

    def test_jitter(self, root: Root, clock: FakeClock) -> None:
        """
        Each call is put off by a fraction of the period; the base does not move.
        """
        draws = iter([0.0, 1.0, 0.5, 0.25, 0.0])
        seen: list[float] = []
        root.timer(
            lambda: seen.append(clock.monotonic()),
            every=10,
            jitter=0.5,
            random=lambda: next(draws),
        )

        clock.advance(45)

        assert [10.0, 25.0, 32.5, 41.25] == seen

    @given(
        jitter=st.floats(0, 1),
        draws=st.lists(st.floats(0, 1), min_size=40, max_size=40),
    )
    def test_jitter_skips_nothing(self, jitter: float, draws: list[float]) -> None:
        """
        However the draws fall: one call in each period, none skipped, none early.
        """
        clock = FakeClock(start=0.0)
        root = Root(clock, clock)
        left = list(draws)
        seen: list[float] = []
        timer = root.timer(
            lambda: seen.append(clock.monotonic()),
            every=1,
            jitter=jitter,
            random=left.pop,
        )

        clock.advance(38)

        assert 0 == timer.skipped
        for tick, at in enumerate(seen, 1):
            assert tick <= at <= tick + jitter

    def test_jitter_by_default_is_random(self, root: Root, clock: FakeClock) -> None:
        """
        Without a given source, timers of the same period spread.
        """
        timers = [root.timer(nothing, every=100, jitter=1) for _ in range(10)]

        assert len({timer.info().next_in for timer in timers}) > 1
        assert all(100 <= (timer.info().next_in or 0) <= 200 for timer in timers)


class TestCalls:
    """
    What a call may do, and what becomes of it.
    """

    def test_an_exception_is_reported_and_the_timer_goes_on(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        A failure is counted under the place where the timer was made.
        """
        timer = root.timer(partial(int, "no number"), every=1)

        clock.advance(3)

        assert (3, 3) == (timer.runs, timer.failures)
        ((where, error, site),) = root.failures
        assert ("timer", "ValueError") == (where, error)
        assert "test_timer.py" in site
        assert 3 == root.registry.failures.total

    def test_the_owner_is_the_current_scope(self, root: Root, clock: FakeClock) -> None:
        """
        Inside a call the current scope is the timer's owner, not the caller's.
        """
        owner = Branch(root, "mine")
        seen: list[Branch | None] = []
        timer = Timer(owner, lambda: seen.append(current.get()), every=1).attach()
        timer._arm()
        token = current.set(root)
        try:
            clock.advance(1)
            assert root is current.get()
        finally:
            current.reset(token)

        assert [owner] == seen

    def test_trigger_does_not_shift_the_schedule(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        A triggered call comes on top.
        """
        seen: list[float] = []
        timer = root.timer(lambda: seen.append(clock.monotonic()), every=10)
        clock.advance(4)

        timer.trigger()
        clock.advance(10)

        assert [4.0, 10.0] == seen
        assert 2 == timer.runs

    def test_trigger_of_a_single_call(self, root: Root, clock: FakeClock) -> None:
        """
        Triggering an `after` timer neither ends it nor costs its call.
        """
        seen: list[float] = []
        timer = root.timer(lambda: seen.append(clock.monotonic()), after=10)
        timer.trigger()
        assert not timer.closed
        clock.advance(10)
        assert [0.0, 10.0] == seen
        assert timer.closed

    def test_a_single_call_is_never_left_out(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        The call of an `after` timer comes though a triggered one still runs.
        """
        seen: list[float] = []

        def call() -> None:
            seen.append(clock.monotonic())
            if len(seen) == 1:
                clock.advance(20)

        root.timer(call, after=10).trigger()

        assert [0.0, 10.0] == seen

    def test_calls_do_not_overlap(self, root: Root, clock: FakeClock) -> None:
        """
        A period that comes while the last call runs is skipped and counted.
        """
        seen: list[float] = []

        def call() -> None:
            seen.append(clock.monotonic())
            if len(seen) == 1:
                clock.advance(25)

        timer = root.timer(call, every=10)
        clock.advance(10)

        assert [10.0] == seen
        assert (1, 2) == (timer.runs, timer.skipped)
        clock.advance(10)
        assert [10.0, 40.0] == seen

    def test_overlap_on_request(self, root: Root, clock: FakeClock) -> None:
        """
        With `overlap` the period's call runs beside the last one.
        """
        seen: list[float] = []

        def call() -> None:
            seen.append(clock.monotonic())
            if len(seen) == 1:
                clock.advance(25)

        timer = root.timer(call, every=10, overlap=True)
        clock.advance(10)

        assert [10.0, 20.0, 30.0] == seen
        assert 0 == timer.skipped

    def test_a_coroutine_of_a_plain_function(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        Nobody would await it, so it is closed and reported instead of forgotten.
        """
        timer = root.timer(lambda: anothing(), every=1)  # noqa: PLW0108

        clock.advance(1)

        assert 1 == timer.failures
        assert ["TypeError"] == [error for _, error, _ in root.failures]

    def test_a_call_may_close_its_timer(self, root: Root, clock: FakeClock) -> None:
        """
        Closing from inside waits for nothing, and is the end.
        """
        made: list[Timer] = []
        made.append(root.timer(lambda: [one.cancel() for one in made], every=1))

        clock.advance(5)

        assert 1 == made[0].runs
        assert made[0].closed

    def test_trigger_after_the_end(self, root: Root) -> None:
        """
        A closed timer says so.
        """
        timer = root.timer(nothing, every=1, name="beat")
        timer.cancel()
        timer.cancel()
        with pytest.raises(ScopeClosed, match="timer 'beat' is closed"):
            timer.trigger()
        with pytest.raises(ScopeClosed, match="timer 'beat' is closed"):
            timer()


class TestDecorator:
    """
    A decorated function stays usable.
    """

    def test_it_is_still_the_function(self, root: Root) -> None:
        """
        Calling it calls the function; its name, text and signature are there.
        """

        def refresh(tenant: str = "all", *, hard: bool = False) -> tuple[str, bool]:
            """
            Load it again.
            """
            return tenant, hard

        timer: Any = root.timer(refresh, every=1)

        assert ("acme", True) == timer("acme", hard=True)
        assert 0 == timer.runs
        assert "refresh" == timer.__name__
        assert refresh.__qualname__ == timer.__qualname__
        assert refresh.__doc__ == timer.__doc__
        assert refresh is timer.__wrapped__
        assert inspect.signature(refresh) == inspect.signature(timer)
        assert "refresh" in timer.label

    def test_after_the_end_it_holds_nothing(self, root: Root) -> None:
        """
        A closed timer has no function any more, but its name.
        """
        timer: Any = root.timer(nothing, every=1)
        timer.cancel()

        assert not hasattr(timer, "__wrapped__")
        assert "nothing" == timer.__name__
        with pytest.raises(AttributeError, match="no attribute 'anything'"):
            _ = timer.anything

    def test_the_class_is_not_decorated(self) -> None:
        """
        What the instances show is not shown by the class.
        """
        assert "every" in inspect.signature(Timer).parameters
        assert "decorated function" in (Timer.__doc__ or "")
        assert "Timer" == Timer.__name__


class TestOptions:
    """
    Every option is checked, and the error says what would do.
    """

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({}, "either `every`"),
            ({"every": 1, "after": 1}, "not both"),
            ({"every": "soon"}, "every must be a duration"),
            ({"after": -1}, "after must be a duration"),
            ({"every": 0}, "at least 1 ms"),
            ({"every": 0.0005}, "at least 1 ms"),
            ({"every": 1, "jitter": 1.5}, "from 0 to 1"),
            ({"every": 1, "jitter": math.nan}, "from 0 to 1"),
            ({"after": 1, "jitter": 0.5}, "has none"),
            ({"every": 1, "name": ""}, "non-empty text"),
            ({"every": 1, "name": 7}, "non-empty text"),
        ],
    )
    def test_bad_values(self, root: Root, options: dict[str, Any], text: str) -> None:
        """
        A wrong value is a ValueError at the door; nothing was made.
        """
        with pytest.raises(ValueError, match=text):
            Timer(root, nothing, **options)
        assert [] == list(root.children())

    @pytest.mark.parametrize(
        ("fn", "options", "text"),
        [
            (7, {}, "something to call, not a int"),
            (nothing, {"jitter": "much"}, "jitter must be a number"),
            (nothing, {"jitter": True}, "jitter must be a number"),
        ],
    )
    def test_bad_types(
        self, root: Root, fn: Any, options: dict[str, Any], text: str
    ) -> None:
        """
        A wrong type is a TypeError.
        """
        with pytest.raises(TypeError, match=text):
            Timer(root, fn, every=1, **options)

    def test_labels(self, root: Root) -> None:
        """
        A timer is called by its name, else by its function.
        """
        labels = [
            Timer(root, nothing, every=1, name="beat").label,
            Timer(root, nothing, every=1).label,
            Timer(root, partial(partial(nothing)), every=1).label,
            Timer(root, threading.Event().set, every=1).label,
        ]
        assert ["beat", "nothing", "nothing", "Event.set"] == labels


class Holder:
    """
    Something a callback holds.
    """

    def work(self) -> None:
        """
        A callback.
        """


def closure_over(held: Holder, came: threading.Event | None = None) -> Any:
    """
    A callback whose closure holds something.
    """

    def callback() -> None:
        held.work()
        if came is not None:
            came.set()

    return callback


class TestEnd:
    """
    A closed timer frees its callback and calls no more.
    """

    def test_close_frees_callback_and_closure_at_once(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        Neither is alive after `close`, though the scheduler's heap has the dead entry.
        """
        held = Holder()
        callback = closure_over(held)
        timer = root.timer(callback, every=10)
        clock.advance(10)
        alive = [weakref.ref(callback), weakref.ref(held)]
        gc.disable()
        try:
            del callback, held
            timer.close()
            assert [None, None] == [one() for one in alive]
        finally:
            gc.enable()
        assert len(clock._heap) == 1
        assert clock.pending == 0

    def test_close_frees_in_real_threads(self, real_root: Root) -> None:
        """
        The same with a scheduler's thread and its workers, after some calls.
        """
        held, came = Holder(), threading.Event()
        callback = closure_over(held, came)
        timer = real_root.timer(callback, every=0.001)
        alive = [weakref.ref(callback), weakref.ref(held)]
        del callback, held
        assert came.wait(SOON)
        timer._drain()
        timer.close()
        gone = threading.Event()
        for _ in range(500):
            if alive[0]() is None and alive[1]() is None:
                break
            gone.wait(0.01)  # the worker is about to leave the call
        assert [None, None] == [one() for one in alive]

    def test_close_frees_a_bound_method(self, root: Root) -> None:
        """
        A bound method is held strongly by a timer, until its close.
        """
        held = Holder()
        alive = weakref.ref(held)
        timer = root.timer(held.work, after=10)
        del held
        assert alive() is not None
        timer.close()
        assert alive() is None

    def test_no_call_after_close(self, root: Root, clock: FakeClock) -> None:
        """
        Nothing runs any more, and the tree and the tally know.
        """
        timer = root.timer(nothing, every=1, name="beat")
        clock.advance(2)
        timer.close()
        clock.advance(10)

        assert 2 == timer.runs
        assert [] == list(root.children())
        tally = root.registry.tallies["timer"]["beat"]
        assert (1, 0) == (tally.created, tally.live)

    def test_disarm_and_arm_again(self, root: Root, clock: FakeClock) -> None:
        """
        A declared timer stands still after a shutdown and works after a start.
        """
        seen: list[float] = []
        timer = root.timer(lambda: seen.append(clock.monotonic()), every=10)
        timer.declared = True
        timer.state = NEW
        clock.advance(10)

        timer._disarm()
        clock.advance(100)
        assert [10.0] == seen
        assert timer.info().next_in is None
        with pytest.raises(ScopeClosed, match="stands still"):
            timer.trigger()
        timer._arm()
        timer._arm()
        clock.advance(10)

        assert [10.0, 120.0] == seen

    def test_a_single_call_that_was_disarmed_is_armed_again(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        An `after` timer that had not fired yet starts anew.
        """
        timer = root.timer(nothing, after=10)
        clock.advance(5)
        timer._disarm()
        clock.advance(50)
        timer._arm()
        clock.advance(9)
        assert 0 == timer.runs
        clock.advance(1)
        assert 1 == timer.runs
        assert timer.closed

    def test_after_fork_it_belongs_to_the_child(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        What the parent scheduled is void; arming schedules with the child's.
        """
        timer = root.timer(nothing, every=10)
        parents = root.registry
        child_clock = FakeClock(start=0.0)
        registry = Registry(child_clock, child_clock)

        parents.detached = True
        timer._after_fork(registry)
        clock.advance(100)
        assert 0 == timer.runs
        timer._arm()
        child_clock.advance(10)

        assert 1 == timer.runs

    def test_inherited_and_not_declared(self, root: Root) -> None:
        """
        In a forked child the parent's timer can neither be triggered nor closed.
        """
        timer = root.timer(nothing, every=10)
        root.registry.detached = True

        with pytest.raises(ScopeClosed, match="inherited through a fork"):
            timer.trigger()
        timer.close()
        assert not timer.closed


class TestThreads:
    """
    Plain functions run on workers.
    """

    def test_calls_run_on_workers(self, real_root: Root) -> None:
        """
        Neither in the thread that made the timer nor on the scheduler's.
        """
        ran_on: list[str] = []
        came = threading.Event()
        real_root.timer(
            lambda: (ran_on.append(threading.current_thread().name), came.set()),
            after=0,
        )
        assert came.wait(SOON)
        assert ["memguard-test-worker-1"] == ran_on

    def test_made_in_a_loop_a_plain_function_runs_on_a_worker(
        self, real_root: Root
    ) -> None:
        """
        The loop is not blocked by what might block.
        """
        ran_on: list[str] = []
        came = threading.Event()

        async def main() -> None:
            real_root.timer(
                lambda: (ran_on.append(threading.current_thread().name), came.set()),
                after=0,
            )

        asyncio.run(main())
        assert came.wait(SOON)
        assert ["memguard-test-worker-1"] == ran_on

    def test_drain_waits_for_the_running_call(self, real_root: Root) -> None:
        """
        Draining ends when the call in hand has ended, and no other one begins.
        """
        inside, go_on = threading.Event(), threading.Event()
        order: list[str] = []

        def call() -> None:
            inside.set()
            go_on.wait(SOON)
            order.append("call")

        timer = real_root.timer(call, every=0.001)
        assert inside.wait(SOON)
        assert timer.drains
        threading.Timer(0.02, go_on.set).start()

        timer._drain()
        order.append("drained")

        assert ["call", "drained"] == order
        assert 1 == timer.runs
        timer.close()

    def test_drain_is_bounded(self, real_root: Root) -> None:
        """
        A call that hangs is not waited for longer than the guard allows.
        """
        inside, go_on = threading.Event(), threading.Event()
        real_root.registry.drain_s = 0.02
        timer = real_root.timer(lambda: (inside.set(), go_on.wait(SOON)), after=0)
        assert inside.wait(SOON)

        timer._drain()

        assert timer.drains
        go_on.set()

    def test_drain_from_inside_waits_for_nothing(self, real_root: Root) -> None:
        """
        A call that closes its own scope would otherwise wait for itself.
        """
        done = threading.Event()
        seen: list[bool] = []

        def call() -> None:
            seen.append(timer.drains)
            timer._drain()
            done.set()

        timer = real_root.timer(call, every=0.01)

        assert done.wait(SOON)
        assert [False] == seen

    def test_inside_is_known_across_threads(self, real_root: Root) -> None:
        """
        Also when the call has a loop of another thread close its scope.
        """
        done = threading.Event()
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def close() -> bool:
            return timer.drains

        seen: list[bool] = []

        def call() -> None:
            future = asyncio.run_coroutine_threadsafe(close(), loop)
            seen.append(future.result(SOON))
            done.set()

        timer = real_root.timer(call, every=0.001)
        assert done.wait(SOON)
        timer.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SOON)
        loop.close()

        assert [False] == seen[:1]

    @pytest.mark.stress
    def test_many_timers_made_and_closed_by_threads(self, real_root: Root) -> None:
        """
        After all are closed none is in the tree, none runs, and nothing is alive.
        """
        alive: weakref.WeakSet[Holder] = weakref.WeakSet()

        def work() -> None:
            pause = threading.Event()
            for number in range(150):
                held = Holder()
                alive.add(held)
                timers = [
                    real_root.timer(held.work, every=0.001, overlap=number % 2 == 0),
                    real_root.timer(held.work, after=0),
                ]
                del held
                if number % 10 == 0:
                    pause.wait(0.002)
                for timer in timers:
                    timer.close()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        real_root.registry.scheduler.stop(SOON)

        assert [] == list(real_root.children())
        tally = real_root.registry.tallies["timer"][""]
        assert (1200, 0) == (tally.created, tally.live)
        assert 0 == len(alive)
        assert {} == real_root.failures


async def ended(awaitable: Any) -> None:
    """
    Awaits what is no coroutine.
    """
    await awaitable


class AsyncCallable:
    """
    An object that is called like an async function.
    """

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, step: int = 1) -> None:
        self.calls += step


class TestLoop:
    """
    Asynchronous functions run on a loop.
    """

    def test_runs_on_the_loop_of_its_making(self, root: Root, clock: FakeClock) -> None:
        """
        In virtual time, with the owner as the current scope.
        """
        seen: list[tuple[float, int, Branch | None]] = []

        async def call() -> None:
            await asyncio.sleep(0)
            seen.append((clock.monotonic(), threading.get_ident(), current.get()))

        async def main() -> None:
            timer = root.timer(call, every=10)
            await clock.aadvance(25)
            assert 2 == timer.runs
            timer.close()

        asyncio.run(main())
        here = threading.get_ident()
        assert [(10.0, here, root), (20.0, here, root)] == seen

    def test_partials_and_callables(self, root: Root, clock: FakeClock) -> None:
        """
        What is asynchronous behind a partial, an object or a mock counts as such.
        """
        thing, mock = AsyncCallable(), AsyncMock()

        async def main() -> None:
            for fn in (thing, partial(thing, 10), thing.__call__, mock, partial(mock)):
                root.timer(fn, after=1)
            await clock.aadvance(1)

        asyncio.run(main())
        assert 12 == thing.calls
        assert 2 == mock.await_count
        assert {} == root.failures

    def test_runs_on_the_guards_loop(self, root: Root, clock: FakeClock) -> None:
        """
        Made outside of any loop it uses the loop the guard was entered on.
        """
        mock = AsyncMock()
        timer = root.timer(mock, every=1)

        async def main() -> None:
            root.registry.loop = weakref.ref(asyncio.get_running_loop())
            await clock.aadvance(3)
            timer.close()

        asyncio.run(main())
        assert 3 == mock.await_count

    def test_from_the_schedulers_thread(self, real_root: Root) -> None:
        """
        With real threads the calls come to the loop, not the loop to the threads.
        """
        seen: list[int] = []

        async def main() -> None:
            came = asyncio.Event()

            async def call() -> None:
                seen.append(threading.get_ident())
                came.set()

            timer = real_root.timer(call, every=0.001)
            await asyncio.wait_for(came.wait(), SOON)
            timer.close()

        asyncio.run(main())
        assert {threading.get_ident()} == set(seen)

    def test_without_a_loop(self, root: Root, clock: FakeClock) -> None:
        """
        Each period is skipped and reported, until there is a loop.
        """
        mock = AsyncMock()
        timer = root.timer(mock, every=1)
        clock.advance(3)

        assert (0, 3) == (timer.runs, timer.skipped)
        assert [("timer", "RuntimeError")] == [one[:2] for one in root.failures]

        async def main() -> None:
            root.registry.loop = weakref.ref(asyncio.get_running_loop())
            await clock.aadvance(1)
            timer.close()

        asyncio.run(main())
        assert 1 == mock.await_count

    def test_a_dead_loop_disarms(self, root: Root, clock: FakeClock) -> None:
        """
        When its loop is closed the timer reports that once and stands still.
        """

        async def main() -> Timer:
            return root.timer(anothing, every=1)

        timer = asyncio.run(main())
        clock.advance(10)

        assert (0, 1) == (timer.runs, timer.skipped)
        assert 1 == root.registry.failures.total
        assert timer.info().next_in is None
        assert 0 == clock.pending

    def test_the_guards_loop_replaces_a_dead_one(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        A guard that is started again, on a new loop, has its timers run there.
        """
        mock = AsyncMock()

        async def make() -> Timer:
            return root.timer(mock, every=1)

        timer = asyncio.run(make())
        timer._disarm()

        async def main() -> None:
            root.registry.loop = weakref.ref(asyncio.get_running_loop())
            timer._arm()
            await clock.aadvance(2)
            timer.close()

        asyncio.run(main())
        assert 2 == mock.await_count

    def test_a_loop_that_stands_is_not_flooded(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        While the loop does not run, at most one call waits for it.
        """
        loop = asyncio.new_event_loop()
        for overlap in (False, True):
            mock = AsyncMock()

            async def make(mock: Any = mock, overlap: bool = overlap) -> Timer:
                return root.timer(mock, every=1, overlap=overlap)

            timer = loop.run_until_complete(make())
            clock.advance(100)
            loop.run_until_complete(asyncio.sleep(0))
            assert mock.await_count <= 1
            assert timer.skipped >= 99
            timer.close()
        loop.close()

    def test_exceptions(self, root: Root, clock: FakeClock) -> None:
        """
        Failures are reported, cancellations are none, and the timer goes on.
        """
        errors = iter([KeyError(), asyncio.CancelledError(), KeyError()])

        async def call() -> None:
            raise next(errors)

        async def main() -> Timer:
            timer = root.timer(call, every=1)
            await clock.aadvance(3)
            timer.close()
            return timer

        timer = asyncio.run(main())
        assert (3, 2) == (timer.runs, timer.failures)
        assert [("timer", "KeyError")] == [one[:2] for one in root.failures]

    def test_calls_do_not_overlap(self, root: Root, clock: FakeClock) -> None:
        """
        While a call waits, its periods are skipped; with `overlap` they are not.
        """

        async def main(*, overlap: bool) -> Timer:
            go_on = asyncio.Event()
            timer = root.timer(go_on.wait, every=1, overlap=overlap)
            await clock.aadvance(4)
            go_on.set()
            await clock.aadvance(0)
            timer.close()
            return timer

        one = asyncio.run(main(overlap=False))
        many = asyncio.run(main(overlap=True))
        assert (1, 3) == (one.runs, one.skipped)
        assert (4, 0) == (many.runs, many.skipped)

    def test_the_task_is_held_while_it_runs(self, root: Root, clock: FakeClock) -> None:
        """
        A loop holds its tasks weakly; a collection must not end a call.
        """
        ended: list[bool] = []
        waiting: list[weakref.ref[asyncio.Future[None]]] = []

        async def call() -> None:
            future = asyncio.get_running_loop().create_future()
            waiting.append(weakref.ref(future))
            await future
            ended.append(True)

        async def main() -> None:
            timer = root.timer(call, after=1)
            await clock.aadvance(1)
            gc.collect()
            future = waiting[0]()
            assert future is not None
            future.set_result(None)
            await clock.aadvance(0)
            assert timer.closed

        asyncio.run(main())
        assert [True] == ended

    def test_close_cancels_and_can_be_awaited(
        self, root: Root, clock: FakeClock
    ) -> None:
        """
        Releasing cancels the running call; the awaitable ends when the call has.
        """
        order: list[str] = []

        async def call() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                order.append("cleaned up")
                raise

        async def main() -> None:
            timer = root.timer(call, every=1)
            await clock.aadvance(1)
            assert (True, True, "loop") == (timer.drains, timer.awaits, timer.affinity)
            assert timer.claim()
            await timer._release()
            order.append("released")
            timer.settle()
            assert (False, False, "any") == (
                timer.drains,
                timer.awaits,
                timer.affinity,
            )

        asyncio.run(main())
        assert ["cleaned up", "released"] == order
        assert {} == root.failures

    def test_drain_waits_on_the_loop(self, root: Root, clock: FakeClock) -> None:
        """
        Draining lets the call end by itself.
        """
        ended: list[bool] = []

        async def main() -> None:
            go_on = asyncio.Event()

            async def call() -> None:
                await go_on.wait()
                ended.append(True)

            timer = root.timer(call, every=1)
            await clock.aadvance(1)
            asyncio.get_running_loop().call_soon(go_on.set)
            await timer._drain()
            assert [True] == ended
            timer.close()

        asyncio.run(main())

    def test_drain_on_the_loop_is_bounded(
        self, root: Root, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A call that goes on is given a moment; it can be cancelled then.
        """
        from memguard._kinds import running

        monkeypatch.setattr(running, "_PATIENCE_S", 0.01)

        async def main() -> None:
            timer = root.timer(asyncio.Event().wait, every=1)
            await clock.aadvance(1)
            await asyncio.wait_for(ended(timer._drain()), SOON)
            assert timer.drains
            assert timer.claim()
            await timer._release()
            timer.settle()
            assert not timer.drains

        asyncio.run(main())

    def test_close_from_another_thread(self, real_root: Root) -> None:
        """
        The running call is cancelled on its own loop.
        """

        async def main() -> None:
            began, cancelled = asyncio.Event(), asyncio.Event()

            async def call() -> None:
                began.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()

            timer = real_root.timer(call, after=0)
            await asyncio.wait_for(began.wait(), SOON)
            await asyncio.to_thread(timer.close)
            await asyncio.wait_for(cancelled.wait(), SOON)

        asyncio.run(main())

    def test_a_call_may_close_its_owner(self, root: Root, clock: FakeClock) -> None:
        """
        From inside, directly or through a task, it is neither awaited nor cancelled.
        """
        ended: list[str] = []

        async def main() -> None:
            async def directly() -> None:
                assert not first.drains
                assert first.claim()
                assert first._release() is None
                first.settle()
                await asyncio.sleep(0)
                ended.append("directly")

            first = root.timer(directly, every=1)
            await clock.aadvance(1)

            async def release() -> None:
                assert second.claim()
                assert second._release() is None
                second.settle()

            async def through_a_task() -> None:
                await asyncio.create_task(release())
                ended.append("cancelled")  # does not wait through memguard

            second = root.timer(through_a_task, every=1)
            await clock.aadvance(1)

        asyncio.run(main())
        assert ["directly"] == ended

    def test_force_lets_go(self, root: Root, clock: FakeClock) -> None:
        """
        What refuses to end is dropped, with the callback.
        """
        timers: list[Timer] = []

        async def main() -> None:
            async def refuse() -> None:
                while not done:
                    try:
                        await asyncio.sleep(SOON)
                    except asyncio.CancelledError:
                        continue

            done: list[bool] = []
            timer = root.timer(refuse, every=1)
            timers.append(timer)
            await clock.aadvance(1)
            (call,) = timer._calls
            timer.claim()
            timer._release()
            await asyncio.sleep(0)
            assert timer.drains
            timer._force()
            timer.settle()
            assert not timer.drains
            done.append(True)
            call.task.cancel()

        asyncio.run(main())
        assert timers[0]._fn is None
