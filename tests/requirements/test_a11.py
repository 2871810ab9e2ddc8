"""
Lazy mounting: only the active session and the two before it stay live.
"""

from __future__ import annotations

import memguard
from memguard.testing import FakeClock


class Console:
    """
    What is mounted for a session while it is live.
    """

    def __init__(self, mounted: set[str], name: str) -> None:
        self.mounted = mounted
        self.name = name
        mounted.add(name)

    def close(self) -> None:
        self.mounted.discard(self.name)


def test_the_active_one_and_the_two_before_it_are_mounted() -> None:
    """
    Whoever is touched is mounted; the one that was used longest ago makes room.
    """
    mounted: set[str] = set()
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        consoles = guard.sessions("consoles", max_live=3)

        def mount(session: memguard.Session) -> None:
            session.register(Console(mounted, session.id), keep=True)

        consoles.on_restore(mount)
        touched = []
        for name in "abcdefbbacdaf":
            clock.advance("1s")
            with consoles.open(name) as session:
                if "lines" not in session.data:
                    session.data["lines"] = 0
                    mount(session)
                session.data["lines"] += 1
                if name in touched:
                    touched.remove(name)
                touched.append(name)
                assert set(touched[-3:]) == mounted
        assert (3, 3) == (consoles.live, consoles.stats().hibernated)
        with consoles.open("b") as session:
            assert 3 == session.data["lines"]


def test_what_is_open_is_never_put_to_sleep() -> None:
    """
    The active ones are not touched, however many others come and go.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        consoles = guard.sessions("consoles", max_live=3)
        with consoles.open("active") as active:
            for number in range(10):
                with consoles.open(f"console {number}"):
                    assert consoles.live <= 3
            assert not active.closed
