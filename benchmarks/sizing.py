"""
How right sizes are, and what measuring costs: next to pympler and `sys.getsizeof`.

The truth is what tracemalloc saw allocated while the object was made, a mean of several
of them; what exists before, such as the array behind a view, is not part of it. The
sums are those of a cache that takes the values one by one, with its estimates. Costs
are those of the mix of a web service: sessions, texts, bytes and a few JSON documents.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import decimal
import gc
import importlib.util
import itertools
import json
import pathlib
import random
import sys
import tempfile
import tracemalloc
import uuid
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from bars import Bar, table, verdict
from pympler import asizeof
from rounds import alternate

import memguard
from memguard._kinds.cache.weights import Weights

GOAL_ERROR, HARD_ERROR = 5.0, 2.0
COPIES = 7
MIXED = 2_000
TIMED = 40

_numbers = itertools.count(10**6)
_draw = random.Random(20)


def text(length: int = 20) -> str:
    return str(next(_numbers)).ljust(length, "x")


def texts(count: int, length: int = 20) -> list[str]:
    return [text(length) for _ in range(count)]


@dataclasses.dataclass
class Order:
    """
    A data class.
    """

    number: int
    name: str
    lines: list[str]


class Point(NamedTuple):
    """
    A named tuple.
    """

    x: float
    y: float


class Plain:
    """
    Attributes in the usual way.
    """

    def __init__(self) -> None:
        self.name = text()
        self.lines = texts(3)


class Slotted:
    """
    Attributes in slots.
    """

    __slots__ = ("lines", "name")

    def __init__(self) -> None:
        self.name = text()
        self.lines = texts(3)


class Node:
    """
    Refers to itself by way of another.
    """

    __slots__ = ("name", "next")

    def __init__(self, name: str) -> None:
        self.name = name
        self.next: Any = self


def session(length: int = 70) -> dict[str, Any]:
    values: dict[str, Any] = {text(8): text(length) for _ in range(18)}
    return {**values, text(8): texts(length // 10), text(8): next(_numbers)}


def document() -> Any:
    rows = [
        {
            "id": number,
            "name": text(),
            "tags": texts(3, 8),
            "at": number / 7,
            "ok": True,
        }
        for number in range(140)
    ]
    return json.loads(json.dumps({"rows": rows, "next": text()}))


def cycle() -> Node:
    one, other = Node(text(200)), Node(text(200))
    one.next, other.next = other, one
    return one


def grown(items: Iterable[Any]) -> list[Any]:
    made: list[Any] = []
    for item in items:
        made.append(item)  # noqa: PERF402 - what append allocates is what is measured
    return made


def nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def closure() -> Callable[[], str]:
    big = text(3000)
    return lambda: big


def two_views() -> list[Any]:
    whole = np.zeros(1000)
    return [whole[:10], whole[10:]]


BIG = np.zeros(1_000_000)
SHARED = texts(500)
FILE = tempfile.NamedTemporaryFile()  # noqa: SIM115 - mapped until the process ends
FILE.write(bytes(1_000_000))
FILE.flush()


def with_shared() -> dict[str, Any]:
    return {text(): text(100), text(): next(_numbers), "shared": SHARED}


ZOO: dict[str, Callable[[], object]] = {
    "session, 20 keys": session,
    "bytes, 1 KB": lambda: text(1024).encode(),
    "str, 1 KB": lambda: text(1024),
    "ndarray, 1,000 floats": lambda: np.arange(1000.0),
    "10 elements of an array of 8 MB": lambda: BIG[:10],
    "two views of an array nobody else has": two_views,
    "memmap of 1 MB": lambda: np.memmap(FILE.name, mode="r"),
    "array of objects": lambda: np.array(texts(100), dtype=object),
    "JSON, 1,400 values": document,
    "object with attributes": Plain,
    "object with slots": Slotted,
    "dict, and a list of 500 others share": with_shared,
    "cycle": cycle,
    "100 dataclasses": lambda: [Order(next(_numbers), text(), [text()]) for _ in SMALL],
    "100 named tuples": lambda: [Point(float(next(_numbers)), 0.5) for _ in SMALL],
    "deque": lambda: collections.deque(texts(500)),
    "OrderedDict": lambda: collections.OrderedDict.fromkeys(texts(100)),
    "defaultdict": lambda: collections.defaultdict(
        list, {key: [text()] for key in texts(50)}
    ),
    "Counter": lambda: collections.Counter(texts(100)),
    "set": lambda: set(texts(100)),
    "list grown by append": lambda: grown(texts(1000)),
    "bytearray": lambda: bytearray(1000),
    "memoryview": lambda: memoryview(text(5000).encode()),
    "array.array": lambda: array.array("d", range(1000)),
    "100 decimals": lambda: [decimal.Decimal(next(_numbers)) / 7 for _ in SMALL],
    "100 datetimes": lambda: [
        dt.datetime.fromtimestamp(next(_numbers), dt.timezone.utc) for _ in SMALL
    ],
    "100 UUIDs": lambda: [uuid.UUID(int=next(_numbers)) for _ in SMALL],
    "100 paths": lambda: [pathlib.Path(text()) for _ in SMALL],
    "ChainMap": lambda: collections.ChainMap(session(), session()),
    "str of wide characters": lambda: text(1000) + "\N{PILE OF POO}",
    "closure": closure,
    "1,000 nested lists": lambda: nested(1000),
}
SMALL = range(100)


def with_pandas() -> dict[str, Callable[[], object]]:
    if importlib.util.find_spec("pandas") is None:
        print("pandas is not installed: no rows for its frames")
        return {}
    import pandas as pd

    return {
        "DataFrame, a column of str": lambda: pd.DataFrame(
            {"a": np.arange(1000.0), "b": np.arange(1000), "c": texts(1000)}
        ),
        "DataFrame, a column of objects": lambda: pd.DataFrame(
            {"a": np.arange(1000.0), "b": pd.Series(texts(1000), dtype=object)}
        ),
    }


# Values of a cache, put one after the other.
POOL = [texts(200) for _ in range(20)]
SUMS: dict[str, tuple[int, Callable[[int], object]]] = {
    "the mix": (MIXED, lambda _: mixed()),
    "sessions with names from the code": (
        MIXED,
        lambda _: {"user": text(), "cart": texts(_draw.randrange(9)), "theme": "dark"},
    ),
    "all share a list of 500": (MIXED, lambda _: with_shared()),
    "share one of 20 lists": (MIXED, lambda _: {text(): _draw.choice(POOL)}),
    "JSON of 1 to 200 rows": (
        300,
        lambda _: [
            {"id": text(8), "tags": texts(at % 4)} for at in range(_draw.randrange(200))
        ],
    ),
    "lists of 1 KB and of 1 MB by turns": (
        200,
        lambda at: [bytes(1_000_000 if at % 2 else 1_000)],
    ),
    "1 of 16 hides 10 KB, three lists down": (
        MIXED,
        lambda at: [[[text(100 if at % 16 else 10_000)]]],
    ),
    "1 of 50 hides 500 KB": (
        MIXED,
        lambda at: {"a": [{"b": [text(500_000 if at % 50 == 7 else 100)]}]},
    ),
}


def mixed() -> object:
    """
    30 % sessions, 50 % texts, 17 % bytes, 3 % JSON documents.
    """
    drawn = _draw.random()
    if drawn < 0.30:
        return session(_draw.randrange(20, 150))
    if drawn < 0.80:
        return text(_draw.randrange(20, 3000))
    if drawn < 0.97:
        return text(_draw.randrange(20, 3000)).encode()
    return document()


def traced(make: Callable[[int], object], count: int) -> tuple[int, list[object]]:
    """
    Bytes allocated by making so many things, and the things.
    """
    made: list[object] = [None] * count
    gc.collect()
    tracemalloc.start(1)
    before, _ = tracemalloc.get_traced_memory()
    for at in range(count):
        made[at] = make(at)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return after - before, made


def ours(thing: object, make: Callable[[], object]) -> int:
    """
    What a cache charges for *thing*, after others that share what it shares.
    """
    if make is not with_shared:
        return memguard.sizeof(thing)
    weights = Weights(None)
    others = [make() for _ in range(200)]
    sizes = [weights.of(None, one, refuse) - sys.getsizeof(None) for one in others]
    return sum(sizes) // len(sizes)


def refuse(what: str, error: BaseException) -> None:
    raise error


def reference(thing: object) -> int:
    """
    What pympler says; 0 where it fails, as it does for some subclasses of arrays.
    """
    try:
        return int(asizeof.asizeof(thing))
    except Exception as error:
        print(f"pympler fails on a {type(thing).__name__}: {type(error).__name__}")
        return 0


def us(nanoseconds: float) -> str:
    return f"{nanoseconds / 1000:.2f} µs"


def off(size: float, truth: float) -> str:
    return f"{(size / truth - 1) * 100:+.0f} %"


def zoo() -> list[Bar]:
    """
    One object each.
    """
    rows: list[tuple[str, ...]] = []
    totals = [0.0, 0.0, 0.0, 0.0]
    wrong = 0.0
    for name, make in {**ZOO, **with_pandas()}.items():
        make(), make()
        allocated, made = traced(lambda _, make=make: make(), COPIES)
        truth = allocated / COPIES
        thing = made[-1]
        told = (ours(thing, make), reference(thing), sys.getsizeof(thing))
        rows.append((name, f"{truth:,.0f}", *(off(size, truth) for size in told)))
        totals = [sum(pair) for pair in zip(totals, (truth, *told), strict=True)]
        wrong += abs(told[0] - truth)
    truth = totals[0]
    rows.append(("total", f"{truth:,.0f}", *(off(size, truth) for size in totals[1:])))
    table(("object", "bytes", "memguard", "pympler", "getsizeof"), rows)
    error = abs(totals[1] / truth - 1) * 100
    return [
        Bar("zoo, total error", error, GOAL_ERROR, HARD_ERROR, " %"),
        Bar("zoo, sum of errors", wrong / truth * 100, GOAL_ERROR, HARD_ERROR, " %"),
    ]


def sums() -> list[Bar]:
    """
    What a cache thinks it holds.
    """
    rows = []
    bars = []
    for name, (count, make) in SUMS.items():
        state = _draw.getstate()
        truth, made = traced(make, count)
        made.clear()
        # Again, one by one, because what is shared shows in who holds it meanwhile.
        _draw.setstate(state)
        weights = Weights(None)
        total = 0
        for at in range(count):
            value = make(at)
            total += weights.of(None, value, refuse) - sys.getsizeof(None)
            made.append(value)
        rows.append((name, f"{count:,}", f"{truth:,}", off(total, truth)))
        error = abs(total / truth - 1) * 100
        bars.append(Bar(f"{name}, error", error, GOAL_ERROR, HARD_ERROR, " %"))
    table(("values of a cache", "put", "bytes", "memguard"), rows)
    return bars


def costs() -> list[Bar]:
    """
    The mix, weighed by a cache that has seen as many before, and by pympler.
    """
    kinds: dict[str, tuple[float, list[Any]]] = {
        "session": (0.30, [session(20 + 3 * at) for at in range(TIMED)]),
        "str": (0.50, texts(TIMED, 1000)),
        "bytes": (0.17, [one.encode() for one in texts(TIMED, 1000)]),
        "JSON": (0.03, [document() for _ in range(TIMED // 8)]),
    }
    weights = Weights(None)
    of = weights.of
    for _ in range(20):
        for _, values in kinds.values():
            for value in values:
                of("key:1234", value, refuse)

    def by_memguard(values: list[Any]) -> float:
        began = perf_counter()
        for _ in range(8):
            for value in values:
                of("key:1234", value, refuse)
        return (perf_counter() - began) / 8

    def by_pympler(values: list[Any]) -> float:
        began = perf_counter()
        for value in values:
            asizeof.asizeof(value)
        return perf_counter() - began

    rows = []
    mine = theirs = 0.0
    for name, (share, values) in kinds.items():
        figures = alternate(
            {
                "memguard": lambda values=values: by_memguard(values),
                "pympler": lambda values=values: by_pympler(values),
            },
            count=len(values),
            rounds=9,
        )
        one, other = figures.each_ns("memguard"), figures.each_ns("pympler")
        mine += share * one
        ratio = figures.ratio("memguard", "pympler")
        theirs += share * one / ratio
        rows.append((f"{name}, {share:.0%}", us(one), us(other), f"{ratio:.3f}"))
    rows.append(("the mix", us(mine), us(theirs), f"{mine / theirs:.3f}"))
    table(("to weigh one", "memguard", "pympler", "ratio"), rows)
    return [Bar("cost of the mix / pympler", mine / theirs, 0.05)]


def main() -> int:
    return verdict(zoo() + sums() + costs())


if __name__ == "__main__":
    sys.exit(main())
