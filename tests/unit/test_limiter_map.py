"""
`limiter.map`: order, bounds, errors at their place, and what is left when one leaves.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import os
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from memguard import Guard
from memguard._kinds.limiter import Limiter
from memguard.errors import LimiterFull, ScopeClosed, WouldBlockLoop
from memguard.testing import FakeClock

SOON = 5.0


@pytest.fixture
def guard() -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=FakeClock())


@pytest.fixture
def limiter(guard: Guard) -> Limiter:
    """
    Three at once, a hundred bytes.
    """
    return guard.limiter("work", max_in_flight=3, max_bytes=100)


def until(condition: Any) -> None:
    """
    Let other threads run until *condition* holds; fails after five seconds.
    """
    pause = threading.Event()
    for _ in range(5000):
        if condition():
            return
        pause.wait(0.001)
    pytest.fail("it never came to that")


def workers() -> list[str]:
    """
    The threads of maps.
    """
    return [
        one.name
        for one in threading.enumerate()
        if one.name.startswith("memguard-work")
    ]


def at_rest(limiter: Limiter) -> bool:
    """
    True when nothing of a map is left.
    """
    info = limiter.info()
    return (info.in_flight, info.bytes, info.waiting, workers()) == (0, 0, 0, [])


async def numbers(many: int) -> AsyncIterator[int]:
    """
    A source that gives way between items.
    """
    for number in range(many):
        await asyncio.sleep(0)
        yield number


async def squared(number: int) -> int:
    """
    A call that gives way.
    """
    await asyncio.sleep(0)
    return number * number


SQUARES = [number * number for number in range(20)]


# -- results ---------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_source(limiter: Limiter) -> None:
    """
    Whichever is done first: here each is done only after the one that follows it.
    """
    done = [threading.Event() for _ in range(21)]
    for last in (2, 5, 8, 11, 14, 17, 19, 20):
        done[last].set()

    def square(number: int) -> int:
        assert done[number + (number % 3 != 2 and number < 19)].wait(SOON)
        done[number].set()
        return number * number

    assert SQUARES == list(limiter.map(square, range(20)))
    assert at_rest(limiter)


def test_asynchronous_functions_and_sources(limiter: Limiter) -> None:
    """
    In each combination, the same results.
    """

    async def main() -> None:
        assert SQUARES == [one async for one in limiter.map(squared, range(20))]
        assert SQUARES == [one async for one in limiter.map(squared, numbers(20))]
        doubled = limiter.map(lambda number: number * number, numbers(20))
        assert SQUARES == [one async for one in doubled]
        with pytest.raises(StopAsyncIteration):
            await doubled.__anext__()

    asyncio.run(main())
    until(lambda: at_rest(limiter))


def test_never_more_than_so_many_are_in_hand(limiter: Limiter) -> None:
    """
    Neither read and not handed out, nor called at once.
    """
    inside, most = [0], [0]
    lock = threading.Lock()
    read, out = [0], 0

    def source() -> Iterator[int]:
        for number in range(50):
            read[0] += 1
            assert read[0] - out <= 3
            yield number

    def call(number: int) -> int:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        with lock:
            inside[0] -= 1
        return number

    results = limiter.map(call, source())
    assert 0 == read[0]  # lazily: nothing is read before it is asked for
    for number in results:
        assert out == number
        out += 1
    assert 1 <= most[0] <= 3


def test_bytes_in_hand_are_bounded_too(limiter: Limiter) -> None:
    """
    Each item weighs what `bytes` tells; what is heavier than all goes alone.
    """
    sizes = [40, 40, 40, 500, 10, 90, 90, 1]
    read: list[int] = []
    out: list[int] = []

    def source() -> Iterator[int]:
        for size in sizes:
            read.append(size)
            yield size

    for size in limiter.map(lambda size: size, source(), bytes=lambda size: size):
        out.append(size)
        held = read[len(out) - 1 : -1]  # and one more, which was read to be weighed
        assert sum(held) <= 100 or len(held) == 1
    assert sizes == out
    assert 500 == limiter.info().peak_bytes
    assert at_rest(limiter)


def test_a_fixed_size_for_each_item(limiter: Limiter) -> None:
    """
    In units as everywhere else.
    """
    assert [1, 2] == list(limiter.map(abs, [1, -2], bytes="60B"))
    assert 60 == limiter.info().peak_bytes


def test_results_of_a_slow_source_do_not_wait_for_it(limiter: Limiter) -> None:
    """
    On a loop each result comes when it is ready, whatever the source does.
    """

    async def main() -> None:
        more = asyncio.Event()

        async def source() -> AsyncIterator[int]:
            yield 1
            await more.wait()
            yield 2

        results = limiter.map(squared, source())
        assert 1 == await asyncio.wait_for(results.__anext__(), SOON)
        more.set()
        assert 4 == await asyncio.wait_for(results.__anext__(), SOON)
        await results.aclose()

    asyncio.run(main())


def test_calls_run_in_the_context_of_who_iterates(limiter: Limiter) -> None:
    """
    So that the current scope is theirs; what they set is their own.
    """
    here: contextvars.ContextVar[str] = contextvars.ContextVar("here")
    here.set("caller")

    def call(_: int) -> str:
        found = here.get()
        here.set("callee")
        return found

    async def acall(number: int) -> str:
        return call(number)

    async def main() -> list[str]:
        return [one async for one in limiter.map(acall, range(4))]

    assert ["caller"] * 4 == list(limiter.map(call, range(4)))
    assert ["caller"] * 4 == asyncio.run(main())
    assert "caller" == here.get()


def test_resized_while_it_runs(limiter: Limiter) -> None:
    """
    More threads as soon as more may be in flight.
    """
    together = threading.Barrier(5)
    results = limiter.map(lambda number: number and together.wait(SOON), range(6))
    assert 0 == next(results)
    limiter.resize(5)
    assert 5 == len(list(results))


def test_two_maps_share_one_limiter(limiter: Limiter) -> None:
    """
    Together they have no more in flight than one; a stalled one holds no turn.
    """
    stalled = limiter.map(abs, range(10))
    assert 0 == next(stalled)
    assert SQUARES == list(limiter.map(lambda number: number * number, range(20)))
    assert limiter.info().peak <= 3
    with limiter(timeout=SOON):
        assert list(range(1, 10)) == list(stalled)


# -- errors ----------------------------------------------------------------------------


def test_an_error_comes_at_its_place_and_ends_the_rest(limiter: Limiter) -> None:
    """
    After the results before it, although it happened earlier.
    """
    failed = threading.Event()
    called: list[int] = []

    def call(number: int) -> int:
        called.append(number)
        if number == 1:
            failed.set()
            raise ZeroDivisionError
        failed.wait(SOON)
        return number

    results = limiter.map(call, range(100))
    assert 0 == next(results)
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    assert at_rest(limiter)
    assert len(called) <= 4


@pytest.mark.parametrize("plain", [True, False])
def test_an_asynchronous_error_does_the_same(limiter: Limiter, plain: bool) -> None:
    """
    Whether it runs in a task or on a thread.
    """

    async def fails(number: int) -> int:
        if number == 2:
            raise ZeroDivisionError
        return number

    async def main() -> None:
        source = numbers(100) if plain else range(100)
        fn: Any = (lambda number: 1 // (number - 2)) if plain else fails
        results = limiter.map(fn, source)
        for _ in range(2):
            await results.__anext__()
        with pytest.raises(ZeroDivisionError):
            await results.__anext__()
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(main())
    until(lambda: at_rest(limiter))


def test_errors_of_the_source_and_of_sizes_come_at_their_place(
    limiter: Limiter,
) -> None:
    """
    What was read before is handed out first.
    """

    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise ZeroDivisionError

    async def asource() -> AsyncIterator[int]:
        for number in source():
            yield number

    results = limiter.map(abs, source())
    assert [1, 2] == [next(results), next(results)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    results = limiter.map(abs, [3, 0], bytes=lambda number: 3 // number)
    assert 3 == next(results)
    with pytest.raises(ZeroDivisionError):
        next(results)

    async def main() -> None:
        results = limiter.map(squared, asource())
        assert [1, 4] == [await results.__anext__(), await results.__anext__()]
        with pytest.raises(ZeroDivisionError):
            await results.__anext__()

    asyncio.run(main())
    assert at_rest(limiter)


def test_what_it_takes_is_checked(limiter: Limiter) -> None:
    """
    A function, something to iterate over, sizes; with errors that name them.
    """
    with pytest.raises(TypeError, match="takes a function and a source, not a int"):
        limiter.map(3, [])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="not iterable"):
        limiter.map(abs, 3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="bytes must be a size, or a function"):
        next(limiter.map(abs, [1], bytes=2.5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bytes"):
        next(limiter.map(abs, [1], bytes=-1))
    with pytest.raises(TypeError, match="wrap it into one"):
        next(limiter.map(lambda _: squared(2), iter([1])))


def test_without_a_turn_in_time(limiter: Limiter) -> None:
    """
    Others hold the limiter: LimiterFull, instead of waiting for ever.
    """

    async def main() -> None:
        with pytest.raises(LimiterFull):
            await limiter.map(squared, range(3), timeout=0.01).__anext__()

    with limiter(), limiter(), limiter():
        with pytest.raises(LimiterFull, match="3 of at most 3 are in flight"):
            next(limiter.map(abs, range(3), timeout=0.01))
        asyncio.run(main())
    assert at_rest(limiter)
    assert 2 == limiter.info().timeouts


def test_a_plain_map_never_waits_inside_a_loop(limiter: Limiter) -> None:
    """
    The error says what to write instead.
    """
    go = threading.Event()

    async def main() -> None:
        with pytest.raises(WouldBlockLoop, match="`async for`, with an `async def`"):
            next(limiter.map(lambda _: go.wait(SOON), range(3)))
        go.set()

    asyncio.run(main())
    until(lambda: at_rest(limiter))


# -- leaving ---------------------------------------------------------------------------


def test_leaving_half_way_leaves_nothing(limiter: Limiter) -> None:
    """
    `close` and a `with` block join the threads.
    """
    with limiter.map(abs, range(1000)) as results:
        assert 0 == next(results)
    assert at_rest(limiter)
    results.close()
    assert [] == list(results)


def test_dropping_it_half_way_leaves_nothing(limiter: Limiter) -> None:
    """
    Without a word, as a `break` does: the threads end, and turns are given back.
    """
    for number in limiter.map(abs, range(1000)):
        if number == 3:
            break
    until(lambda: at_rest(limiter))
    with limiter(), limiter(), limiter():
        results = limiter.map(abs, range(1000))
        results._read()
        assert 3 == limiter.info().waiting
        del results
        gc.collect()
    with limiter(timeout=0):
        assert 0 == limiter.info().waiting


def test_leaving_an_asynchronous_one_cancels_its_tasks(limiter: Limiter) -> None:
    """
    By `aclose`, by `async with`, and by dropping it.
    """
    cancelled: list[int] = []

    async def waits(number: int) -> int:
        try:
            if number:
                await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    async def main() -> None:
        alone = {asyncio.current_task()}
        async with limiter.map(waits, range(10)) as results:
            assert 0 == await results.__anext__()
            for _ in range(5):
                await asyncio.sleep(0)
        assert ([1, 2, 3], alone) == (sorted(cancelled), asyncio.all_tasks())
        with pytest.raises(StopAsyncIteration):
            await results.__anext__()
        results = limiter.map(waits, range(10))
        assert 0 == await results.__anext__()
        del results
        for _ in range(5):
            await asyncio.sleep(0)
        assert alone == asyncio.all_tasks()
        assert at_rest(limiter)
        never_begun = limiter.map(waits, range(10))
        await never_begun.aclose()
        assert [] == [one async for one in never_begun]

    asyncio.run(main())


def test_a_consumer_that_is_cancelled_leaves_nothing(limiter: Limiter) -> None:
    """
    What runs is cancelled with it, before its cancellation goes on.
    """
    running = asyncio.Event()

    async def forever(_: int) -> None:
        if limiter.info().in_flight == 3:
            running.set()
        await asyncio.Event().wait()

    async def consume() -> None:
        async for _ in limiter.map(forever, numbers(10)):
            pass

    async def main() -> None:
        task = asyncio.create_task(consume())
        await asyncio.wait_for(running.wait(), SOON)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(main())
    assert at_rest(limiter)


def test_closing_the_limiter_ends_its_maps(limiter: Limiter) -> None:
    """
    Who iterates gets ScopeClosed, also while it waits; threads and tasks end.
    """
    go = threading.Event()
    results = limiter.map(lambda number: number and go.wait(SOON), range(10))
    assert 0 == next(results)
    timers = [threading.Timer(0.01, limiter.close), threading.Timer(0.05, go.set)]
    for timer in timers:
        timer.start()
    with pytest.raises(ScopeClosed, match="limiter 'work' has ended"):
        next(results)
    with pytest.raises(ScopeClosed):
        next(limiter.map(abs, range(3)))
    until(lambda: at_rest(limiter))


def test_closing_the_limiter_ends_asynchronous_maps(limiter: Limiter) -> None:
    """
    Also one whose source has nothing to say for now.
    """

    async def silent() -> AsyncIterator[int]:
        await asyncio.Event().wait()
        yield 1

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, limiter.close)
        with pytest.raises(ScopeClosed):
            await asyncio.wait_for(limiter.map(squared, silent()).__anext__(), SOON)
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(main())


def test_nothing_of_a_map_is_kept_alive(limiter: Limiter) -> None:
    """
    Items, results and functions are gone with the iterator, without a collection.
    """

    class Item:
        alive = 0

        def __init__(self) -> None:
            type(self).alive += 1

        def __del__(self) -> None:
            type(self).alive -= 1

    gc.collect()
    gc.disable()
    try:
        results = limiter.map(lambda item: item, (Item() for _ in range(10)))
        next(results)
        results.close()
        del results
        until(lambda: Item.alive == 0)
    finally:
        gc.enable()


def test_a_map_that_a_forked_child_inherits_is_over(limiter: Limiter) -> None:
    """
    Its threads are the parent's, who goes on with it.
    """
    results = limiter.map(abs, range(5))
    assert 0 == next(results)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            next(results)
        except ScopeClosed:
            status = limiter.info().in_flight
        finally:
            os._exit(status)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert [1, 2, 3, 4] == list(results)


def test_a_source_that_fails_at_its_end_is_reported(
    limiter: Limiter, guard: Guard
) -> None:
    """
    Nobody reads it any more, so it is a failure in the background.
    """

    async def stubborn() -> AsyncIterator[int]:
        try:
            for number in range(10):
                yield number
        finally:
            raise ZeroDivisionError

    async def main() -> None:
        async with limiter.map(squared, stubborn()) as results:
            assert 0 == await results.__anext__()

    asyncio.run(main())
    failures = [key[:2] for key in guard.registry.failures.counts]
    assert [("source of a map of work", "ZeroDivisionError")] == failures


def test_a_turn_that_comes_from_another_thread(limiter: Limiter) -> None:
    """
    The task is started on the loop, whoever gave way.
    """
    turns = [limiter() for _ in range(3)]

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        results = limiter.map(squared, range(3))
        first = asyncio.ensure_future(results.__anext__())
        while not limiter.info().waiting:  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0)
        for turn in turns:
            await loop.run_in_executor(None, turn.__exit__, None, None, None)
        return [await first, *[one async for one in results]]

    for turn in turns:
        turn.__enter__()
    assert [0, 1, 4] == asyncio.run(main())


def test_a_turn_that_comes_too_late_goes_on(limiter: Limiter) -> None:
    """
    The map was left meanwhile, or its loop is closed.
    """
    turns = [limiter() for _ in range(3)]
    for turn in turns:
        turn.__enter__()
    kept: list[Any] = []

    async def main() -> None:
        kept.append(limiter.map(squared, range(3)))
        task = asyncio.ensure_future(kept[0].__anext__())
        while not limiter.info().waiting:  # noqa: ASYNC110 - there is nothing to wait on
            await asyncio.sleep(0)
        # As a loop that is stopped for good: nothing of it is ever run again.
        for one in asyncio.all_tasks() - {asyncio.current_task(), task}:
            one.cancel()
        task.cancel()

    asyncio.run(main())
    for turn in turns:
        turn.__exit__(None, None, None)
    assert at_rest(limiter)


def test_without_threads_it_says_so(
    limiter: Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The system may have no more of them, or the interpreter is about to end.
    """
    monkeypatch.setattr("memguard._workers.Workers.submit", lambda *_: False)
    with pytest.raises(RuntimeError, match="no thread could be started"):
        next(limiter.map(abs, range(3)))
    assert at_rest(limiter)


def test_calls_that_never_begin_give_their_turn_back(guard: Guard) -> None:
    """
    They waited for a thread when the map was dropped.
    """
    limiter = guard.limiter("work", max_in_flight=1)
    go, begun = threading.Event(), threading.Event()

    def call(_: int) -> None:
        begun.set()
        go.wait(SOON)

    results = limiter.map(call, range(3))
    results._read()
    assert begun.wait(SOON)
    workers_of = results._threads
    workers_of._threads = 10  # so that it has fewer threads than it believes
    limiter.resize(2)
    results._read()
    assert (2, 1) == (limiter.info().in_flight, workers_of.workers.waiting)
    del results
    gc.collect()
    assert 1 == limiter.info().in_flight
    go.set()
    until(lambda: at_rest(limiter))


def until_ended(limiter: Limiter, closer: threading.Thread, after: int) -> list[int]:
    """
    What an endless map gives until its limiter is closed, *after* some results or so.
    """
    found: list[int] = []
    try:
        for one in limiter.map(lambda number: number * number, itertools.count()):
            found.append(one)
            if len(found) == after:
                closer.start()
    except ScopeClosed:
        return found
    raise AssertionError


async def auntil_ended(
    limiter: Limiter, closer: threading.Thread, after: int
) -> list[int]:
    """
    The same on a loop.
    """
    found: list[int] = []
    try:
        async for one in limiter.map(squared, itertools.count()):
            found.append(one)
            if len(found) == after:
                closer.start()
    except ScopeClosed:
        return found
    raise AssertionError


@pytest.mark.stress
@pytest.mark.parametrize("asynchronous", [False, True])
def test_ended_at_any_moment_no_result_is_made_up(
    guard: Guard, asynchronous: bool, long_form: bool
) -> None:
    """
    Limiters are closed while maps run: results, in order, and then ScopeClosed.
    """
    for number in range(2000 if long_form else 60):
        limiter = guard.limiter(f"work {number}", max_in_flight=4)
        closer = threading.Thread(target=limiter.close)
        after = 1 + number % 13
        if asynchronous:
            found = asyncio.run(auntil_ended(limiter, closer, after))
        else:
            found = until_ended(limiter, closer, after)
        closer.join()
        assert [one * one for one in range(len(found))] == found
        assert (0, 0) == (limiter.info().in_flight, limiter.info().waiting)


def test_a_call_that_comes_after_the_end_gives_no_none(
    limiter: Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its place has an error, whoever looks at it first.
    """
    held: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            "memguard._workers.Workers.submit",
            lambda _, fn: held.append(fn) or True,  # type: ignore[func-returns-value]
        )
        results = limiter.map(abs, range(3))
        results._read()
    results._flow.abandon()
    for fn in held:
        fn()
    assert 3 == len(held)
    for _ in held:
        with pytest.raises(ScopeClosed):
            results._flow.pop()
    assert at_rest(limiter)


def test_a_task_that_comes_after_the_end_gives_no_none(limiter: Limiter) -> None:
    """
    Begun or not, it is cancelled, and that is no result either.
    """

    async def forever(_: int) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        for rounds in range(6):
            results = limiter.map(forever, range(3))
            waiting = asyncio.create_task(results.__anext__())
            for _ in range(rounds):
                await asyncio.sleep(0)
            results._flow.stop()
            with pytest.raises(ScopeClosed):
                await waiting

    asyncio.run(main())
    assert at_rest(limiter)


def test_a_shutdown_in_the_middle_of_a_map_is_clean() -> None:
    """
    Threads and tasks of maps end with their limiter.
    """
    with Guard() as guard:
        results = guard.limiter("work").map(abs, range(100))
        assert 0 == next(results)
        assert guard.shutdown().clean
    with pytest.raises(ScopeClosed):
        list(results)

    async def main() -> None:
        async with Guard() as guard:
            results = guard.limiter("work").map(squared, numbers(100))
            assert 0 == await results.__anext__()
            assert (await guard.ashutdown()).clean
        with pytest.raises(ScopeClosed):
            await results.__anext__()

    asyncio.run(main())
