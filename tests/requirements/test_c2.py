"""
Completed tasks move to a map whose entries go by themselves.
"""

from __future__ import annotations

import memguard
from memguard.testing import FakeClock


def test_active_to_completed() -> None:
    """
    The pattern of the caches page: nothing is left an hour after the last task.
    """
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        active: dict[int, str] = {}
        completed = guard.cache("completed", max_entries=10_000, ttl="1h")
        for number in range(3000):
            active[number] = "running"
            completed.put(number, f"result {number}")
            del active[number]
            clock.advance("1s")
        assert (0, 3000) == (len(active), completed.info().entries)
        clock.advance("20m")  # the first 600 are an hour old
        assert "result 601" == completed.get(601)
        assert None is completed.get(599)
        clock.advance("1h")
        assert (0, 0) == (completed.info().entries, completed.memory_bytes())


def test_entries_go_without_being_asked_for() -> None:
    """
    No sweep by the user and no read is needed: the value dies when its time is over.
    """
    clock = FakeClock()
    gone: list[tuple[object, str]] = []
    with memguard.Guard(clock=clock) as guard:
        completed = guard.cache(
            "completed",
            ttl="1h",
            on_evict=lambda key, value, cause: gone.append((key, cause)),
        )
        completed.put("job", "result")
        clock.advance("1h1s")
        assert [("job", "ttl")] == gone
