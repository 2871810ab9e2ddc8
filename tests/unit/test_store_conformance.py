"""
What every store of sessions promises, whatever it keeps them in.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.places import PLACES, SHARED, Place

from memguard._clock import SystemClock
from memguard._probes.identity import identity
from memguard._sessions.stores.space import Claim, Entry, Held, Space, StaleOwner
from memguard.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LEASE_S = 15.0
MINE, OTHER, THIRD = "mine", "other", "third"


@pytest.fixture
def clock() -> FakeClock:
    """
    Stands still until it is told to go on.
    """
    return FakeClock()


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """
    Every store, one after the other.
    """
    place = PLACES[request.param](tmp_path)
    yield place
    place.close()


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """
    Every store that processes can share.
    """
    place = SHARED[request.param](tmp_path)
    yield place
    place.close()


@pytest.fixture
def mine(place: Place, clock: FakeClock) -> Space:
    """
    The space of one process, which has joined.
    """
    space = place.space(clock)
    space.join(MINE, LEASE_S)
    return space


@pytest.fixture
def other(place: Place, clock: FakeClock) -> Space:
    """
    The same space in another process, which has joined.
    """
    space = place.space(clock)
    space.join(OTHER, LEASE_S)
    return space


def entry(
    id: str,
    version: int = 1,
    record: bytes = b"record",
    *,
    expires_at: float | None = None,
    pages: Mapping[tuple[str, int], bytes | None] = {},
    release: bool = False,
) -> Entry:
    """
    What is written, of a few usual parts.
    """
    return Entry(id, version, expires_at, record, pages, release)


def saved(space: Space, owner: str, *entries: Entry) -> None:
    """
    Claim each and write it.
    """
    for one in entries:
        assert isinstance(space.claim(one.id, owner), Claim)
    assert [True] * len(entries) == space.put(owner, entries)


# -- claiming --------------------------------------------------------------------------


def test_what_nobody_has_heard_of_can_be_claimed(mine: Space) -> None:
    """
    It has no record and version 0, and is no session before its first write.
    """
    assert Claim(0, None) == mine.claim("a", MINE)
    assert [] == mine.ids()
    assert (0, 0) == mine.count()
    assert mine.read("a") is None


def test_one_owner_at_a_time(mine: Space, other: Space) -> None:
    """
    Who comes second is told who has it, also where nothing is stored.
    """
    mine.claim("a", MINE)
    assert Held(MINE) == other.claim("a", OTHER)
    assert Claim(0, None) == other.claim("b", OTHER)
    assert Held(OTHER) == mine.claim("b", MINE)


def test_claiming_again_is_no_mistake(mine: Space) -> None:
    """
    The owner gets what is stored.
    """
    saved(mine, MINE, entry("a"))
    assert Claim(1, b"record") == mine.claim("a", MINE)


def test_a_claim_brings_the_record_unless_it_is_there(mine: Space) -> None:
    """
    Who has the newest version in memory does not get it again.
    """
    saved(mine, MINE, entry("a", 7, release=True))
    assert Claim(7, None) == mine.claim("a", MINE, 7)
    mine.release("a", MINE)
    assert Claim(7, b"record") == mine.claim("a", MINE, 6)
    mine.release("a", MINE)
    assert Claim(7, b"record") == mine.claim("a", MINE)


def test_nobody_claims_without_a_lease(mine: Space) -> None:
    """
    Neither before joining nor after leaving.
    """
    with pytest.raises(StaleOwner):
        mine.claim("a", "nobody")
    mine.leave(MINE)
    with pytest.raises(StaleOwner):
        mine.claim("a", MINE)


def test_ids_and_names_are_any_text(place: Place, clock: FakeClock) -> None:
    """
    Quotes, colons, blanks, NUL and what is not ASCII are nothing special.
    """
    space = place.space(clock, "a 'container': ü")
    space.join(MINE, LEASE_S)
    ids = ["it's", 'a "b"', "a:b", "a b", "naïve", "\N{SNOWMAN}", "a\0b", "a\nb", "{a}"]
    names = ["m:1", "it's", "ü"]
    for key in ids:
        pages = {(name, 1): f"{key}/{name}".encode() for name in names}
        saved(space, MINE, entry(key, record=key.encode(), pages=pages, release=True))
    assert ids == space.ids()
    for key in ids:
        assert Claim(1, key.encode()) == space.claim(key, MINE)
        for name in names:
            assert {1: f"{key}/{name}".encode()} == space.pages(key, name, [1, 2])


def test_spaces_are_apart(place: Place, clock: FakeClock) -> None:
    """
    Containers of other names have other sessions and other owners.
    """
    chat, shop = place.space(clock, "chat"), place.space(clock, "shop")
    chat.join(MINE, LEASE_S)
    with pytest.raises(StaleOwner):
        shop.claim("a", MINE)
    shop.join(MINE, LEASE_S)
    saved(chat, MINE, entry("a", record=b"chat", release=True))
    assert Claim(0, None) == shop.claim("a", MINE)
    saved(shop, MINE, entry("a", record=b"shop"))
    chat.leave(MINE)
    assert shop.beat(MINE, LEASE_S)
    assert (1, 4) == chat.count()
    assert (0, 0) == shop.count()
    assert ["a"] == shop.ids()
    found = chat.read("a")
    assert found is not None
    assert b"chat" == found.record


# -- wanting ---------------------------------------------------------------------------


def test_who_is_refused_is_noted(mine: Space, other: Space) -> None:
    """
    The owner learns which of its sessions others want, and no others.
    """
    for key in "abc":
        mine.claim(key, MINE)
    assert [] == mine.wanted(MINE)
    other.claim("b", OTHER)
    other.claim("d", OTHER)
    assert ["b"] == mine.wanted(MINE)
    assert ["b"] == mine.wanted(MINE)
    assert [] == other.wanted(OTHER)
    other.claim("a", OTHER)
    assert {"a", "b"} == set(mine.wanted(MINE))


def test_what_was_given_back_is_not_wanted_of_its_giver(
    mine: Space, other: Space
) -> None:
    """
    Nor of who then got it, who is the one that asked.
    """
    saved(mine, MINE, entry("a"), entry("b"))
    assert Held(MINE) == other.claim("a", OTHER)
    assert Held(MINE) == other.claim("b", OTHER)
    mine.release("a", MINE)
    assert ["b"] == mine.wanted(MINE)
    mine.put(MINE, [entry("b", 2, release=True)])
    assert [] == mine.wanted(MINE)
    assert Claim(1, b"record", contended=False) == other.claim("a", OTHER)
    assert [] == other.wanted(OTHER)
    other.release("a", OTHER)
    assert Claim(1, b"record", contended=False) == mine.claim("a", MINE)


def test_a_claim_tells_that_others_have_asked(
    mine: Space, other: Space, clock: FakeClock
) -> None:
    """
    Who takes a session again that another one waits for should give it back soon.
    """
    mine.claim("a", MINE)
    other.claim("a", OTHER)
    mine.release("a", MINE)
    assert Claim(0, None, contended=True) == mine.claim("a", MINE)
    assert ["a"] == mine.wanted(MINE)
    mine.release("a", MINE)
    clock.advance(10)
    mine.beat(MINE, 100)
    assert Claim(0, None, contended=True) == mine.claim("a", MINE)
    mine.release("a", MINE)
    clock.advance(61)
    assert Claim(0, None, contended=False) == mine.claim("a", MINE)


def test_each_who_waits_counts(mine: Space, other: Space, place: Place) -> None:
    """
    One of two who wait gets it: the other one still waits.
    """
    mine.claim("a", MINE)
    other.join(THIRD, LEASE_S)
    other.claim("a", THIRD)
    other.claim("a", OTHER)
    mine.release("a", MINE)
    assert Claim(0, None, contended=True) == other.claim("a", OTHER)
    assert ["a"] == other.wanted(OTHER)


# -- leases ----------------------------------------------------------------------------


def test_a_lease_runs_out(mine: Space, other: Space, clock: FakeClock) -> None:
    """
    Then its sessions are anybody's, and whoever had it can do nothing any more.
    """
    saved(mine, MINE, entry("a"), entry("b"))
    clock.advance(LEASE_S - 1)
    assert other.beat(OTHER, LEASE_S)
    assert Held(MINE) == other.claim("a", OTHER)
    clock.advance(1)
    assert Claim(1, b"record") == other.claim("a", OTHER)
    assert [False, False] == mine.put(MINE, [entry("a", 2), entry("b", 2)])
    assert not mine.beat(MINE, LEASE_S)
    with pytest.raises(StaleOwner):
        mine.claim("c", MINE)
    assert Claim(1, b"record") == other.claim("b", OTHER)


def test_a_beat_begins_the_lease_anew(
    mine: Space, other: Space, clock: FakeClock
) -> None:
    """
    As long as it comes in time.
    """
    mine.claim("a", MINE)
    for _ in range(3):
        clock.advance(LEASE_S - 1)
        assert mine.beat(MINE, LEASE_S)
        assert other.beat(OTHER, LEASE_S)
    assert Held(MINE) == other.claim("a", OTHER)
    clock.advance(LEASE_S)
    assert not mine.beat(MINE, LEASE_S)
    assert not mine.beat(MINE, LEASE_S)
    assert not mine.beat("nobody", LEASE_S)


def test_nobody_writes_after_the_lease(mine: Space, clock: FakeClock) -> None:
    """
    Not even where nobody else has come: it has ended, and is to join again.
    """
    saved(mine, MINE, entry("a"))
    clock.advance(LEASE_S)
    assert [False] == mine.put(MINE, [entry("a", 2)])
    assert not mine.delete("a", MINE)
    mine.quarantine("a", MINE)
    mine.touch(MINE, {"a": 1.0})
    mine.release("a", MINE)
    mine.join(THIRD, LEASE_S)
    assert Claim(1, b"record") == mine.claim("a", THIRD)


def test_a_slow_clock_does_not_help(place: Place, clock: FakeClock) -> None:
    """
    A successor ends an owner; the owner's own clock, which is late, says nothing.
    """
    late = FakeClock()
    slow, fast = place.space(late), place.space(clock)
    slow.join(MINE, LEASE_S)
    saved(slow, MINE, entry("a"), entry("b"))
    clock.advance(LEASE_S + 1)
    fast.join(OTHER, LEASE_S)
    assert isinstance(fast.claim("a", OTHER), Claim)
    assert not slow.beat(MINE, LEASE_S)
    assert [False] == slow.put(MINE, [entry("b", 2)])
    with pytest.raises(StaleOwner):
        slow.claim("c", MINE)


def test_leaving_frees_everything(mine: Space, other: Space) -> None:
    """
    At once, and also what was never written; leaving twice is no mistake.
    """
    saved(mine, MINE, entry("a"))
    mine.claim("b", MINE)
    mine.leave(MINE)
    mine.leave(MINE)
    assert Claim(1, b"record") == other.claim("a", OTHER)
    assert Claim(0, None) == other.claim("b", OTHER)
    assert not mine.beat(MINE, LEASE_S)


def test_the_dead_are_reaped(mine: Space, other: Space, clock: FakeClock) -> None:
    """
    Those whose lease has run out; the sessions that came free are counted.
    """
    saved(mine, MINE, entry("a"), entry("b"), entry("c", release=True))
    mine.claim("never written", MINE)
    saved(other, OTHER, entry("d"))
    assert 0 == other.reap()
    clock.advance(LEASE_S - 1)
    other.beat(OTHER, LEASE_S)
    clock.advance(1)
    assert 2 == other.reap()
    assert 0 == other.reap()
    assert not mine.beat(MINE, LEASE_S)
    assert (3, 18) == other.count()


def dead_identity() -> str:
    """
    The identity of a process on this machine that has ended.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, identity().encode())
        os._exit(0)
    os.waitpid(child, 0)
    found = os.read(reading, 1000).decode()
    os.close(reading)
    os.close(writing)
    return found


def test_the_sessions_of_a_process_that_has_gone(shared: Place) -> None:
    """
    They are free at once; its lease, which runs on, is not waited for.
    """
    space = shared.space(SystemClock())
    gone, here = f"{dead_identity()}:1", f"{identity()}:1"
    for owner in (gone, here, f"{here}2"):
        space.join(owner, 1000)
    saved(space, gone, entry("a"), entry("b"))
    saved(space, here, entry("c"))
    found = space.read("a")
    assert found is not None
    assert found.owner is None
    assert Claim(1, b"record") == space.claim("a", f"{here}2")
    assert not space.beat(gone, 1000)
    assert Claim(1, b"record") == space.claim("b", f"{here}2")
    assert Held(here) == space.claim("c", f"{here}2")


def test_a_process_that_has_gone_is_reaped(shared: Place) -> None:
    """
    And whoever lives is not.
    """
    space = shared.space(SystemClock())
    gone, here = f"{dead_identity()}:1", f"{identity()}:1"
    space.join(gone, 1000)
    space.join(here, 1000)
    saved(space, gone, entry("a"), entry("b", release=True))
    saved(space, here, entry("c"))
    assert 1 == space.reap()
    assert not space.beat(gone, 1000)
    assert space.beat(here, 1000)


# -- writing ---------------------------------------------------------------------------


def test_only_the_owner_writes(mine: Space, other: Space) -> None:
    """
    In a batch each entry is judged by itself, and what is refused is left alone.
    """
    saved(mine, MINE, entry("a"), entry("b"))
    saved(other, OTHER, entry("c"))
    mine.release("b", MINE)
    entries = [entry(key, 2, b"new") for key in "abcd"]
    assert [True, False, False, False] == mine.put(MINE, entries)
    assert Claim(2, b"new") == mine.claim("a", MINE)
    assert Claim(1, b"record") == mine.claim("b", MINE)
    assert Claim(1, b"record") == other.claim("c", OTHER)
    assert Claim(0, None) == other.claim("d", OTHER)
    assert [] == mine.put(MINE, [])


def test_a_write_may_give_back(mine: Space, other: Space) -> None:
    """
    Written and nobody's in one; the next write is refused.
    """
    saved(mine, MINE, entry("a", release=True))
    assert [False] == mine.put(MINE, [entry("a", 2)])
    assert Claim(1, b"record") == other.claim("a", OTHER)


def test_a_large_batch(mine: Space, other: Space) -> None:
    """
    Many entries at once do as one by one.
    """
    ids = [f"session {number}" for number in range(500)]
    for key in ids:
        mine.claim(key, MINE)
    held = set(ids[::7])
    for key in held:
        mine.release(key, MINE)
        other.claim(key, OTHER)
    entries = [entry(key, release=number % 2 == 0) for number, key in enumerate(ids)]
    assert [key not in held for key in ids] == mine.put(MINE, entries)
    again = mine.put(MINE, entries)
    assert [n % 2 == 1 and key not in held for n, key in enumerate(ids)] == again
    assert [key for key in ids if key not in held] == mine.ids()


def test_records_of_any_bytes(mine: Space) -> None:
    """
    Empty ones, zeros, and large ones come back as they were.
    """
    records = [b"", b"\0", bytes(range(256)) * 5000]
    for number, record in enumerate(records):
        saved(mine, MINE, entry(f"{number}", record=record, release=True))
        assert Claim(1, record) == mine.claim(f"{number}", MINE)
        found = mine.read(f"{number}")
        assert found is not None
        assert record == found.record
        assert len(record) == found.size


def test_giving_back_unchanged(mine: Space, other: Space) -> None:
    """
    Only the owner can, and its record stays as it was.
    """
    saved(mine, MINE, entry("a"))
    other.release("a", OTHER)
    assert Held(MINE) == other.claim("a", OTHER)
    mine.release("a", MINE)
    mine.release("a", MINE)
    assert Claim(1, b"record") == other.claim("a", OTHER)
    mine.release("never heard of", MINE)


def test_only_the_owner_deletes(mine: Space, other: Space) -> None:
    """
    Record and pages are gone, and what comes next under that id is new.
    """
    saved(mine, MINE, entry("a", pages={("m", 1): b"page"}), entry("b"))
    assert not other.delete("a", OTHER)
    assert mine.delete("a", MINE)
    assert not mine.delete("never heard of", MINE)
    assert ["b"] == mine.ids()
    assert mine.read("a") is None
    assert {} == mine.pages("a", "m", [1])
    assert Claim(0, None) == other.claim("a", OTHER)
    assert [True] == other.put(OTHER, [entry("a", record=b"new")])
    assert {} == mine.pages("a", "m", [1])
    found = mine.read("a")
    assert found is not None
    assert 3 == found.size


def test_deleting_what_was_never_written(mine: Space, other: Space) -> None:
    """
    It was the owner's, and is nobody's afterwards.
    """
    mine.claim("a", MINE)
    assert mine.delete("a", MINE)
    assert Claim(0, None) == other.claim("a", OTHER)


def test_a_record_put_aside(mine: Space, other: Space) -> None:
    """
    Nobody is given it any more; the session is still its owner's, and as new.
    """
    saved(mine, MINE, entry("a", 5, pages={("m", 1): b"page"}), entry("b"))
    other.quarantine("a", OTHER)
    assert Claim(5, b"record") == mine.claim("a", MINE)
    mine.quarantine("a", MINE)
    assert Claim(0, None) == mine.claim("a", MINE)
    assert Held(MINE) == other.claim("a", OTHER)
    assert mine.read("a") is None
    assert {} == mine.pages("a", "m", [1])
    assert ["b"] == mine.ids()
    assert [True] == mine.put(MINE, [entry("a", 1, b"new", release=True)])
    assert Claim(1, b"new") == other.claim("a", OTHER)
    mine.quarantine("never heard of", MINE)


# -- pages -----------------------------------------------------------------------------


def test_pages_are_written_and_taken_away(mine: Space) -> None:
    """
    With the record; those that are not named stay.
    """
    first = {("m", 1): b"one", ("m", 2): b"two", ("other", 1): b"else"}
    saved(mine, MINE, entry("a", pages=first))
    assert {1: b"one", 2: b"two"} == mine.pages("a", "m", [1, 2, 3])
    assert {2: b"two"} == mine.pages("a", "m", [2])
    assert {1: b"else"} == mine.pages("a", "other", [1])
    assert {} == mine.pages("a", "m", [])
    assert {} == mine.pages("never heard of", "m", [1])
    then = {("m", 1): None, ("m", 2): b"2", ("m", 3): b"three", ("m", 9): None}
    mine.put(MINE, [entry("a", 2, pages=then)])
    assert {2: b"2", 3: b"three"} == mine.pages("a", "m", range(10))
    assert {1: b"else"} == mine.pages("a", "other", range(10))


def test_pages_of_many_numbers(mine: Space) -> None:
    """
    As many as one likes at once.
    """
    pages = {("m", number): b"%d" % number for number in range(1500)}
    saved(mine, MINE, entry("a", pages=pages))
    found = mine.pages("a", "m", range(1500))
    assert {number: page for (_, number), page in pages.items()} == found


def test_pages_have_a_size(mine: Space) -> None:
    """
    What is read and counted is the record with its pages, whatever changed last.
    """
    saved(mine, MINE, entry("a", pages={("m", 1): b"x" * 100, ("m", 2): b"y" * 10}))
    sizes = []
    for version, pages in enumerate(
        ({}, {("m", 1): b"x" * 50}, {("m", 2): None}, {("m", 3): b""}), start=2
    ):
        mine.put(MINE, [entry("a", version, pages=pages)])
        found = mine.read("a")
        assert found is not None
        sizes.append(found.size - 6)
    assert [110, 60, 50, 50] == sizes
    mine.release("a", MINE)
    assert (1, 56) == mine.count()


def test_pages_of_others_are_left_alone(mine: Space, other: Space) -> None:
    """
    A write that is refused changes no page.
    """
    saved(mine, MINE, entry("a", pages={("m", 1): b"page"}))
    assert [False] == other.put(OTHER, [entry("a", 2, pages={("m", 1): b"stolen"})])
    assert [True, False] == mine.put(
        MINE,
        [
            entry("a", 2, pages={("m", 2): b"two"}, release=True),
            entry("a", 3, pages={("m", 1): b"late"}),
        ],
    )
    assert {1: b"page", 2: b"two"} == other.pages("a", "m", [1, 2])


# -- reading ---------------------------------------------------------------------------


def test_reading_without_claiming(mine: Space, other: Space, clock: FakeClock) -> None:
    """
    All that is stored, and who has it as long as that is alive.
    """
    saved(mine, MINE, entry("a", 3, expires_at=12.5))
    found = other.read("a")
    assert found is not None
    assert (3, b"record", 12.5, MINE, 6) == (
        found.version,
        found.record,
        found.expires_at,
        found.owner,
        found.size,
    )
    clock.advance(LEASE_S)
    found = other.read("a")
    assert found is not None
    assert found.owner is None
    assert other.read("b") is None


def test_what_is_due(mine: Space, clock: FakeClock) -> None:
    """
    Nobody's sessions that have expired, the earliest first, and not more than asked.
    """
    now = clock.time()
    ends = {"c": now + 3, "a": now + 1, "b": now + 2, "never": None, "d": now + 4}
    for key, end in ends.items():
        saved(mine, MINE, entry(key, expires_at=end, release=True))
    assert now + 1 == mine.next_due()
    assert [] == mine.due(now, 10)
    assert ["a", "b"] == mine.due(now + 2, 10)
    assert ["a", "b", "c"] == mine.due(now + 9, 3)
    mine.claim("a", MINE)
    assert ["b", "c", "d"] == mine.due(now + 9, 10)
    assert now + 2 == mine.next_due()
    for key in "bcd":
        mine.claim(key, MINE)
    assert [] == mine.due(now + 9, 10)
    assert mine.next_due() is None


def test_a_later_end(mine: Space, other: Space, clock: FakeClock) -> None:
    """
    Noted for the owner's own alone, without a new version.
    """
    now = clock.time()
    saved(mine, MINE, entry("a", expires_at=now + 1), entry("b", expires_at=now + 1))
    mine.claim("never written", MINE)
    saved(other, OTHER, entry("c", expires_at=now + 1))
    mine.touch(MINE, {"a": now + 9, "b": None, "c": now + 9, "never written": 1.0})
    mine.touch(MINE, {})
    ends = {}
    for key in "abc":
        found = mine.read(key)
        assert found is not None
        assert 1 == found.version
        ends[key] = found.expires_at
    assert {"a": now + 9, "b": None, "c": now + 1} == ends
    mine.leave(MINE)
    other.leave(OTHER)
    assert ["c"] == other.due(now + 2, 10)
    assert [] == [key for key in other.ids() if key == "never written"]


def test_counting(mine: Space, other: Space) -> None:
    """
    What has a record and is nobody's; all ids, the longest known first.
    """
    for key in ("c", "a", "b"):
        saved(mine, MINE, entry(key, record=b"x" * 10, release=True))
    assert (3, 30) == other.count()
    mine.claim("a", MINE)
    mine.claim("new", MINE)
    assert (2, 20) == other.count()
    mine.put(MINE, [entry("a", 2, record=b"x" * 50, release=True)])
    assert (3, 70) == other.count()
    assert ["c", "a", "b"] == other.ids()


def test_nothing_is_read_where_nobody_has_joined(
    place: Place, clock: FakeClock
) -> None:
    """
    A space that nobody has used is empty.
    """
    space = place.space(clock)
    assert [] == space.ids()
    assert (0, 0) == space.count()
    assert space.next_due() is None
    assert [] == space.due(1e12, 10)
    assert space.read("a") is None
    assert {} == space.pages("a", "m", [1])
    assert [] == space.wanted(MINE)
    assert 0 == space.reap()
    assert not space.beat(MINE, LEASE_S)
    assert [False] == space.put(MINE, [entry("a")])
    assert not space.delete("a", MINE)
    space.release("a", MINE)
    space.touch(MINE, {"a": None})
    space.leave(MINE)


def test_closed_is_opened_again(mine: Space, other: Space) -> None:
    """
    Closing ends nothing that is stored, claims included.
    """
    saved(mine, MINE, entry("a"))
    mine.close()
    other.close()
    mine.close()
    assert Held(MINE) == other.claim("a", OTHER)
    assert ["a"] == mine.wanted(MINE)
    assert [True] == mine.put(MINE, [entry("a", 2)])


# -- many at once ----------------------------------------------------------------------


def test_threads_never_share_a_session(place: Place) -> None:
    """
    Many owners in many threads: whoever has a session is alone with it, and of what
    they have written nothing is lost.
    """
    spaces = [place.space(SystemClock()) for _ in range(2)]
    inside: Counter[str] = Counter()
    problems: list[object] = []
    written: Counter[str] = Counter()
    guard = threading.Lock()
    ids = ["a", "b", "c"]

    def work(number: int) -> None:
        space, owner = spaces[number % 2], f"owner {number}"
        try:
            space.join(owner, 1000)
            for turn in range(60):
                key = ids[(number + turn) % 3]
                found = space.claim(key, owner)
                if isinstance(found, Held):
                    continue
                with guard:
                    inside[key] += 1
                    if inside[key] > 1:
                        problems.append(f"{id} is shared")
                before = int(found.record or b"0")
                if before != found.version:
                    problems.append((before, found.version))
                with guard:
                    inside[key] -= 1
                record = b"%d" % (before + 1)
                done = space.put(
                    owner, [entry(key, found.version + 1, record, release=True)]
                )
                if done != [True]:
                    problems.append(done)
                with guard:
                    written[key] += 1
            space.leave(owner)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [] == problems
    for key in ids:
        stored = spaces[0].read(key)
        assert stored is not None
        assert written[key] == stored.version == int(stored.record)
    assert 0 < sum(written.values())


def test_a_forked_child_goes_on(shared: Place) -> None:
    """
    It has connections of its own: what it writes is there, and the parent's claims
    are the parent's.
    """
    space = shared.space(SystemClock())
    here = f"{identity()}:parent"
    space.join(here, 1000)
    saved(space, here, entry("a"))
    child = os.fork()
    if not child:
        status = 1
        try:
            mine = f"{identity()}:child"
            space.join(mine, 1000)
            refused = space.claim("a", mine)
            saved(space, mine, entry("b", record=b"child", release=True))
            status = 0 if refused == Held(here) else 2
            space.leave(mine)
            space.close()
        finally:
            os._exit(status)
    assert [True] == space.put(here, [entry("a", 2)])
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert Claim(1, b"child") == space.claim("b", here)


def test_a_forked_child_that_is_killed(shared: Place) -> None:
    """
    What it had is free as soon as it is dead.
    """
    space = shared.space(SystemClock())
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        mine = f"{identity()}:child"
        space.join(mine, 1000)
        saved(space, mine, entry("a"))
        os.write(writing, b".")
        signal.pause()
    assert b"." == os.read(reading, 1)
    here = f"{identity()}:parent"
    space.join(here, 1000)
    assert isinstance(space.claim("a", here), Held)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    assert Claim(1, b"record") == space.claim("a", here)
