"""
A shutdown is complete: ordered, and each step reported.
"""

from __future__ import annotations

import pytest

import memguard
from memguard.testing import FakeClock

PHASES = [
    "stop_intake",
    "timers",
    "work",
    "emitters",
    "sessions",
    "caches",
    "clients",
    "telemetry",
    "process",
]


@pytest.mark.parametrize("turned", [False, True])
def test_phase_after_phase_in_whatever_order_things_were_made(turned: bool) -> None:
    """
    Intake, timers, work, emitters, sessions, caches, clients, telemetry, process.
    """
    guard = memguard.Guard(clock=FakeClock()).start()
    called: list[str] = []
    for phase in reversed(PHASES) if turned else PHASES:
        guard.on_shutdown(phase=phase)(lambda phase=phase: called.append(phase))
    report = guard.shutdown()
    assert PHASES == called
    assert PHASES == [one.phase for one in report.resources]


def test_each_kind_has_its_place_and_its_row() -> None:
    """
    Everything that was open is in the report, in the order of closing.
    """
    guard = memguard.Guard(clock=FakeClock()).start()
    guard.pool("pool", object)
    guard.cache("cache")
    with guard.sessions("sessions").open("ann"):
        pass
    guard.emitter("emitter")
    guard.timer(print, every="1h", name="timer")
    report = guard.shutdown()
    kinds = ["timer", "emitter", "session", "sessions", "cache", "pool"]
    assert kinds == [one.kind for one in report.resources]
    assert {"closed"} == {one.outcome for one in report.resources}
    assert report.clean


def test_what_fails_is_named_and_the_rest_is_closed() -> None:
    """
    One close that raises holds nothing up and is in the report by type and place.
    """

    class Broken:
        def close(self) -> None:
            raise OSError

    class Healthy:
        closed = False

        def close(self) -> None:
            self.closed = True

    guard = memguard.Guard(clock=FakeClock()).start()
    things = [Healthy(), Broken(), Healthy()]
    for thing in things:
        guard.register(thing)
    report = guard.shutdown()
    assert [True, True] == [one.closed for one in things if isinstance(one, Healthy)]
    (failing,) = report.failing()
    assert ("unclosable", True) == (failing.outcome, "OSError" in failing.reason)
    assert "test_b5.py" in failing.site
