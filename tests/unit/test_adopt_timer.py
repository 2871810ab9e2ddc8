"""
Adopted `threading.Timer`s: a thread each, cancelled and waited for.
"""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from memguard import Guard, ShutdownReport
from memguard._probes.threads import thread_age

WITHIN = 5.0


class Reminder(threading.Timer):
    """
    A subclass of an application's.
    """


@pytest.fixture
def guard() -> Guard:
    """
    A guard in real time, not started: the timers run in it, too.
    """
    return Guard()


@pytest.mark.parametrize("kind", [threading.Timer, Reminder])
def test_it_tells_its_state_and_when_it_is_due(
    guard: Guard, kind: type[threading.Timer]
) -> None:
    """
    From before its start to after its end.
    """
    timer = kind(60.0, print)
    handle = guard.adopt(timer)
    assert "timer" == handle.kind
    assert "new" == handle.info().details["state"]
    assert 0 == handle.info().entries
    timer.start()
    info = handle.info()
    assert ("waiting", 1) == (info.details["state"], info.entries)
    assert 50.0 < info.details["due_in_s"] <= 60.0
    timer.cancel()
    timer.join(WITHIN)
    assert "over" == handle.info().details["state"]
    assert 0 == handle.info().entries


def test_a_shutdown_cancels_it_and_nothing_is_left() -> None:
    """
    No thread after it, and the function was never called.
    """
    called = []
    with Guard() as guard:
        timer = threading.Timer(60.0, called.append, (1,))
        guard.adopt(timer)
        timer.start()
        report = guard.shutdown()
    assert report.clean, report
    assert not timer.is_alive()
    assert [] == called


def test_one_that_fires_while_it_is_adopted_is_waited_for() -> None:
    """
    Its function runs already: a cancel comes too late, and its end is awaited.
    """
    begun, go_on, over = (threading.Event() for _ in range(3))

    def slow() -> None:
        begun.set()
        go_on.wait(WITHIN)
        over.set()

    with Guard() as guard:
        timer = threading.Timer(0.0, slow)
        handle = guard.adopt(timer)
        timer.start()
        assert begun.wait(WITHIN)
        assert "running" == handle.info().details["state"]
        threading.Timer(0.05, go_on.set).start()
        report = guard.shutdown()
    assert over.is_set()
    assert report.clean, report


def test_it_may_shut_the_guard_down_itself() -> None:
    """
    A timer that ends its guard does not wait for itself.
    """
    guard = Guard()
    guard.start()
    reports: list[ShutdownReport] = []
    timer = threading.Timer(0.0, lambda: reports.append(guard.shutdown()))
    guard.adopt(timer)
    timer.start()
    timer.join(WITHIN)
    assert ["closed"] == [str(row.outcome) for row in reports[0].resources]


def test_it_is_only_measured_and_says_why(guard: Guard) -> None:
    """
    The sentence is in the report and in the error.
    """
    timer = threading.Timer(1.0, print)
    assert "nothing to cap" in guard.adopt(timer).info().cannot
    with pytest.raises(TypeError, match="nothing to cap"):
        guard.adopt(timer, max_connections=1)


def test_one_that_is_gone_vanishes(guard: Guard) -> None:
    """
    Never started and dropped: no fault.
    """
    timer = threading.Timer(1.0, print)
    guard.adopt(timer)
    gone = weakref.ref(timer)
    del timer
    gc.collect()
    assert gone() is None
    assert 0 == guard.snapshot().count("timer")


def test_the_age_of_a_thread_is_the_kernels() -> None:
    """
    Seconds since its start; None for a thread that is gone, or a kernel that is mute.
    """
    age = thread_age(threading.get_native_id())
    assert age is not None
    assert age >= 0.0
    later = thread_age(threading.get_native_id(), now=lambda: 10.0**9)
    assert later is not None
    assert later > 10.0**6
    assert thread_age(2**22 + 1) is None
    assert thread_age(threading.get_native_id(), now=lambda: None) is None
