"""
Sessions: opened, shared, put to sleep, brought back, ended; in virtual time.
"""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from memguard import Guard, SqliteStore, current_scope
from memguard._sessions import ExpiredSession, Session, SessionInfo, Sessions
from memguard._tree import current
from memguard.errors import ScopeClosed, SessionsFull, SpecConflict
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
def chat(guard: Guard) -> Sessions:
    """
    Sessions with the defaults: ttl 1 h, asleep after 10 min, grace 30 s.
    """
    return guard.sessions("chat")


class Thing:
    """
    Something that can be closed and referenced weakly.
    """

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def fill(sessions: Sessions, *ids: str) -> None:
    """
    Open and leave each of the sessions.
    """
    for name in ids:
        with sessions.open(name):
            pass


def states(sessions: Sessions) -> dict[str, str | None]:
    """
    The state of every known session.
    """
    found = {name: sessions.info(name) for name in sessions.ids()}
    return {name: info and info.state for name, info in found.items()}


def tables_are_empty(sessions: Sessions) -> bool:
    """
    True when nothing at all is remembered.
    """
    table = sessions.core.table
    return (
        not table.slots
        and not table.idle
        and len(table.deadlines) == 0
        and (table.live, table.live_bytes) == (0, 0)
        and (0, 0) == sessions.core.space.count()
        and not sessions.core.space.ids()
        and len(getattr(sessions.core.store, "_records", ())) == 0
        and not sessions.children()
    )


# -- opening -----------------------------------------------------------------------


def test_a_session_keeps_its_data_between_blocks(chat: Sessions) -> None:
    """
    What one block writes the next one reads, from the same object while it is live.
    """
    with chat.open("ann") as first:
        first.data["seen"] = 3
        assert "ann" == first.id
    with chat.open("ann") as second:
        assert 3 == second.data["seen"]
    assert first is second


def test_the_session_is_the_current_scope_of_its_block(chat: Sessions) -> None:
    """
    Blocks nest and each puts back what was current before it.
    """
    before = current.get()
    with chat.open("ann") as ann:
        with chat.open("bob") as bob, chat.open("ann") as again:
            assert again is ann
            assert current_scope() is ann
            assert bob is not ann
        assert current_scope() is ann
    assert current.get() is before


def test_a_block_left_out_of_order_does_not_disturb_another(chat: Sessions) -> None:
    """
    Two blocks of one session have a token each.
    """
    one, two = chat.open("ann"), chat.open("ann")
    session = one.__enter__()
    assert session is two.__enter__()
    one.__exit__(None, None, None)
    assert chat.info("ann").pinned  # type: ignore[union-attr]
    session.data["still"] = "open"
    two.__exit__(None, None, None)
    assert not chat.info("ann").pinned  # type: ignore[union-attr]


def test_a_block_may_be_used_again_but_not_inside_itself(chat: Sessions) -> None:
    """
    Entering the same block twice is refused, and the block goes on working.
    """
    block = chat.open("ann")
    with block, pytest.raises(ScopeClosed, match="entered already"):
        block.__enter__()
    with block as session:
        assert "ann" == session.id
    assert not chat.info("ann").pinned  # type: ignore[union-attr]


def test_a_block_may_be_left_in_another_context(chat: Sessions) -> None:
    """
    A generator that somebody else finishes: nothing is raised, nothing stays current.
    """
    block = chat.open("ann")
    entered = copy_context()
    session = entered.run(block.__enter__)
    inherited = entered.copy()
    inherited.run(block.__exit__, None, None, None)
    assert inherited.run(current.get) is None
    assert entered.run(current.get) is session
    assert not chat.info("ann").pinned  # type: ignore[union-attr]
    entered.run(block.__enter__)
    block.__exit__(None, None, None)
    assert not chat.info("ann").pinned  # type: ignore[union-attr]


def test_a_session_is_not_entered_by_itself(chat: Sessions) -> None:
    """
    `with session:` would end it; the error says what to write instead.
    """
    with chat.open("ann") as session, pytest.raises(TypeError, match=r"sessions\.open"):
        session.__enter__()
    with chat.connect("ann") as conn, pytest.raises(TypeError, match="connect"):
        conn.__enter__()


@pytest.mark.parametrize("id", ["", "x" * 513])
def test_an_id_of_a_wrong_length_is_refused(chat: Sessions, id: str) -> None:
    """
    Ids have 1 to 512 characters; the error does not repeat the id.
    """
    with pytest.raises(ValueError, match="1 to 512 characters") as caught:
        chat.open(id)
    assert "xx" not in str(caught.value)


def test_an_id_that_is_no_text_is_refused(chat: Sessions) -> None:
    """
    Only texts are ids, in every verb; asking whether it is there is no error.
    """
    wrong: Any = 7
    for verb in (chat.open, chat.connect, chat.end, chat.hibernate, chat.info):
        with pytest.raises(TypeError, match="must be a text, not int"):
            verb(wrong)
    assert wrong not in chat
    assert "" not in chat


def test_the_longest_id_is_taken(chat: Sessions) -> None:
    """
    512 characters are an id.
    """
    fill(chat, "x" * 512)
    assert ("x" * 512) in chat


# -- what is told ------------------------------------------------------------------


def test_info_tells_how_it_stands_with_one_session(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    State, use, age and expiry, and no value of the user's.
    """
    assert chat.info("ann") is None
    with chat.open("ann"):
        clock.advance("5s")
        assert chat.info("ann") == SessionInfo("live", True, 0, None, 5.0, 0.0, 3595.0)
    clock.advance("20s")
    assert chat.info("ann") == SessionInfo("live", False, 0, None, 25.0, 20.0, 3580.0)
    assert chat.hibernate("ann")
    info = chat.info("ann")
    assert info is not None
    assert ("hibernated", 0) == (info.state, info.connections)
    assert info.bytes == chat.stats().hibernated_bytes > 0


def test_reading_about_a_session_is_no_use_of_it(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    `info`, `in` and `len` leave the clocks alone.
    """
    fill(chat, "ann")
    for _ in range(10):
        clock.advance("1m")
        assert chat.info("ann") is not None
        assert "ann" in chat
    assert {"ann": "hibernated"} == states(chat)


def test_len_counts_live_and_hibernated(chat: Sessions, clock: FakeClock) -> None:
    """
    A sleeping session is still one; an expired one is none.
    """
    fill(chat, "ann", "bob")
    assert chat.hibernate("ann")
    assert (2, 1, ("ann", "bob")) == (len(chat), chat.live, chat.ids())
    clock.advance("1h")
    assert 0 == len(chat)
    assert bool(chat)


def test_stats_count_what_came_and_went(chat: Sessions, clock: FakeClock) -> None:
    """
    Created, restored, slept, expired and ended add up.
    """
    fill(chat, "ann", "bob", "eve")
    chat.hibernate("ann")
    fill(chat, "ann")
    chat.end("bob")
    clock.advance("1h")
    stats = chat.stats()
    assert (3, 1, 1) == (stats.created, stats.restored, stats.ended)
    assert (3, 2) == (stats.slept, stats.expired)
    assert (0, 0) == (stats.live, stats.hibernated)


def test_sessions_are_counted_under_the_name_of_their_container(
    guard: Guard, chat: Sessions
) -> None:
    """
    An id is a user's value: the snapshot shows the container's name instead.
    """
    with chat.open("secret-id"):
        told = str(guard.snapshot())
    assert "secret-id" not in told
    assert 1 == guard.snapshot().count("session")


# -- sleeping and coming back ------------------------------------------------------


def test_an_idle_session_falls_asleep_and_comes_back(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    After 10 minutes it is bytes; the next block gets a new object with the old data.
    """
    with chat.open("ann") as before:
        before.data.update(cart=["tea"], count=2)
    clock.advance("9m")
    assert {"ann": "live"} == states(chat)
    clock.advance("1m")
    assert {"ann": "hibernated"} == states(chat)
    with chat.open("ann") as after:
        assert after is not before
        assert {"cart": ["tea"], "count": 2} == after.data
    assert {"ann": "live"} == states(chat)


def test_each_use_starts_the_idle_clock_anew(chat: Sessions, clock: FakeClock) -> None:
    """
    Ten minutes count from the last leaving, however early the queue looks.
    """
    for _ in range(5):
        fill(chat, "ann")
        clock.advance("9m")
        assert {"ann": "live"} == states(chat)
    clock.advance("1m")
    assert {"ann": "hibernated"} == states(chat)


def test_a_pinned_session_neither_sleeps_nor_expires(
    guard: Guard, clock: FakeClock
) -> None:
    """
    Whatever the clocks say, what is open stays; they have their say afterwards.
    """
    chat = guard.sessions("short", ttl="1m", max_age="2m", hibernate_after="10s")
    with chat.open("ann") as session:
        clock.advance("1h")
        assert {"ann": "live"} == states(chat)
        session.data["a"] = 1
    clock.advance("1s")
    assert 0 == len(chat)


def test_everything_of_a_sleeping_session_is_closed(
    guard: Guard, chat: Sessions, clock: FakeClock
) -> None:
    """
    Timers, listeners and resources end; they are not brought back.
    """
    bus = guard.emitter("bus")
    ticks: list[int] = []
    heard: list[int] = []
    thing = Thing()
    with chat.open("ann") as session:
        session.timer(lambda: ticks.append(1), every="1m")
        session.listen(bus, "line", heard.append)
        session.register(thing)
    clock.advance("3m")
    bus.emit("line", 1)
    assert ([1, 1, 1], [1]) == (ticks, heard)
    clock.advance("7m")
    ticks.clear()
    clock.advance("30m")
    bus.emit("line", 2)
    assert ([], [1], 1) == (ticks, heard, thing.closed)
    fill(chat, "ann")
    clock.advance("2m")
    assert [] == ticks


def test_rings_come_back_when_they_are_asked_for(chat: Sessions) -> None:
    """
    A ring has its content again, once its session makes it again.
    """
    with chat.open("ann") as session:
        session.ring("messages", of=str, max_entries=3).extend("abcd")
    chat.hibernate("ann")
    with chat.open("ann") as session:
        ring = session.ring("messages", of=str, max_entries=3)
        assert ["b", "c", "d"] == ring.recent(10)
        assert ring is session.ring("messages", of=str, max_entries=3)
        ring.append("e")
    chat.hibernate("ann")
    with chat.open("ann") as session:
        ring = session.ring("messages", of=str, max_entries=3)
        assert ["c", "d", "e"] == ring.recent(10)


def test_a_ring_nobody_asks_for_is_kept_all_the_same(chat: Sessions) -> None:
    """
    Two sleeps without a look at it do not lose it.
    """
    with chat.open("ann") as session:
        session.ring("messages", of=int).extend(range(5))
    for _ in range(2):
        assert chat.hibernate("ann")
        fill(chat, "ann")
    with chat.open("ann") as session:
        assert [3, 4] == session.ring("messages", of=int).recent(2)


def test_a_ring_that_the_user_closed_does_not_come_back(chat: Sessions) -> None:
    """
    Closing a ring by itself drops what it held, from the record too.
    """
    with chat.open("ann") as session:
        ring = session.ring("messages", of=int)
        ring.append(1)
        ring.close()
    chat.hibernate("ann")
    with chat.open("ann") as session:
        assert 0 == len(session.ring("messages", of=int))


def test_a_restored_ring_that_the_user_closed_does_not_come_back(
    chat: Sessions,
) -> None:
    """
    What had been saved of it before is gone as well.
    """
    with chat.open("ann") as session:
        session.ring("messages", of=int).append(1)
    chat.hibernate("ann")
    with chat.open("ann") as session:
        session.ring("messages", of=int).close()
    chat.hibernate("ann")
    with chat.open("ann") as session:
        assert 0 == len(session.ring("messages", of=int))


def test_what_a_close_appends_is_saved_as_well(chat: Sessions) -> None:
    """
    A resource that writes into a ring of its session when it is closed.
    """

    class Writer(Thing):
        def close(self) -> None:
            ring.append("closed")

    writer = Writer()
    with chat.open("ann") as session:
        ring = session.ring("log", of=str)
        session.register(writer)
    assert chat.hibernate("ann")
    with chat.open("ann") as session:
        assert ["closed"] == session.ring("log", of=str).recent(9)


def test_what_a_close_writes_is_saved_as_well(chat: Sessions) -> None:
    """
    Saving comes before closing, and again after it if that changed something.
    """

    class Writer(Thing):
        def close(self) -> None:
            session.data["closed"] = True

    writer = Writer()
    with chat.open("ann") as session:
        session.data["closed"] = False
        session.register(writer)
        session.ring("log", of=str).append("x")
    assert chat.hibernate("ann")
    with chat.open("ann") as after:
        assert after.data["closed"] is True
        assert ["x"] == after.ring("log", of=str).recent(1)


def test_hibernate_says_whether_it_could(chat: Sessions) -> None:
    """
    Not while it is in use, not when there is none; twice is as good as once.
    """
    with chat.open("ann"):
        assert not chat.hibernate("ann")
    with chat.connect("ann"):
        assert not chat.hibernate("ann")
    assert chat.hibernate("ann")
    assert chat.hibernate("ann")
    assert not chat.hibernate("nobody")


def test_without_the_idle_clock_a_session_stays_live(
    guard: Guard, clock: FakeClock
) -> None:
    """
    `hibernate_after=None` means never.
    """
    chat = guard.sessions("chat", hibernate_after=None)
    fill(chat, "ann")
    clock.advance("59m")
    assert {"ann": "live"} == states(chat)


def test_an_old_session_object_takes_nothing_any_more(chat: Sessions) -> None:
    """
    Whoever kept the object of a session that sleeps gets ScopeClosed, not silence.
    """
    with chat.open("ann") as old:
        old.data["a"] = 1
    chat.hibernate("ann")
    with pytest.raises(ScopeClosed):
        old.ring("late", of=int)
    with pytest.raises(ScopeClosed):
        old.save()
    old.close()
    assert {"ann": "hibernated"} == states(chat)


# -- hooks -------------------------------------------------------------------------


def test_on_restore_runs_before_the_block_and_only_for_restored_ones(
    chat: Sessions,
) -> None:
    """
    It sees the data, and what it makes belongs to the session.
    """
    seen: list[dict[str, Any]] = []

    @chat.on_restore
    def rebuild(session: Session) -> None:
        seen.append(dict(session.data))
        session.emitter("rebuilt")

    with chat.open("ann") as session:
        session.data["a"] = 1
    assert [] == seen
    chat.hibernate("ann")
    with chat.open("ann") as session:
        assert [{"a": 1}] == seen
        assert session.find("emitter", "rebuilt") is not None
    fill(chat, "ann")
    assert 1 == len(seen)
    with chat.open("new"):
        pass
    assert 1 == len(seen)


def test_a_failing_on_restore_leaves_the_session_asleep(chat: Sessions) -> None:
    """
    Its error reaches the block; nothing is lost, and what it had made is closed.
    """
    things: list[Thing] = []
    faults = [OSError("down"), None]

    @chat.on_restore
    def rebuild(session: Session) -> None:
        things.append(session.register(Thing(), keep=True))
        session.data["a"] = 2
        fault = faults.pop(0)
        if fault:
            raise fault

    with chat.open("ann") as session:
        session.data["a"] = 1
    chat.hibernate("ann")
    with pytest.raises(OSError, match="down"), chat.open("ann"):
        pass
    assert [1] == [thing.closed for thing in things]
    assert {"ann": "hibernated"} == states(chat)
    assert 0 == chat.live
    with chat.open("ann") as session:
        assert 2 == session.data["a"]
    assert [1, 0] == [thing.closed for thing in things]


def test_a_session_asked_for_inside_its_own_restore_is_refused(
    chat: Sessions,
) -> None:
    """
    It would wait for itself; the error comes at once and says so.
    """

    @chat.on_restore
    def rebuild(session: Session) -> None:
        with chat.open(session.id):
            pass

    fill(chat, "ann")
    chat.hibernate("ann")
    with pytest.raises(RuntimeError, match="would wait for itself"), chat.open("ann"):
        pass


def test_on_restore_may_save(chat: Sessions) -> None:
    """
    The session it is given is live enough for that.
    """

    @chat.on_restore
    def rebuild(session: Session) -> None:
        session.data["n"] += 1
        session.save()

    with chat.open("ann") as session:
        session.data["n"] = 1
    chat.hibernate("ann")
    with chat.open("ann") as session:
        assert 2 == session.data["n"]


def test_an_expired_session_is_told_with_its_data(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    One hour after the last use, live or asleep; its id is free again.
    """
    gone: list[ExpiredSession] = []
    chat.on_expire(gone.append)
    with chat.open("ann") as session:
        session.data["a"] = 1
    clock.advance("59m")
    assert [] == gone
    clock.advance("1m")
    assert [ExpiredSession("ann", {"a": 1}, 3600.0, 3600.0)] == gone
    with chat.open("ann") as session:
        assert {} == session.data


def test_a_live_session_expires_with_all_it_owns(
    guard: Guard, clock: FakeClock
) -> None:
    """
    Where the ttl comes before sleep, the hook gets the data and the rest is closed.
    """
    chat = guard.sessions("chat", ttl="5m")
    gone: list[ExpiredSession] = []
    chat.on_expire(gone.append)
    thing = Thing()
    with chat.open("ann") as session:
        session.data["a"] = 1
        session.register(thing)
    clock.advance("5m")
    assert [{"a": 1}] == [one.data for one in gone]
    assert 1 == thing.closed
    assert tables_are_empty(chat)


def test_a_failing_on_expire_is_reported_and_hides_nothing(
    guard: Guard, chat: Sessions, clock: FakeClock
) -> None:
    """
    The other hooks run, the session is gone.
    """
    gone: list[str] = []

    @chat.on_expire
    def fail(expired: ExpiredSession) -> None:
        raise OSError

    chat.on_expire(lambda expired: gone.append(expired.id))
    fill(chat, "ann", "bob")
    clock.advance("1h")
    assert ["ann", "bob"] == gone
    counts = guard.registry.failures.counts
    assert [("on_expire of chat", "OSError", 2)] == [
        (where, kind, times) for (where, kind, _), times in counts.items()
    ]


def test_max_age_is_absolute(guard: Guard, clock: FakeClock) -> None:
    """
    However often it is used, and through sleeps: its first day is its last.
    """
    chat = guard.sessions("chat", max_age="1d", hibernate_after="5m")
    with chat.open("ann") as session:
        session.data["day"] = 1
    for _ in range(47):
        clock.advance("30m")
        with chat.open("ann") as session:
            assert 1 == session.data["day"]
    clock.advance("31m")
    with chat.open("ann") as session:
        assert {} == session.data


def test_max_age_ends_a_session_when_its_last_connection_leaves(
    guard: Guard, clock: FakeClock
) -> None:
    """
    Not before, and without waiting for the grace.
    """
    chat = guard.sessions("chat", max_age="1m")
    with chat.connect("ann"):
        clock.advance("2m")
        assert {"ann": "live"} == states(chat)
    clock.advance("1s")
    assert 0 == len(chat)


def test_a_session_whose_time_is_over_is_not_handed_out(clock: FakeClock) -> None:
    """
    Also when the scheduler is late: who comes after the ttl gets a new one.
    """

    class Late(FakeClock):
        def call_at(self, when: float, fn: Any) -> Any:
            return super().call_at(math.inf, fn)

    late = Late(start=0.0)
    with Guard(clock=late) as guard:
        chat = guard.sessions("chat")
        gone: list[str] = []
        chat.on_expire(lambda expired: gone.append(expired.id))
        with chat.open("ann") as old:
            old.data["a"] = 1
        late.advance("1h")
        assert "ann" not in chat
        with chat.open("ann") as session:
            assert {} == session.data
        assert ["ann"] == gone
        assert old.closed


# -- connections -------------------------------------------------------------------


def test_a_connection_is_a_scope_of_its_session(chat: Sessions) -> None:
    """
    It is current, keeps the session live, and closes what it owns when it is left.
    """
    thing = Thing()
    with chat.connect("ann") as conn:
        assert current_scope() is conn
        assert "ann" == conn.session.id
        assert conn.owner is conn.session
        conn.register(thing)
        assert 1 == chat.info("ann").connections  # type: ignore[union-attr]
    assert 1 == thing.closed
    assert 0 == chat.info("ann").connections  # type: ignore[union-attr]
    assert conn.closed


def test_who_reconnects_within_the_grace_finds_everything(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    The session, its timers and resources go on for 30 seconds without anybody.
    """
    thing = Thing()
    ticks: list[int] = []
    with chat.connect("ann") as conn:
        session = conn.session
        session.register(thing)
        session.timer(lambda: ticks.append(1), every="10s")
    clock.advance("29s")
    with chat.connect("ann") as conn:
        assert conn.session is session
        clock.advance("1h")
    assert (0, 362) == (thing.closed, len(ticks))
    clock.advance("29s")
    assert 0 == thing.closed
    clock.advance("1s")
    assert 1 == thing.closed
    assert {"ann": "hibernated"} == states(chat)


def test_the_grace_counts_from_the_last_connection(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    Two tabs: only when both are closed does it begin.
    """
    one, two = chat.connect("ann"), chat.connect("ann")
    assert one.__enter__().session is two.__enter__().session
    one.__exit__(None, None, None)
    clock.advance("1h")
    assert {"ann": "live"} == states(chat)
    two.__exit__(None, None, None)
    clock.advance("30s")
    assert {"ann": "hibernated"} == states(chat)


def test_who_has_it_open_when_the_grace_ends_keeps_it(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    After that block the idle clock runs, not the grace.
    """
    with chat.connect("ann"):
        pass
    clock.advance("20s")
    with chat.open("ann"):
        clock.advance("20s")
    clock.advance("9m")
    assert {"ann": "live"} == states(chat)
    clock.advance("1m")
    assert {"ann": "hibernated"} == states(chat)


def test_a_block_within_the_grace_does_not_make_it_longer(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    Without a reconnect the session sleeps when the grace is over.
    """
    with chat.connect("ann"):
        pass
    clock.advance("20s")
    fill(chat, "ann")
    clock.advance("10s")
    assert {"ann": "hibernated"} == states(chat)


def test_the_grace_holds_against_shorter_clocks(guard: Guard, clock: FakeClock) -> None:
    """
    An idle clock or a ttl below the grace does not cut it short.
    """
    chat = guard.sessions("chat", ttl="10s", hibernate_after="5s", grace="30s")
    with chat.connect("ann") as conn:
        conn.session.data["a"] = 1
    clock.advance("29s")
    assert {"ann": "live"} == states(chat)
    clock.advance("1s")
    assert 0 == len(chat)


def test_without_grace_the_session_sleeps_at_once(
    guard: Guard, clock: FakeClock
) -> None:
    """
    `grace=0` is allowed, and the data of the connection's block is saved.
    """
    chat = guard.sessions("chat", grace=0)
    with chat.connect("ann") as conn:
        conn.session.data["a"] = 1
    clock.advance(0)
    assert {"ann": "hibernated"} == states(chat)
    with chat.open("ann") as session:
        assert {"a": 1} == session.data


def test_disconnect_closes_the_connections_now(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    Their blocks may go on, and leaving them later changes nothing.
    """
    thing = Thing()
    with chat.connect("ann") as conn:
        conn.register(thing)
        assert 1 == chat.disconnect("ann")
        assert (1, True) == (thing.closed, conn.closed)
        with pytest.raises(ScopeClosed):
            conn.timer(print, every="1s")
        clock.advance("30s")
        assert {"ann": "hibernated"} == states(chat)
    assert {"ann": "hibernated"} == states(chat)
    assert 0 == chat.disconnect("ann")
    assert 0 == chat.disconnect("nobody")


def test_a_connection_may_close_itself(chat: Sessions, clock: FakeClock) -> None:
    """
    `conn.close()` inside its block is as good as leaving it.
    """
    with chat.connect("ann") as conn:
        conn.timer(print, every="1m")
        conn.close()
        assert 0 == chat.info("ann").connections  # type: ignore[union-attr]
    clock.advance("30s")
    assert {"ann": "hibernated"} == states(chat)


# -- ending ------------------------------------------------------------------------


def test_end_forgets_a_session(chat: Sessions) -> None:
    """
    Live or asleep, it is gone with all it owns; ending nobody says so.
    """
    thing = Thing()
    with chat.open("ann") as session:
        session.register(thing)
    fill(chat, "bob")
    chat.hibernate("bob")
    assert chat.end("ann")
    assert chat.end("bob")
    assert not chat.end("ann")
    assert 1 == thing.closed
    assert tables_are_empty(chat)


def test_end_inside_its_own_block(chat: Sessions) -> None:
    """
    A log-out handler: leaving the block afterwards brings nothing back.
    """
    with chat.open("ann") as session:
        session.data["a"] = 1
        assert chat.end("ann")
        assert session.closed
        session.data["a"] = 2
    assert tables_are_empty(chat)


def test_a_session_made_anew_is_not_disturbed_by_the_old_block(
    chat: Sessions,
) -> None:
    """
    The block of an ended session unpins that one, not its successor.
    """
    old = chat.open("ann")
    old.__enter__()
    chat.end("ann")
    with chat.open("ann") as fresh:
        fresh.data["a"] = "new"
        old.__exit__(None, None, None)
        assert chat.info("ann").pinned  # type: ignore[union-attr]
    assert chat.hibernate("ann")
    with chat.open("ann") as session:
        assert {"a": "new"} == session.data


def test_closing_a_session_ends_it(chat: Sessions) -> None:
    """
    `session.close()` is `end(id)`; twice does nothing.
    """
    with chat.open("ann") as session:
        session.data["a"] = 1
        session.close()
        session.close()
    assert tables_are_empty(chat)


def test_nothing_is_saved_while_a_session_ends(chat: Sessions) -> None:
    """
    What a close tries to save is refused, and does not come back.
    """
    refused: list[type[BaseException]] = []

    class Saver(Thing):
        def close(self) -> None:
            try:
                session.save()
            except ScopeClosed as error:
                refused.append(type(error))

    saver = Saver()
    with chat.open("ann") as session:
        session.register(saver)
    assert chat.end("ann")
    assert [ScopeClosed] == refused
    assert tables_are_empty(chat)


def test_end_closes_the_connections_too(chat: Sessions) -> None:
    """
    Whoever has it open or connected.
    """
    with chat.connect("ann") as conn, chat.open("ann"):
        assert chat.end("ann")
        assert conn.closed
    assert tables_are_empty(chat)


# -- limits ------------------------------------------------------------------------


def test_over_max_live_the_least_recent_sleeps(guard: Guard) -> None:
    """
    Never dropped, never one that is open; a touch makes one recent.
    """
    chat = guard.sessions("chat", max_live=3)
    for name in ("a", "b", "c"):
        with chat.open(name) as session:
            session.data["name"] = name
    fill(chat, "a", "d")
    assert {"a": "live", "b": "hibernated", "c": "live", "d": "live"} == states(chat)
    with chat.open("c"):
        fill(chat, "e", "f")
        assert 3 == chat.live
        assert "live" == states(chat)["c"]
    for name in ("a", "b", "c"):
        with chat.open(name) as session:
            assert name == session.data["name"]
    assert (3, 6) == (chat.live, len(chat))


def test_max_sessions_bounds_live_sessions_as_well(guard: Guard) -> None:
    """
    The smaller of the two counts, and it hibernates instead of dropping.
    """
    chat = guard.sessions("chat", max_sessions=2, max_live=5)
    fill(chat, "a", "b", "c")
    assert (2, 3) == (chat.live, len(chat))


def test_when_all_are_in_use_the_next_one_is_refused(guard: Guard) -> None:
    """
    SessionsFull says how many are live, open and connected; leaving makes room.
    """
    chat = guard.sessions("chat", max_live=2)
    with chat.open("a"), chat.connect("b"):
        with pytest.raises(SessionsFull) as caught, chat.open("c"):
            pass
        text = str(caught.value)
        assert "2 of 2 are live" in text
        assert "1 are open in a block, 1 have a connection" in text
        assert ("a", "b") == chat.ids()
    fill(chat, "c")
    assert 2 == chat.live


def test_over_max_bytes_the_least_recent_sleep(guard: Guard) -> None:
    """
    Sessions are weighed when they are left.
    """
    chat = guard.sessions("chat", max_bytes=2000)
    for name in ("a", "b", "c", "d"):
        with chat.open(name) as session:
            session.data["text"] = name * 600
    assert ["hibernated", "live", "live", "live"] == list(states(chat).values())
    assert 1800 < chat.stats().live_bytes <= 2000
    with chat.open("c") as session:
        session.data["text"] = "x" * 2500
    assert "live" not in states(chat).values()
    assert 0 == chat.stats().live_bytes
    with chat.open("c") as session:
        assert 2500 == len(session.data["text"])


def test_bytes_that_are_all_in_use_refuse_the_next_one(guard: Guard) -> None:
    """
    As with places: what is open cannot leave.
    """
    chat = guard.sessions("chat", max_bytes=1000)
    with chat.open("a") as session:
        session.data["text"] = "x" * 1200
        session.save()
        with pytest.raises(SessionsFull, match="of 1000 bytes"), chat.open("b"):
            pass
    fill(chat, "b")
    assert {"a": "hibernated", "b": "live"} == states(chat)


@pytest.mark.parametrize(
    "options",
    [
        {"max_sessions": 0},
        {"max_sessions": None},
        {"max_live": -1},
        {"max_live": 2.5},
        {"max_bytes": 0},
        {"ttl": 0},
        {"ttl": "soon"},
        {"max_age": -1},
        {"hibernate_after": 0},
        {"backup_every": "0s"},
        {"grace": None},
        {"durable": 1},
        {"store": object()},
        {"codec": "pickles"},
    ],
    ids=lambda options: str(next(iter(options))),
)
def test_a_wrong_option_is_named(guard: Guard, options: dict[str, Any]) -> None:
    """
    Each option is checked when the sessions are made.
    """
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        guard.sessions("chat", **options)


def test_sessions_are_got_or_created(guard: Guard, chat: Sessions) -> None:
    """
    The same spec gives the same sessions, another one a conflict that names it.
    """
    assert guard.sessions("chat", ttl="60m", max_sessions=10_000) is chat
    with pytest.raises(SpecConflict, match=r"\(ttl\)"):
        guard.sessions("chat", ttl="2h")


# -- what cannot be saved ----------------------------------------------------------


def test_a_session_that_cannot_be_saved_stays_live(
    guard: Guard, chat: Sessions, clock: FakeClock
) -> None:
    """
    Nothing of it is closed or lost; it is reported, and tried again when idle again.
    """
    thing = Thing()
    with chat.open("ann") as session:
        session.data["when"] = object()
        session.register(thing)
    clock.advance("10m")
    assert {"ann": "live"} == states(chat)
    assert (0, 1) == (thing.closed, guard.registry.failures.total)
    clock.advance("9m")
    assert 1 == guard.registry.failures.total
    clock.advance("1m")
    assert 2 == guard.registry.failures.total
    with chat.open("ann") as again:
        assert again is session
        again.data["when"] = "now"
    assert chat.hibernate("ann")
    assert 1 == thing.closed


def test_using_what_could_not_be_saved_starts_its_clock_anew(
    chat: Sessions, clock: FakeClock
) -> None:
    """
    The pause after a failure is over with the next use, by a block or a connection.
    """
    for use in (chat.open, chat.connect):
        with chat.open("ann") as session:
            session.data["when"] = object()
        clock.advance("11m")
        with use("ann"):
            session.data["when"] = "now"
        if use == chat.connect:
            clock.advance("30s")
        else:
            clock.advance("9m30s")
            assert {"ann": "live"} == states(chat)
            clock.advance("30s")
        assert {"ann": "hibernated"} == states(chat)


def test_what_cannot_be_saved_still_expires(chat: Sessions, clock: FakeClock) -> None:
    """
    Trying in vain is no use of it: its ttl goes on.
    """
    gone: list[ExpiredSession] = []
    chat.on_expire(gone.append)
    with chat.open("ann") as session:
        session.data["when"] = marker = object()
    clock.advance("1h")
    assert [{"when": marker}] == [one.data for one in gone]
    assert tables_are_empty(chat)


def test_what_cannot_be_saved_is_tried_once_without_an_idle_clock(
    guard: Guard, clock: FakeClock
) -> None:
    """
    The end of a grace tries it; then nothing does, until it is used again.
    """
    chat = guard.sessions("chat", hibernate_after=None, ttl=None)
    with chat.connect("ann") as conn:
        conn.session.data["when"] = object()
    clock.advance("1d")
    assert 1 == guard.registry.failures.total
    assert {"ann": "live"} == states(chat)
    with chat.connect("ann") as conn:
        conn.session.data["when"] = "now"
    clock.advance("30s")
    assert {"ann": "hibernated"} == states(chat)


def test_what_cannot_be_saved_makes_no_room(guard: Guard) -> None:
    """
    The next least recent sleeps instead; when none can, the sessions are full.
    """
    chat = guard.sessions("chat", max_live=2)
    with chat.open("odd") as session:
        session.data["x"] = object()
    fill(chat, "a", "b")
    assert {"odd": "live", "a": "hibernated", "b": "live"} == states(chat)
    with chat.open("b") as session:
        session.data["x"] = object()
    with pytest.raises(SessionsFull), chat.open("c"):
        pass
    assert {"odd": "live", "a": "hibernated", "b": "live"} == states(chat)


# -- not started -------------------------------------------------------------------


def test_sessions_work_before_the_guard_is_started(clock: FakeClock) -> None:
    """
    Nothing watches the clocks then; what is due happens at the next use.
    """
    guard = Guard(clock=clock)
    chat = guard.sessions("chat")
    gone: list[str] = []
    chat.on_expire(lambda expired: gone.append(expired.id))
    with chat.open("ann") as session:
        session.data["a"] = 1
    assert 0 == clock.pending
    clock.advance("10m")
    assert ({"ann": "hibernated"}, 0) == (states(chat), clock.pending)
    clock.advance("50m")
    fill(chat, "bob")
    assert (["ann"], ("bob",)) == (gone, chat.ids())


def test_starting_the_guard_starts_the_clocks(clock: FakeClock) -> None:
    """
    Sessions made before are looked after from then on.
    """
    guard = Guard(clock=clock)
    chat = guard.sessions("chat")
    ticks: list[int] = []
    with chat.open("ann") as session:
        session.timer(lambda: ticks.append(1), every="1m")
    with guard:
        assert 1 <= clock.pending
        clock.advance("10m")
        assert {"ann": "hibernated"} == states(chat)
        assert 9 <= len(ticks) <= 10


# -- nothing is left ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["hibernate", "end", "idle", "expire", "grace"])
def test_nothing_keeps_what_a_session_had(
    guard: Guard, chat: Sessions, clock: FakeClock, how: str
) -> None:
    """
    Session, connection, ring, closure of a timer and listener are freed by and by
    their last reference, without a collection.
    """
    bus = guard.emitter("bus")

    def use() -> list[weakref.ref[Any]]:
        thing = Thing()
        with chat.connect("ann") as conn:
            session = conn.session
            session.data["x"] = [1]
            session.ring("r", of=int).append(1)
            session.timer(lambda: thing.closed, every="1m")
            conn.timer(lambda: thing.closed, every="1m")
            session.listen(bus, "line", lambda line: thing.closed)
            session.register(thing, keep=True)
            return [weakref.ref(one) for one in (conn, session, thing)]

    gc.collect()
    gc.disable()
    try:
        refs = use()
        if how == "hibernate":
            assert chat.hibernate("ann")
        elif how == "end":
            assert chat.end("ann")
        else:
            waits = {"idle": "10m", "expire": "1h", "grace": "30s"}
            clock.advance(waits[how])
        assert [None, None, None] == [ref() for ref in refs]
    finally:
        gc.enable()
    assert 0 == len(bus.listeners("line"))
    assert 0 == chat.live


@pytest.mark.parametrize(
    "kept", ["in memory", pytest.param("on disk", marks=pytest.mark.stress)]
)
def test_a_day_of_churn_leaves_nothing(
    guard: Guard, clock: FakeClock, kept: str, tmp_path: Path
) -> None:
    """
    24 hours, 4,000 uses: tables, queue, store and tree go back to nothing, and
    on the way they are never larger than what is known.
    """
    store = SqliteStore(tmp_path / "s.sqlite3") if kept == "on disk" else None
    chat = guard.sessions(
        "churn", max_live=50, ttl="30m", hibernate_after="5m", store=store
    )
    table = chat.core.table
    clock.advance("1s")  # the first look into the store
    calm = clock.pending
    largest = 0
    for number in range(4_000):
        # Every other one comes back after a quarter of an hour.
        name = str(number % 40) if number % 2 else f"once-{number}"
        if number % 3:
            with chat.open(name) as session:
                session.data["n"] = number
                session.ring("r", of=int, max_entries=5).append(number)
        else:
            with chat.connect(name) as conn:
                conn.timer(print, every="1h")
        if not number % 11:
            chat.end(str(number % 40))
        clock.advance(21.6)
        largest = max(largest, len(chat))
        assert len(table.slots) <= 50
        assert table.live <= 50
        assert len(table.deadlines) <= 2 * len(table.slots) + 1
        assert len(table.idle) <= table.live
    assert 50 < largest < 500
    # Theirs, that of the lease, and that which tells of full rings.
    assert 1 <= clock.pending - calm <= 3
    clock.advance("1h")
    assert tables_are_empty(chat)
    assert calm == clock.pending
    stats = chat.stats()
    assert stats.created == stats.expired + stats.ended
    assert stats.restored > 500


# -- the container -----------------------------------------------------------------


def test_closed_sessions_take_nothing_any_more(chat: Sessions) -> None:
    """
    All sessions end with their container, and its verbs say so.
    """
    thing = Thing()
    with chat.open("ann") as session:
        session.register(thing)
    chat.close()
    chat.close()
    assert 1 == thing.closed
    assert 0 == len(chat)
    for verb in (chat.end, chat.hibernate, chat.disconnect):
        with pytest.raises(ScopeClosed):
            verb("ann")
    for block in (chat.open("ann"), chat.connect("ann")):
        with pytest.raises(ScopeClosed):
            block.__enter__()
