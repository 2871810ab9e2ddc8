"""
Adopted schedulers of APScheduler: their jobs, the calls that run, and their end.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from typing import TYPE_CHECKING

import pytest
from apscheduler.executors.pool import ProcessPoolExecutor, ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler

from memguard import Guard, ShutdownReport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WITHIN = 5.0


class Jobs(BackgroundScheduler):  # type: ignore[misc]
    """
    A subclass of an application's.
    """


def until(so: Callable[[], bool]) -> None:
    """
    Come back when it is so; fails after five seconds.
    """
    pause = threading.Event()
    for _ in range(1000):
        if so():
            return
        pause.wait(WITHIN / 1000)
    pytest.fail("it never was so")


@pytest.mark.parametrize("kind", [BackgroundScheduler, Jobs])
def test_jobs_and_running_calls_are_told(kind: type[BackgroundScheduler]) -> None:
    """
    From before its start to after its end.
    """
    begun, go_on = threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        go_on.wait(WITHIN)

    scheduler = kind(timezone="UTC")
    handle = Guard().adopt(scheduler)
    scheduler.add_job(int, "interval", hours=1)
    info = handle.info()
    assert ("scheduler", 1, "stopped") == (
        info.kind,
        info.entries,
        info.details["state"],
    )
    scheduler.start()
    scheduler.add_job(job)
    assert begun.wait(WITHIN)
    # It counts a call just after that began, and forgets the job then.
    until(lambda: 1 == handle.info().details["running"])
    until(lambda: 1 == handle.info().entries)
    assert "running" == handle.info().details["state"]
    go_on.set()
    scheduler.pause()
    assert "paused" == handle.info().details["state"]
    scheduler.shutdown()
    assert not handle.is_open()


def test_jobs_in_a_database_are_not_counted(tmp_path: Path) -> None:
    """
    That would be a query for each look. Its connections are closed with the scheduler.
    """
    with Guard() as guard:
        store = SQLAlchemyJobStore(url=f"sqlite:///{tmp_path}/jobs")
        scheduler = BackgroundScheduler(timezone="UTC", jobstores={"default": store})
        scheduler.start()
        handle = guard.adopt(scheduler)
        scheduler.add_job(print, "interval", hours=1)
        assert handle.info().entries is None
        report = guard.shutdown()
    assert report.clean, report


def test_a_shutdown_waits_for_the_calls_that_run() -> None:
    """
    Nothing fires any more, and no thread is left.
    """
    begun, go_on, over = (threading.Event() for _ in range(3))

    def job() -> None:
        begun.set()
        go_on.wait(WITHIN)
        over.set()

    with Guard() as guard:
        scheduler = BackgroundScheduler(timezone="UTC")
        guard.adopt(scheduler)
        scheduler.start()
        scheduler.add_job(job)
        assert begun.wait(WITHIN)
        releaser = threading.Timer(0.05, go_on.set)
        releaser.start()
        report = guard.shutdown()
        releaser.join()
    assert report.clean, report
    assert over.is_set()
    assert ["timers"] == [str(row.phase) for row in report.resources]


def test_a_call_that_hangs_is_named() -> None:
    """
    Nobody can end it: the report says which scheduler, and where the call hangs.
    """
    begun, go_on = threading.Event(), threading.Event()

    def hang_in_here() -> None:
        begun.set()
        go_on.wait(WITHIN)

    with Guard(shutdown_timeout=1.0) as guard:
        scheduler = BackgroundScheduler(timezone="UTC")
        guard.adopt(scheduler, "jobs")
        scheduler.start()
        scheduler.add_job(hang_in_here)
        assert begun.wait(WITHIN)
        report = guard.shutdown()
        go_on.set()
    assert not report.clean
    outcomes = {row.name: str(row.outcome) for row in report.resources}
    assert "abandoned" == outcomes["jobs"]
    assert "hang_in_here" in str(report)


def test_a_job_of_its_own_may_shut_the_guard_down() -> None:
    """
    It does not wait for its own thread.
    """
    reports: list[ShutdownReport] = []
    guard = Guard()
    guard.start()
    scheduler = BackgroundScheduler(timezone="UTC")
    guard.adopt(scheduler)
    scheduler.start()
    scheduler.add_job(lambda: reports.append(guard.shutdown()))
    until(lambda: bool(reports))
    assert ["closed"] == [str(row.outcome) for row in reports[0].resources]


def test_processes_of_a_scheduler_end_as_well() -> None:
    """
    It waits for them in its own way.
    """
    with Guard() as guard:
        scheduler = BackgroundScheduler(
            timezone="UTC", executors={"default": ProcessPoolExecutor(1)}
        )
        handle = guard.adopt(scheduler)
        scheduler.start()
        scheduler.add_job(os.getpid)
        until(lambda: not scheduler.get_jobs())
        until(lambda: not handle.info().details["running"])
        report = guard.shutdown()
    assert report.clean, report


def test_one_that_was_never_started_is_left_alone() -> None:
    """
    There is nothing to end, and it would complain.
    """
    with Guard() as guard:
        scheduler = BackgroundScheduler(timezone="UTC")
        guard.adopt(scheduler)
        report = guard.shutdown()
    assert report.clean, report


def test_one_that_blocks_its_thread_is_ended_from_another() -> None:
    """
    The thread comes back from its `start`.
    """
    scheduler = BlockingScheduler(timezone="UTC")
    started = threading.Event()
    scheduler.add_job(started.set)
    with Guard() as guard:
        guard.adopt(scheduler)
        thread = threading.Thread(target=scheduler.start)
        thread.start()
        assert started.wait(WITHIN)
        report = guard.shutdown()
    thread.join(WITHIN)
    assert report.clean, report
    assert not thread.is_alive()


@pytest.mark.parametrize("inside", [True, False], ids=["its loop", "another thread"])
def test_an_asynchronous_one_ends_on_its_loop(inside: bool) -> None:
    """
    Its coroutines are cancelled, and its end is waited for.
    """
    cancelled = []

    async def job(begun: asyncio.Event) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async def main() -> None:
        guard = Guard()
        guard.start()
        scheduler = AsyncIOScheduler(timezone="UTC")
        scheduler.start()
        begun = asyncio.Event()
        scheduler.add_job(job, args=(begun,))
        scheduler.add_job(int, "interval", hours=1)
        await begun.wait()
        handle = guard.adopt(scheduler)
        assert (1, 1) == (handle.info().entries, handle.info().details["running"])
        if inside:
            report = await guard.ashutdown()
        else:
            report = await asyncio.to_thread(guard.shutdown)
        assert report.clean, report
        assert not scheduler.running

    asyncio.run(main())
    assert [True] == cancelled


def test_threads_of_an_asynchronous_one_are_waited_for() -> None:
    """
    Of an executor that it was given; the loop goes on meanwhile.
    """
    begun, go_on = threading.Event(), threading.Event()
    over = []

    def job() -> None:
        begun.set()
        go_on.wait(WITHIN)
        over.append(True)

    async def main() -> None:
        async with Guard() as guard:
            scheduler = AsyncIOScheduler(
                timezone="UTC", executors={"default": ThreadPoolExecutor(1)}
            )
            scheduler.start()
            guard.adopt(scheduler)
            scheduler.add_job(job)
            await asyncio.to_thread(begun.wait, WITHIN)
            asyncio.get_running_loop().call_later(0.05, go_on.set)
            report = await guard.ashutdown()
            assert report.clean, report
            assert [True] == over

    asyncio.run(main())


def test_it_takes_no_cap() -> None:
    """
    The sentence names the bounds that APScheduler has.
    """
    scheduler = BackgroundScheduler(timezone="UTC")
    handle = Guard().adopt(scheduler)
    with pytest.raises(TypeError, match="max_instances"):
        handle.resize(max_jobs=1)


def test_one_that_is_gone_vanishes() -> None:
    """
    Only one that was never started can be collected: its thread keeps it.
    """
    guard = Guard()
    scheduler = BackgroundScheduler(timezone="UTC")
    guard.adopt(scheduler)
    gone = weakref.ref(scheduler)
    del scheduler
    gc.collect()
    assert gone() is None
    assert 0 == guard.snapshot().count("scheduler")
