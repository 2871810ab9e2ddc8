"""
Trimming, held to a model: what is left is the newest, in its order, within the cap.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from hypothesis import given, strategies as st

from memguard._adopt.containers import ADAPTERS

(CONTAINERS,) = ADAPTERS

steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 40)),
        st.tuples(st.just("take"), st.integers(0, 40)),
        st.tuples(st.just("trim"), st.integers(1, 12)),
    ),
    max_size=60,
)


@given(steps, st.sampled_from([dict, OrderedDict]), st.integers(1, 5))
def test_a_dict_keeps_its_newest_keys(steps: Any, kind: Any, most: int) -> None:
    """
    In the order in which they came; a key that is written again keeps its place.
    """
    table = kind()
    model: list[int] = []
    for step, number in steps:
        if step == "add":
            table[number] = str(number)
            model = model if number in model else [*model, number]
        elif step == "take":
            table.pop(number, None)
            model = [one for one in model if one != number]
        else:
            while len(table) > number:
                taken = CONTAINERS.trim(table, {"max_entries": number}, most)
                assert 0 < len(taken) <= most
            model = model[-number:]
            assert [] == CONTAINERS.trim(table, {"max_entries": number}, most)
        assert model == list(table)


@given(steps, st.sampled_from([list, deque]), st.integers(1, 5))
def test_a_sequence_keeps_its_end(steps: Any, kind: Any, most: int) -> None:
    """
    What is taken out comes back in its order, and nothing of it is left.
    """
    line = kind()
    model: list[int] = []
    for step, number in steps:
        if step == "add":
            line.append(number)
            model.append(number)
        elif step == "take":
            if model:
                line.pop()
                model.pop()
        else:
            taken: list[int] = []
            while len(line) > number:
                taken += CONTAINERS.trim(line, {"max_entries": number}, most)
            excess = max(0, len(model) - number)
            assert model[:excess] == taken
            model = model[excess:]
        assert model == list(line)
