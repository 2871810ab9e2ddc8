"""
Sessions are bounded in number and in time, and take everything along.
"""

from __future__ import annotations

import memguard
from memguard.testing import FakeClock


class Held:
    """
    A resource of a session.
    """

    open = 0

    def __init__(self) -> None:
        Held.open += 1

    def close(self) -> None:
        Held.open -= 1


def test_at_most_so_many_are_live_and_none_is_lost() -> None:
    """
    Of a hundred sessions ten are live; the others sleep, with their data.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        chat = guard.sessions("chat", max_sessions=10)
        for number in range(100):
            with chat.open(f"user {number}") as session:
                session.data["number"] = number
        assert (10, 10) == (chat.live, guard.snapshot().count("session"))
        with chat.open("user 0") as session:
            assert 0 == session.data["number"]


def test_the_caps_are_there_without_being_asked_for() -> None:
    """
    10,000 sessions and an hour are the defaults.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        spec = guard.sessions("chat").spec
    assert (10_000, 3600.0) == (spec["max_sessions"], spec["ttl"])


def test_bytes_are_a_cap_as_well() -> None:
    """
    Over `max_bytes` the least recently used ones are put to sleep.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        chat = guard.sessions("chat", max_bytes="10KiB")
        for number in range(20):
            with chat.open(f"user {number}") as session:
                session.data["text"] = "x" * 2000
                session.save()
        assert chat.stats().live_bytes <= 10 * 1024
        assert 20 == len(chat)


def test_everything_attached_goes_with_the_session() -> None:
    """
    After idle time, after the ttl and after its end: nothing in any side table.
    """
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        bus = guard.emitter("bus", max_listeners=None)
        chat = guard.sessions("chat", ttl="1h", hibernate_after="10m")

        def owned() -> tuple[int, ...]:
            count = guard.snapshot().count
            kinds = ("timer", "ring", "listener", "resource")
            return (*(count(kind) for kind in kinds), Held.open, bus.listening)

        def fill(name: str) -> None:
            with chat.open(name) as session:
                session.timer(print, every="1d")
                session.ring("messages").append("hello")
                session.listen(bus, "line", print)
                session.register(Held(), keep=True)

        fill("ann")
        assert (1, 1, 1, 1, 1, 1) == owned()
        clock.advance("10m")
        assert (0,) * 6 == owned()
        fill("ann")
        assert chat.end("ann")
        assert (0,) * 6 == owned()
        fill("ben")
        clock.advance("1h10m")
        assert ((0,) * 6, 0) == (owned(), len(chat))
