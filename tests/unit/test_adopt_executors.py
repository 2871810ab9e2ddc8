"""
Adopted executors: their workers, what waits for them, and an end within a time.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
import weakref
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from queue import Queue
from typing import Any

import pytest

from memguard import Guard
from memguard.errors import WouldBlockLoop

WITHIN = 5.0


class Crew(ThreadPoolExecutor):
    """
    A subclass of an application's.
    """


class Here(Executor):
    """
    An executor of a kind of its own: it calls at once.
    """

    def __init__(self) -> None:
        self.over = False

    def submit(  # type: ignore[override]
        self, fn: Any, /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.over = True


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, Crew])
def test_workers_and_waiting_calls_are_told(kind: type[ThreadPoolExecutor]) -> None:
    """
    They move with its use, and the queue is said to have no bound.
    """
    guard = Guard()
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def hold() -> None:
        begun.release()
        go_on.wait(WITHIN)

    with kind(max_workers=2, thread_name_prefix="crew") as executor:
        handle = guard.adopt(executor)
        assert ("executor", "crew") == (handle.kind, handle.label)
        assert 0 == handle.info().details["workers"]
        futures = [executor.submit(hold) for _ in range(5)]
        for _ in range(2):
            assert begun.acquire(timeout=WITHIN)
        info = handle.info()
        assert (3, None) == (info.entries, info.limit)
        assert (2, 2, 2) == tuple(
            info.details[name] for name in ("workers", "max_workers", "at_work")
        )
        risk = handle.risk()
        assert risk is not None
        assert ("waiting calls", True) == (risk.what, "limiter" in risk.fix)
        go_on.set()
        for future in futures:
            future.result(WITHIN)
    assert 0 == handle.info().entries


def test_a_queue_with_a_bound_is_no_risk() -> None:
    """
    Some applications put a bounded queue there.
    """
    executor = ThreadPoolExecutor(1)
    executor._work_queue = Queue(maxsize=7)  # type: ignore[assignment]
    handle = Guard().adopt(executor)
    assert 7 == handle.info().limit
    assert handle.risk() is None
    executor.shutdown()


def test_a_shutdown_cancels_what_waits_and_lets_the_rest_end() -> None:
    """
    What runs comes to its end, what waits is cancelled, and no thread is left.
    """
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        go_on.wait(WITHIN)
        return "done"

    with Guard() as guard:
        executor = ThreadPoolExecutor(1)
        guard.adopt(executor)
        running = executor.submit(hold)
        waiting = executor.submit(hold)
        assert begun.wait(WITHIN)
        releaser = threading.Timer(0.05, go_on.set)
        releaser.start()
        report = guard.shutdown()
        releaser.join()
    assert report.clean, report
    assert "done" == running.result(0)
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(hold)


def test_a_close_by_hand_never_holds_a_loop_up() -> None:
    """
    In a loop `aclose` is the verb, and the loop goes on meanwhile.
    """

    async def main() -> None:
        begun, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            go_on.wait(WITHIN)

        executor = ThreadPoolExecutor(1)
        handle = Guard().adopt(executor)
        executor.submit(hold)
        await asyncio.to_thread(begun.wait, WITHIN)
        with pytest.raises(WouldBlockLoop, match="aclose"):
            handle.close()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await handle.aclose()
        assert go_on.is_set()
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(hold)

    asyncio.run(main())


def test_a_thread_that_hangs_is_abandoned_and_named() -> None:
    """
    Nobody can end it: the report says which executor, and where the call hangs.
    """
    begun, go_on = threading.Event(), threading.Event()

    def hang_in_here() -> None:
        begun.set()
        go_on.wait(WITHIN)

    with ThreadPoolExecutor(1, thread_name_prefix="stuck") as executor:
        guard = Guard(shutdown_timeout=1.0)
        guard.start()
        guard.adopt(executor)
        executor.submit(hang_in_here)
        assert begun.wait(WITHIN)
        report = guard.shutdown()
        assert not report.clean
        text = str(report)
        go_on.set()
    assert "stuck" in text
    assert "abandoned" in text
    assert "hang_in_here" in text


def test_a_call_of_its_own_may_shut_the_guard_down() -> None:
    """
    It does not wait for its own thread.
    """
    guard = Guard()
    guard.start()
    with ThreadPoolExecutor(1) as executor:
        guard.adopt(executor)
        report = executor.submit(guard.shutdown).result(WITHIN)
    assert {"closed"} == {str(row.outcome) for row in report.resources}


def test_processes_and_pending_calls_are_told_and_end() -> None:
    """
    Of a process pool, with its real processes.
    """
    with Guard() as guard:
        context = multiprocessing.get_context("forkserver")
        executor = ProcessPoolExecutor(1, mp_context=context)
        handle = guard.adopt(executor)
        assert os.getpid() != executor.submit(os.getpid).result(30.0)
        info = handle.info()
        assert (1, 1) == (info.details["workers"], info.details["max_workers"])
        assert handle.risk() is not None
        report = guard.shutdown()
    assert report.clean, report
    assert not handle.info().alive
    assert not multiprocessing.active_children()


def test_processes_that_hang_are_killed() -> None:
    """
    The force that a thread pool cannot have.
    """
    with Guard(shutdown_timeout=3.0) as guard:
        context = multiprocessing.get_context("forkserver")
        executor = ProcessPoolExecutor(1, mp_context=context)
        guard.adopt(executor, "reports")
        executor.submit(os.getpid).result(30.0)
        hangs = executor.submit(signal.pause)
        pause = threading.Event()
        while not hangs.running():
            pause.wait(0.002)
        report = guard.shutdown()
    outcomes = {row.name: str(row.outcome) for row in report.resources}
    assert "forced" == outcomes["reports"]


def test_an_executor_of_another_kind_is_closed_in_its_own_way() -> None:
    """
    Whatever derives from `Executor`.
    """
    executor = Here()
    with Guard() as guard:
        handle = guard.adopt(executor)
        assert handle.info().entries is None
    assert executor.over


def test_a_cap_is_refused_with_the_way_out() -> None:
    """
    Nothing is wrapped around submit, so there is no bound to give.
    """
    executor = ThreadPoolExecutor(1)
    handle = Guard().adopt(executor)
    assert "limiter" in handle.info().cannot
    with pytest.raises(TypeError, match="limiter"):
        handle.resize(max_queue=10)
    assert "submit" not in vars(executor)
    executor.shutdown()


def test_one_that_is_gone_vanishes() -> None:
    """
    Its threads end with it, so that is no fault.
    """
    guard = Guard()
    executor = ThreadPoolExecutor(1)
    executor.submit(int).result(WITHIN)
    threads = list(executor._threads)
    guard.adopt(executor)
    gone = weakref.ref(executor)
    del executor
    gc.collect()
    assert gone() is None
    assert 0 == guard.snapshot().count("executor")
    for thread in threads:
        thread.join(WITHIN)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_closes_nothing_of_it() -> None:
    """
    The threads are the parent's; the child leaves the executor as it is.
    """
    with Guard() as guard, ThreadPoolExecutor(1) as executor:
        guard.adopt(executor)
        executor.submit(int).result(WITHIN)
        pid = os.fork()
        if not pid:
            guard.shutdown()
            os._exit(int(executor._shutdown))
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert 0 == executor.submit(int).result(WITHIN)
