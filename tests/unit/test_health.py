"""
Health and memory: what endpoints tell, and when they say no.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from memguard import Guard, Level
from memguard._health import level_of, timestamp_of
from memguard._probes.readings import LimitReading, MemoryReading
from memguard.testing import FakeClock, FakeProbe


def guard_with(rss: str, limit: str | None = "100MiB", **settings: Any) -> Guard:
    """
    A guard in a process that uses so much.
    """
    probe = FakeProbe(rss=rss, limit=limit)
    return Guard(clock=FakeClock(), probe=probe, **settings)


@pytest.mark.parametrize(
    ("rss", "level"),
    [
        ("10MiB", Level.NORMAL),
        ("69MiB", Level.NORMAL),
        ("70MiB", Level.WARNING),
        ("90MiB", Level.CRITICAL),
        ("95MiB", Level.EMERGENCY),
        ("500MiB", Level.EMERGENCY),
    ],
)
def test_levels_by_the_share_of_the_limit(rss: str, level: Level) -> None:
    """
    Each threshold belongs to the level above it.
    """
    guard = guard_with(rss)

    assert level is guard.level is guard.memory().level
    assert str(level) == guard.health().level


def test_thresholds_come_from_the_settings() -> None:
    """
    And the levels compare as numbers do.
    """
    guard = guard_with("50MiB", warning=0.3, critical=0.4, emergency=0.6)

    assert Level.CRITICAL == guard.level
    assert Level.NORMAL < Level.WARNING < Level.CRITICAL < Level.EMERGENCY
    assert Level.NORMAL is level_of(None, guard.settings)


def test_without_a_limit_there_is_no_share() -> None:
    """
    Nobody can be near what is not there.
    """
    sample = guard_with("50MiB", limit=None).memory()

    assert sample.limit is None
    assert sample.ratio is None
    assert Level.NORMAL is sample.level
    assert sample.to_dict()["percent"] is None


def test_a_peak_is_not_held_against_the_limit() -> None:
    """
    It never falls, so the warning would never end.
    """

    class Peak(FakeProbe):
        def memory(self) -> MemoryReading:
            return MemoryReading(99 << 20, None, "rusage-peak")

    sample = Guard(probe=Peak(limit="100MiB")).memory()

    assert (99 << 20, None, Level.NORMAL) == (sample.rss, sample.ratio, sample.level)


def test_what_nobody_knows_is_null() -> None:
    """
    A blind probe gives a healthy answer, and no figure of its own.
    """

    class Blind(FakeProbe):
        def memory(self) -> MemoryReading:
            return MemoryReading(None, None, "unavailable")

        def limit(self, configured: Any = "auto") -> LimitReading:
            return LimitReading(None, "none", "nobody tells")

    body = Guard(probe=Blind()).health().to_dict()

    assert "pass" == body["status"]
    assert body["memory"]["rss"] is None
    assert body["memory"]["percent"] is None


def test_the_sample_tells_its_sources() -> None:
    """
    Bytes, and where each figure comes from.
    """
    data = guard_with("25MiB").memory().to_dict()

    assert (25 << 20, 100 << 20) == (data["rss"], data["limit"])
    assert ("statm", "cgroup", 25.0) == (
        data["source"],
        data["limitSource"],
        data["percent"],
    )
    assert data["pythonBlocks"] > 0


def test_real_figures_of_this_process() -> None:
    """
    The probe of the operating system says something sensible.
    """
    sample = Guard().memory()

    assert sample.rss is not None
    assert 1 << 20 < sample.rss < 1 << 40
    assert sample.virtual is None or sample.virtual >= sample.rss


def test_the_record_follows_the_draft() -> None:
    """
    With the fields of requirement A10 beside it; JSON takes all of it.
    """
    clock = FakeClock(epoch=1_700_000_000.25)
    with Guard(clock=clock, probe=FakeProbe("75MiB", "100MiB")) as guard:
        clock.advance("90s")
        body = json.loads(json.dumps(guard.health().to_dict()))

    assert "warn" == body["status"]
    assert 90.0 == body["uptime"]
    assert 0 == body["activeSessions"]
    assert "warning" == body["level"]
    assert "2023-11-14T22:14:50.250+00:00" == body["timestamp"]
    (check,) = body["checks"]["memory:utilization"]
    assert (0.75, "1", "warn") == (
        check["observedValue"],
        check["observedUnit"],
        check["status"],
    )
    assert "output" not in body


def test_health_fails_only_while_shutting_down() -> None:
    """
    Memory never does: a process that is killed for it helps nobody.
    """
    guard = guard_with("500MiB")
    assert (200, "warn") == (guard.health().http_status, guard.health().status)
    guard.start()
    seen = []
    guard.on_shutdown()(lambda: seen.append(guard.health()))
    guard.shutdown()

    (health,) = seen
    assert (503, "fail", "shutting down") == (
        health.http_status,
        health.status,
        health.to_dict()["output"],
    )


def test_health_is_good_again_after_a_new_start() -> None:
    """
    A guard that was shut down and started takes requests.
    """
    guard = guard_with("10MiB")
    for _ in range(2):
        with guard:
            assert "pass" == guard.health().status


def test_sessions_are_counted() -> None:
    """
    Those that live now.
    """
    with guard_with("10MiB") as guard:
        chat = guard.sessions("chat")
        with chat.open("one"), chat.open("two"):
            assert 2 == guard.health().active_sessions


def test_health_before_the_start() -> None:
    """
    Has no up time.
    """
    assert 0.0 == guard_with("10MiB").health().uptime


@pytest.mark.parametrize(
    "seconds", [0, 0.001, 0.9994, 1_700_000_000.123, 2_000_000_000.5, 4e9]
)
def test_timestamps_are_those_of_datetime(seconds: float) -> None:
    """
    In UTC, to the millisecond.
    """
    expected = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    assert expected.isoformat(timespec="milliseconds") == timestamp_of(seconds)
