"""
A grace period after a disconnect.
"""

from __future__ import annotations

import memguard
from memguard.testing import FakeClock


class Held:
    """
    A resource of a session.
    """

    closed = False

    def close(self) -> None:
        self.closed = True


def test_who_comes_back_in_time_finds_session_and_resources() -> None:
    """
    Within 30 s everything is there and open; after 30 s it is closed, the data kept.
    """
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        chat = guard.sessions("chat")  # the default grace
        held = Held()
        with chat.connect("ann") as connection:
            session = connection.session
            session.register(held)
            session.data["drafts"] = 3
        clock.advance("29s")
        with chat.connect("ann") as connection:
            assert session is connection.session
            assert not held.closed
        clock.advance("29s")
        assert not held.closed
        clock.advance("1s")
        assert held.closed
        assert "hibernated" == getattr(chat.info("ann"), "state", None)
        with chat.connect("ann") as connection:
            assert 3 == connection.session.data["drafts"]
