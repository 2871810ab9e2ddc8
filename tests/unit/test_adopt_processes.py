"""
Adopted child processes and multiprocessing pools: told, ended, and reaped by nobody
who only looks.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import pytest

from memguard import Guard
from memguard._kinds import closers

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN = 5.0
WAITS = (sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()")
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
STUBBORN = (sys.executable, "-c", f"{DEAF}; print('up', flush=True); signal.pause()")


class Tool(subprocess.Popen[str]):
    """
    A subclass of an application's.
    """


def start(
    command: tuple[str, ...] = WAITS, kind: type[subprocess.Popen[str]] = Tool
) -> subprocess.Popen[str]:
    """
    A child that is up.
    """
    child = kind(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert "up\n" == child.stdout.readline()
    return child


def waited(child: subprocess.Popen[str]) -> None:
    """
    Come back when the child is a zombie, without reaping it.
    """
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.parametrize("kind", [subprocess.Popen, Tool])
def test_a_child_is_told_and_never_reaped_by_a_look(
    kind: type[subprocess.Popen[str]],
) -> None:
    """
    Running, a zombie, ended: a look leaves the exit status to whoever wants it.
    """
    handle = Guard().adopt(child := start(kind=kind))
    assert ("process", "running", 1) == (
        handle.kind,
        handle.info().details["state"],
        handle.info().entries,
    )
    child.kill()
    waited(child)
    for _ in range(2):
        assert ("zombie", 0) == (
            handle.info().details["state"],
            handle.info().entries,
        )
    assert (child.pid, 0) != os.waitpid(child.pid, 0)
    assert "ended" == handle.info().details["state"]
    child.communicate()


def test_a_shutdown_ends_and_reaps_it() -> None:
    """
    No zombie, no pipe and no child after it.
    """
    with Guard() as guard:
        child = start()
        guard.adopt(child)
        report = guard.shutdown()
    assert report.clean, report
    assert -signal.SIGTERM == child.returncode


def test_one_that_does_not_listen_is_killed() -> None:
    """
    Forced, within the time of a close.
    """
    with Guard(shutdown_timeout=2.0) as guard:
        child = start(STUBBORN)
        guard.adopt(child, "stubborn")
        report = guard.shutdown()
    assert -signal.SIGKILL == child.returncode
    outcomes = {row.name: str(row.outcome) for row in report.resources}
    assert "forced" == outcomes["stubborn"]


@pytest.mark.parametrize("kind", ["subprocess", "multiprocessing"])
def test_a_close_by_hand_kills_it_in_the_end(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nobody is there to force it, as a shutdown would.
    """
    monkeypatch.setattr(closers, "_WAIT_S", 0.1)
    child: Any
    if kind == "subprocess":
        child = start(STUBBORN)
    else:
        context = multiprocessing.get_context("fork")
        up = context.Event()
        child = context.Process(target=_be_stubborn, args=(up,))
        child.start()
        assert up.wait(WITHIN)
    pid = child.pid
    Guard().adopt(child).close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _be_stubborn(up: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    up.set()
    while True:
        signal.pause()


def test_one_that_has_ended_is_only_reaped() -> None:
    """
    Nobody else may have its process id by now.
    """
    with Guard() as guard:
        child = start()
        guard.adopt(child)
        child.kill()
        waited(child)
        report = guard.shutdown()
    assert report.clean, report
    assert -signal.SIGKILL == child.returncode


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_ends_nothing_of_its_parents() -> None:
    """
    The process goes on.
    """
    with Guard() as guard:
        child = start()
        handle = guard.adopt(child)
        pid = os.fork()
        if not pid:
            guard.shutdown()
            os._exit(0)
        os.waitpid(pid, 0)
        assert "running" == handle.info().details["state"]


# -- multiprocessing -------------------------------------------------------------------


@pytest.fixture
def forkserver() -> Iterator[multiprocessing.context.ForkServerContext]:
    """
    Children that have inherited nothing of the test.
    """
    context = multiprocessing.get_context("forkserver")
    yield context
    for left in multiprocessing.active_children():
        left.kill()
        left.join(WITHIN)


def test_a_process_is_told_from_before_its_start(
    forkserver: multiprocessing.context.ForkServerContext,
) -> None:
    """
    New, running, ended by the shutdown.
    """
    with Guard() as guard:
        process = forkserver.Process(target=signal.pause)
        handle = guard.adopt(process)
        assert (0, "new or closed") == (
            handle.info().entries,
            handle.info().details["state"],
        )
        process.start()
        assert (1, "running") == (
            handle.info().entries,
            handle.info().details["state"],
        )
        report = guard.shutdown()
    assert report.clean, report
    with pytest.raises(ValueError, match="closed"):
        process.is_alive()


def test_one_that_was_never_started_is_left_alone(
    forkserver: multiprocessing.context.ForkServerContext,
) -> None:
    """
    There is nothing to end.
    """
    with Guard() as guard:
        process = forkserver.Process(target=signal.pause)
        guard.adopt(process)
        report = guard.shutdown()
    assert report.clean, report
    assert process.pid is None


def test_a_pool_tells_workers_and_results_to_come(
    forkserver: multiprocessing.context.ForkServerContext,
) -> None:
    """
    And its shutdown terminates it.
    """
    with Guard() as guard:
        pool = forkserver.Pool(1)
        handle = guard.adopt(pool)
        assert abs(-3) == pool.apply(abs, (-3,))
        assert 0 == handle.info().entries
        results = [pool.apply_async(signal.pause) for _ in range(3)]
        info = handle.info()
        assert (3, 1, "run") == (
            info.entries,
            info.details["workers"],
            info.details["state"],
        )
        risk = handle.risk()
        assert risk is not None
        assert "imap" in risk.reason
        report = guard.shutdown()
    assert report.clean, report
    assert not any(one.ready() for one in results)


def test_a_pool_of_threads_ends_as_well() -> None:
    """
    Its workers cannot be killed, but come to an end.
    """
    with Guard() as guard:
        pool = ThreadPool(2)
        handle = guard.adopt(pool)
        assert abs(-3) == pool.apply(abs, (-3,))
        assert 2 == handle.info().details["workers"]
        report = guard.shutdown()
    assert report.clean, report


def test_a_pool_of_threads_that_hangs_is_named() -> None:
    """
    Nobody can end a thread: the report says which pool.
    """
    begun, go_on = threading.Event(), threading.Event()

    def hang_in_here() -> None:
        begun.set()
        go_on.wait(WITHIN)

    with Guard(shutdown_timeout=1.0) as guard:
        pool = ThreadPool(1)
        guard.adopt(pool, "stuck")
        pool.apply_async(hang_in_here)
        assert begun.wait(WITHIN)
        report = guard.shutdown()
        go_on.set()
    assert not report.clean
    assert "abandoned executor stuck" in str(report)
    assert "hang_in_here" in str(report)
    pool.join()


@pytest.mark.parametrize("made", [start, lambda: ThreadPool(1)], ids=["child", "pool"])
def test_none_of_them_takes_a_cap(made: object) -> None:
    """
    The error says what to do instead.
    """
    guard = Guard()
    thing = made()  # type: ignore[operator]
    handle = guard.adopt(thing)
    with pytest.raises(TypeError, match="only measured"):
        handle.resize(max_memory=1)
    assert handle.info().cannot
    handle.close()
    del thing
    gc.collect()
