"""
Limiters: count, bytes, one line for threads and tasks, timeouts, resizing, the end.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memguard import Guard
from memguard._kinds.limiter import Limiter
from memguard.errors import LimiterFull, ScopeClosed, SpecConflict, WouldBlockLoop
from memguard.testing import FakeClock

SOON = 5.0


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that stands still.
    """
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=clock)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """
    Threads that wait in line.
    """
    with ThreadPoolExecutor(8) as pool:
        yield pool


def until(condition: Callable[[], bool]) -> None:
    """
    Let other threads run until *condition* holds; fails after five seconds.
    """
    pause = threading.Event()
    for _ in range(5000):
        if condition():
            return
        pause.wait(0.001)
    pytest.fail("it never came to that")


def waiting(limiter: Limiter, many: int) -> None:
    """
    Come back when so many wait.
    """
    until(lambda: limiter.info().waiting == many)


# -- going in --------------------------------------------------------------------------


def test_count_and_bytes_are_bounded_and_counted(guard: Guard) -> None:
    """
    Whoever fits goes in; `timeout=0` asks without waiting.
    """
    limiter = guard.limiter("work", max_in_flight=3, max_bytes="1KiB")
    with limiter(600) as turn, limiter("400B"):
        assert 600 == turn.bytes
        with pytest.raises(LimiterFull, match="2 of at most 3 are in flight with 1000"):
            limiter(25, timeout=0).__enter__()
        with limiter(24), pytest.raises(LimiterFull), limiter(timeout=0):
            pass
        assert (2, 1000) == (limiter.info().in_flight, limiter.memory_bytes())
    info = limiter.info()
    assert (0, 0, 3, 1024) == (info.in_flight, info.bytes, info.peak, info.peak_bytes)
    assert (3, 2, 0) == (info.granted, info.timeouts, info.waiting)


def test_what_is_heavier_than_everything_goes_alone(guard: Guard) -> None:
    """
    It is never stuck, and nobody else is inside meanwhile, however light.
    """
    limiter = guard.limiter("work", max_bytes=100)
    with limiter(1), pytest.raises(LimiterFull):
        limiter(1000, timeout=0).__enter__()
    with limiter(1000), pytest.raises(LimiterFull):
        limiter(0, timeout=0).__enter__()
    with limiter(0):
        pass


def test_first_come_first_served_threads_and_tasks_in_one_line(
    guard: Guard, threads: ThreadPoolExecutor
) -> None:
    """
    They go in in the order in which they came, and what is light overtakes nobody.
    """
    limiter = guard.limiter("work", max_in_flight=2, max_bytes=100)
    order: list[int] = []

    def in_thread(number: int, size: int) -> None:
        with limiter(size):
            order.append(number)

    async def in_task(number: int, size: int) -> None:
        async with limiter(size):
            order.append(number)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        jobs: list[Any] = []
        async with limiter(60):
            for number in range(6):
                size = 90 if number == 0 else 10  # the head does not fit
                if number % 2:
                    jobs.append(asyncio.create_task(in_task(number, size)))
                    await asyncio.sleep(0)
                else:
                    jobs.append(loop.run_in_executor(threads, in_thread, number, size))
                    waiting(limiter, number + 1)
            assert [] == order
            limiter.resize(1)
        await asyncio.wait_for(asyncio.gather(*jobs), SOON)

    asyncio.run(main())
    assert list(range(6)) == order
    assert (0, 0) == (limiter.info().in_flight, limiter.info().waiting)


def test_the_time_in_line_is_counted(
    guard: Guard, clock: FakeClock, threads: ThreadPoolExecutor
) -> None:
    """
    In seconds, of those who were let in and of those who gave up.
    """
    limiter = guard.limiter("work", max_in_flight=1)
    with limiter():
        came = threads.submit(lambda: limiter().__enter__())
        waiting(limiter, 1)
        clock.advance("3s")
    turn = came.result(SOON)
    assert 3.0 == limiter.info().waited_s
    turn.__exit__(None, None, None)


def test_waiting_ends_with_a_clear_error(guard: Guard) -> None:
    """
    By the timeout of the limiter, or that of the call; the next one may then fit.
    """
    limiter = guard.limiter("work", max_in_flight=1, acquire_timeout="10ms")
    with limiter():
        text = (
            "limiter 'work' had no room within 0.01 s: 1 of at most 1 are in flight, 0"
            " more wait. Leave the blocks sooner, or raise the bounds or the timeout"
        )
        with pytest.raises(LimiterFull) as full, limiter():
            pass
        assert text == str(full.value)
        assert isinstance(full.value, TimeoutError)

        async def main() -> None:
            with pytest.raises(LimiterFull):
                async with limiter(timeout=0.001):
                    pass

        asyncio.run(main())
    assert (2, 0) == (limiter.info().timeouts, limiter.info().waiting)


def test_who_gives_up_lets_the_lighter_behind_it_in(
    guard: Guard, threads: ThreadPoolExecutor
) -> None:
    """
    The line moves on when its head leaves, not only when somebody comes out.
    """
    limiter = guard.limiter("work", max_bytes=100)

    def heavy() -> None:
        with limiter(90, timeout=0.05):
            pass

    def light() -> str:
        with limiter(10):
            return "light"

    with limiter(50):
        gave_up = threads.submit(heavy)
        waiting(limiter, 1)
        assert "light" == threads.submit(light).result(SOON)
        assert isinstance(gave_up.exception(SOON), LimiterFull)


def test_a_cancelled_waiter_gives_its_turn_on(guard: Guard) -> None:
    """
    Cancelled in line, or after it was let in and before it knew.
    """
    limiter = guard.limiter("work", max_in_flight=1)

    async def inside() -> None:
        async with limiter():
            pass

    async def main() -> None:
        turn = limiter()
        await turn.__aenter__()
        first, second, third = (asyncio.create_task(inside()) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        assert 2 == limiter.info().waiting
        await turn.__aexit__(None, None, None)
        second.cancel()  # it has the turn, and its task has not run yet
        await asyncio.wait_for(third, SOON)
        assert second.cancelled()
        assert (0, 0) == (limiter.info().in_flight, limiter.info().waiting)

    asyncio.run(main())


def test_an_interrupt_in_line_gives_the_turn_on(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A KeyboardInterrupt while a thread waits leaves nothing behind.
    """
    limiter = guard.limiter("work", max_in_flight=1)

    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    with limiter():
        monkeypatch.setattr("memguard._latch.Latch.wait", interrupted)
        with pytest.raises(KeyboardInterrupt), limiter():
            pass
    assert (0, 0) == (limiter.info().in_flight, limiter.info().waiting)


def test_waiters_of_a_closed_loop_are_passed_over(
    guard: Guard, threads: ThreadPoolExecutor
) -> None:
    """
    Their coroutine may be kept by somebody, but will never run again.
    """
    limiter = guard.limiter("work", max_bytes=100)
    kept: list[Any] = []

    def on_a_loop_that_ends() -> None:
        loop = asyncio.new_event_loop()
        coroutine = limiter(90).__aenter__()
        kept.append(coroutine)
        # Driven by hand: no task complains that it was destroyed while it waited.
        asyncio._set_running_loop(loop)
        try:
            kept.append(coroutine.send(None))
        finally:
            asyncio._set_running_loop(None)
            loop.close()

    async def main() -> None:
        with limiter(10):  # which would be an error if it had to wait
            assert 0 == limiter.info().waiting

    with limiter(50):
        threads.submit(on_a_loop_that_ends).result(SOON)
        assert 1 == limiter.info().waiting
        asyncio.run(main())
    kept[0].close()


def test_a_plain_block_never_waits_inside_a_loop(guard: Guard) -> None:
    """
    Where there is room it goes in; where not, the error names the other form.
    """
    limiter = guard.limiter("work", max_in_flight=1)

    async def main() -> None:
        with limiter():
            with pytest.raises(WouldBlockLoop, match="async with limiter"):
                limiter().__enter__()
            with pytest.raises(LimiterFull):
                limiter(timeout=0).__enter__()

    asyncio.run(main())
    assert 0 == limiter.info().waiting


def test_a_turn_is_for_one_block(guard: Guard) -> None:
    """
    Used again it says so; leaving it twice counts once.
    """
    limiter = guard.limiter("work", max_in_flight=2)
    turn = limiter()
    with turn, pytest.raises(RuntimeError, match="was used already"):
        turn.__enter__()
    turn.__exit__(None, None, None)
    assert 0 == limiter.info().in_flight


# -- bounds at run time ----------------------------------------------------------------


def test_resize_lets_in_who_fits_now(guard: Guard, threads: ThreadPoolExecutor) -> None:
    """
    More room at once; less as those inside leave.
    """
    limiter = guard.limiter("work", max_in_flight=1, max_bytes=10)
    entered = threading.Barrier(3)

    def enter() -> None:
        with limiter(10):
            entered.wait(SOON)

    jobs = [threads.submit(enter) for _ in range(2)]
    waiting(limiter, 1)
    limiter.resize(2)
    waiting(limiter, 1)  # there is room, but not for so many bytes
    limiter.resize(max_bytes=20)
    entered.wait(SOON)
    for job in jobs:
        job.result(SOON)
    with limiter(), limiter():
        limiter.resize(max_in_flight=1)
        assert (2, 1) == (limiter.info().in_flight, limiter.info().max_in_flight)
    with limiter(), pytest.raises(LimiterFull), limiter(timeout=0):
        pass


def test_tightened_to_a_share_and_back(
    guard: Guard, threads: ThreadPoolExecutor
) -> None:
    """
    Never below one; what was asked for is not forgotten.
    """
    limiter = guard.limiter("work", max_in_flight=8, max_bytes="1KiB")
    limiter.tighten(0.5)
    info = limiter.info()
    assert (4, 512, 0.5) == (info.max_in_flight, info.max_bytes, info.share)
    limiter.tighten(0)
    with limiter():
        assert 1 == limiter.info().max_in_flight
        late = threads.submit(lambda: limiter().__enter__())
        waiting(limiter, 1)
        limiter.restore()
        late.result(SOON).__exit__(None, None, None)
    assert (8, 1024) == (limiter.info().max_in_flight, limiter.info().max_bytes)
    for wrong in (-1, 1.5, float("nan"), True, "half"):
        with pytest.raises(ValueError, match="share of a limiter must be a number"):
            limiter.tighten(wrong)  # type: ignore[arg-type]


def test_one_limiter_of_a_name(guard: Guard) -> None:
    """
    Who asks again gets the same, with other bounds an error that names them.
    """
    limiter = guard.limiter("work", max_in_flight=2)
    limiter.resize(7)
    assert limiter is guard.limiter("work", max_in_flight=2)
    with pytest.raises(SpecConflict, match="max_in_flight"):
        guard.limiter("work")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_in_flight": 0}, "max_in_flight must be a whole number of at least 1"),
        ({"max_in_flight": None}, "not None"),
        ({"max_in_flight": True}, "max_in_flight"),
        ({"max_bytes": 0}, "max_bytes must be more than 0"),
        ({"acquire_timeout": "soon"}, "acquire_timeout"),
    ],
)
def test_options_are_checked_at_the_door(
    guard: Guard, options: dict[str, Any], text: str
) -> None:
    """
    With errors that name them.
    """
    with pytest.raises(ValueError, match=text):
        guard.limiter("work", **options)


def test_sizes_and_timeouts_of_a_call_are_checked(guard: Guard) -> None:
    """
    When it is called, not when it is entered.
    """
    limiter = guard.limiter("work")
    with pytest.raises(ValueError, match="bytes"):
        limiter(-1)
    with pytest.raises(ValueError, match="timeout"):
        limiter(timeout=-1)


# -- its end ---------------------------------------------------------------------------


def test_closing_sends_away_who_waits(
    guard: Guard, threads: ThreadPoolExecutor
) -> None:
    """
    Threads and tasks get ScopeClosed; who is inside leaves as always.
    """
    limiter = guard.limiter("work", max_in_flight=1)

    async def in_task() -> None:
        async with limiter():
            pass

    with limiter():
        jobs = [
            threads.submit(lambda: limiter().__enter__()),
            threads.submit(lambda: asyncio.run(in_task())),
        ]
        waiting(limiter, 2)
        limiter.close()
        for job in jobs:
            with pytest.raises(ScopeClosed, match="limiter 'work' has ended"):
                job.result(SOON)
        with pytest.raises(ScopeClosed), limiter():
            pass
    assert 0 == limiter.info().in_flight


def test_a_shutdown_waits_for_what_is_in_flight(threads: ThreadPoolExecutor) -> None:
    """
    And whoever waits is sent away at once.
    """
    leave, begun = threading.Event(), threading.Barrier(4)
    for _ in range(3):  # before the guard: they are not its business
        threads.submit(begun.wait, SOON)
    begun.wait(SOON)
    with Guard() as guard:
        limiter = guard.limiter("work", max_in_flight=1)

        def inside() -> str:
            with limiter():
                leave.wait(SOON)
                return str(limiter.state)

        job = threads.submit(inside)
        until(lambda: limiter.info().in_flight == 1)
        late = threads.submit(lambda: limiter().__enter__())
        waiting(limiter, 1)
        shutdown = threads.submit(guard.shutdown)
        with pytest.raises(ScopeClosed):
            late.result(SOON)
        assert not shutdown.done()
        leave.set()
        assert shutdown.result(SOON).clean
        assert "2" == job.result(SOON)  # DRAINING


def test_a_declared_limiter_works_again_after_a_shutdown(guard: Guard) -> None:
    """
    Declarations are kept, with nothing in flight.
    """
    limiter = guard.limiter("work")
    with limiter():
        pass
    guard.start()
    guard.shutdown()
    guard.start()
    with limiter():
        assert 1 == limiter.info().in_flight
    guard.shutdown()


def test_a_forked_child_begins_anew(guard: Guard) -> None:
    """
    What the parent has in flight is no concern of the child, and the other way round.
    """
    limiter = guard.limiter("work", max_in_flight=1, max_bytes=10)
    limiter.tighten(0.5)
    status = 1
    with limiter(5):
        pid = os.fork()
        if not pid:
            try:
                with limiter(timeout=0):
                    status = limiter.info().in_flight - 1
            finally:
                os._exit(status)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert 0 == limiter.info().in_flight


def test_a_block_left_in_the_child_of_a_fork_changes_nothing(guard: Guard) -> None:
    """
    The turn was taken in the parent's books, which the child does not have.
    """
    limiter = guard.limiter("work", max_in_flight=1)
    turn = limiter()
    turn.__enter__()
    pid = os.fork()
    if not pid:
        turn.__exit__(None, None, None)
        os._exit(abs(limiter.info().in_flight))
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert 1 == limiter.info().in_flight
    turn.__exit__(None, None, None)


def test_destructors_in_the_middle_of_the_books(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Leaving is put off until the lock is free; entering says why it cannot be.
    """
    limiter = guard.limiter("work", max_in_flight=2)
    turn = limiter()
    turn.__enter__()
    refused: list[str] = []
    line = limiter._gate.line

    def destructor(*_: object) -> Any:
        monkeypatch.undo()
        turn.__exit__(None, None, None)
        limiter.resize(3)
        limiter.info()
        try:
            limiter().__enter__()
        except LimiterFull as error:
            refused.append(str(error))
        return line.info()

    monkeypatch.setattr("memguard._kinds.line.Line.info", destructor)
    assert 1 == limiter.info().in_flight
    assert (0, 3) == (limiter.info().in_flight, limiter.info().max_in_flight)
    assert "by a destructor" in refused[0]


@pytest.mark.stress
def test_the_bounds_hold_under_a_crowd(
    guard: Guard, threads: ThreadPoolExecutor, long_form: bool
) -> None:
    """
    Threads and tasks, with timeouts and cancellations: nothing is lost.
    """
    limiter = guard.limiter("work", max_in_flight=3, max_bytes=50)
    lock = threading.Lock()
    inside = [0, 0]
    worst = [0, 0]

    def count(many: int, size: int) -> None:
        with lock:
            inside[0] += many
            inside[1] += size
            worst[:] = max(worst[0], inside[0]), max(worst[1], inside[1])

    rounds = 3000 if long_form else 150

    def in_thread(seed: int) -> None:
        for number in range(rounds):
            size = (number * seed) % 50
            try:
                with limiter(size, timeout=0.001 if number % 7 == 0 else 30):
                    count(1, size)
                    count(-1, -size)
            except LimiterFull:
                continue

    async def in_task(seed: int) -> None:
        for number in range(rounds):
            size = (number * seed) % 50
            async with limiter(size):
                count(1, size)
                try:
                    await asyncio.sleep(0)
                finally:
                    count(-1, -size)

    async def tasks() -> None:
        crowd = [asyncio.create_task(in_task(seed)) for seed in range(3, 9)]
        for victim in crowd[::2]:
            await asyncio.sleep(0.002)
            victim.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)

    jobs = [threads.submit(in_thread, seed) for seed in (3, 5, 7)]
    jobs.append(threads.submit(lambda: asyncio.run(tasks())))
    for job in jobs:
        job.result(60)
    gc.collect()
    info = limiter.info()
    assert (0, 0, 0) == (info.in_flight, info.bytes, info.waiting)
    assert worst[0] <= 3
    assert worst[1] <= 50
