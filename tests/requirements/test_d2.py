"""
A history is truncated to its last 20 messages.
"""

from __future__ import annotations

import memguard
from memguard.testing import FakeClock


def test_the_session_keeps_the_last_twenty_and_brings_them_back() -> None:
    """
    After 500 messages, and after a night's sleep, `recent(20)` are the newest 20.
    """
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        chat = guard.sessions("chat", ttl="1d")
        for number in range(500):
            with chat.open("ann") as session:
                history = session.ring("messages", of=str, max_entries=20)
                history.append(f"message {number}")
        newest = [f"message {number}" for number in range(480, 500)]
        assert (20, newest) == (len(history), history.recent(20))
        clock.advance("8h")
        with chat.open("ann") as session:
            assert newest == session.ring("messages", max_entries=20).recent(20)
        assert chat.end("ann")
        with chat.open("ann") as session:
            assert [] == session.ring("messages", max_entries=20).recent(20)
