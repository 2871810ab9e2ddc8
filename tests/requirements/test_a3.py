"""
The scrollback of a session: bounded, gone with it, and planned for all sessions.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

from memguard import Guard
from memguard.testing import FakeClock, FakeProbe


class Line:
    """
    One line, which can be watched.
    """


def made_up() -> Guard:
    """
    A guard with 256 MiB.
    """
    return Guard(clock=FakeClock(), probe=FakeProbe(rss="64MiB", limit="256MiB"))


def test_the_scrollback_is_bounded_and_dies_with_its_session() -> None:
    """
    By entries and by bytes; nothing of it is left when the session has ended.
    """
    guard = made_up().start()
    sessions = guard.sessions("terminals")
    with sessions.open("a") as session:
        by_bytes = session.ring("screen", of=str, max_bytes="4KiB")
        by_bytes.extend(f"{number:0100}" for number in range(1000))
        lines = session.scope("tail").ring("lines", of=Line, max_entries=10_000)
        lines.extend(Line() for _ in range(10_500))
        assert 10_000 == len(lines)
        assert by_bytes.info().bytes <= 4096
        last = weakref.ref(lines.recent(1)[0])
    del lines, by_bytes, session
    sessions.end("a")
    gc.collect()

    assert last() is None
    guard.shutdown()


def row_of(guard: Guard) -> Any:
    """
    The row of the one container of sessions.
    """
    return next(one for one in guard.risks() if one.kind == "sessions")


def planned(max_live: int, max_entries: int) -> Any:
    """
    The row of sessions that own a scrollback.
    """
    guard = made_up()
    sessions = guard.sessions("terminals", max_live=max_live)
    with sessions.open("a") as session:
        lines = session.ring("scrollback", of=str, max_entries=max_entries)
        lines.extend(f"{number:0100}" for number in range(50))
    row = row_of(guard)
    guard.shutdown()
    return row


def test_sessions_times_caps_are_held_against_the_limit() -> None:
    """
    The number that may be live, times what a full one holds, in measured bytes.
    """
    before, after = planned(11_000, 50_000), planned(11, 10_000)

    assert ("AT RISK", "high") == (before.verdict, before.impact)
    assert ("SAFE", None) == (after.verdict, after.impact)
    assert before.bytes == before.entries * before.entry_bytes
    # 50,000 lines of 149 bytes, each with a number, in a tuple in the ring.
    assert 50_000 * 149 < before.entry_bytes < 50_000 * 350
    assert "max_live=" in before.fix
    assert "scrollback 50,000 x" in before.reason


def test_bytes_bound_all_of_them() -> None:
    """
    With max_bytes the encodings are capped, and so is the estimate.
    """
    guard = made_up()
    sessions = guard.sessions("terminals", max_live=100_000, max_bytes="1MiB")
    with sessions.open("a") as session:
        lines = session.ring("scrollback", of=str, max_entries=1000)
        lines.extend(f"{number:0100}" for number in range(1000))
        session.save()
    row = row_of(guard)

    assert "SAFE" == row.verdict
    assert "max_bytes=1MiB" in row.reason
    guard.shutdown()
