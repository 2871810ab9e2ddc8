"""
The store in memory: it behaves as the plain one, and keeps next to nothing of sleepers.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given, settings, strategies as st

from memguard import MemoryStore
from memguard._sessions.record import write_record
from memguard._sessions.stores import Entry
from memguard._sessions.stores.plain import PlainSpace
from memguard.testing import FakeClock

IDS = st.sampled_from("abc")
OWNERS = st.sampled_from(["me", "you"])
ENDS = st.none() | st.integers(1, 20).map(float)
STEPS = st.one_of(
    st.tuples(st.just("claim"), IDS, OWNERS),
    st.tuples(st.just("put"), IDS, OWNERS, ENDS, st.booleans()),
    st.tuples(st.just("release"), IDS, OWNERS),
    st.tuples(st.just("delete"), IDS, OWNERS),
    st.tuples(st.just("quarantine"), IDS, OWNERS),
    st.tuples(st.just("touch"), IDS, OWNERS, ENDS),
    st.tuples(st.just("leave"), OWNERS),
)


class Verbs:
    """
    A dictionary with the three verbs of a store.
    """

    persistent = False

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def get(self, id: str) -> bytes | None:
        return self.records.get(id)

    def put(self, id: str, record: bytes) -> None:
        self.records[id] = record

    def delete(self, id: str) -> None:
        self.records.pop(id, None)


def record(version: int, expires_at: float | None, raw: bytes = b"content") -> bytes:
    """
    What a session is written as.
    """
    return write_record(
        raw,
        codec=1,
        schema=1,
        version=version,
        born=0.0,
        used=0.0,
        expires_at=expires_at,
        writer=0,
    )


def perform(space: Any, version: int, what: str, *args: Any) -> Any:
    """
    One step, and what it gives.
    """
    if what == "put":
        key, owner, ends, release = args
        blob = record(version, ends)
        return space.put(owner, [Entry(key, version, ends, blob, {}, release)])
    if what == "touch":
        key, owner, ends = args
        return space.touch(owner, {key: ends})
    return getattr(space, what)(*args)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_it_does_what_a_plain_store_does(steps: list[tuple[Any, ...]]) -> None:
    """
    The same answers to anything, and the same is known afterwards.
    """
    space = MemoryStore().space("chat", FakeClock())
    plain = PlainSpace(Verbs())
    for version, step in enumerate(steps, 1):
        assert perform(plain, version, *step) == perform(space, version, *step)
        assert plain.count() == space.count()
        assert plain.next_due() == space.next_due()
        for now in (0.0, 5.0, 30.0):
            # Of sessions that expire at the same time either may come first.
            assert sorted(plain.due(now, 9)) == sorted(space.due(now, 9))
        assert sorted(plain.ids()) == sorted(space.ids())
        for key in "abc":
            assert plain.read(key) == space.read(key)
            assert plain.claim(key, "third") == space.claim(key, "third")
            plain.release(key, "third")
            space.release(key, "third")
        for owner in ("me", "you"):
            assert sorted(plain.wanted(owner)) == sorted(space.wanted(owner))
        assert space.count()[0] <= len(space.ids())


def test_what_a_session_woke_up_from_is_not_kept() -> None:
    """
    `forget` drops the record; the session is still its owner's.
    """
    store = MemoryStore()
    space = store.space("chat", FakeClock())
    space.claim("a", "me")
    space.put("me", [Entry("a", 3, None, record(3, None), {}, True)])
    assert (1, len(record(3, None))) == space.count()
    assert 3 == space.claim("a", "me").version
    space.forget("a")
    assert ((0, 0), []) == (space.count(), space.ids())
    assert 0 == len(store)
    assert space.claim("a", "you").owner == "me"


def test_records_may_be_changed_by_hand() -> None:
    """
    Through the store's own verbs: what is told of them goes along.
    """
    store = MemoryStore()
    space = store.space("chat", FakeClock())
    store.put("a", record(1, 10.0))
    assert (1, len(record(1, 10.0))) == space.count()
    assert 10.0 == space.next_due()
    store.put("a", record(2, 20.0))
    assert ["a"] == space.due(20.0, 9)
    assert [] == space.due(10.0, 9)
    store.delete("a")
    store.delete("a")
    assert ((0, 0), None) == (space.count(), space.next_due())
    store.put("b", b"no record")
    assert 1 == space.claim("b", "me").version


def test_the_queue_of_ends_stays_short() -> None:
    """
    However often sessions are used again, and put to sleep with another end.
    """
    space = MemoryStore().space("chat", FakeClock())
    for number in range(2000):
        one, ends = f"s{number % 10}", float(number)
        space.claim(one, "me")
        space.put("me", [Entry(one, 1, ends, record(1, ends), {}, True)])
    assert len(space._queue) <= 1.5 * 10 + 17
    assert 10 == len(space.due(9999.0, 99))


def test_a_forked_child_can_read_what_sleeps() -> None:
    """
    Nobody of the parent's owns anything there, and the words are known.
    """
    store = MemoryStore()
    space = store.space("chat", FakeClock())
    raw = b"the same thing over and over " * 20
    for number in range(6):
        one = f"s{number}"
        blob = write_record(
            raw,
            codec=1,
            schema=1,
            version=1,
            born=0.0,
            used=0.0,
            expires_at=None,
            writer=0,
            words=space.words,
        )
        space.claim(one, "me")
        space.put("me", [Entry(one, 1, None, blob, {}, False)])
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        from memguard._sessions.record import read_record

        try:
            own = store.space("chat", FakeClock())
            claim = own.claim("s5", "child")
            fine = read_record(claim.record, own.words)[1] == raw
            os.write(writing, b"ok" if fine else b"no")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"ok" == os.read(reading, 2)
    os.close(reading)
    os.close(writing)
