"""
Histories are read page by page, never as a whole.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.watched import Watched, Watching

import memguard
from memguard.testing import FakeClock

ENTRIES = 1000


def watched(store: Watching) -> Watched:
    """
    What is noted of the pages of its one space.
    """
    assert store.space_of is not None
    return store.space_of


def numbers(*many: int) -> list[tuple[str, int]]:
    """
    Pages of the ring.
    """
    return [("messages", one) for one in many]


def everything(first: Any, more: Any) -> list[int]:
    """
    A history, read from its newest page to its oldest.
    """
    page, found = first, list(first)
    while page.next is not None:
        page = more(page.next)
        assert len(page) <= 100
        found[:0] = page
    return found


def test_a_ring_is_read_in_pages() -> None:
    """
    A thousand entries, a hundred at a time, while new ones come in between.
    """
    ring = memguard.Guard().ring("messages", of=int, max_entries=ENTRIES)
    ring.extend(range(ENTRIES - 50))

    def more(before: int) -> Any:
        ring.append(-1) if len(ring) < ENTRIES else None
        return ring.page(before, 100)

    assert list(range(ENTRIES - 50)) == everything(ring.page(None, 100), more)
    assert list(range(930, 950)) == [one for one in ring.recent(40) if one >= 0][-20:]


def test_a_hibernated_history_is_read_in_pages_without_waking_up(
    tmp_path: Path,
) -> None:
    """
    No more of the store than the pages with these entries; the session sleeps on.
    """
    store = Watching(memguard.SqliteStore(tmp_path / "sessions.db"))
    with memguard.Guard(clock=FakeClock()) as guard:
        chat = guard.sessions("chat", store=store)
        with chat.open("ann") as session:
            ring = session.ring("messages", of=int, max_entries=ENTRIES)
            ring.extend(range(1, ENTRIES + 1))
        assert chat.hibernate("ann")
        assert list(range(901, 1001)) == list(chat.page("ann", "messages", n=100))
        assert [] == watched(store).fetched  # the newest come with the record
        assert list(range(301, 401)) == list(chat.page("ann", "messages", 401, 100))
        assert numbers(3, 4) == watched(store).fetched

        def more(before: int) -> Any:
            return chat.page("ann", "messages", before)

        assert list(range(1, 1001)) == everything(chat.page("ann", "messages"), more)
        assert 0 == chat.live

        async def in_a_loop() -> None:
            assert 100 == len(await chat.apage("ann", "messages"))

        asyncio.run(in_a_loop())


def test_waking_up_and_going_on_reads_and_writes_next_to_nothing(
    tmp_path: Path,
) -> None:
    """
    The newest entries are at hand; a new page is written for each hundred appended.
    """
    store = Watching(memguard.SqliteStore(tmp_path / "sessions.db"))
    with memguard.Guard(clock=FakeClock()) as guard:
        chat = guard.sessions("chat", store=store)
        with chat.open("ann") as session:
            ring = session.ring("messages", of=int, max_entries=10 * ENTRIES)
            ring.extend(range(5 * ENTRIES))
        assert numbers(*range(49)) == sorted(watched(store).written)
        for number in range(20):
            assert chat.hibernate("ann")
            with chat.open("ann") as session:
                ring = session.ring("messages", of=int, max_entries=10 * ENTRIES)
                assert 5 * ENTRIES + 10 * number == len(ring)
                assert 20 == len(ring.recent(20))
                ring.extend(range(10))
        assert [] == watched(store).fetched
        assert numbers(49, 50) == watched(store).written[49:]
