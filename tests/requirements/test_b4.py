"""
Performance metrics are rolling series: bounded a name, and in the number of names.
"""

from __future__ import annotations

import memguard
from memguard._kinds.series import Series
from memguard.testing import FakeClock


def test_a_thousand_points_a_name() -> None:
    """
    Of 100,000 figures the newest 1,000 are kept, in 8 bytes each, with statistics.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        latency = guard.series("latency")
        for number in range(100_000):
            latency.add(number)
        stats = latency.stats()
        assert (100_000, 1000) == (stats.count, stats.n)
        assert (99_000.0, 99_999.0) == (stats.min, stats.max)
        assert latency.memory_bytes() < 10_000


def test_a_thousand_names_an_owner() -> None:
    """
    A name made of a value does not grow for ever: further names share one series.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        for number in range(5000):
            guard.series(f"latency.{number}").add(number)
        made = [one for one in guard.children() if isinstance(one, Series)]
        assert 1001 == len(made)
        other = guard.series("other")
        assert (4000, 4000) == (other.info().merged, other.stats().count)
        assert 4999.0 == other.stats().last
