"""
Sessions at the edges of a process: stores that outlive it, shutdown, restart, fork.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memguard import Guard
from memguard._phases import NEW, OPEN
from memguard._sessions import Session, Sessions
from memguard._sessions.stores import MemoryStore
from memguard.errors import ScopeClosed
from memguard.testing import FakeClock

SOON = 5.0


class Disk(MemoryStore):
    """
    A store that outlives guards, counts what is written, and can fail.
    """

    __slots__ = ("fault", "puts")

    persistent = True

    def __init__(self) -> None:
        super().__init__()
        self.puts = 0
        self.fault: Exception | None = None

    def put(self, id: str, record: bytes) -> None:
        if self.fault is not None:
            raise self.fault
        self.puts += 1
        super().put(id, record)


class Thing:
    """
    Notes in a list that it was closed.
    """

    def __init__(self, name: str, closed: list[str]) -> None:
        self.name = name
        self.closed = closed

    def close(self) -> None:
        self.closed.append(self.name)


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
def disk() -> Disk:
    """
    An empty store.
    """
    return Disk()


def failures(guard: Guard) -> list[tuple[str, str]]:
    """
    Place and type of every background failure.
    """
    return [(where, kind) for where, kind, _ in guard.registry.failures.counts]


# -- a store that outlives the process ---------------------------------------------


def test_leaving_saves_what_was_changed(guard: Guard, disk: Disk) -> None:
    """
    And only that: a block that reads writes nothing.
    """
    chat = guard.sessions("chat", store=disk)
    with chat.open("ann") as session:
        pass
    assert 0 == disk.puts
    with chat.open("ann") as session:
        session.data["a"] = 1
        assert session.dirty
    assert (1, False) == (disk.puts, session.dirty)
    with chat.open("ann") as session:
        assert 1 == session.data["a"]
        assert session.ring("r", of=int).recent(1) == []
    assert 1 == disk.puts
    with chat.open("ann") as session:
        session.ring("r", of=int).append(1)
    assert 2 == disk.puts
    with chat.connect("ann") as conn:
        conn.session.data["b"] = [1]
    assert 3 == disk.puts


def test_a_list_that_was_read_may_have_been_changed(guard: Guard, disk: Disk) -> None:
    """
    Changing a value in place is saved too, since nobody could tell.
    """
    chat = guard.sessions("chat", store=disk)
    with chat.open("ann") as session:
        session.data["cart"] = ["tea"]
    with chat.open("ann") as session:
        session.data["cart"].append("milk")
    assert chat.hibernate("ann")
    with chat.open("ann") as session:
        assert ["tea", "milk"] == session.data["cart"]


def test_sessions_survive_the_guard(disk: Disk) -> None:
    """
    What was saved is there for the next guard, rings and hooks included.
    """
    restored: list[str] = []
    with Guard(clock=FakeClock()) as guard:
        chat = guard.sessions("chat", store=disk)
        with chat.open("ann") as session:
            session.data["a"] = 1
            session.ring("r", of=str).append("x")
    with Guard(clock=FakeClock()) as guard:
        chat = guard.sessions("chat", store=disk)
        chat.on_restore(lambda session: restored.append(session.id))
        with chat.open("ann") as session:
            assert {"a": 1} == session.data
            assert ["x"] == session.ring("r", of=str).recent(1)
    assert ["ann"] == restored


def test_shutdown_saves_what_is_not_saved_yet(disk: Disk) -> None:
    """
    Saving is the drain step of a session; what its children write is in it.
    """
    closed: list[str] = []
    guard = Guard(clock=FakeClock()).start()
    chat = guard.sessions("chat", store=disk)

    class Last:
        def close(self) -> None:
            session.data["last"] = "word"

    last = Last()
    with chat.open("ann") as session:
        session.register(last)
        ring = session.ring("r", of=int)
    ring.append(1)
    session.data["late"] = True
    report = guard.shutdown()
    assert report.clean
    assert [] == failures(guard)
    with Guard(clock=FakeClock()) as guard:
        chat = guard.sessions("chat", store=disk)
        with chat.open("ann") as session:
            assert {"late": True, "last": "word"} == session.data
            assert [1] == session.ring("r", of=int).recent(1)
    assert [] == closed


def test_end_deletes_the_record_also_of_a_session_nobody_opened(
    guard: Guard, disk: Disk
) -> None:
    """
    A record left by an earlier process goes as well.
    """
    chat = guard.sessions("chat", store=disk)
    with chat.open("ann") as session:
        session.data["a"] = 1
    disk.put("old", b"p{}")
    assert chat.end("ann")
    chat.end("old")
    assert 0 == len(disk)


def test_a_store_that_fails_on_leaving_is_reported(guard: Guard, disk: Disk) -> None:
    """
    The block's caller is not disturbed, and the next leaving tries again.
    """
    chat = guard.sessions("chat", store=disk)
    disk.fault = OSError("full")
    with chat.open("ann") as session:
        session.data["a"] = 1
    assert [("saving a session of chat", "OSError")] == failures(guard)
    assert session.dirty
    disk.fault = None
    with chat.open("ann"):
        pass
    assert (1, False) == (disk.puts, session.dirty)


def test_a_durable_block_raises_when_it_is_not_saved(guard: Guard, disk: Disk) -> None:
    """
    Left without an error means saved; an error of the block itself goes first.
    """
    chat = guard.sessions("chat", store=disk)
    disk.fault = OSError("full")
    with pytest.raises(OSError, match="full"), chat.open("ann", durable=True) as s:
        s.data["a"] = 1
    fault = KeyError("mine")
    with pytest.raises(KeyError, match="mine"), chat.open("ann", durable=True) as s:
        raise fault
    assert [("saving a session of chat", "OSError")] == failures(guard)
    assert not chat.info("ann").pinned  # type: ignore[union-attr]
    disk.fault = None
    with chat.open("ann", durable=True):
        pass
    assert 1 == disk.puts


def test_durable_is_a_default_that_a_block_may_change(guard: Guard) -> None:
    """
    In memory too: the content is proved to be writable when the block is left.
    """
    chat = guard.sessions("chat", durable=True)
    with pytest.raises(TypeError, match="JSON"), chat.open("ann") as session:
        session.data["a"] = object()
    with chat.open("ann", durable=False):
        pass
    assert [] == failures(guard)


def test_save_raises_what_the_codec_and_the_store_raise(
    guard: Guard, disk: Disk
) -> None:
    """
    Returning means saved.
    """
    chat = guard.sessions("chat", store=disk)
    with chat.open("ann") as session:
        session.data["a"] = {1: 2}
        with pytest.raises(TypeError, match="must be text, not int"):
            session.save()
        assert session.dirty
        session.data["a"] = 1
        disk.fault = OSError("full")
        with pytest.raises(OSError, match="full"):
            session.save()
        assert session.dirty
        disk.fault = None
        session.save()
        assert not session.dirty


def test_a_session_in_long_use_is_backed_up(
    guard: Guard, clock: FakeClock, disk: Disk
) -> None:
    """
    Every `backup_every`, if it changed, while somebody has it open.
    """
    chat = guard.sessions("chat", store=disk, backup_every="1m")
    with chat.connect("ann") as conn:
        clock.advance("5m")
        assert 0 == disk.puts
        for minute in range(3):
            conn.session.data["minute"] = minute
            clock.advance("1m")
        clock.advance("5m")
        assert 3 == disk.puts
        disk.fault = OSError("full")
        conn.session.data["minute"] = 3
        clock.advance("1m")
        assert [("backing up a session of chat", "OSError")] == failures(guard)
        disk.fault = None
        clock.advance("1m")
        assert 4 == disk.puts
    assert 1 == guard.snapshot().count("session")


def test_a_backup_is_no_use_of_the_session(
    guard: Guard, clock: FakeClock, disk: Disk
) -> None:
    """
    It falls asleep and expires as if nobody had looked at it.
    """
    chat = guard.sessions(
        "chat", store=disk, backup_every="1m", hibernate_after="5m", ttl="10m"
    )
    with chat.open("ann") as session:
        session.data["a"] = 1
    for second in range(4):
        session.data["a"] = second
        clock.advance("1m")
    clock.advance("1m")
    assert "hibernated" == chat.info("ann").state  # type: ignore[union-attr]
    clock.advance("5m")
    assert 0 == len(chat)
    assert 0 == len(disk)


def test_a_record_that_cannot_be_read_is_put_aside_and_told(
    guard: Guard, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The session begins anew, and what was left of it is there to be looked at.
    """
    chat = guard.sessions("chat", store=disk)
    disk.put("ann", b"?what")
    with chat.open("ann") as session:
        assert {} == session.data
        session.data["a"] = 1
    assert (2, 1, 1) == (len(disk), len(chat), chat.live)
    assert "put aside" in caplog.text
    assert "what" not in caplog.text


class Doors(Disk):
    """
    A store whose writing stops until it is let go on.
    """

    __slots__ = ("go", "inside")

    def __init__(self) -> None:
        super().__init__()
        self.inside = threading.Event()
        self.go = threading.Event()

    def put(self, id: str, record: bytes) -> None:
        self.inside.set()
        assert self.go.wait(SOON)
        super().put(id, record)


def in_thread(job: Callable[[], object]) -> threading.Thread:
    """
    Run *job* beside the test.
    """
    thread = threading.Thread(target=job, daemon=True)
    thread.start()
    return thread


def test_a_session_that_is_drained_is_not_handed_out() -> None:
    """
    While a shutdown saves it, who asks for it is told that it ends.
    """
    store = Doors()
    guard = Guard().start()
    chat = guard.sessions("chat", store=store)
    with chat.open("ann") as session:
        pass
    session.data["a"] = 1
    thread = in_thread(guard.shutdown)
    assert store.inside.wait(SOON)
    with pytest.raises(ScopeClosed):
        chat.open("ann").__enter__()
    store.go.set()
    thread.join(SOON)
    assert 1 == len(store)


def test_a_restore_that_a_shutdown_overtakes_is_an_error() -> None:
    """
    Nobody gets a session that has been closed meanwhile.
    """
    guard = Guard().start()
    chat = guard.sessions("chat")
    with chat.open("ann") as session:
        session.data["a"] = 1
    chat.hibernate("ann")

    @chat.on_restore
    def slow(session: Session) -> None:
        thread = in_thread(guard.shutdown)
        thread.join(SOON)
        assert not thread.is_alive()

    with pytest.raises(ScopeClosed):
        chat.open("ann").__enter__()
    assert 0 == chat.live


def test_expiring_waits_for_a_save(clock: FakeClock) -> None:
    """
    A record cannot be written after the end of its session.
    """
    store = Doors()
    with Guard(clock=clock) as guard:
        chat = guard.sessions("chat", store=store, ttl="1m", hibernate_after=None)
        store.go.set()
        with chat.open("ann") as session:
            session.data["a"] = 1
        store.go.clear()
        store.inside.clear()
        saving = in_thread(session.save)
        assert store.inside.wait(SOON)
        expiring = in_thread(lambda: clock.advance("1m"))
        while session.registry.running and chat.live:
            expiring.join(0.001)
        assert 1 == len(store)
        store.go.set()
        saving.join(SOON)
        expiring.join(SOON)
        assert (0, 0) == (len(store), len(chat))


# -- shutdown and restart ----------------------------------------------------------


def test_shutdown_ends_sessions_in_order(clock: FakeClock) -> None:
    """
    Connections in phase work, then sessions; nothing is left scheduled.
    """
    closed: list[str] = []
    guard = Guard(clock=clock).start()
    chat = guard.sessions("chat")
    things = [Thing(name, closed) for name in ("session", "connection")]
    block = chat.connect("ann")
    conn = block.__enter__()
    conn.session.register(things[0])
    conn.register(things[1], phase="work")
    conn.session.timer(print, every="1h")
    report = guard.shutdown()
    assert report.clean
    assert ["connection", "session"] == closed
    assert (0, 0) == (clock.pending, chat.live)
    block.__exit__(None, None, None)
    phases = {row.kind: row.phase for row in report.resources}
    assert "work" == phases["session_connection"]
    assert "sessions" == phases["session"] == phases["sessions"]


def test_declared_sessions_serve_the_next_start(clock: FakeClock) -> None:
    """
    Made before the first start they live on through a shutdown, empty; between the
    two they take nothing.
    """
    guard = Guard(clock=clock)
    chat = guard.sessions("chat")
    restored: list[str] = []
    chat.on_restore(lambda session: restored.append(session.id))
    for _ in range(3):
        assert NEW == chat.state
        guard.start()
        assert OPEN == chat.state
        with chat.open("ann") as session:
            assert {} == session.data
            session.data["a"] = 1
        with chat.open("bob"):
            pass
        chat.hibernate("bob")
        assert guard.shutdown().clean
        assert session.closed
        assert 0 == len(chat) == chat.live
        with pytest.raises(ScopeClosed, match="'app' is closed"), chat.open("ann"):
            pass
    guard.start()
    with chat.open("bob"):
        pass
    chat.hibernate("bob")
    clock.advance("1h")
    assert 0 == len(chat)
    assert guard.shutdown().clean


def test_sessions_used_before_a_start_are_ended_without_one(clock: FakeClock) -> None:
    """
    A guard that was never started still closes what its sessions own.
    """
    closed: list[str] = []
    guard = Guard(clock=clock)
    thing = Thing("thing", closed)
    with guard.sessions("chat").open("ann") as session:
        session.register(thing)
    assert guard.shutdown().clean
    assert ["thing"] == closed


def test_a_block_that_is_left_after_the_shutdown(disk: Disk) -> None:
    """
    It raises nothing; a durable one that changed something since does.
    """
    guard = Guard(clock=FakeClock()).start()
    chat = guard.sessions("chat", store=disk)
    plain, durable = chat.open("ann"), chat.open("bob", durable=True)
    ann, bob = plain.__enter__(), durable.__enter__()
    ann.data["a"] = bob.data["b"] = 1
    guard.shutdown()
    assert 2 == disk.puts
    ann.data["a"] = bob.data["b"] = 2
    plain.__exit__(None, None, None)
    assert [("saving a session of chat", "ScopeClosed")] == failures(guard)
    with pytest.raises(ScopeClosed):
        durable.__exit__(None, None, None)


def test_work_in_hand_may_open_sessions_while_it_drains() -> None:
    """
    A request that is still running when the shutdown begins uses its session; it is
    ended with the rest.
    """
    guard = Guard().start()
    chat = guard.sessions("chat")
    closed: list[str] = []
    thing = Thing("late", closed)
    inside, draining = threading.Event(), threading.Event()

    @guard.on_shutdown(phase="stop_intake")
    def stop() -> None:
        draining.set()

    def request() -> None:
        with guard.scope("request") as scope:
            scope.register(thing, close=lambda thing: None)
            inside.set()
            assert draining.wait(SOON)
            with chat.open("ann") as session:
                session.register(thing)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    assert inside.wait(SOON)
    report = guard.shutdown()
    thread.join(SOON)
    assert report.clean
    assert ["late"] == closed
    assert 0 == chat.live


def test_real_threads_end_with_the_guard() -> None:
    """
    With the system's clock: idle sessions sleep by themselves, the audit is clean.
    """
    slept = threading.Event()

    class Thing:
        def close(self) -> None:
            slept.set()

    thing = Thing()
    guard = Guard().start()
    chat = guard.sessions("chat", hibernate_after="10ms")
    with chat.open("ann") as session:
        session.register(thing)
    assert slept.wait(SOON)
    with chat.open("ann") as again:
        assert again is not session
    assert guard.shutdown().clean


# -- forks -------------------------------------------------------------------------


def in_child(check: Any) -> None:
    """
    Fork, run *check* in the child, and fail if it raised.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                check()
                os.write(write, b"ok")
            except BaseException as error:
                os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    told = os.read(read, 4096)
    os.close(read)
    os.waitpid(pid, 0)
    assert b"ok" == told


def test_a_child_has_nothing_of_the_parents_sessions(clock: FakeClock) -> None:
    """
    It closes nothing, and its own sessions start empty, with the same hooks.
    """
    closed: list[str] = []
    guard = Guard(clock=clock)
    chat = guard.sessions("chat")
    restored: list[str] = []
    chat.on_restore(lambda session: restored.append(session.id))
    thing = Thing("parent's", closed)

    def check() -> None:
        assert 0 == len(chat) == chat.live
        with pytest.raises(ScopeClosed):
            session.save()
        with pytest.raises(ScopeClosed):
            session.timer(print, every="1s")
        guard.start()
        with chat.open("ann") as mine:
            assert mine is not session
            mine.data["a"] = "child"
        assert chat.hibernate("ann")
        with chat.open("ann") as mine:
            assert {"a": "child"} == mine.data
        assert ["ann"] == restored
        assert guard.shutdown().clean
        assert [] == closed

    with guard:
        with chat.open("ann") as session:
            session.data["a"] = "parent"
            session.register(thing)
        with chat.open("bob"):
            pass
        chat.hibernate("bob")
        in_child(check)
        assert [] == closed
        with chat.open("ann") as again:
            assert again is session


def test_a_block_of_the_parent_is_left_in_the_child(clock: FakeClock) -> None:
    """
    It does nothing there, even if a thread had the lock at the fork.
    """
    held, go = threading.Event(), threading.Event()

    with Guard(clock=clock) as guard:
        # Made on a running guard: the child has no such sessions at all.
        chat = guard.sessions("chat")

        def hold() -> None:
            with chat.core.table.lock:
                held.set()
                go.wait(SOON)

        blocks: list[Any] = [chat.open("ann"), chat.connect("bob")]
        for block in blocks:
            block.__enter__()

        def check() -> None:
            for block in reversed(blocks):
                block.__exit__(None, None, None)
            with pytest.raises(ScopeClosed, match="fork"):
                chat.open("ann").__enter__()

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        assert held.wait(SOON)
        in_child(check)
        go.set()
        thread.join(SOON)
        for block in reversed(blocks):
            block.__exit__(None, None, None)
        assert 2 == chat.live


def test_the_lock_of_declared_sessions_is_new_in_the_child(clock: FakeClock) -> None:
    """
    A thread that is in the tables at the fork does not exist in the child.
    """
    held, go = threading.Event(), threading.Event()
    guard = Guard(clock=clock)
    chat: Sessions = guard.sessions("chat")

    def hold() -> None:
        with chat.core.table.lock:
            held.set()
            go.wait(SOON)

    def check() -> None:
        guard.start()
        with chat.open("ann") as session:
            assert isinstance(session, Session)
        guard.shutdown()

    with guard:
        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        assert held.wait(SOON)
        in_child(check)
        go.set()
        thread.join(SOON)
