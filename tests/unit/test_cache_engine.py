"""
Who leaves a cache that is bound by the number of its entries.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from memguard._kinds.cache import tables
from memguard._kinds.cache.cells import GONE, Cell
from memguard._kinds.cache.engine import ByCount
from memguard._kinds.cache.ghosts import NOBODY, PRIME
from memguard._kinds.cache.shadow import Shadow
from memguard._kinds.cache.wide import Wide


def filled(entries: int, room: int | None = None) -> ByCount:
    """
    An engine with keys 0, 1, ... in the order of their coming.
    """
    engine = ByCount(None)
    for key in range(entries):
        engine.fill(key, str(key), entries if room is None else room)
    return engine


def settled(entries: int) -> ByCount:
    """
    The same, ready to evict.
    """
    engine = filled(entries)
    engine.settle()
    return engine


def put(engine: ByCount, key: int, most: int) -> list[int]:
    """
    As a cache does it; who left.
    """
    left = []
    if key in engine.table:
        engine.replace(key, str(key))
        return []
    while len(engine.table) >= most:
        left.append(engine.evict()[0])
    if engine.is_settled():
        engine.admit(key, str(key))
    else:
        engine.fill(key, str(key), most)
    return left


def in_order(engine: ByCount) -> None:
    """
    Everybody has a place; marks are of who is there; stale places are bounded.
    """
    table = set(engine.table)
    places = [*engine.probation, *engine.main]
    assert table <= set(places)
    assert set(engine.front) | engine.seen <= table
    assert not set(engine.front) & engine.seen
    assert len(places) <= 2 * len(table) + 64 + 1
    assert 0 <= engine.target <= max(1, len(table))


# -- order -----------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [1, 2, 8, 31])
def test_of_few_the_first_to_come_goes_first(entries: int) -> None:
    """
    In small caches order is that of coming.
    """
    engine = settled(entries)
    assert list(range(entries)) == [engine.evict()[0] for _ in range(entries)]
    assert (GONE, GONE) == engine.evict()


@pytest.mark.parametrize("entries", [1, 5, 40, 400])
def test_everybody_can_be_evicted(entries: int) -> None:
    """
    Each once, with what was held; then nobody is left.
    """
    engine = settled(entries)
    for key in range(0, entries, 3):
        engine.expose(key, str(key))
    left = [engine.evict() for _ in range(entries)]
    assert {(key, str(key)) for key in range(entries)} == set(left)
    assert (GONE, GONE) == engine.evict()
    assert ({}, {}, set()) == (engine.table, dict(engine.front), engine.seen)


def test_who_was_used_stays_longer() -> None:
    """
    The used half outlives the other half, in probation and in main, with either mark.
    """
    engine = settled(200)
    used = set(range(0, 200, 2))
    for key in used:
        if key % 4:
            engine.expose(key, str(key))
        else:
            engine.seen.add(key)
    left = [engine.evict()[0] for _ in range(60)]
    assert not used & set(left)
    in_order(engine)


def test_a_mark_is_good_for_one_more_turn() -> None:
    """
    Who was passed over and is not used again goes the next time.
    """
    engine = settled(4)
    engine.expose(0, "0")
    assert [1, 2, 3, 0] == [engine.evict()[0] for _ in range(4)]


def test_if_all_are_used_one_goes_all_the_same() -> None:
    """
    A search ends, and not after all of a million were looked at.
    """
    engine = settled(1000)
    for key in range(1000):
        engine.expose(key, str(key))
    before = len(engine.front)
    assert engine.evict()[0] in range(1000)
    assert before - len(engine.front) <= 64 + 1
    in_order(engine)


def test_cells_are_marked_by_readers() -> None:
    """
    `used` is a mark as the others are, and is taken.
    """
    engine = ByCount(None)
    cells = [Cell(str(key), 0, 9.0, 9.0) for key in range(3)]
    for key, cell in enumerate(cells):
        engine.fill(key, cell, 3)
    engine.settle()
    cells[0].used = True
    assert (1, cells[1]) == engine.evict()
    assert not cells[0].used
    assert [2, 0] == [engine.evict()[0] for _ in range(2)]


# -- ghosts ----------------------------------------------------------------------------


def test_a_ghost_that_comes_back_moves_the_share() -> None:
    """
    One that left from probation makes it longer, one from main shorter; within limits.
    """
    engine = settled(100)
    assert 10 == engine.target
    engine.admit("new", 1)
    key = engine.evict()[0]
    assert 0 == key
    engine.missed(key)
    engine.missed(key)
    engine.admit(key, "again")
    assert (12, key) == (engine.target, engine.main[-1])
    # It is told once.
    assert engine.young[hash(key) % PRIME % engine.young_slots] == NOBODY
    engine.target = 200
    key = engine.main[0]
    engine.probation.clear()
    while key in engine.table:
        engine.evict()
    engine.target = 12
    engine.missed(key)
    engine.admit(key, "again")
    assert 6 == engine.target
    assert key == engine.main[-1]


def test_a_stranger_waits_in_probation() -> None:
    """
    Who was never here tells nothing.
    """
    engine = settled(100)
    left = engine.evict()[0]
    engine.missed("stranger")
    engine.admit("stranger", 1)
    assert (10, "stranger") == (engine.target, engine.probation[-1])
    # A ghost that nobody has asked for is a stranger, too.
    engine.admit(left, 1)
    assert (10, left) == (engine.target, engine.probation[-1])


def test_ghosts_that_nobody_puts_in_are_forgotten() -> None:
    """
    What was asked for in vain is remembered, but not without a bound; nor is what left
    while nobody asks.
    """
    engine = settled(3000)
    for _ in range(3000):
        engine.evict()
    assert len(engine.left) <= 3000
    for key in range(5000):
        engine.missed(key)
    assert len(engine.coming) <= 64
    assert [] == engine.left
    for key in range(10_000):
        put(engine, key, 100)
        if len(engine.table) == 100:
            engine.evict_some(20)
    assert len(engine.left) <= 1024 + 120
    engine.clear()
    assert ([], set()) == (engine.left, engine.coming)


def test_the_share_keeps_its_limits() -> None:
    """
    However often ghosts come back: from 5 % to 95 %.
    """
    engine = settled(100)
    for number in range(200):
        engine.young[number % engine.young_slots] = number
        engine._returned(number)
    assert 95 == engine.target
    for number in range(200):
        engine.old[number % engine.old_slots] = number
        engine._returned(number)
    assert 5 == engine.target


def test_no_key_is_kept_by_its_ghost() -> None:
    """
    Numbers are all that stays.
    """
    engine = settled(50)
    for key in range(50):
        engine.remove(key)
    for key in range(1000, 1500):
        put(engine, key, 50)
    assert {int} == {type(one) for one in (*engine.young, *engine.old)}


# -- room ------------------------------------------------------------------------------


def test_settling_fits_the_number_of_entries() -> None:
    """
    A cache that evicted when it was small, and grew since, gets as many ghosts.
    """
    engine = settled(10)
    assert engine.is_settled()
    engine.evict()
    for key in range(100, 2100):
        put(engine, key, 4000)
    assert not engine.is_settled()
    engine.settle()
    assert engine.is_settled()
    assert 1500 <= engine.young_slots
    assert len(engine.table) // 20 <= engine.target <= len(engine.table) * 0.95


def test_growing_by_little_keeps_the_ghosts() -> None:
    """
    A cap that is raised one by one does not make a new table each time.
    """
    engine = settled(1000)
    young = engine.young
    for key in range(1000, 1200):
        engine.admit(key, 1)
        engine.settle()
    assert young is engine.young


def test_the_share_is_kept_by_who_shrinks() -> None:
    """
    Half of the entries, half of the share, in however many slices.
    """
    engine = settled(1000)
    engine.target = 300
    while len(engine.table) > 500:
        before = len(engine.table)
        for _ in range(min(20, before - 500)):
            engine.evict()
        engine.shrunk(before)
    assert 145 <= engine.target <= 155
    in_order(engine)
    engine.shrunk(0)


# -- going -----------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [40, 1000])
def test_stale_places_are_bounded(entries: int) -> None:
    """
    Put, use, invalidate and put again, for long: the queues stay in proportion.
    """
    engine = settled(entries)
    draw = random.Random(1)
    for number in range(20_000):
        key = draw.randrange(2 * entries)
        if number % 3 == 0:
            engine.remove(key)
        else:
            put(engine, key, entries)
            if number % 2:
                engine.expose(key, engine.table[key])
        if number % 500 == 0:
            in_order(engine)
    in_order(engine)
    left = [engine.evict()[0] for _ in range(len(engine.table))]
    assert len(left) == len(set(left))
    assert GONE not in left


def test_a_removed_key_leaves_no_mark() -> None:
    """
    It can come back as somebody new.
    """
    engine = settled(5)
    engine.expose(2, "2")
    engine.seen.add(3)
    assert ("2", "3", GONE) == (engine.remove(2), engine.remove(3), engine.remove(9))
    assert ({}, set()) == (dict(engine.front), engine.seen)
    in_order(engine)


def test_some_victims_at_once() -> None:
    """
    As many as were asked for, as `evict` would have chosen them; the used ones stay.
    """
    one, other = settled(300), settled(300)
    for engine in (one, other):
        for key in range(0, 300, 7):
            engine.expose(key, str(key))
        engine.remove(1)
    together = one.evict_some(40)
    assert 40 == len(together)
    assert together == [other.evict()[1] for _ in range(40)]
    assert one.table == other.table
    assert list(one.probation) == list(other.probation)
    in_order(one)
    assert len(one.evict_some(1000)) == 299 - 40
    assert [] == one.evict_some(5)


def test_clear_gives_everything_back() -> None:
    """
    The table and the queues that were; the engine goes on empty.
    """
    engine = settled(20)
    engine.expose(1, "1")
    engine.seen.add(2)
    table, queues = engine.clear()
    assert (20, {}, {}, set()) == (
        len(table),
        engine.table,
        dict(engine.front),
        engine.seen,
    )
    assert 20 <= sum(map(len, queues))
    assert [] == [*engine.probation, *engine.main]
    for key in range(50):
        put(engine, key, 20)
    assert 20 == len(engine.table)
    in_order(engine)


# -- marks -----------------------------------------------------------------------------


def test_what_finds_no_room_on_the_fast_path_is_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The table of the fast path is bounded; others have their mark elsewhere.
    """
    monkeypatch.setattr(tables, "MOST", 3)
    engine = settled(6)
    for key in range(6):
        engine.expose(key, str(key))
    assert ({0, 1, 2}, {3, 4, 5}) == (set(engine.front), engine.seen)
    engine.cover_one(1)
    engine.cover_one(4)
    assert ({0, 2}, {1, 3, 4, 5}) == (set(engine.front), engine.seen)
    engine.expose(4, "4")
    assert ({0, 2, 4}, {1, 3, 5}) == (set(engine.front), engine.seen)
    engine.cover()
    assert ({}, set(range(6))) == (dict(engine.front), engine.seen)
    assert engine.take_mark(3, "3")
    assert not engine.take_mark(3, "3")


def test_another_table_takes_over() -> None:
    """
    Entries, marks and the fast path itself go along.
    """
    before = settled(50)
    for key in range(0, 50, 5):
        before.expose(key, str(key))
    engine = ByCount(None)
    engine.take_over(before)
    assert engine.front is before.front
    assert before.table == engine.table
    in_order(engine)
    engine.settle()
    left = {engine.evict()[0] for _ in range(30)}
    assert not left & set(range(0, 50, 5))


def test_grows_wide_and_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Beyond a number of keys the table is another one, with all that was in there.
    """
    monkeypatch.setattr(tables, "MOST", 100)
    engine = filled(101)
    assert dict is type(engine.table)
    engine.widen()
    assert Wide is type(engine.table)
    assert {key: str(key) for key in range(101)} == dict(engine.table.items())
    assert 8 + 1 == len(engine.table.parts())
    engine.settle()
    for key in range(101, 600):
        put(engine, key, 150)
        if key % 3 == 0:
            engine.expose(key, str(key))
    assert 150 == len(engine.table)
    in_order(engine)
    assert set(engine.some(5)) <= set(engine.table)


def test_is_whole_again_after_a_torn_change() -> None:
    """
    Places and marks after exceptions in the middle: everybody can be evicted again.
    """
    engine = settled(30)
    engine.front["ghost"] = 1
    engine.front[3] = "old"
    engine.seen.add("gone")
    engine.credit = 5
    engine.table["lost"] = 1
    engine.probation.append("stale")
    engine.main.append(0)
    engine.mend()
    assert ({}, set(), 0) == (dict(engine.front), engine.seen, engine.credit)
    in_order(engine)
    assert 31 == len([*engine.probation, *engine.main])
    left = {engine.evict()[0] for _ in range(31)}
    assert {*range(30), "lost"} == left


def test_who_looks_at_misses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With a shadow, victims are noted and newcomers are looked up, one by one.
    """
    told: list[tuple[str, Any]] = []
    monkeypatch.setattr(Shadow, "note", lambda self, key: told.append(("left", key)))
    monkeypatch.setattr(
        Shadow, "missed", lambda self, key, entries: told.append(("came", key))
    )
    engine = settled(40)
    engine.shadow = Shadow(40)
    assert 2 == len(engine.evict_some(2))
    engine.admit("new", 1)
    assert ["left", "left", "came"] == [what for what, _ in told]
