"""
Which record a live session is of, when others have had it and answers were lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from memguard import Guard, Sessions, SqliteStore
from memguard._sessions.record import version_after
from memguard._sessions.stores import Entry
from memguard.errors import SessionLost, StoreFailed
from memguard.testing import FakeClock


class Unanswered(SqliteStore):
    """
    Writes, and then says that it failed, as often as `lose` tells.
    """

    lose = 0

    def space(self, name: str, clock: Any) -> Any:
        space: Any = super().space(name, clock)
        put = space.put

        def lost(owner: str, entries: Sequence[Entry]) -> list[bool]:
            done: list[bool] = put(owner, entries)
            if self.lose:
                self.lose -= 1
                msg = "the answer was lost"
                raise StoreFailed(msg)
            return done

        return Patched(space, lost)


class Patched:
    """
    A space with another `put`.
    """

    def __init__(self, space: Any, put: Any) -> None:
        self._space = space
        self.put = put

    def __getattr__(self, name: str) -> Any:
        return getattr(self._space, name)


@pytest.fixture
def clock() -> FakeClock:
    """
    Stands still until it is told to go on.
    """
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path) -> Unanswered:
    """
    The store of the one who loses answers.
    """
    return Unanswered(tmp_path / "sessions.db")


@pytest.fixture
def mine(store: Unanswered, clock: FakeClock) -> Iterator[Sessions]:
    """
    Sessions of a process that runs.
    """
    guard = Guard(clock=clock).start()
    yield guard.sessions("chat", store=store, hibernate_after=None)
    guard.shutdown()


@pytest.fixture
def theirs(tmp_path: Path, clock: FakeClock) -> Iterator[Sessions]:
    """
    The same in another process, which gives back at once.
    """
    guard = Guard(clock=clock)
    yield guard.sessions("chat", store=SqliteStore(tmp_path / "sessions.db"))
    guard.shutdown()


def lapse(sessions: Sessions) -> None:
    """
    What a pause beyond the lease does.
    """
    core = sessions.core
    core.space.leave(core.lease.owner)
    core.lease.until = -math.inf


def test_no_two_writes_have_the_same_version() -> None:
    """
    It counts, and is random below that.
    """
    versions = [version_after(5 << 32) for _ in range(100)]
    assert {6} == {version >> 32 for version in versions}
    assert 100 == len(set(versions))
    assert 0 < version_after(0) >> 32 < version_after(version_after(0)) >> 32


def test_a_session_that_was_ended_and_made_anew_elsewhere(
    theirs: Sessions, tmp_path: Path, clock: FakeClock
) -> None:
    """
    What is still in memory is of another one, as often as both may have been written.
    """
    guard = Guard(clock=clock)
    mine = guard.sessions("chat", store=SqliteStore(tmp_path / "sessions.db"))
    with mine.open("ann", durable=True) as session:
        session.data["of"] = "mine"
    assert theirs.end("ann")
    with theirs.open("ann", durable=True) as session:
        session.data["of"] = "theirs"
    with mine.open("ann") as session:
        assert {"of": "theirs"} == session.data
    guard.shutdown()


def test_a_write_that_took_effect_unanswered_is_ones_own(
    mine: Sessions, store: Unanswered, clock: FakeClock
) -> None:
    """
    After a lease as well: the session goes on, and nothing is lost.
    """
    with mine.open("ann", durable=True) as session:
        session.data["count"] = 1
    store.lose = 1
    with pytest.raises(StoreFailed), mine.open("ann", durable=True) as session:
        session.data["count"] = 2
    lapse(mine)
    with mine.open("ann", durable=True) as session:
        assert 2 == session.data["count"]
        session.data["count"] = 3
    lapse(mine)
    store.lose = 1
    with pytest.raises(StoreFailed), mine.open("ann", durable=True) as session:
        session.data["count"] = 4
    lapse(mine)
    clock.advance(60)
    with mine.open("ann", durable=True) as session:
        assert 4 == session.data["count"]
    assert 0 == mine.core.lost


def test_a_successor_of_an_unanswered_write_is_not_overwritten(
    mine: Sessions, theirs: Sessions, store: Unanswered
) -> None:
    """
    Somebody else went on from it: what is in memory is out of date.
    """
    store.lose = 1
    with pytest.raises(StoreFailed), mine.open("ann", durable=True) as session:
        session.data["count"] = 1
    lapse(mine)
    with theirs.open("ann", durable=True) as session:
        assert 1 == session.data["count"]
        session.data["count"] = 2
    with mine.open("ann", durable=True) as session:
        assert 2 == session.data["count"]


def test_a_session_that_was_given_back_unanswered(
    mine: Sessions, theirs: Sessions, store: Unanswered
) -> None:
    """
    It may be somebody else's already, so the store is asked before it is used again.
    """
    with mine.open("ann", durable=True) as session:
        session.data["count"] = 1
    store.lose = 1
    assert not mine.hibernate("ann")
    with theirs.open("ann", durable=True) as session:
        session.data["count"] += 1
    with mine.open("ann", durable=True) as session:
        assert 2 == session.data["count"]
        session.data["count"] += 1
    assert mine.hibernate("ann")
    with theirs.open("ann") as session:
        assert 3 == session.data["count"]


def overtaken(mine: Sessions, theirs: Sessions) -> int:
    """
    Another process takes the session over and writes.
    """
    lapse(mine)
    with theirs.open("ann", durable=True) as session:
        session.data["count"] = 10
    return 1


def test_what_was_lost_while_a_block_was_open(mine: Sessions, theirs: Sessions) -> None:
    """
    The block learns of it at its end, and what the other wrote stays.
    """
    with pytest.raises(SessionLost), mine.open("ann", durable=True) as session:
        session.data["count"] = overtaken(mine, theirs)
    with mine.open("ann", durable=True) as session:
        assert 10 == session.data["count"]


def test_what_was_lost_is_closed_with_its_last_block(
    mine: Sessions, theirs: Sessions
) -> None:
    """
    Nothing of it is left for the shutdown, which has nothing to tell either.
    """
    with mine.open("ann", durable=True) as session:
        session.data["count"] = 0
    with pytest.raises(SessionLost), mine.open("ann", durable=True) as session:
        session.data["count"] = overtaken(mine, theirs)
    assert session.closed
    report = mine.owner.shutdown()
    assert not [one for one in report.resources if one.reason]


@pytest.mark.parametrize("changed", [False, True])
def test_what_sleeps_after_another_process_went_on_with_it(
    changed: bool, mine: Sessions, theirs: Sessions
) -> None:
    """
    Is put away, which is worth telling only if something was lost by it.
    """
    with mine.open("ann") as session:
        session.data["count"] = 0
    session.data.dirty = changed
    overtaken(mine, theirs)
    mine.hibernate("ann")
    assert session.closed
    failures = mine.registry.failures.total
    assert changed == bool(failures)
    with mine.open("ann") as session:
        assert 10 == session.data["count"]
