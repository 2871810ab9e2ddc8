"""
Stores of sessions against a model: two owners, any sequence of verbs, time passing.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.places import Place, RedisPlace, sqlite

from memguard._sessions.stores.space import Claim, Entry, Held, StaleOwner
from memguard.testing import FakeClock

# Long: the clock of a real server goes on by itself while a test runs.
LEASE_S = 150.0
ASKING_S = 60.0

PROCESSES = st.integers(0, 1)
IDS = st.sampled_from(["a", "b", "c"])
RECORDS = st.binary(max_size=30)
ENDS = st.none() | st.integers(0, 100).map(float)
PAGES = st.dictionaries(
    st.tuples(st.sampled_from(["m", "n"]), st.integers(0, 2)),
    st.none() | st.binary(max_size=10),
    max_size=3,
)


class Session:
    """
    What the model knows of a session that has a record.
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self.version = 0
        self.record = b""
        self.expires_at: float | None = None
        self.pages: dict[tuple[str, int], bytes] = {}

    @property
    def size(self) -> int:
        return len(self.record) + sum(map(len, self.pages.values()))


class StoreMachine(RuleBasedStateMachine):
    """
    Two processes, each of which joins again under a new name when it has to.
    """

    make: Callable[[Path], Place]

    @initialize()
    def begin(self) -> None:
        """
        An empty place, with two processes that have joined.
        """
        self.directory = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.place = type(self).make(self.directory)
        self.spaces = [self.place.space(self.clock) for _ in range(2)]
        self.names = 0
        self.orders = 0
        #: Until when each owner's lease runs; those that were ended are not in it.
        self.leases: dict[str, float] = {}
        #: Each owner that holds a session.
        self.claims: dict[str, str] = {}
        self.wants: dict[tuple[str, str], float] = {}
        self.former_wants: dict[tuple[str, str], float] = {}
        #: What dead owners had: until they are reaped a store may take it for theirs.
        self.unreaped: set[str] = set()
        self.sessions: dict[str, Session] = {}
        self.owners = ["", ""]
        for process in range(2):
            self.join(process)

    def teardown(self) -> None:
        """
        Nothing is left on the disk.
        """
        if hasattr(self, "place"):
            self.place.close()
            shutil.rmtree(self.directory)

    # -- the model ---------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.clock.time()

    def end(self, owner: str) -> None:
        self.leases.pop(owner, None)
        for key in [key for key, one in self.claims.items() if one == owner]:
            del self.claims[key]
            self.unreaped.add(key)
        # A store may forget what those wanted that have ended, or not.
        for want in [want for want in self.wants if want[1] == owner]:
            self.former_wants[want] = self.wants.pop(want)

    def lives(self, owner: str) -> bool:
        return self.leases.get(owner, 0.0) > self.now

    def holder(self, key: str) -> str | None:
        owner = self.claims.get(key)
        return owner if owner is not None and self.lives(owner) else None

    def is_mine(self, key: str, owner: str) -> bool:
        if not self.lives(owner):
            self.end(owner)
        return self.claims.get(key) == owner

    def asked_for(self, key: str, owner: str) -> set[bool]:
        """
        Whether another owner waits for it; both where only one did that has ended.
        """
        certain = self.is_in(self.wants, key, owner)
        return {certain, certain or self.is_in(self.former_wants, key, owner)}

    def is_in(self, wants: dict[tuple[str, str], float], key: str, owner: str) -> bool:
        return any(
            one == key and who != owner and at > self.now - ASKING_S
            for (one, who), at in wants.items()
        )

    # -- verbs -------------------------------------------------------------------------

    @rule(process=PROCESSES)
    def join(self, process: int) -> None:
        """
        Under a name that nobody ever had; the one before is left behind.
        """
        self.names += 1
        owner = self.owners[process] = f"owner {self.names}"
        self.spaces[process].join(owner, LEASE_S)
        self.leases[owner] = self.now + LEASE_S

    @rule(process=PROCESSES)
    def beat(self, process: int) -> None:
        """
        True as long as the lease ran.
        """
        owner = self.owners[process]
        expected = self.lives(owner)
        assert expected == self.spaces[process].beat(owner, LEASE_S)
        if expected:
            self.leases[owner] = self.now + LEASE_S
        else:
            self.end(owner)

    @rule(process=PROCESSES)
    def leave(self, process: int) -> None:
        """
        Everything is free.
        """
        owner, lived = self.owners[process], self.lives(self.owners[process])
        before = set(self.unreaped)
        self.spaces[process].leave(owner)
        self.end(owner)
        if lived:
            self.unreaped = before

    @rule(process=PROCESSES)
    def reap(self, process: int) -> None:
        """
        Counts what came free of those whose lease has run out.
        """
        dead = [owner for owner in self.leases if not self.lives(owner)]
        freed = sum(
            owner in dead and key in self.sessions for key, owner in self.claims.items()
        )
        late = sum(key in self.sessions for key in self.unreaped)
        assert freed <= self.spaces[process].reap() <= freed + late
        for owner in dead:
            self.end(owner)
        self.unreaped.clear()

    @rule(process=PROCESSES, key=IDS, have=st.none() | st.integers(0, 5))
    def claim(self, process: int, key: str, have: int | None) -> None:
        """
        Who lives and has it keeps it.
        """
        owner = self.owners[process]
        space = self.spaces[process]
        if not self.lives(owner):
            self.end(owner)
            with pytest.raises(StaleOwner):
                space.claim(key, owner, have)
            return
        holder = self.holder(key)
        found = space.claim(key, owner, have)
        if holder not in (None, owner):
            assert Held(str(holder)) == found
            self.wants[key, owner] = self.now
            return
        if (before := self.claims.get(key)) is not None and before != owner:
            self.end(before)
        self.claims[key] = owner
        self.unreaped.discard(key)
        assert isinstance(found, Claim)
        assert found.contended in self.asked_for(key, owner)
        self.wants.pop((key, owner), None)
        session = self.sessions.get(key)
        if session is None:
            assert Claim(0, None, found.contended) == found
        else:
            record = None if session.version == have else session.record
            assert Claim(session.version, record, found.contended) == found

    @rule(
        process=PROCESSES,
        entries=st.lists(
            st.tuples(IDS, RECORDS, ENDS, PAGES, st.booleans()),
            min_size=1,
            max_size=3,
            unique_by=lambda one: one[0],
        ),
    )
    def put(self, process: int, entries: list[tuple[Any, ...]]) -> None:
        """
        Each entry that is the owner's, and no other.
        """
        owner = self.owners[process]
        rows, expected = [], []
        for key, record, end, pages, release in entries:
            known = self.sessions.get(key)
            version = 1 if known is None else known.version + 1
            rows.append(Entry(key, version, end, record, pages, release))
            expected.append(self.is_mine(key, owner))
        assert expected == self.spaces[process].put(owner, rows)
        for one, done in zip(rows, expected, strict=True):
            if done:
                self.written(one)

    @rule(process=PROCESSES, key=IDS, record=RECORDS, pages=PAGES, more=PAGES)
    def use(self, process: int, key: str, record: bytes, pages: Any, more: Any) -> None:
        """
        What most processes do most of the time: have a lease, claim, write, write.
        """
        if not self.lives(self.owners[process]):
            self.join(process)
        self.claim(process, key, None)
        self.put(process, [(key, record, None, pages, False)])
        self.both_see_the_same()
        self.put(process, [(key, record, None, more, bool(record))])

    def written(self, entry: Entry) -> None:
        session = self.sessions.get(entry.id)
        if session is None:
            self.orders += 1
            session = self.sessions[entry.id] = Session(self.orders)
        session.version, session.record = entry.version, entry.record
        session.expires_at = entry.expires_at
        for key, page in entry.pages.items():
            if page is None:
                session.pages.pop(key, None)
            else:
                session.pages[key] = page
        if entry.release:
            del self.claims[entry.id]

    @rule(process=PROCESSES, key=IDS)
    def release(self, process: int, key: str) -> None:
        """
        Only one's own.
        """
        owner = self.owners[process]
        self.spaces[process].release(key, owner)
        if self.claims.get(key) == owner:
            del self.claims[key]

    @rule(process=PROCESSES, key=IDS)
    def delete(self, process: int, key: str) -> None:
        """
        Record, pages and claim.
        """
        owner = self.owners[process]
        mine = self.is_mine(key, owner)
        assert mine == self.spaces[process].delete(key, owner)
        if mine:
            self.sessions.pop(key, None)
            del self.claims[key]

    @rule(process=PROCESSES, key=IDS)
    def quarantine(self, process: int, key: str) -> None:
        """
        As new, and still the owner's.
        """
        owner = self.owners[process]
        self.spaces[process].quarantine(key, owner)
        if self.is_mine(key, owner):
            self.sessions.pop(key, None)

    @rule(process=PROCESSES, ends=st.dictionaries(IDS, ENDS, max_size=3))
    def touch(self, process: int, ends: dict[str, float | None]) -> None:
        """
        Only one's own, without a new version.
        """
        owner = self.owners[process]
        self.spaces[process].touch(owner, ends)
        for key, end in ends.items():
            if self.is_mine(key, owner) and key in self.sessions:
                self.sessions[key].expires_at = end

    @rule(seconds=st.sampled_from([7, 50, 140, 150, 610]))
    def wait(self, seconds: int) -> None:
        """
        Leases run out, and who asked is forgotten.
        """
        self.clock.advance(seconds)

    @rule(process=PROCESSES)
    def open_again(self, process: int) -> None:
        """
        Closing ends nothing.
        """
        self.spaces[process].close()

    # -- what both see -----------------------------------------------------------------

    @invariant()
    def both_see_the_same(self) -> None:
        """
        Whatever can be read is what the model has.
        """
        for space, owner in zip(self.spaces, self.owners, strict=True):
            known = sorted(self.sessions, key=lambda key: self.sessions[key].order)
            assert known == space.ids()
            if not self.unreaped and all(map(self.lives, self.claims.values())):
                self.sees_what_is_free(space)
            wanted = set(space.wanted(owner))
            for key in "abc":
                mine = self.claims.get(key) == owner
                allowed = self.asked_for(key, owner) if mine else {False}
                assert (key in wanted) in allowed
            for key in "abc":
                self.sees(space, key)

    def sees_what_is_free(self, space: Any) -> None:
        free = {
            key: one for key, one in self.sessions.items() if key not in self.claims
        }
        size = sum(one.size for one in free.values())
        assert (len(free), size) == space.count()
        ends = {
            key: one.expires_at
            for key, one in free.items()
            if one.expires_at is not None
        }
        assert min(ends.values(), default=None) == space.next_due()
        due = space.due(50.0, 10)
        assert {key for key, end in ends.items() if end <= 50.0} == set(due)
        assert sorted(ends[key] for key in due) == [ends[key] for key in due]

    def sees(self, space: Any, key: str) -> None:
        found, session = space.read(key), self.sessions.get(key)
        if session is None:
            assert found is None
            return
        assert found is not None
        assert (session.version, session.record) == (found.version, found.record)
        assert session.expires_at == found.expires_at
        assert session.size == found.size
        assert self.holder(key) == found.owner
        for name in "mn":
            pages = {
                number: page
                for (one, number), page in session.pages.items()
                if one == name
            }
            assert pages == space.pages(key, name, [0, 1, 2])


class SqliteMachine(StoreMachine):
    make = staticmethod(sqlite)


TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


class RedisMachine(StoreMachine):
    make = staticmethod(RedisPlace)


TestRedis = RedisMachine.TestCase
TestRedis.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
