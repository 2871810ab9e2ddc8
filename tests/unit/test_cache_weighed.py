"""
Who leaves a cache that is bound by bytes.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from memguard._kinds.cache.cells import GONE, Cell
from memguard._kinds.cache.engine import ByCount
from memguard._kinds.cache.weighed import ByWeight
from memguard._kinds.container import NEVER


def cell(weight: int) -> Cell:
    """
    What is held for an entry of this weight.
    """
    return Cell("value", weight, NEVER, NEVER)


def filled(weights: dict[Any, int]) -> ByWeight:
    """
    An engine with entries of these weights, in this order, ready to evict.
    """
    engine = ByWeight(None)
    for key, weight in weights.items():
        engine.fill(key, cell(weight), 0)
    engine.settle()
    return engine


def in_order(engine: ByWeight) -> None:
    """
    Everybody has the place that its cell tells; the heads are those of the queues.
    """
    places: dict[Any, int] = {}
    for keys, dues in zip(engine._keys, engine._dues, strict=True):
        assert len(keys) == len(dues)
        assert list(dues) == sorted(dues)
        for key, due in zip(keys, dues, strict=True):
            held = engine.table.get(key)
            if held is not None and held.due == due:
                places[key] = places.get(key, 0) + 1
    assert set(engine.table) == set(places)
    firsts = [(dues[0], at) for at, dues in enumerate(engine._dues) if dues]
    assert sorted(firsts) == sorted(engine._heads)
    assert sum(map(len, engine._keys)) <= 2 * len(engine.table) + 64 + 1
    assert set(engine.front) | engine.seen <= set(engine.table)


def leave(engine: ByWeight, count: int) -> list[Any]:
    """
    The next ones to leave.
    """
    return [engine.evict()[0] for _ in range(count)]


def test_entries_of_one_weight_leave_in_order() -> None:
    """
    The first to come is the first to go, and in the end nobody is left.
    """
    engine = filled(dict.fromkeys(range(20), 100))
    in_order(engine)
    assert list(range(20)) == leave(engine, 20)
    assert (GONE, GONE) == engine.evict()
    in_order(engine)


def test_heavy_ones_leave_before_light_ones() -> None:
    """
    Even if they came later.
    """
    engine = filled({"light": 10, "heavy": 10_000, "middle": 500})
    assert ["heavy", "middle", "light"] == leave(engine, 3)


def test_light_ones_do_not_stay_for_ever() -> None:
    """
    The cache ages: after many heavy ones a light one that nobody uses goes, too.
    """
    engine = filled({"light": 10})
    heavy = 0
    while "light" in engine.table:
        heavy += 1
        assert heavy < 5000
        engine.admit(heavy, cell(1000))
        engine.evict()
    # The credit of a byte in a light one is larger by about their ratio to the 0.8.
    assert 10 < heavy
    in_order(engine)


def test_who_was_used_stays_longer() -> None:
    """
    Of the same weight; the mark is taken, and is good for one more turn.
    """
    engine = filled(dict.fromkeys(range(40), 100))
    for key in range(0, 40, 2):
        engine.expose(key, "value")
    assert list(range(1, 40, 2)) == leave(engine, 20)
    in_order(engine)
    assert set(range(0, 40, 2)) == set(leave(engine, 20))


def test_a_use_lifts_up_to_the_highest_level() -> None:
    """
    Who is used again and again waits in a queue of lighter ones, two levels up at most.
    """
    engine = filled({"used": 1000, **dict.fromkeys(range(60), 1000)})
    at = next(number for number, keys in enumerate(engine._keys) if keys)
    for number in range(300):
        engine.expose("used", "value")
        engine.admit(("new", number), cell(1000))
        engine.evict()
    assert "used" in engine.table
    places = [number for number, keys in enumerate(engine._keys) if "used" in keys]
    assert [at - 4] == places
    in_order(engine)


def test_a_ghost_that_comes_back_begins_one_level_up() -> None:
    """
    A stranger does not.
    """
    engine = filled(dict.fromkeys(range(10), 1000))
    left = leave(engine, 1)[0]
    engine.admit("stranger", cell(1000))
    engine.admit(left, cell(1000))
    at = {key: n for n, keys in enumerate(engine._keys) for key in keys}
    assert at["stranger"] - 2 == at[left]
    # And only once.
    engine.remove(left)
    engine.admit(left, cell(1000))
    in_order(engine)
    assert [left] == list(engine._keys[at["stranger"]])[-1:]


@pytest.mark.parametrize(("weight", "moves"), [(1000, False), (10, True), (0, True)])
def test_another_weight_has_another_place(weight: int, moves: bool) -> None:
    """
    A new value of about the same weight keeps the place; any other gets a new one.
    """
    engine = filled({"key": 1010, "other": 1000})
    due = engine.table["key"].due
    new = cell(weight)
    engine.replace("key", new)
    assert new is engine.table["key"]
    assert moves is (new.due != due)
    in_order(engine)
    assert {"key", "other"} == set(leave(engine, 2))
    assert (GONE, GONE) == engine.evict()


def test_weights_from_nothing_to_the_largest() -> None:
    """
    They all have a queue, and all can leave.
    """
    weights = {number: 2**number for number in range(80)} | {"nothing": 0}
    engine = filled(weights)
    in_order(engine)
    assert set(weights) == set(leave(engine, 81))


def test_stale_places_are_bounded() -> None:
    """
    Put, use, replace, invalidate and put again, for long.
    """
    engine = filled(dict.fromkeys(range(50), 100))
    draw = random.Random(3)
    for number in range(10_000):
        key = draw.randrange(120)
        what = draw.random()
        if key not in engine.table:
            engine.admit(key, cell(draw.randrange(5000)))
        elif what < 0.3:
            engine.remove(key)
        elif what < 0.6:
            engine.replace(key, cell(draw.randrange(5000)))
        else:
            engine.expose(key, "value")
        while len(engine.table) > 60:
            engine.evict()
        if not engine.is_settled():
            engine.settle()
        if number % 500 == 0:
            in_order(engine)
    in_order(engine)
    entries = len(engine.table)
    assert entries == len(set(leave(engine, entries)) - {GONE})
    assert {} == engine.table


def test_if_all_are_used_one_goes_all_the_same() -> None:
    """
    A search ends.
    """
    engine = filled(dict.fromkeys(range(500), 100))
    for key in range(500):
        engine.expose(key, "value")
    before = len(engine.front)
    assert engine.evict()[0] in range(500)
    assert before - len(engine.front) <= 64 + 1
    in_order(engine)


def test_takes_over_from_counting() -> None:
    """
    Entries with their marks; the light ones stay, and the used ones.
    """
    counting = ByCount(None)
    for key in range(40):
        counting.fill(key, cell(10 if key < 20 else 1000), 40)
    for key in (0, 20):
        counting.expose(key, "value")
    engine = ByWeight(None)
    engine.take_over(counting)
    in_order(engine)
    assert engine.front is counting.front
    assert set(range(21, 40)) == set(leave(engine, 19))


def test_clear_begins_anew() -> None:
    """
    The age as well: what comes then is as good as what came first.
    """
    engine = filled(dict.fromkeys(range(10), 100))
    leave(engine, 5)
    table, queues = engine.clear()
    assert (5, 5, 5) == (
        len(table),
        *(sum(map(len, q)) for q in (queues[:48], queues[48:96])),
    )
    in_order(engine)
    engine.fill("a", cell(100), 0)
    engine.fill("b", cell(100), 0)
    assert ["a", "b"] == leave(engine, 2)


def test_is_whole_again_after_a_torn_change() -> None:
    """
    Keys without their dues, and entries without a place.
    """
    engine = filled(dict.fromkeys(range(10), 100))
    at = next(number for number, keys in enumerate(engine._keys) if keys)
    engine._keys[at].append("torn")
    engine.table["lost"] = cell(5)
    engine._heads.clear()
    engine.mend()
    in_order(engine)
    assert {*range(10), "lost"} == set(leave(engine, 11))
