from __future__ import annotations

import gc
import itertools
import random
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from memguard._kinds.cache.weights import Weights
from memguard._sizing import Estimator, sizeof

if TYPE_CHECKING:
    from collections.abc import Callable

numbers = itertools.count(10**6)


def text(length: int = 20) -> str:
    """
    A text that nobody else has.
    """
    return str(next(numbers)).ljust(length, "x")


def texts(count: int) -> list[str]:
    """
    Several of them.
    """
    return [text() for _ in range(count)]


class Thing:
    def __init__(self, count: int) -> None:
        self.name = text()
        self.parts = texts(count)


def refuse(what: str, error: BaseException) -> None:
    """
    Nothing is expected to fail.
    """
    raise AssertionError from error


draw = random.Random(4)
# Values whose sizes differ where a first look does not see it, or seldom, or in turn.
MIXES: dict[str, Callable[[int], object]] = {
    "of all sizes": lambda at: texts(at * 37 % 300),
    "rows": lambda at: [{"a": text(), "b": [at]} for _ in range(draw.randrange(150))],
    "instances": lambda at: Thing(draw.randrange(30)),
    "by turns": lambda at: [bytes(1_000_000 if at % 2 else 1_000)],
    "lists of numbers": lambda at: list(range(1000, 1_100 if at % 7 else 4_000)),
    "hidden": lambda at: [[[[[[text(9_000 if draw.random() < 0.5 else 9)]]]]]],
    "hidden in a rhythm": lambda at: [[[[[[text(10_000 if at % 16 == 5 else 10)]]]]]],
    "seldom": lambda at: {"a": [{"b": (text(100_000 if at % 50 == 9 else 9),)}]},
    "behind much else": lambda at: [*range(1000, 1200), [[text(at % 9 * 5_000)]]],
    "two types": lambda at: Thing(5) if at % 2 else {"a": Thing(50)},
}


@pytest.mark.parametrize("name", MIXES)
def test_the_sum_is_right(name: str) -> None:
    """
    Single figures may be off, the sum over many values is not, whatever is hidden how.
    """
    estimator = Estimator()
    estimated = exact = 0
    for at in range(1_000):
        value = MIXES[name](at)
        estimated += estimator.weigh(value)
        exact += sizeof(value)
    assert estimated == pytest.approx(exact, rel=0.05)


def test_most_values_are_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Once the figures are calm one of some 64 values is walked, at uneven distances.
    """
    estimator = Estimator()
    walked: list[int] = []
    whole = Estimator._walked

    def noting(self: Estimator, value: Any) -> int:
        walked.append(at)
        return whole(self, value)

    monkeypatch.setattr(Estimator, "_walked", noting)
    for at in range(4_000):
        estimator.weigh({"name": text(), "number": at, "parts": texts(5)})
    distances = {after - before for before, after in itertools.pairwise(walked[20:])}
    assert 40 < len(walked) < 150
    assert len(distances) > 5


def test_what_is_large_is_always_walked() -> None:
    """
    One long list among short ones is found at once, whatever was usual before.
    """
    estimator = Estimator()
    for _ in range(500):
        estimator.weigh(texts(3))
    large = texts(5_000)
    assert estimator.weigh(large) == pytest.approx(sizeof(large), rel=0.05)


def test_a_large_part_is_seen_among_many() -> None:
    """
    Texts and bytes are all looked at, so none can hide between others.
    """
    estimator = Estimator()
    for _ in range(500):
        estimator.weigh([text() for _ in range(200)])
    odd: list[Any] = texts(200)
    odd[137] = bytes(1_000_000)
    assert estimator.weigh(odd) > 1_000_000


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1000,
        "ä" * 10,
        b"x" * 1000,
        bytearray(1000),
        10**30,
        1.5,
        None,
        True,
        range(10),
    ],
)
def test_flat_values_are_exact(value: object) -> None:
    """
    What tells its size at once is never estimated.
    """
    estimator = Estimator()
    assert [sys.getsizeof(value)] * 3 == [estimator.weigh(value) for _ in range(3)]


def test_buffers_are_exact() -> None:
    """
    Arrays and views differ from one to the next, and are cheap to measure.
    """
    estimator = Estimator()
    big = np.zeros(100_000)
    values = [np.zeros(at * 13 % 999) for at in range(100)]
    values += [big[at:] for at in range(100)]
    assert list(map(sizeof, values)) == list(map(estimator.weigh, values))
    assert estimator.weigh(big[:10]) < 500


# -- what values share -----------------------------------------------------------------


def own_and_sum(make: Callable[[], Any], part: int, count: int) -> tuple[int, int]:
    """
    Sizes of values without the shared *part*, and what they are estimated at, put one
    after the other.
    """
    estimator = Estimator()
    held = []
    own = estimated = 0
    for _ in range(count):
        value = make()
        estimated += estimator.weigh(value)
        held.append(value)
    own = sum(map(sizeof, held)) - count * part
    return own, estimated


def test_what_others_hold_is_not_charged_to_every_value() -> None:
    """
    A list of 500 texts that a variable holds, and every entry refers to.
    """
    config = texts(500)
    own, estimated = own_and_sum(
        lambda: {text(): text(), "config": config}, sizeof(config), 1_000
    )
    assert estimated == pytest.approx(own, rel=0.05)


def test_what_only_values_hold_is_charged_once() -> None:
    """
    The same, but nothing outside holds the list: it is the container's own.
    """
    first = {text(): text(), "config": texts(500)}
    estimator = Estimator()
    estimated = estimator.weigh(first)
    held = [first]
    for _ in range(1_000):
        held.append({text(): text(), "config": first["config"]})
        estimated += estimator.weigh(held[-1])
    assert estimated == pytest.approx(sizeof(held), rel=0.05)


def test_values_made_beforehand_share() -> None:
    """
    Their references are all there at the first sight: their number gives it away.
    """
    config = texts(500)
    held = [{text(): text(), "config": config} for _ in range(1_000)]
    estimator = Estimator()
    assert sum(map(estimator.weigh, held)) == pytest.approx(sizeof(held), rel=0.05)


def test_one_of_several_shared_things() -> None:
    """
    Each of 20 lists is found out, though a value refers to one of them only.
    """
    pool = [texts(200) for _ in range(20)]
    estimator = Estimator()
    held = []
    estimated = 0
    for at in range(2_000):
        held.append({text(): text(), "one": pool[at * 7 % 20]})
        estimated += estimator.weigh(held[-1])
    own = sizeof(held) - sizeof(pool)
    assert estimated == pytest.approx(own, rel=0.05)


def test_shared_things_below_what_is_looked_at() -> None:
    """
    It makes no difference how deep in the value the shared thing is.
    """
    config = texts(500)
    own, estimated = own_and_sum(
        lambda: [[{text(): [[{"config": config}]]}]], sizeof(config), 1_000
    )
    assert estimated == pytest.approx(own, rel=0.05)


def test_a_shared_thing_of_many_objects() -> None:
    """
    More than a walk goes through, in values that are small by themselves.
    """
    config = {text(): texts(3) for _ in range(5_000)}
    estimator = Estimator()
    held: list[Any] = []
    for _ in range(200):
        held.append({text(): text(), "config": config})
        last = estimator.weigh(held[-1])
    assert last < 2_000


def test_names_from_the_code_are_not_charged() -> None:
    """
    Keys that are literals belong to the code, and cost an entry nothing.
    """
    value = {"user name": text(), "theme colour": text(), "shopping cart": [text()]}
    made = dict(zip(texts(3), value.values(), strict=True))
    assert sizeof(made) - 3 * sys.getsizeof(text()) == sizeof(value)


@pytest.mark.parametrize(
    "depth", [lambda at: 0, lambda at: 3, lambda at: at % 2 * 3, lambda at: at % 3]
)
def test_the_variables_of_callers_do_not_make_a_part_shared(
    depth: Callable[[int], int],
) -> None:
    """
    A part that callers still hold is charged each time, though each value is gone
    before the next, which has its part at the same address.
    """
    estimator = Estimator()

    def put(part: list[str], deeper: int) -> tuple[int, int]:
        if deeper:
            return put(part, deeper - 1)
        value = {"number": 1, "rows": part}
        return estimator.weigh(value), sizeof(value)

    charged = [put(texts(100), depth(at)) for at in range(300)]
    exact = sum(size for _, size in charged)
    assert sum(size for size, _ in charged) == pytest.approx(exact, rel=0.05)


def test_an_address_that_is_used_again_is_not_shared() -> None:
    """
    Something else at the place of a shared thing that has gone is charged.
    """
    estimator = Estimator()
    value = [texts(500)]
    estimator._shared.known[id(value[0])] = 5
    assert estimator.weigh(value) == sizeof(value)
    assert {} == estimator._shared.known


def test_nothing_is_kept_alive() -> None:
    """
    Neither values nor what they share outlive their last holder.
    """

    class Part:
        pass

    part = Part()
    watch = weakref.ref(part)
    estimator = Estimator()
    held = [{"part": part, "number": text()} for _ in range(100)]
    for value in held:
        estimator.weigh(value)
    del part, value, held
    assert watch() is None


def test_the_memory_of_what_was_seen_is_bounded() -> None:
    """
    Neither ever new shared things nor ever new types make it grow for ever.
    """
    estimator = Estimator()
    held = []
    for _ in range(3_000):
        part = [text()]
        held.append([part])
        estimator.weigh([part, [part], *texts(at := len(held) % 40), at])
    assert sizeof(estimator) < 1_000_000


def test_threads_may_estimate_at_once() -> None:
    """
    They lose observations between them, and nothing else.
    """
    estimator = Estimator()
    pool = [texts(50) for _ in range(40)]
    failed: list[BaseException] = []

    def work() -> None:
        try:
            held = []
            for at in range(1_500):
                held.append([pool[at % 40], text(), {text(): at}])
                assert estimator.weigh(held[-1]) > 0
        except BaseException as error:
            failed.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(before)
    assert [] == failed


def test_a_value_that_changes_meanwhile() -> None:
    """
    Another thread may fill what is being measured.
    """
    estimator = Estimator()
    value: dict[str, Any] = {"a": {}, "b": []}
    failed: list[BaseException] = []
    done = threading.Event()

    def change() -> None:
        for at in range(3_000):
            value["a"][at] = [at]
            value["b"].append(at)
            if at % 100 == 99:
                value["a"].clear()
                value["b"].clear()
        done.set()

    thread = threading.Thread(target=change)
    thread.start()
    while not done.is_set():
        try:
            estimator.weigh(value)
            sizeof(value)
        except BaseException as error:
            failed.append(error)
            break
    thread.join(30)
    assert [] == failed


# -- entries ---------------------------------------------------------------------------


def test_an_entry_weighs_its_key_and_its_value() -> None:
    """
    Texts and bytes exactly.
    """
    weights = Weights(None)
    expected = sys.getsizeof("key") + sys.getsizeof(b"x" * 100)
    assert expected == weights.of("key", b"x" * 100, refuse)
    assert expected + 4 == weights.of("key", b"x" * 104, refuse)
    pair = (text(), text())
    assert sizeof(pair) + sys.getsizeof(7) == weights.of(pair, 7, refuse)


def test_a_weigher_that_fails_is_told_and_replaced() -> None:
    """
    What it raises goes to the callback; the entry is weighed without it.
    """

    def weigher(key: object, value: object) -> int:
        raise ZeroDivisionError

    told: list[tuple[str, type]] = []
    weights = Weights(weigher)
    weight = weights.of(
        "k", "v" * 50, lambda *what: told.append((what[0], type(what[1])))
    )
    assert [("weigher", ZeroDivisionError)] == told
    assert sys.getsizeof("k") + sys.getsizeof("v" * 50) == weight


def test_hostile_values_are_weighed() -> None:
    """
    Values that raise whatever is asked of them weigh something, and raise nothing out.
    """

    class Meta(type):
        def __hash__(cls) -> int:
            raise RuntimeError

        def __eq__(cls, other: object) -> bool:
            raise RuntimeError

    class Hostile(metaclass=Meta):
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError

        def __len__(self) -> int:
            raise RuntimeError

        def __sizeof__(self) -> int:
            raise RuntimeError

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        def __hash__(self) -> int:
            raise RuntimeError

        @property
        def nbytes(self) -> int:
            raise RuntimeError

    class Dict(dict[Any, Any]):
        def values(self) -> Any:
            raise RuntimeError

        def __iter__(self) -> Any:
            raise RuntimeError

    estimator = Estimator()
    for _ in range(100):
        value = [Hostile(), Dict(a=[text()]), {1: Hostile()}, (Hostile(),)]
        assert estimator.weigh(value) > 0
        assert estimator.weigh(Hostile()) > 0
    gc.collect()
