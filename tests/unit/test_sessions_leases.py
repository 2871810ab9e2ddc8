"""
Two guards on one store: who owns a session, how it changes hands, what is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memguard import Guard, SqliteStore
from memguard._sessions import Sessions
from memguard._sessions.contested import Contested
from memguard.errors import SessionElsewhere, SessionLost, SessionUnreadable
from memguard.testing import FakeClock

SOON = 5.0


@pytest.fixture
def clock() -> FakeClock:
    """
    One clock for all guards.
    """
    return FakeClock()


class Fleet:
    """
    Guards that share the file of a store, as workers do.
    """

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self.path = path
        self.clock = clock
        self.guards: list[Guard] = []

    def sessions(self, *, started: bool = True, **options: Any) -> Sessions:
        """
        The container of one more worker.
        """
        guard = Guard("svc", clock=self.clock)
        self.guards.append(guard)
        if started:
            guard.start()
        patience = options.pop("patience", "5s")
        store = SqliteStore(self.path / "s.sqlite3", lease="15s", patience=patience)
        return guard.sessions("chat", store=store, **options)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """
        Let the clock run on while something waits in this block.
        """
        over = threading.Event()

        def tick() -> None:
            while not over.wait(0.002):
                self.clock.advance(0.1)

        thread = threading.Thread(target=tick)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(SOON)


@pytest.fixture
def fleet(tmp_path: Path, clock: FakeClock) -> Iterator[Fleet]:
    """
    Workers on one file, ended with the test.
    """
    fleet = Fleet(tmp_path, clock)
    yield fleet
    for guard in fleet.guards:
        guard.shutdown()


def write(sessions: Sessions, id: str, **data: Any) -> None:
    """
    One block that changes a session.
    """
    with sessions.open(id, durable=True) as session:
        session.data.update(data)


def read(sessions: Sessions, id: str) -> dict[str, Any]:
    """
    What a session holds.
    """
    with sessions.open(id) as session:
        return dict(session.data)


def paused(sessions: Sessions) -> None:
    """
    Let a worker do nothing any more, as if it were stopped.
    """
    sessions.tending.end()


def test_a_session_is_given_to_who_asks_for_it(fleet: Fleet) -> None:
    """
    Its owner hibernates it as soon as it hears of it; nothing is lost.
    """
    one, two = fleet.sessions(), fleet.sessions()
    write(one, "ann", n=1)
    assert "elsewhere" == two.info("ann").state  # type: ignore[union-attr]
    with fleet.going_on():
        assert {"n": 1} == read(two, "ann")
    # Who had to wait gives it back as well when its block is left.
    assert "hibernated" == one.info("ann").state  # type: ignore[union-attr]
    assert (0, 0) == (one.live, two.live)
    assert 1 == one.stats().slept


def test_what_is_held_is_not_given_away(fleet: Fleet) -> None:
    """
    Who asks for it waits, and is told in the end who has it: another process.
    """
    one, two = fleet.sessions(), fleet.sessions(patience="50ms")
    with one.open("ann") as session:
        session.data["n"] = 1
        with pytest.raises(SessionElsewhere, match="another process"):
            read(two, "ann")
        assert 0 == two.live
    assert {"n": 1} == read(one, "ann")


def test_what_is_asked_for_is_given_back_when_the_block_is_left(fleet: Fleet) -> None:
    """
    At once, and not when the owner happens to look.
    """
    one, two = fleet.sessions(), fleet.sessions()
    done = threading.Event()
    got: list[dict[str, Any]] = []

    def other() -> None:
        got.append(read(two, "ann"))
        done.set()

    with one.open("ann") as session:
        session.data["n"] = 1
        thread = threading.Thread(target=other)
        thread.start()
        while not session._slot.contended:
            fleet.clock.advance(0.1)
    thread.join(SOON)
    assert done.is_set()
    assert [{"n": 1}] == got


def test_who_was_silent_too_long_loses_what_another_took(fleet: Fleet) -> None:
    """
    Its late write is refused, its block told; opened again, it has the other's data.
    """
    one, two = fleet.sessions(), fleet.sessions()
    write(one, "ann", n=1)
    paused(one)
    with one.open("ann") as session:
        session.data["n"] = 99
        fleet.clock.advance("20s")
        write(two, "ann", n=2)
        paused(two)
        with pytest.raises(SessionLost, match="taken over"):
            session.save()
        with pytest.raises(SessionLost):
            session.save()
    assert session.closed
    fleet.clock.advance("20s")
    assert {"n": 2} == read(one, "ann")
    assert 1 == one.stats().lost


def test_a_late_durable_block_raises(fleet: Fleet) -> None:
    """
    Who relies on it is told that it was not saved.
    """
    one, two = fleet.sessions(), fleet.sessions()
    write(one, "ann", n=1)
    paused(one)
    block = one.open("ann", durable=True)
    block.__enter__().data["n"] = 99
    fleet.clock.advance("20s")
    write(two, "ann", n=2)
    with pytest.raises(SessionLost):
        block.__exit__(None, None, None)
    assert {"n": 2} == read(two, "ann")


def test_a_late_block_that_is_not_durable_is_reported(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Nobody's data are overwritten, and the log says so.
    """
    one, two = fleet.sessions(), fleet.sessions()
    write(one, "ann", n=1)
    paused(one)
    with one.open("ann") as session:
        session.data["n"] = 99
        fleet.clock.advance("20s")
        write(two, "ann", n=2)
    assert "SessionLost" in caplog.text
    assert {"n": 2} == read(two, "ann")
    assert 0 == one.live


def test_a_lease_that_ended_without_anybody_noticing_does_no_harm(
    fleet: Fleet,
) -> None:
    """
    The live session is taken up again, with what it owns.
    """
    one = fleet.sessions()
    write(one, "ann", n=1)
    with one.open("ann") as first:
        pass
    paused(one)
    fleet.clock.advance("20s")
    with one.open("ann") as again:
        assert again is first
        again.data["n"] = 2
    assert 0 == one.stats().lost
    fleet.guards[0].shutdown()
    assert {"n": 2} == read(fleet.sessions(), "ann")


def test_a_live_session_that_another_changed_is_restored_anew(fleet: Fleet) -> None:
    """
    What is here of it closes; nobody is given data of yesterday.
    """
    one, two = fleet.sessions(), fleet.sessions()
    with one.open("ann") as stale:
        timer = stale.timer(print, every="1h")
    paused(one)
    fleet.clock.advance("20s")
    write(two, "ann", n=2)
    two.hibernate("ann")
    with one.open("ann") as fresh:
        assert fresh is not stale
        assert {"n": 2} == fresh.data
    assert stale.closed
    assert timer.closed


def test_one_that_was_ended_elsewhere_is_gone(fleet: Fleet) -> None:
    """
    A worker that slept through its end does not bring it back.
    """
    one, two = fleet.sessions(), fleet.sessions()
    write(one, "ann", n=1)
    paused(one)
    fleet.clock.advance("20s")
    assert two.end("ann")
    assert {} == read(one, "ann")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_shutdown_gives_everything_back(fleet: Fleet, quiet: bool) -> None:
    """
    Saved, and free for the next at once.
    """
    one = fleet.sessions()
    write(one, "ann", n=1)
    if not quiet:
        with one.open("ann") as session:
            pass
        session.data["n"] = 2
    assert fleet.guards[0].shutdown().clean
    two = fleet.sessions()
    assert {"n": 1 if quiet else 2} == read(two, "ann")


def test_guards_that_were_not_started_share_as_well(fleet: Fleet) -> None:
    """
    Nothing tells them what others want, so they keep nothing to themselves.
    """
    one, two = fleet.sessions(started=False), fleet.sessions(started=False)
    for number in range(5):
        write(one, "ann", n=number)
        assert {"n": number} == read(two, "ann")
        write(two, "ann", n=-number)
        assert {"n": -number} == read(one, "ann")


def test_a_guard_that_was_not_started_keeps_the_object(fleet: Fleet) -> None:
    """
    As long as nobody else changed the session.
    """
    one = fleet.sessions(started=False)
    write(one, "ann", n=1)
    with one.open("ann") as first:
        pass
    with one.open("ann") as again:
        assert again is first


def test_reading_a_session_prolongs_it_in_the_store(fleet: Fleet) -> None:
    """
    Otherwise it would seem expired to whoever finds it after a crash.
    """
    one = fleet.sessions(ttl="60s", hibernate_after=None)
    write(one, "ann", n=1)
    for _ in range(5):
        fleet.clock.advance("30s")
        read(one, "ann")
    fleet.clock.advance("6s")
    stored = one.core.space.read("ann")
    assert stored is not None
    assert stored.expires_at is not None
    assert stored.expires_at > fleet.clock.time() + 40


def test_sessions_of_a_dead_worker_expire(fleet: Fleet) -> None:
    """
    The hook is called in one of those that live, once.
    """
    told: list[str] = []
    one = fleet.sessions(ttl="60s", hibernate_after=None)
    write(one, "ann", n=1)
    paused(one)
    for _ in range(2):
        other = fleet.sessions(ttl="60s")
        other.on_expire(lambda expired: told.append(expired.id))
        write(other, f"bob{len(fleet.guards)}", n=1)
    one.core.alarm.end()
    fleet.clock.advance("10m")
    assert 1 == told.count("ann")
    assert 3 == len(told)


def test_nothing_is_done_for_a_store_while_nothing_is_owned(fleet: Fleet) -> None:
    """
    No heartbeat at rest.
    """
    one = fleet.sessions()
    fleet.clock.advance("1s")
    before = fleet.clock.pending
    write(one, "ann", n=1)
    assert fleet.clock.pending > before
    one.end("ann")
    fleet.clock.advance("1m")
    assert before == fleet.clock.pending


def test_an_older_schema_is_upgraded_or_refused(fleet: Fleet) -> None:
    """
    By the hook; without one the session stays as it is, and the error says what to do.
    """
    write(fleet.sessions(), "ann", name="Ann B")
    fleet.guards[0].shutdown()
    two = fleet.sessions(schema=2)
    with pytest.raises(SessionUnreadable, match="on_upgrade"):
        read(two, "ann")

    @two.on_upgrade
    def upgrade(data: dict[str, Any], schema: int) -> dict[str, Any]:
        assert 1 == schema
        first, last = data["name"].split()
        return {"first": first, "last": last}

    assert {"first": "Ann", "last": "B"} == read(two, "ann")
    write(two, "ann", seen=True)
    fleet.guards[1].shutdown()
    with pytest.raises(SessionUnreadable, match="schema 2"):
        read(fleet.sessions(), "ann")


def test_two_workers_lose_no_increment(fleet: Fleet) -> None:
    """
    Both count in the same three sessions, which go back and forth.
    """
    workers = [fleet.sessions(), fleet.sessions()]
    rounds = 12

    def count(sessions: Sessions) -> None:
        for number in range(rounds):
            with sessions.open(f"s{number % 3}", durable=True) as session:
                session.data["n"] = session.data.get("n", 0) + 1

    failed: list[BaseException] = []

    def guarded(sessions: Sessions) -> None:
        try:
            count(sessions)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in workers]
    with fleet.going_on():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert [] == failed
    fleet.guards[0].shutdown()
    fleet.guards[1].shutdown()
    last = fleet.sessions()
    assert 2 * rounds == sum(read(last, f"s{number}")["n"] for number in range(3))


def test_the_files_of_one_guard_are_no_leak_of_another(tmp_path: Path) -> None:
    """
    Two guards of one process share a store: the one that stops first is clean.
    """
    path = tmp_path / "s.sqlite3"
    guards = [Guard(name).start() for name in ("one", "two")]
    try:
        for guard in guards:
            sessions = guard.sessions("s", store=SqliteStore(path))
            write(sessions, guard.label, n=1)
            sink = guard.sink(tmp_path / f"{guard.label}.jsonl")
            sink.write({"a": 1})
            sink.flush()
        report = guards[0].shutdown()
        assert report.clean, report
    finally:
        assert guards[1].shutdown().clean


@pytest.mark.parametrize("started", [True, False])
def test_an_id_that_no_store_can_keep_is_refused(fleet: Fleet, started: bool) -> None:
    """
    At the door, and not when it is saved.
    """
    sessions = fleet.sessions(started=started)
    with pytest.raises(ValueError, match="surrogate"):
        sessions.open("ann\ud800")
    assert {} == read(sessions, "\U0001f600 änn")


def test_a_session_that_goes_back_and_forth_is_waited_for_once(fleet: Fleet) -> None:
    """
    After the first time both give it back whenever they leave a block.
    """
    one, two = fleet.sessions(patience="1ms"), fleet.sessions()
    write(one, "ann", n=0)
    with fleet.going_on():
        assert {"n": 0} == read(two, "ann")
    # From here on nobody's clock goes on: nobody hears of what others want.
    for number in range(1, 20):
        write(one, "ann", n=number)
        assert {"n": number} == read(two, "ann")
    fleet.clock.advance("61s")
    read(one, "ann")
    assert 1 == one.live


def test_what_was_contested_is_forgotten() -> None:
    """
    After a minute, and the oldest first where there are too many.
    """
    contested = Contested()
    contested.note("ann", 0.0)
    contested.note("bob", 30.0)
    contested.note("ann", 40.0)
    assert contested.has("bob", 89.0)
    assert not contested.has("bob", 90.0)
    assert contested.has("ann", 99.0)
    for number in range(20_000):
        contested.note(str(number), 100.0)
    assert 10_000 == len(contested)
    assert not contested.has("9999", 100.0)
    assert contested.has("10000", 100.0)
