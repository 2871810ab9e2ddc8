from __future__ import annotations

import collections
import contextlib
import io
import sys
import threading
import types
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from memguard._sizing import Estimator, sizeof

flat = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.binary(max_size=30),
)
values = st.recursive(
    flat,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=5), inner, max_size=6),
        st.dictionaries(st.integers(), inner, max_size=3),
        st.lists(inner, max_size=4).map(collections.deque),
        st.frozensets(flat, max_size=4),
    ),
    max_leaves=40,
)


@settings(max_examples=60)
@given(values)
def test_a_second_reference_costs_a_pointer(value: object) -> None:
    """
    Each object counts once, however often it is referred to.
    """
    assert sizeof([value]) + 8 == sizeof([value, value])


@settings(max_examples=60)
@given(values, values)
def test_a_container_is_not_less_than_its_parts(one: object, other: object) -> None:
    """
    Of two parts each is in the whole; what both refer to is there once.
    """
    whole = sizeof((one, other))
    # A flat value by itself is what getsizeof says, in a container it may cost nothing.
    bare = sizeof((None, None))
    assert max(sizeof((one, None)), sizeof((None, other))) <= whole
    assert whole <= sizeof((one, None)) + sizeof((None, other)) - bare


@settings(max_examples=60)
@given(st.lists(values, max_size=60), st.integers(0, 50))
def test_an_estimate_is_a_size(put: list[object], limit: int) -> None:
    """
    Whatever comes after whatever, the estimate is a number of bytes that is plausible.
    """
    estimator = Estimator()
    largest = max((sizeof(value) for value in put), default=0)
    for value in put:
        assert 0 <= estimator.weigh(value) <= 4 * largest + 1000
        assert sizeof(value, limit=limit) >= 0


BASES: tuple[tuple[type, ...], ...] = (
    (),
    (int,),
    (str,),
    (tuple,),
    (list,),
    (dict,),
    (set,),
    (float,),
    (bytes,),
    (ValueError,),
    (collections.OrderedDict,),
    (collections.deque,),
    (io.StringIO,),
    (threading.local,),
    (types.SimpleNamespace,),
    (types.ModuleType,),
)
SLOTS = (
    None,
    (),
    ("__dict__",),
    ("own",),
    ("__weakref__",),
    ("own", "__dict__", "__weakref__"),
)


def fill(one: object, attributes: int) -> None:
    """
    As many attributes as it takes.
    """
    with contextlib.suppress(AttributeError):
        for at in range(attributes):
            setattr(one, f"attribute_{at}", [at])


def replace_dict(one: Any) -> None:
    """
    Another dict in the place of its own, or an empty one.
    """
    try:
        one.__dict__ = {"attribute": 1}
    except (AttributeError, TypeError):
        getattr(one, "__dict__", {}).clear()


@pytest.mark.parametrize(
    "base", BASES, ids=lambda base: base[0].__name__ if base else ""
)
@given(
    slots=st.sampled_from(SLOTS),
    attributes=st.integers(0, 40),
    instances=st.integers(1, 33),
    use=st.sampled_from([None, lambda one: getattr(one, "__dict__", 0), replace_dict]),
)
def test_instances_of_any_make(
    base: tuple[type, ...],
    slots: tuple[str, ...] | None,
    attributes: int,
    instances: int,
    use: Any,
) -> None:
    """
    Attributes in a dict, in slots, beside the instance, added late, taken away, or in a
    dict that was put in the place of another: nothing raises, nothing is absurd.
    """
    try:
        kind: Any = type("Kind", base, {} if slots is None else {"__slots__": slots})
    except TypeError:
        return  # this base takes no such slots
    for _ in range(instances):
        one = kind("name") if base == (types.ModuleType,) else kind()
        fill(one, attributes)
        if use is not None:
            use(one)
        least = 0 if base == (types.ModuleType,) else sys.getsizeof(object())
        assert least <= sizeof(one) < 20_000
