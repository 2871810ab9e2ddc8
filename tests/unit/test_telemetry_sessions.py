"""
The metrics of sessions: how many there are, in which state, and what became of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memguard import Guard, SqliteStore
from memguard._telemetry.census import take_census
from memguard._telemetry.names import Names
from memguard._telemetry.readers import session_transitions, sessions
from memguard.testing import FakeClock


class Seen:
    """
    What readers are given.
    """

    def __init__(self, guard: Guard) -> None:
        self.figures = take_census(guard, Names()).figures


def points(reader: Any, guard: Guard) -> dict[str, float]:
    """
    Values by the attribute that is not the name.
    """
    found = {}
    for value, attributes in reader(Seen(guard)):
        assert "chat" == attributes.pop("memguard.sessions.name")
        (which,) = attributes.values()
        found[which] = value
    return found


@pytest.mark.parametrize("kept", ["in memory", "on disk"])
def test_sessions_are_told_by_state_and_by_what_became_of_them(
    tmp_path: Path, kept: str
) -> None:
    """
    No id among them, and no store is asked that takes its time.
    """
    clock = FakeClock()
    store = SqliteStore(tmp_path / "s.sqlite3") if kept == "on disk" else None
    with Guard(clock=clock) as guard:
        chat = guard.sessions("chat", store=store)
        assert {"live": 0, "hibernated": 0} == points(sessions(""), guard)
        for name in ("ann", "bob", "eve"):
            with chat.open(name) as session:
                session.data["n"] = 1
        chat.hibernate("ann")
        chat.end("eve")
        clock.advance("6s")
        assert {"live": 1, "hibernated": 1} == points(sessions(""), guard)
        assert points(sessions("_bytes"), guard)["hibernated"] > 0
        assert {
            "created": 3,
            "restored": 0,
            "slept": 1,
            "expired": 0,
            "ended": 1,
            "lost": 0,
        } == points(session_transitions, guard)
