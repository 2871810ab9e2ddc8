"""
What more room would have been worth: how long ago a victim left, when it is missed.
"""

from __future__ import annotations

import random

import pytest

from memguard._kinds.cache.shadow import _WRAP, Shadow
from memguard._kinds.demand import DEPTHS


def expected(ages: list[int], entries: int) -> tuple[int, ...]:
    """
    How many of the misses more room by each depth would have spared.
    """
    return tuple(sum(age <= share * entries + 1 for age in ages) for share in DEPTHS)


def test_the_age_of_a_victim_is_the_number_of_those_after_it() -> None:
    """
    Misses at known ages are counted for all depths that reach so far.
    """
    shadow = Shadow(100)
    for key in range(150):
        shadow.note(key)
    ages = [0, 1, 2, 5, 6, 12, 13, 25, 26, 50, 51, 100, 101, 149]
    for age in ages:
        shadow.missed(149 - age, 100)
    assert expected(ages, 100) == shadow.take()
    assert (0,) * len(DEPTHS) == shadow.take()


def test_strangers_tell_nothing() -> None:
    """
    Nor does who left so long ago that others have taken the place.
    """
    shadow = Shadow(10)
    for key in range(5):
        shadow.note(key)
    for key in range(1000, 3000):
        shadow.missed(key, 10)
    assert (0,) * len(DEPTHS) == shadow.take()
    for key in range(10_000, 20_000):
        shadow.note(key)
    shadow.missed(0, 10)
    assert (0,) * len(DEPTHS) == shadow.take()


def test_counts_go_up_with_the_depth() -> None:
    """
    Who is spared by a little more room is spared by more.
    """
    shadow = Shadow(500)
    draw = random.Random(2)
    for _ in range(5000):
        key = draw.randrange(1500)
        shadow.missed(key, 500)
        shadow.note(key)
    counts = shadow.take()
    assert list(counts) == sorted(counts)
    assert counts[-1] > 0


@pytest.mark.parametrize("entries", [0, 1, 2])
def test_of_next_to_nothing(entries: int) -> None:
    """
    A cache that was empty when somebody asked.
    """
    shadow = Shadow(entries)
    shadow.note("a")
    shadow.missed("a", entries)
    assert (1,) * len(DEPTHS) == shadow.take()


def test_the_count_of_victims_may_turn_over() -> None:
    """
    After four thousand million of them ages are right all the same.
    """
    shadow = Shadow(100)
    shadow._number = _WRAP - 2
    for key in range(6):
        shadow.note(key)
    shadow.missed(0, 100)
    assert expected([5], 100) == shadow.take()
