"""
A series against a list: any sequence of verbs.
"""

from __future__ import annotations

import json
import statistics

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import memguard
from memguard._kinds.series import Series
from memguard.testing import FakeClock

FIGURES = st.floats(allow_nan=False, allow_infinity=False, width=32)


class SeriesMachine(RuleBasedStateMachine):
    """
    Verbs of a series; the model is a list of all points since the last clear.
    """

    series: Series

    @initialize(most=st.integers(1, 40))
    def make(self, most: int) -> None:
        """
        A series of a small cap, and an empty list.
        """
        self.most = most
        self.guard = memguard.Guard(clock=FakeClock())
        self.series = self.guard.series("it", max_points=most)
        self.points: list[float] = []
        self.count = 0
        self.version = self.series.version

    @rule(values=st.lists(FIGURES | st.integers(-1000, 1000), max_size=50))
    def add(self, values: list[float]) -> None:
        """
        Some points, or none.
        """
        for value in values:
            self.series.add(value)
        self.points += values
        self.count += len(values)
        self._changed(bool(values))

    @rule()
    def clear(self) -> None:
        """
        All points go.
        """
        self.series.clear()
        self.points = []
        self._changed(True)

    @rule(most=st.integers(1, 40))
    def save_and_restore(self, most: int) -> None:
        """
        Through JSON into another series, of another cap perhaps.
        """
        dumped = json.loads(json.dumps(self.series.dump()))
        self.points = self.points[-self.most :]
        self.series.close()
        self.most = most
        self.series = self.guard.series("it", max_points=most)
        self.version = self.series.version
        self.series.load(dumped)
        self._changed(True)

    @rule()
    def load_its_own(self) -> None:
        """
        Loading what it has just dumped changes nothing but the version.
        """
        self.points = self.points[-self.most :]
        self.series.load(self.series.dump())
        self._changed(True)

    def _changed(self, expected: bool) -> None:
        assert expected == (self.version != self.series.version)
        self.version = self.series.version

    @invariant()
    def it_has_the_newest(self) -> None:
        """
        The window, the count and the statistics are those of the list.
        """
        window = self.points[-self.most :]
        assert window == self.series.recent(100)
        stats = self.series.stats()
        assert (self.count, len(window)) == (stats.count, stats.n)
        if not window:
            return
        assert (min(window), max(window)) == (stats.min, stats.max)
        assert stats.min is not None
        assert stats.max is not None
        assert stats.mean is not None
        assert stats.p90 is not None
        assert stats.min <= stats.mean <= stats.max
        if len(window) > 1:
            expected = statistics.quantiles(window, n=10, method="inclusive")[8]
            assert abs(expected - stats.p90) <= 1e-9 * max(1.0, abs(expected))


TestSeries = SeriesMachine.TestCase
TestSeries.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, derandomize=True
)
