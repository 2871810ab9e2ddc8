"""
Huge values are taken apart in slices, and nothing that anybody else refers to is.
"""

from __future__ import annotations

import gc
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from memguard._kinds import fixed, teardown
from memguard._kinds.teardown import discard, dismantle, is_huge
from memguard._probes import tuples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY = 5_000


class Thing:
    """
    An object that can be told to have ended.
    """

    ended = 0

    def __init__(self, child: Any = None) -> None:
        self.child = child

    def __del__(self) -> None:
        Thing.ended += 1


class Slotted:
    """
    An object without a dictionary.
    """

    __slots__ = ("__weakref__", "child")

    def __init__(self, child: Any = None) -> None:
        self.child = child


@pytest.fixture(autouse=True)
def _collector_off() -> Iterator[None]:
    """
    Everything here ends by its reference count, or not at all.
    """
    gc.collect()
    Thing.ended = 0
    gc.disable()
    yield
    gc.enable()


def no_pause(seconds: float) -> None:
    """
    Goes on at once.
    """
    del seconds


def apart(make: Callable[[], Any]) -> None:
    """
    Take apart what *make* returns.
    """
    bag = [make()]
    dismantle(bag, pause=no_pause)
    assert bag == []


def things(many: int = MANY) -> list[Thing]:
    """
    Many that count their ends.
    """
    return [Thing() for _ in range(many)]


def chain_of(many: int) -> Any:
    """
    Each refers to the next one.
    """
    first = None
    for _ in range(many):
        first = Thing(first)
    return first


def tree_of(depth: int) -> Any:
    """
    Each refers to six.
    """
    return Thing([tree_of(depth - 1) for _ in range(6)] if depth else None)


def closure_over(value: Any) -> Callable[[], Any]:
    """
    A function that refers to it.
    """
    return lambda: value


MADE: dict[str, tuple[int, Callable[[], Any]]] = {
    "list": (MANY, things),
    "tuple": (MANY, lambda: tuple(things())),
    "dict": (MANY, lambda: dict(enumerate(things()))),
    "dict by objects": (MANY, lambda: dict.fromkeys(things())),
    "set": (MANY, lambda: set(things())),
    "frozenset": (MANY, lambda: frozenset(things())),
    "deque": (MANY, lambda: deque(things())),
    "object": (MANY + 1, lambda: Thing(things())),
    "slots": (MANY, lambda: Slotted(things())),
    "lists in a dict": (4_000, lambda: {n: things(40) for n in range(100)}),
    "tuples in tuples": (4_000, lambda: tuple(tuple(things(400)) for _ in range(10))),
    "chain": (MANY, lambda: chain_of(MANY)),
    "tree": (1 + 6 + 36 + 216 + 1296, lambda: tree_of(4)),
    "closure": (MANY, lambda: closure_over(things())),
}


@pytest.mark.parametrize("name", MADE)
def test_all_of_it_ends(name: str) -> None:
    """
    Whatever the shape, every object is destroyed exactly once.
    """
    expected, make = MADE[name]
    apart(make)
    assert expected == Thing.ended


@pytest.mark.parametrize("name", ["list", "tuple", "dict", "set", "object", "tree"])
def test_it_goes_in_slices(name: str) -> None:
    """
    Between two pauses only some of it ends.
    """
    expected, make = MADE[name]
    seen: list[int] = []
    ticks = iter(range(10**9))
    bag = [make()]
    dismantle(
        bag,
        pause=lambda _: seen.append(Thing.ended),
        used=lambda: float(next(ticks)),
    )
    steps = [after - before for before, after in zip([0, *seen], seen, strict=False)]
    assert max(steps) <= max(1100, expected // 4)
    assert len(seen) >= 4


def test_no_more_than_a_step_of_a_tuple_ends_at_once() -> None:
    """
    A tuple is emptied place by place where the interpreter helps.
    """
    ticks = iter(range(10**9))
    seen: list[int] = []
    bag: list[Any] = [tuple(things())]
    dismantle(
        bag,
        pause=lambda _: seen.append(Thing.ended),
        used=lambda: float(next(ticks)),
    )
    assert MANY == Thing.ended
    assert len(seen) >= MANY // 300


def test_a_tuple_goes_without_the_interpreters_help_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Elsewhere its entries are held by others until it is gone.
    """
    monkeypatch.setattr(fixed, "_known_tools", [None])
    apart(lambda: tuple(things()))
    assert MANY == Thing.ended


def test_without_a_lock_there_are_no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Free-threaded builds and other interpreters are left alone.
    """
    monkeypatch.setattr(tuples.sys, "_is_gil_enabled", lambda: False, raising=False)
    assert tuples.tuple_tools() is None


def test_the_interpreter_refuses_a_tuple_of_others() -> None:
    """
    The second check: the interpreter's own, of the reference count.
    """
    tools = tuples.tuple_tools()
    if tools is None:
        pytest.skip("not on this interpreter")
    value = (object(), object())
    other = value
    with pytest.raises(SystemError):
        tools[1](id(value), 0, None)
    assert other[0] is not None


# -- what belongs to others ------------------------------------------------------------


@pytest.mark.parametrize("name", ["list", "tuple", "dict", "set", "frozenset", "deque"])
def test_what_somebody_refers_to_stays_whole(name: str) -> None:
    """
    One reference from elsewhere, and the value is not touched.
    """
    kept = MADE[name][1]()
    apart(lambda: kept)
    assert len(kept) == MANY
    assert Thing.ended == 0


@pytest.mark.parametrize("name", ["list", "tuple", "dict", "set", "frozenset", "deque"])
def test_an_inner_container_of_others_stays_whole(name: str) -> None:
    """
    Each container is looked at by itself: the outer one is ours, this one is not.
    """
    inner = MADE[name][1]()
    apart(lambda: [inner, *range(MANY)])
    apart(lambda: (inner, *range(MANY)))
    apart(lambda: {"inner": inner, **{str(n): n for n in range(MANY)}})
    apart(lambda: Thing(inner))
    apart(lambda: Slotted([[inner]]))
    assert len(inner) == MANY
    assert Thing.ended == 1


def test_a_container_that_two_of_ours_share_ends_with_the_second() -> None:
    """
    What is in there twice is not ours alone before one of the two is gone.
    """

    def make() -> list[Any]:
        shared = things()
        return [Thing(shared), Thing(shared), [shared], *range(MANY)]

    apart(make)
    assert MANY + 2 == Thing.ended


def test_what_an_iterator_is_in_the_middle_of_stays_whole() -> None:
    """
    An iterator refers to its container.
    """
    value = things()
    iterator = iter(value)
    next(iterator)
    bag: list[Any] = [value]
    del value
    dismantle(bag, pause=no_pause)
    assert MANY - 1 == sum(1 for _ in iterator)


@pytest.mark.parametrize("kind", [set, frozenset, deque])
def test_a_weak_reference_protects_what_it_could_bring_back(kind: Any) -> None:
    """
    Sets and deques may be referred to weakly: nobody gets to see a half-empty one.
    """
    bag: list[Any] = [kind(things())]
    seen: list[int] = []
    weak: Any = weakref.ref(bag[0], lambda _: seen.append(1))
    lengths: set[int] = set()

    def look(_: float) -> None:
        found = weak()
        if found is not None:
            lengths.add(len(found))

    ticks = iter(range(10**9))
    dismantle(bag, pause=look, used=lambda: float(next(ticks)))
    assert lengths <= {MANY}
    assert seen == [1]


def test_a_weakly_referred_object_is_whole_until_its_end() -> None:
    """
    Objects are never emptied: their children are only held a little longer.
    """
    lengths: set[int] = set()

    class Watched:
        def __init__(self) -> None:
            self.rows = things()

        def __del__(self) -> None:
            lengths.add(len(self.rows))

    apart(Watched)
    assert lengths == {MANY}
    assert MANY == Thing.ended


def test_what_its_destructor_brings_back_is_whole() -> None:
    """
    A resurrected object has all its children.
    """
    back: list[Any] = []

    class Phoenix:
        def __init__(self) -> None:
            self.rows = things()

        def __del__(self) -> None:
            back.append(self)

    apart(Phoenix)
    assert len(back[0].rows) == MANY
    assert Thing.ended == 0


def test_an_entry_may_keep_its_sibling() -> None:
    """
    A destructor that saves another entry of the same container saves it whole.
    """
    saved: list[Any] = []

    class Saver:
        def __init__(self, other: Any) -> None:
            self.other = other

        def __del__(self) -> None:
            saved.append(self.other)

    def make() -> list[Any]:
        inner = things(1000)
        return [inner, *[None] * MANY, Saver(inner)]

    apart(make)
    assert len(saved[0]) == 1000
    assert Thing.ended == 0


def test_subclasses_are_not_emptied() -> None:
    """
    A subclass may define its own pop: it is dropped, and none of its code runs.
    """

    class Strange(dict[Any, Any]):
        def popitem(self) -> Any:
            raise AssertionError

    apart(lambda: Strange(enumerate(things())))
    assert MANY == Thing.ended


def test_a_cycle_is_left_to_the_collector() -> None:
    """
    What refers to itself is not ours alone.
    """

    def make() -> list[Any]:
        value: list[Any] = things()
        value.append(value)
        return value

    apart(make)
    assert Thing.ended == 0
    gc.collect()
    assert MANY == Thing.ended


def test_a_failing_destructor_stops_nothing() -> None:
    """
    What a destructor raises goes to the interpreter's hook, as always.
    """
    import sys

    told: list[Any] = []

    class Failing:
        def __del__(self) -> None:
            raise ValueError

    hook, sys.unraisablehook = sys.unraisablehook, told.append
    try:
        apart(lambda: [Failing(), *things()])
    finally:
        sys.unraisablehook = hook
    assert len(told) == 1
    assert MANY == Thing.ended


# -- discard ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (False, None),
        (False, "x" * 10**6),
        (False, [1, 2, 3]),
        (False, Thing("a")),
        (True, list(range(MANY))),
        (True, dict.fromkeys(range(MANY))),
        (True, tuple(range(MANY))),
        (True, Thing(list(range(MANY)))),
        (True, Slotted(set(range(MANY)))),
    ],
)
def test_a_quick_look_tells_what_is_huge(expected: bool, value: Any) -> None:
    """
    By length, and for an object by the length of what it refers to.
    """
    assert expected is is_huge(value)


def test_discard_drops_what_is_small_at_once() -> None:
    """
    Nothing is submitted for it, and the list is empty.
    """
    submitted: list[Any] = []
    values: list[Any] = [Thing(), "a", [1, 2]]
    discard(values, submitted.append)
    assert values == submitted == []
    assert Thing.ended == 1


def test_discard_hands_over_what_is_huge() -> None:
    """
    One job at a time takes apart everything that came meanwhile.
    """
    submitted: list[Callable[[], object]] = []
    for _ in range(3):
        discard([things()], submitted.append)
    assert Thing.ended == 0
    assert len(submitted) == 1
    submitted.pop()()
    assert 3 * MANY == Thing.ended
    discard([things()], submitted.append)
    submitted.pop()()
    assert 4 * MANY == Thing.ended


def test_objects_of_a_small_type_are_looked_at_now_and_then() -> None:
    """
    A look costs more than the end of a small object; one in 32 is enough to notice.
    """
    submitted: list[Callable[[], object]] = []
    for _ in range(100):
        discard([Thing()], submitted.append)
    for _ in range(32):
        discard([Thing(things(300))], submitted.append)
    assert len(submitted) == 1
    for _ in range(10):
        submitted.pop()()
        discard([Thing(things(300))], submitted.append)
    submitted.pop()()
    assert 100 + 42 * 301 == Thing.ended


def test_what_is_known_to_be_heavy_is_not_looked_at() -> None:
    """
    A cache that weighs its entries knows better than a quick look.
    """
    submitted: list[Callable[[], object]] = []
    discard([[[[things(MANY)]]]], submitted.append, heavy=True)
    assert Thing.ended == 0
    submitted.pop()()
    assert MANY == Thing.ended


def test_discard_without_a_worker_works_here() -> None:
    """
    Where no guard runs it is done before discard returns.
    """
    discard([things(), Thing(things())])
    assert 2 * MANY + 1 == Thing.ended


def test_many_small_values_go_in_slices_as_well() -> None:
    """
    A cleared cache departs as one long list.
    """
    submitted: list[Callable[[], object]] = []
    discard(things(), submitted.append)
    assert Thing.ended == 0
    submitted.pop()()
    assert MANY == Thing.ended


def test_in_a_forked_child_a_new_job_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The parent's worker does not come along: what it had in hand is taken up.
    """
    submitted: list[Callable[[], object]] = []
    monkeypatch.setattr(teardown, "_working", [-1])
    discard([things()], submitted.append)
    assert len(submitted) == 1
    submitted.pop()()
    assert MANY == Thing.ended
