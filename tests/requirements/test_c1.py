"""
A circular buffer of events, with counts that outlive them.
"""

from __future__ import annotations

import memguard
from memguard.testing import FakeClock


def test_the_newest_thousand_and_the_counts_of_all() -> None:
    """
    1,000 events are kept by default; what was evicted is still counted by its key.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        events = guard.ring("events")
        for number in range(5000):
            events.append(number, key="error" if number % 10 == 0 else "request")
        assert 1000 == len(events)
        assert [4997, 4998, 4999] == events.recent(3)
        assert {"error": 500, "request": 4500} == events.counts()


def test_its_bytes_are_known_and_bounded() -> None:
    """
    The byte cap holds after each append, and usage is told.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        events = guard.ring("events", max_entries=None, max_bytes="10KiB")
        for number in range(200):
            events.append("x" * number)
            assert events.info().bytes <= 10 * 1024
        assert events.info().bytes > 5 * 1024
        assert events.memory_bytes() > events.info().bytes
