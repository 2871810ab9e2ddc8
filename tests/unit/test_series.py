"""
Series: window, statistics, what is refused, threads, saving, names and the end.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import memguard
from memguard._kinds.series import Series
from memguard.errors import ScopeClosed, SpecConflict
from memguard.testing import FakeClock

FIGURES = ("min", "max", "mean", "sum", "p50", "p90", "p99", "last")


@pytest.fixture
def guard() -> memguard.Guard:
    """
    A guard that was not started, in virtual time.
    """
    return memguard.Guard(clock=FakeClock())


def test_the_newest_points_oldest_first(guard: memguard.Guard) -> None:
    """
    Over its cap the oldest are gone; the count goes on.
    """
    series = guard.series("latency", max_points=3)
    for value in range(1, 6):
        series.add(value)
    assert [3.0, 4.0, 5.0] == series.recent(10)
    assert [5.0] == series.recent(1)
    assert [] == series.recent(0)
    assert (3, 5) == (len(series), series.stats().count)


@pytest.mark.parametrize("most", [1, 2, 15, 16, 17, 1000])
def test_every_length_of_a_lap(guard: memguard.Guard, most: int) -> None:
    """
    After each of 2,500 points the window is the newest of all, whatever the cap.
    """
    series = guard.series("latency", max_points=most)
    for value in range(2500):
        series.add(float(value))
        if value % 97 == 0 or value in (most - 1, most, 2 * most):
            newest = list(range(max(0, value + 1 - most), value + 1))
            assert newest == series.recent(most + 1)
            assert value + 1 == series.info().count


def test_statistics_of_what_is_there(guard: memguard.Guard) -> None:
    """
    Quantiles are those of statistics.quantiles(method="inclusive").
    """
    series = guard.series("latency", max_points=100)
    for value in (1e9, *range(100, 0, -1)):
        series.add(value)
    stats = series.stats()
    assert (101, 100) == (stats.count, stats.n)
    assert (1.0, 100.0, 50.5, 5050.0) == (stats.min, stats.max, stats.mean, stats.sum)
    assert (50.5, 1.0) == (stats.p50, stats.last)
    assert (pytest.approx(90.1), pytest.approx(99.01)) == (stats.p90, stats.p99)


def test_statistics_of_one_point_and_of_none(guard: memguard.Guard) -> None:
    """
    One point is everything; of none there is a count and nothing else.
    """
    series = guard.series("latency")
    empty = series.stats()
    assert (0, 0, 0.0) == (empty.count, empty.n, empty.sum)
    assert [None] * 7 == [getattr(empty, name) for name in FIGURES if name != "sum"]
    series.add(4)
    one = series.stats()
    assert [4.0] * 8 == [getattr(one, name) for name in FIGURES]


def test_sums_that_are_too_large(guard: memguard.Guard) -> None:
    """
    The mean and the quantiles of the largest floats are floats.
    """
    series = guard.series("huge")
    for _ in range(4):
        series.add(sys.float_info.max)
    stats = series.stats()
    assert math.inf == stats.sum
    assert sys.float_info.max == stats.mean == stats.p50 == stats.p99
    series.add(-sys.float_info.max)
    assert math.isfinite(series.stats().p50 or math.nan)


@pytest.mark.parametrize("value", [Decimal("1.5"), Fraction(3, 2), 1.5])
def test_what_can_become_a_float_is_taken(guard: memguard.Guard, value: Any) -> None:
    """
    Decimals and fractions are converted.
    """
    series = guard.series("latency")
    series.add(value)
    assert [1.5] == series.recent(1)


@pytest.mark.parametrize("value", [True, "1", b"1", None, [], 1j, object()])
def test_what_is_no_number_is_refused(guard: memguard.Guard, value: Any) -> None:
    """
    The error names the series and the type, and nothing is counted.
    """
    series = guard.series("latency")
    with pytest.raises(TypeError, match="'latency' takes numbers, not a"):
        series.add(value)
    assert 0 == series.info().count


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 10**400, Decimal("NaN")]
)
def test_what_is_not_finite_is_refused(guard: memguard.Guard, value: Any) -> None:
    """
    One of these would spoil every mean.
    """
    series = guard.series("latency")
    with pytest.raises(ValueError, match="'latency' takes finite numbers"):
        series.add(value)
    assert 0 == series.info().count


@pytest.mark.parametrize("most", [0, -1, 1.5, True, None, "10"])
def test_a_cap_is_a_number(guard: memguard.Guard, most: Any) -> None:
    """
    Anything else is refused at the door.
    """
    with pytest.raises(ValueError, match="max_points"):
        guard.series("latency", max_points=most)


def test_eight_bytes_a_point_and_only_as_they_come(guard: memguard.Guard) -> None:
    """
    An empty series has no room for its points yet; a full one no more than needed.
    """
    series = guard.series("latency", max_points=1000)
    assert series.memory_bytes() < 200
    for value in range(5000):
        series.add(value)
    assert 8000 <= series.memory_bytes() < 9200
    assert series.info().bytes == series.memory_bytes()


def test_clear_keeps_the_count(guard: memguard.Guard) -> None:
    """
    The points and their memory go; what comes later is a window of its own.
    """
    series = guard.series("latency", max_points=50)
    for value in range(77):
        series.add(value)
    series.clear()
    assert ([], 77) == (series.recent(50), series.stats().count)
    assert series.memory_bytes() < 200
    for value in range(60):
        series.add(value)
    assert (list(range(10, 60)), 137) == (series.recent(50), series.stats().count)


def test_no_point_of_eight_threads_is_lost(guard: memguard.Guard) -> None:
    """
    All are counted, and with room enough all are there, while somebody reads.
    """
    series = guard.series("latency", max_points=100_000)
    small = guard.series("small", max_points=7)
    barrier = threading.Barrier(9, timeout=10)

    def work(number: int) -> None:
        barrier.wait()
        for value in range(2000):
            series.add(number * 2000 + value)
            small.add(value)

    threads = [threading.Thread(target=work, args=(one,)) for one in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        barrier.wait()
        while any(thread.is_alive() for thread in threads):
            assert len(small.recent(100)) <= 7
            stats = series.stats()
            assert stats.n <= stats.count <= 16_000
        for thread in threads:
            thread.join(10)
    finally:
        sys.setswitchinterval(interval)
    assert (16_000, 16_000) == (series.stats().count, small.stats().count)
    assert list(range(16_000)) == sorted(series.recent(20_000))
    assert 7 == len(small)


def test_points_come_in_the_middle_of_a_reading(guard: memguard.Guard) -> None:
    """
    A destructor may add while the series itself is at work.
    """
    series = guard.series("latency", max_points=10)

    class Adds:
        def __del__(self) -> None:
            series.add(1)

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for value in range(200):
            cycle: list[Any] = [Adds()]
            cycle.append(cycle)
            del cycle
            series.add(value)
            assert len(series.recent(20)) <= 10
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert 400 == series.stats().count


# -- names ---------------------------------------------------------------------------


def test_get_or_create(guard: memguard.Guard) -> None:
    """
    The same name is the same series; with another cap it is a conflict.
    """
    series = guard.series("latency", max_points=10)
    assert series is guard.series("latency", max_points=10)
    with pytest.raises(SpecConflict, match="max_points"):
        guard.series("latency")
    with pytest.raises(ValueError, match="name"):
        guard.series("")


def test_the_same_words_are_the_same_thing_without_making_one(
    guard: memguard.Guard,
) -> None:
    """
    Rings, series and pools that are asked for at each request; other words too.
    """
    asking: list[Callable[[], object]] = [
        lambda: guard.ring("r", max_entries=5, ttl="1h"),
        lambda: guard.series("s", max_points=5),
        lambda: guard.pool("p", object, max_size=3),
    ]
    first = [ask() for ask in asking]
    assert first == [ask() for ask in asking]
    assert first[0] is guard.ring("r", max_entries=5, ttl=3600)
    assert first[2] is guard.pool("p", object, max_size=3, idle_timeout=10)
    with pytest.raises(SpecConflict):
        guard.pool("p", object, max_size=4)
    guard.shutdown()
    for ask in asking:
        with pytest.raises(ScopeClosed):
            ask()


def test_names_beyond_the_bound_share_one(caplog: pytest.LogCaptureFixture) -> None:
    """
    Each place that asks for one is warned about once; known names go on.
    """
    caplog.set_level(logging.WARNING, "memguard")
    guard = memguard.Guard(clock=FakeClock(), series_names=3)
    first = guard.series("latency.0")
    for number in range(50):
        guard.series(f"latency.{number}").add(number)
    assert 1 == len(caplog.records)
    assert "test_names_beyond_the_bound_share_one" in caplog.records[0].getMessage()
    other = guard.series("other")
    assert (47, 47) == (other.info().merged, other.stats().count)
    assert first is guard.series("latency.0")
    assert 4 == len([one for one in guard.children() if isinstance(one, Series)])
    guard.series("one more", max_points=5).add(1)  # another cap is no conflict here
    assert (48, 2) == (other.info().merged, len(caplog.records))


def test_a_closed_series_gives_its_name_back() -> None:
    """
    The bound counts what lives.
    """
    guard = memguard.Guard(clock=FakeClock(), series_names=2)
    first = guard.series("a")
    guard.series("b")
    assert "other" == guard.series("c").name
    first.close()
    assert "c" == guard.series("c").name


def test_names_of_other_kinds_do_not_count() -> None:
    """
    A guard full of rings has room for series.
    """
    guard = memguard.Guard(clock=FakeClock(), series_names=2)
    for number in range(5):
        guard.ring(f"ring {number}")
    assert "a" == guard.series("a").name


# -- sessions ------------------------------------------------------------------------


def test_a_series_of_a_session_is_saved_with_it(guard: memguard.Guard) -> None:
    """
    It comes back when it is asked for, count included, and is kept when it is not.
    """
    chat = guard.sessions("chat")
    with chat.open("ann") as session:
        for value in range(30):
            session.series("latency", max_points=20).add(value)
    chat.hibernate("ann")
    with chat.open("ann") as session:
        session.data["touched"] = True
    chat.hibernate("ann")
    with chat.open("ann") as session:
        series = session.series("latency", max_points=20)
        assert (list(range(10, 30)), 30) == (series.recent(99), series.stats().count)
        assert not session.dirty
        series.add(30)
        assert session.dirty
    chat.hibernate("ann")
    with chat.open("ann") as session:
        again = session.series("latency", max_points=20)
        assert [29, 30] == again.recent(2)
        assert again is not series


def test_sleeping_series_count_as_names() -> None:
    """
    A session does not grow by being saved: names that sleep are taken.
    """
    guard = memguard.Guard(clock=FakeClock(), series_names=2)
    chat = guard.sessions("chat")
    with chat.open("ann") as session:
        session.series("a").add(1)
        session.series("b").add(1)
    chat.hibernate("ann")
    with chat.open("ann") as session:
        assert "other" == session.series("c").name
        assert ("a", [1.0]) == (session.series("a").name, session.series("a").recent(9))
        assert "b" == session.series("b").name


def test_dumped_and_loaded(guard: memguard.Guard) -> None:
    """
    Through JSON and into a smaller one: the newest are there, and the count.
    """
    series = guard.series("a")
    for value in range(25):
        series.add(value / 3)
    smaller = guard.series("b", max_points=10)
    smaller.add(1)
    before = smaller.version
    smaller.load(json.loads(json.dumps(series.dump())))
    assert before != smaller.version
    assert [value / 3 for value in range(15, 25)] == smaller.recent(99)
    assert 25 == smaller.stats().count
    smaller.add(7)
    assert ([24 / 3, 7.0], 26) == (smaller.recent(2), smaller.stats().count)
    assert 10 == len(smaller)


@pytest.mark.parametrize(
    "dumped",
    [
        [],
        [1.0],
        [{"series": 2, "count": 0}],
        [{"series": 1}],
        [{"series": 1, "count": 1}, 1.0, 2.0],
        [{"series": 1, "count": 1}, math.nan],
    ],
)
def test_what_was_not_dumped_is_not_loaded(
    guard: memguard.Guard, dumped: list[Any]
) -> None:
    """
    And the content stays as it was.
    """
    series = guard.series("a")
    series.add(5)
    with pytest.raises(ValueError, match="'a'"):
        series.load(dumped)
    assert [5.0] == series.recent(9)


# -- life ----------------------------------------------------------------------------


def test_closed_it_takes_nothing(guard: memguard.Guard) -> None:
    """
    Adding raises, reading finds nothing.
    """
    series = guard.series("latency")
    series.add(1)
    series.close()
    with pytest.raises(ScopeClosed, match="'latency' is closed"):
        series.add(1)
    with pytest.raises(ScopeClosed, match="'latency' is closed"):
        series.load([{"series": 1, "count": 0}])
    assert [] == series.recent(1)
    assert 0 == series.stats().n


def test_a_shutdown_empties_a_declared_one(guard: memguard.Guard) -> None:
    """
    And a later start finds it at work.
    """
    series = guard.series("latency")
    series.add(1)
    with guard:
        series.add(2)
    assert 0 == len(series)
    series.add(3)
    assert [3.0] == series.recent(9)
    with guard:
        assert series is guard.series("latency")


def test_of_the_default_guard_and_in_a_snapshot() -> None:
    """
    `memguard.series` makes one of the default guard; a snapshot has its bytes.
    """
    series = memguard.series("latency")
    series.add(1)
    guard = memguard.current()
    assert series.owner is guard
    row = next(one for one in guard.snapshot().nodes if one.kind == "series")
    assert ("latency", series.memory_bytes()) == (row.name, row.bytes_held)
