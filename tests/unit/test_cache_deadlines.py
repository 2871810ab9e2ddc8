"""
When entries end: against a model, and that nothing of a dropped key stays.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from memguard._kinds.cache.deadlines import Deadlines
from memguard._kinds.container import NEVER

KEYS = st.integers(0, 9)
TIMES = st.sampled_from(
    [0.0, 0.01, 0.05, 0.051, 0.1, 1.0, 1.02, 1.024999, 1.05, 7.5, 1e6, 1e9]
)
STEPS = st.one_of(
    st.tuples(st.just("set"), KEYS, TIMES | st.just(NEVER)),
    st.tuples(st.just("drop"), KEYS, st.none()),
    st.tuples(st.just("take"), st.integers(1, 4), TIMES),
    st.tuples(st.just("clear"), st.none(), st.none()),
)


def in_order(deadlines: Deadlines, model: dict[Any, float]) -> None:
    """
    All tables tell of the same keys.
    """
    assert model == deadlines._at
    assert sorted(model) == sorted(
        key for bucket in deadlines._buckets.values() for key in bucket
    )
    assert all(deadlines._buckets.values())
    assert set(deadlines._buckets) <= set(deadlines._heap)
    assert bool(model) is bool(deadlines)


@settings(deadline=None, max_examples=200)
@given(steps=st.lists(STEPS, max_size=40))
def test_is_what_a_plain_table_of_times_is(steps: list[Any]) -> None:
    """
    Set, drop and take in any order: who is taken is due, and who is due is taken.
    """
    deadlines = Deadlines()
    model: dict[int, float] = {}
    for verb, one, when in steps:
        if verb == "set":
            deadlines.set(one, when)
            model.pop(one, None)
            if when != NEVER:
                model[one] = when
        elif verb == "drop":
            deadlines.drop(one)
            model.pop(one, None)
        elif verb == "clear":
            deadlines.clear()
            model.clear()
        else:
            due = {key for key, at in model.items() if at <= when}
            taken = deadlines.take_due(when, one)
            assert len(taken) == len(set(taken)) == min(one, len(due))
            assert set(taken) <= due
            for key in taken:
                del model[key]
        in_order(deadlines, model)
        first = min(model.values(), default=NEVER)
        assert deadlines.next() <= first
        assert first == NEVER or first - deadlines.next() <= 0.0500001
        if model:
            assert not deadlines.has_due(first - 0.06)
            assert deadlines.has_due(first + 0.0500001)
        else:
            assert not deadlines.has_due(1e300)


def test_a_bucket_is_taken_in_parts() -> None:
    """
    A thousand entries that end together leave in the slices that were asked for.
    """
    deadlines = Deadlines()
    for key in range(1000):
        deadlines.set(key, 3.0)
    taken: list[int] = []
    while part := deadlines.take_due(3.0, 64):
        assert len(part) <= 64
        taken += part
    assert set(range(1000)) == set(taken)
    in_order(deadlines, {})
    assert NEVER == deadlines.next()


def test_the_bucket_of_this_moment_is_only_due_in_part() -> None:
    """
    Two deadlines in the same 50 ms: the later one stays.
    """
    deadlines = Deadlines()
    deadlines.set("early", 1.01)
    deadlines.set("late", 1.04)
    assert [] == deadlines.take_due(1.009, 10)
    assert ["early"] == deadlines.take_due(1.02, 10)
    assert [] == deadlines.take_due(1.02, 10)
    in_order(deadlines, {"late": 1.04})
    assert ["late"] == deadlines.take_due(1.04, 10)


def test_deadlines_that_come_and_go_leave_no_trace() -> None:
    """
    The heap forgets buckets that nobody is in, however long it lives.
    """
    deadlines = Deadlines()
    for number in range(20_000):
        deadlines.set("same", 100.0 + number)
    assert len(deadlines._heap) <= 2 + 64 + 1
    in_order(deadlines, {"same": 20_099.0})
    for number in range(5000):
        deadlines.set(number, 10.0 + number)
    for number in range(5000):
        deadlines.drop(number)
    assert len(deadlines._heap) <= 2 + 64 + 1
    in_order(deadlines, {"same": 20_099.0})


@pytest.mark.parametrize("deadline", [1e-300, 1e15, 1e300])
def test_odd_times(deadline: float) -> None:
    """
    Very soon, and later than any duration that is let in.
    """
    deadlines = Deadlines()
    deadlines.set("key", deadline)
    assert deadlines.next() <= deadline
    assert [] == deadlines.take_due(-1.0, 5)
    assert ["key"] == deadlines.take_due(NEVER, 5)
    in_order(deadlines, {})
