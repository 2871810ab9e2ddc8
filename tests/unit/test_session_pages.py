"""
Histories of sessions in pages: what is written, what is read, and what comes back.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from tests._redis import RedisServer
from tests.watched import Watched, Watching

from memguard import Guard
from memguard._sessions import Sessions
from memguard._sessions.record import Torn, read_page, write_page
from memguard._sessions.stores import MemoryStore
from memguard._sessions.stores.sqlite import SqliteStore
from memguard.errors import SessionUnreadable, StoreFailed, WouldBlockLoop
from memguard.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that starts at zero.
    """
    return FakeClock(start=0.0)


@pytest.fixture
def guard(clock: FakeClock) -> Iterator[Guard]:
    """
    A running guard in virtual time.
    """
    with Guard(clock=clock) as guard:
        yield guard


@pytest.fixture
def chat(guard: Guard, tmp_path: Path) -> Sessions:
    """
    Sessions in SQLite, whose pages are watched.
    """
    store = Watching(SqliteStore(tmp_path / "sessions.db"))
    return guard.sessions("chat", store=store)


def watched(chat: Sessions) -> Watched:
    """
    What is noted of its pages.
    """
    space: Any = chat.core.space
    assert isinstance(space, Watched)
    return space


def append(chat: Sessions, first: int, last: int, **options: Any) -> None:
    """
    Append the numbers *first* to *last*, in one block.
    """
    with chat.open("ann") as session:
        ring = session.ring("log", **{"max_entries": 100_000, **options})
        ring.extend(range(first, last + 1))


def numbers(*many: int) -> list[tuple[str, int]]:
    """
    Pages of the ring.
    """
    return [("log", one) for one in many]


# -- what is written -------------------------------------------------------------------


def test_a_short_history_is_in_the_record(chat: Sessions) -> None:
    """
    Up to one page of entries nothing else is written.
    """
    append(chat, 1, 100)
    assert chat.hibernate("ann")
    assert ([], []) == (watched(chat).written, watched(chat).deleted)
    assert list(range(1, 101)) == list(chat.page("ann", "log"))
    assert [] == watched(chat).fetched


def test_a_save_writes_only_the_pages_that_are_complete_since(chat: Sessions) -> None:
    """
    Each page once: 1,050 entries are ten pages and a rest, 100 more are one more page.
    """
    append(chat, 1, 1050)
    assert numbers(*range(10)) == sorted(watched(chat).written)
    watched(chat).forget()
    append(chat, 1051, 1060)
    assert [] == watched(chat).written
    append(chat, 1061, 1150)
    assert numbers(10) == watched(chat).written
    assert chat.hibernate("ann")
    watched(chat).forget()
    append(chat, 1151, 1250)  # by a session that was restored
    assert numbers(11) == watched(chat).written
    assert ([], []) == (watched(chat).deleted, watched(chat).fetched)


def test_pages_whose_entries_are_all_dropped_are_deleted(chat: Sessions) -> None:
    """
    And no others: a page of which something is left stays as it is.
    """
    append(chat, 1, 1000, max_entries=500)
    assert numbers(5, 6, 7, 8) == sorted(watched(chat).written)
    watched(chat).forget()
    append(chat, 1001, 1050, max_entries=500)
    assert (numbers(9), []) == (watched(chat).written, watched(chat).deleted)
    append(chat, 1051, 1250, max_entries=500)
    assert numbers(5, 6) == sorted(watched(chat).deleted)
    assert list(range(751, 1251)) == list(chat.page("ann", "log", n=9999))
    assert chat.hibernate("ann")
    assert list(range(751, 1251)) == list(chat.page("ann", "log", n=9999))


def test_a_save_that_fails_is_made_up_for(chat: Sessions) -> None:
    """
    The pages that were not written are written by the next save.
    """
    append(chat, 1, 300)
    watched(chat).forget()
    with chat.open("ann") as session:
        session.ring("log", max_entries=100_000).extend(range(301, 501))
        watched(chat).fault = True
        with pytest.raises(StoreFailed):
            session.save()
        watched(chat).fault = False
    assert numbers(2, 3) == sorted(watched(chat).written)
    assert chat.hibernate("ann")
    assert list(range(1, 501)) == list(chat.page("ann", "log", n=9999))


def test_a_ring_that_ends_takes_its_pages_along(chat: Sessions) -> None:
    """
    Closed or cleared; what comes under its name afterwards is not mixed up with it.
    """
    append(chat, 1, 500)
    with chat.open("ann") as session:
        session.ring("log", max_entries=100_000).close()
    assert numbers(0, 1, 2, 3) == sorted(watched(chat).deleted)
    assert [] == list(chat.page("ann", "log"))
    append(chat, 1001, 1300)
    assert chat.hibernate("ann")
    watched(chat).forget()
    with chat.open("ann") as session:
        session.ring("log", max_entries=100_000).clear()
    assert numbers(0, 1) == sorted(watched(chat).deleted)
    append(chat, 1, 150)
    assert chat.hibernate("ann")
    assert list(range(1, 151)) == list(chat.page("ann", "log", n=9999))


def test_a_ring_closed_and_made_anew_in_one_block_is_the_new_one(
    chat: Sessions,
) -> None:
    """
    Its pages have the numbers of those that go: they are written, not kept.
    """
    append(chat, 1, 500)
    with chat.open("ann") as session:
        session.ring("log", max_entries=100_000).close()
        session.ring("log", max_entries=100_000).extend(range(1001, 1301))
    assert chat.hibernate("ann")
    assert list(range(1001, 1301)) == list(chat.page("ann", "log", n=9999))
    assert chat.end("ann")
    assert [] == list(chat.page("ann", "log"))


# -- what is read ----------------------------------------------------------------------


def test_waking_up_reads_no_page_and_decodes_none(chat: Sessions) -> None:
    """
    The newest twenty are at hand; who looks for older ones reads the pages they are in.
    """
    append(chat, 1, 10_000)
    assert chat.hibernate("ann")
    watched(chat).forget()
    with chat.open("ann") as session:
        ring = session.ring("log", max_entries=100_000)
        assert list(range(9981, 10_001)) == ring.recent(20)
        ring.append(10_001)
        assert 10_001 == len(ring) == ring.info().entries
        assert [] == watched(chat).fetched
        assert list(range(9852, 10_002)) == ring.recent(150)
        assert numbers(98) == watched(chat).fetched
        page = ring.page(551, 100)
        assert list(range(451, 551)) == list(page)
        assert numbers(98, 4, 5) == watched(chat).fetched
        assert 451 == page.next
        assert list(range(1, 10_002)) == list(ring)
        assert numbers(*range(99)) == sorted(watched(chat).fetched)  # each once


def test_a_sleeping_history_is_read_page_by_page(chat: Sessions) -> None:
    """
    It stays asleep, and no page is read but those that were asked for.
    """
    append(chat, 1, 1000)
    assert chat.hibernate("ann")
    watched(chat).forget()
    page = chat.page("ann", "log", n=120)
    assert list(range(881, 1001)) == list(page)
    assert numbers(8) == watched(chat).fetched
    older = chat.page("ann", "log", page.next, n=30)
    assert list(range(851, 881)) == list(older)
    assert numbers(8, 8) == watched(chat).fetched
    info = chat.info("ann")
    assert info is not None
    assert "hibernated" == info.state
    seen: list[int] = []
    cursor: int | None = None
    while True:
        page = chat.page("ann", "log", cursor)
        seen[:0] = page
        cursor = page.next
        if cursor is None:
            break
    assert list(range(1, 1001)) == seen


def test_a_page_is_the_same_live_and_asleep(chat: Sessions) -> None:
    """
    As a ring that was never saved tells it, wherever it begins and however long it is.
    """
    places = [None, 0, 1, 51, 52, 100, 101, 480, 481, 500, 501, 9999]
    asked = [(one, n) for one in places for n in (0, 1, 20, 99, 100, 101, 250, 5000)]
    append(chat, 1, 500, max_entries=450)
    with chat.open("ann") as session:
        ring = session.ring("log", max_entries=450)
        expected = {one: ring.page(*one) for one in asked}
    assert expected == {one: chat.page("ann", "log", *one) for one in asked}
    assert chat.hibernate("ann")
    assert expected == {one: chat.page("ann", "log", *one) for one in asked}
    with chat.open("ann") as session:
        ring = session.ring("log", max_entries=450)
        assert expected == {one: ring.page(*one) for one in asked}


def test_reading_a_page_is_no_use_of_a_session(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    Its clocks go on: it falls asleep and expires when it would have.
    """
    append(chat, 1, 200)
    clock.advance("9m")
    assert 100 == len(chat.page("ann", "log"))
    clock.advance("2m")
    assert 0 == chat.live
    clock.advance("48m")
    assert 100 == len(chat.page("ann", "log"))
    clock.advance("2m")
    assert 0 == len(chat.page("ann", "log"))


def test_reading_a_page_leaves_unsaved_changes_unsaved(chat: Sessions) -> None:
    """
    What is live is read as it is, and is saved when its block is left.
    """
    with chat.open("ann") as session:
        ring = session.ring("log")
        ring.append(1)
        session.ring("other").append(2)
        assert [1] == list(chat.page("ann", "log"))
        assert [] == list(chat.page("ann", "none"))
        assert session.dirty
    assert chat.hibernate("ann")
    assert [2] == list(chat.page("ann", "other"))


def test_a_ring_that_nobody_asked_for_keeps_its_pages(chat: Sessions) -> None:
    """
    The session is restored, changed and saved without it.
    """
    append(chat, 1, 500)
    assert chat.hibernate("ann")
    watched(chat).forget()
    with chat.open("ann") as session:
        session.data["n"] = 1
        assert list(range(1, 501)) == list(chat.page("ann", "log", n=9999))
    assert chat.hibernate("ann")
    assert ([], []) == (watched(chat).written, watched(chat).deleted)
    assert list(range(1, 501)) == list(chat.page("ann", "log", n=9999))


def test_what_is_asked_for_is_checked(chat: Sessions) -> None:
    """
    A cursor is a number or None, n is a number, the names are texts.
    """
    with pytest.raises(TypeError, match="`next` of another page"):
        chat.page("ann", "log", "1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n must be"):
        chat.page("ann", "log", n="1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="id of a session"):
        chat.page(1, "log")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name of a ring"):
        chat.page("ann", 1)  # type: ignore[arg-type]
    assert [] == list(chat.page("nobody", "log"))


# -- rings with other caps -------------------------------------------------------------


def test_a_ring_with_a_cap_of_bytes_comes_back_whole(chat: Sessions) -> None:
    """
    It has to weigh every entry, so it reads them all when it is asked for.
    """
    options = {"max_entries": None, "max_bytes": "1MiB"}
    append(chat, 1, 450, **options)
    assert chat.hibernate("ann")
    watched(chat).forget()
    with chat.open("ann") as session:
        ring = session.ring("log", max_entries=None, max_bytes="1MiB")
        assert numbers(0, 1, 2, 3) == watched(chat).fetched
        assert list(range(1, 451)) == list(ring)
        assert 450 == ring.info().entries
        assert 0 == ring.info().dropped


def test_ages_are_kept_in_pages(chat: Sessions, clock: FakeClock) -> None:
    """
    Entries expire when they would have, asleep or awake.
    """
    for start in range(0, 300, 10):
        append(chat, start, start + 9, ttl="30m")
        clock.advance("1m")
    clock.advance("11m")
    assert 0 == chat.live
    # The first eleven tens are 30 minutes old, and more.
    assert list(range(120, 300)) == list(chat.page("ann", "log", n=9999))
    with chat.open("ann") as session:
        ring = session.ring("log", max_entries=100_000, ttl="30m")
        assert list(range(120, 300)) == list(ring)
        clock.advance("5m")
        assert list(range(170, 300)) == list(ring)


def test_a_smaller_ring_takes_the_newest(chat: Sessions) -> None:
    """
    The caps are those of who asks now; pages that are too old go with the next save.
    """
    append(chat, 1, 1000)
    assert chat.hibernate("ann")
    watched(chat).forget()
    with chat.open("ann") as session:
        ring = session.ring("log", max_entries=250)
        assert list(range(751, 1001)) == list(ring)
        assert 750 == ring.info().dropped
        ring.append(1001)
    assert numbers(*range(7)) == sorted(watched(chat).deleted)


def test_everything_can_be_taken_out(chat: Sessions) -> None:
    """
    `drain` gives the older entries as well, and takes their pages away.
    """
    append(chat, 1, 500)
    assert chat.hibernate("ann")
    with chat.open("ann") as session:
        ring = session.ring("log", max_entries=100_000)
        assert list(range(1, 501)) == ring.drain()
        assert [] == list(ring)
        assert (0, 500, 0) == (len(ring), ring.info().appended, ring.info().dropped)
    assert chat.hibernate("ann")
    assert [] == list(chat.page("ann", "log"))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(50, 600),
    st.lists(
        st.tuples(
            st.sampled_from(["append", "sleep", "clear", "read", "restart"]),
            st.integers(1, 350),
        ),
        max_size=12,
    ),
)
def test_a_history_is_what_a_plain_list_says(
    most: int, steps: list[tuple[str, int]]
) -> None:
    """
    Whatever happens to it: appended, put to sleep, cleared, read at any depth.
    """
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory) / "sessions.db")
        model: list[int] = []
        guard = Guard(clock=FakeClock(start=0.0))
        chat = guard.sessions("chat", store=store)
        next_value = 1
        for what, many in steps:
            if what == "append":
                append(chat, next_value, next_value + many - 1, max_entries=most)
                model += range(next_value, next_value + many)
                model = model[-most:]
                next_value += many
            elif what == "clear":
                with chat.open("ann") as session:
                    session.ring("log", max_entries=most).clear()
                model = []
            elif what == "sleep":
                chat.hibernate("ann")
            elif what == "restart":
                assert guard.shutdown().clean
                guard = Guard(clock=FakeClock(start=0.0))
                chat = guard.sessions("chat", store=store)
            else:
                assert model[-many:] == list(chat.page("ann", "log", n=many))
                with chat.open("ann") as session:
                    ring = session.ring("log", max_entries=most)
                    assert model[-many:] == ring.recent(many)
                    assert len(model) == len(ring)
        assert model == list(chat.page("ann", "log", n=10_000))
        chat.hibernate("ann")
        assert model == list(chat.page("ann", "log", n=10_000))
        guard.shutdown()
        store.space("chat", FakeClock()).close()


# -- other stores, loops, and records that are broken ----------------------------------


def test_in_memory_a_page_comes_from_the_record(guard: Guard) -> None:
    """
    The store knows no pages; the session stays asleep all the same.
    """
    chat = guard.sessions("chat", store=MemoryStore())
    append(chat, 1, 500)
    assert list(range(401, 501)) == list(chat.page("ann", "log"))
    assert chat.hibernate("ann")
    page = chat.page("ann", "log", 401, 100)
    assert list(range(301, 401)) == list(page)
    assert (0, 301) == (chat.live, page.next)
    with chat.open("ann") as session:
        assert 500 == len(session.ring("log", max_entries=100_000))


def test_another_process_s_history_can_be_read(
    chat: Sessions, tmp_path: Path, clock: FakeClock
) -> None:
    """
    As it was saved last, without asking its owner for anything.
    """
    with Guard(clock=clock) as elsewhere:
        theirs = elsewhere.sessions("chat", store=SqliteStore(tmp_path / "sessions.db"))
        append(chat, 1, 300)
        with chat.open("ann") as session:
            session.ring("log", max_entries=100_000).append("unsaved")
            info = theirs.info("ann")
            assert info is not None
            assert "elsewhere" == info.state
            assert list(range(1, 301)) == list(theirs.page("ann", "log", n=9999))
            assert "unsaved" == chat.page("ann", "log", n=1)[0]


def test_a_loop_reads_pages_without_standing_still(chat: Sessions) -> None:
    """
    `apage` reads any; `page` is refused; a session that woke up there has its pages.
    """
    append(chat, 1, 1000)
    assert chat.hibernate("ann")

    async def asleep() -> None:
        with pytest.raises(WouldBlockLoop, match="apage"):
            chat.page("ann", "log")
        assert list(range(1, 101)) == list(await chat.apage("ann", "log", 101))
        async with chat.open("ann") as session:
            ring = session.ring("log", max_entries=100_000)
            watched(chat).forget()
            assert list(range(1, 1001)) == list(ring)
            assert list(range(1, 101)) == list(await chat.apage("ann", "log", 101))
        assert [] == watched(chat).fetched

    asyncio.run(asleep())
    assert chat.hibernate("ann")
    with chat.open("ann") as session:  # woken up by a thread
        ring = session.ring("log", max_entries=100_000)

        async def live() -> None:
            assert list(range(981, 1001)) == ring.recent(20)
            with pytest.raises(WouldBlockLoop, match="apage"):
                ring.recent(500)
            assert list(range(501, 1001)) == list(await chat.apage("ann", "log", n=500))
            assert list(range(501, 1001)) == ring.recent(500)

        asyncio.run(live())


def test_pages_on_a_server(guard: Guard, tmp_path: Path) -> None:
    """
    Redis keeps them in the hash of the session.
    """
    import redis

    server = RedisServer(tmp_path).start()
    client = redis.Redis(unix_socket_path=server.path)
    try:
        from memguard._sessions.stores.redis import RedisStore

        chat = guard.sessions("chat", store=Watching(RedisStore(client)))
        append(chat, 1, 1000, max_entries=600)
        assert numbers(4, 5, 6, 7, 8) == sorted(watched(chat).written)
        assert chat.hibernate("ann")
        assert list(range(401, 501)) == list(chat.page("ann", "log", 501))
        append(chat, 1001, 1200, max_entries=600)
        assert chat.hibernate("ann")
        assert numbers(4, 5) == sorted(watched(chat).deleted)
        with chat.open("ann") as session:
            ring = session.ring("log", max_entries=600)
            assert list(range(601, 1201)) == list(ring)
        guard.shutdown()
    finally:
        client.close()
        server.kill()


def test_a_page_that_is_broken_is_told_and_left_out(
    chat: Sessions, guard: Guard, tmp_path: Path
) -> None:
    """
    The others are read all the same, asleep and live.
    """
    import sqlite3

    append(chat, 1, 500)
    assert chat.hibernate("ann")
    with sqlite3.connect(tmp_path / "sessions.db") as file:
        file.execute("UPDATE pages SET page = x'00ff00ff00ff' WHERE number = 1")
    file.close()
    left = [*range(1, 100), *range(200, 501)]
    assert left == list(chat.page("ann", "log", n=9999))
    assert guard.registry.failures.total == 1
    with chat.open("ann") as session:
        assert left == list(session.ring("log", max_entries=100_000))
    assert guard.registry.failures.total == 2


def test_a_record_that_is_broken_has_no_pages(chat: Sessions, tmp_path: Path) -> None:
    """
    The error says so; who opens the session begins anew, the rest is put aside.
    """
    import sqlite3

    append(chat, 1, 500)
    assert chat.hibernate("ann")
    with sqlite3.connect(tmp_path / "sessions.db") as file:
        file.execute("UPDATE sessions SET record = x'00ff'")
    with pytest.raises(SessionUnreadable, match="not whole"):
        chat.page("ann", "log")
    with chat.open("ann") as session:
        assert [] == list(session.ring("log", max_entries=100_000))
    assert [] == list(chat.page("ann", "log"))
    ((aside,),) = file.execute("SELECT count(*) FROM pages WHERE session < 0")
    file.close()
    assert 4 == aside


def test_the_archive_gets_the_whole_history(
    guard: Guard, clock: FakeClock, tmp_path: Path
) -> None:
    """
    Whether the session slept when it expired or was live.
    """
    archive = tmp_path / "archive.jsonl"
    chat = guard.sessions(
        "chat",
        store=SqliteStore(tmp_path / "sessions.db"),
        ttl="1h",
        hibernate_after=None,
        archive=archive,
    )
    for asleep in (False, True):
        append(chat, 1, 500)
        if asleep:
            assert chat.hibernate("ann")
        else:
            assert chat.hibernate("ann")
            with chat.open("ann") as session:
                session.ring("log", max_entries=100_000)
        clock.advance("61m")
    lines = [json.loads(line) for line in archive.read_text().splitlines()]
    assert 2 == len(lines)
    for line in lines:
        head, *values = line["rings"]["log"]
        assert list(range(1, 501)) == values
        assert 501 == head["next"]
        assert "pages" not in head


@given(st.binary(max_size=600), st.data())
def test_a_torn_page_is_refused(raw: bytes, chosen: st.DataObject) -> None:
    """
    Cut anywhere, or with any one bit the other way round.
    """
    page = write_page(raw)
    assert raw == read_page(page)
    assert len(page) <= len(raw) + 5
    cut = chosen.draw(st.integers(0, len(page) - 1))
    place = chosen.draw(st.integers(0, len(page) - 1))
    bit = 1 << chosen.draw(st.integers(0, 7))
    turned = bytes([*page[:place], page[place] ^ bit, *page[place + 1 :]])
    for wrong in (page[:cut], turned):
        with pytest.raises(Torn):
            read_page(wrong)


def test_appending_meanwhile_loses_nothing(chat: Sessions) -> None:
    """
    Threads append while the session is saved again and again.
    """
    with chat.open("ann") as session:
        ring = session.ring("log", max_entries=100_000)

        def fill(first: int) -> None:
            for number in range(first, first + 3000):
                ring.append(number)

        threads = [threading.Thread(target=fill, args=(at,)) for at in (0, 10_000)]
        for one in threads:
            one.start()
        while any(one.is_alive() for one in threads):
            session.save()
        for one in threads:
            one.join()
    assert chat.hibernate("ann")
    expected = [*range(3000), *range(10_000, 13_000)]
    assert expected == sorted(chat.page("ann", "log", n=99_999))
