"""
Caches under threads: who has changed a key reads nothing older of it, on any path.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from memguard._kinds.cache import Cache, cache as verbs, tables, wide
from memguard._kinds.cache.cells import Cell
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.testing import FakeClock

SOON = 20.0
THREADS = 8


class Root(Branch):
    """
    The least that can own a cache.
    """

    __slots__ = ()

    def __init__(self) -> None:
        clock = FakeClock(start=0.0)
        registry = Registry(clock, clock)
        super().__init__(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        self.owner = None
        self._children = {}


class Foreign:
    """
    A key that is hashed and compared in Python.
    """

    def __init__(self, name: Any) -> None:
        self.name = name

    def __hash__(self) -> int:
        return hash(self.name) % 61

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Foreign) and self.name == other.name


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """
    Threads take turns in the middle of everything.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(*works: Callable[[], object]) -> None:
    """
    Run all at once; raises the first failure.
    """
    failures: list[BaseException] = []
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        try:
            gate.wait(SOON)
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def made(counted: int = 0, **options: Any) -> Cache[Any, Any]:
    """
    A cache that is in the tree, and takes the fast path at once.
    """
    cache: Cache[Any, Any] = Cache(Root(), "threads", **options).attach()
    cache._counted = counted
    return cache


def in_order(cache: Cache[Any, Any]) -> None:
    """
    When all are done the tables tell of the same entries.
    """
    engine: Any = cache._engine
    table = engine.table
    held = dict(table.items())
    assert len(held) == len(table)
    cells = {key: one for key, one in held.items() if type(one) is Cell}
    assert sum(one.weight for one in cells.values()) == cache._weight
    assert set(engine.front) | engine.seen <= set(held)
    for key, value in engine.front.items():
        assert value is (cells[key].value if key in cells else held[key])
    assert 2 == len(cache._turn)
    cache.clear()
    assert (0, 0, {}) == (len(cache), cache._weight, dict(engine.front))
    assert [] == cache._stand_ins.things()


class Owner:
    """
    A thread with keys that nobody else puts.
    """

    def __init__(
        self, cache: Cache[Any, Any], number: int, others: tuple[Any, ...] = ()
    ) -> None:
        self.cache = cache
        self.fast = cache.fast
        self.number = number
        self.draw = random.Random(number)
        self.others = others
        self.latest: dict[Any, Any] = {}
        names = [(number, one) for one in range(12)]
        self.keys: list[Any] = [f"{number} {one}" for one in range(12)]
        if number % 2:
            self.keys[:6] = map(Foreign, names[:6])
        else:
            self.keys[:6] = names[:6]

    def check(self, key: Any, *, is_surely_there: bool = False) -> None:
        """
        Nothing, or what was put last.
        """
        latest = self.latest.get(key)
        for read in (self.cache.get, self.fast, self.fast):
            value = read(key)
            assert value is latest or (value is None and not is_surely_there)

    def run(self, rounds: int, *, is_quiet: bool) -> None:
        """
        Change one's own keys, look at all others.
        """
        cache, draw = self.cache, self.draw
        for version in range(rounds):
            key = draw.choice(self.keys)
            what = draw.random()
            if what < 0.5:
                value = (key, version)
                self.latest[key] = value
                assert cache.put(key, value)
                self.check(key, is_surely_there=is_quiet)
            elif what < 0.7:
                self.latest.pop(key, None)
                cache.invalidate(key)
                self.check(key)
            elif what < 0.8:
                latest = self.latest.pop(key, None)
                value = cache.pop(key, None)
                assert value is latest or (value is None and not is_quiet)
                self.check(key)
            else:
                self.check(key, is_surely_there=is_quiet and key in self.latest)
            other = f"{draw.randrange(THREADS)} {draw.randrange(12)}"
            value = self.fast(other)
            assert value is None or other == value[0]
            if self.others and version % 23 == self.number:
                draw.choice(self.others)()


@pytest.mark.parametrize(
    "options",
    [{}, {"ttl": 60}, {"idle": 60}, {"max_bytes": 10**6}, {"counted": 10**6}],
    ids=["plain", "ttl", "idle", "bytes", "counted"],
)
def test_who_puts_reads_what_it_has_put(options: dict[str, Any]) -> None:
    """
    Where nobody has to leave: at once, and on each path, whoever else is at it.
    """
    cache = made(**{"max_entries": 1000, **options})
    owners = [Owner(cache, number) for number in range(THREADS)]
    together(*(lambda one=one: one.run(300, is_quiet=True) for one in owners))  # type: ignore[misc]
    assert sum(len(one.latest) for one in owners) == len(cache)
    in_order(cache)


@pytest.mark.parametrize(
    "options",
    [{}, {"ttl": 60}, {"idle": 60}, {"max_bytes": 6000}, {"weigher": lambda k, v: 9}],
    ids=["plain", "ttl", "idle", "bytes", "weigher"],
)
def test_nothing_old_is_read_whatever_happens_to_the_cache(
    options: dict[str, Any],
) -> None:
    """
    Evictions, resizes, shrinking, allowances, clearing and iterating meanwhile.
    """
    cache = made(**{"max_entries": 40, **options})

    def allow() -> None:
        cache.demand()
        cache.allowance = random.choice([None, 2000, 20_000])

    def read() -> None:
        for key, value in cache.items():
            assert key == value[0] or key is value[0]
        assert len(cache) <= 1000

    others = (
        cache.clear,
        read,
        read,
        allow,
        lambda: cache.shrink(500),
        lambda: cache.resize(max_entries=random.choice([10, 40, 90])),
        lambda: cache._look_at_ages(always=random.random() < 0.5),
    )
    owners = [Owner(cache, number, others) for number in range(THREADS)]
    together(*(lambda one=one: one.run(300, is_quiet=False) for one in owners))  # type: ignore[misc]
    in_order(cache)


def test_a_byte_cap_that_comes_in_the_middle() -> None:
    """
    Puts that have begun without weights are weighed; two who give a cap do not meet.
    """
    for number in range(12):
        cache = made(max_entries=30 if number % 2 else 500)

        def cap(cache: Cache[Any, Any] = cache) -> None:
            cache.resize(max_bytes=10**6)
            cache.resize(max_bytes=None, max_entries=60)
            cache.resize(max_bytes=10**6)

        owners = [Owner(cache, one) for one in range(4)]
        together(
            *(lambda one=one: one.run(60, is_quiet=False) for one in owners),  # type: ignore[misc]
            cap,
            cap,
        )
        assert all(type(one) is Cell for one in cache._engine.table.values())
        in_order(cache)


def test_a_table_that_grows_wide_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Keys on their way from one dict to another are found all the same.
    """
    monkeypatch.setattr(wide, "MOST", 30)
    monkeypatch.setattr(tables, "MOST", 30)
    monkeypatch.setattr(verbs, "MOST", 30)
    cache = made(max_entries=100_000)

    def grow(first: int) -> None:
        for key in range(first, first + 1500):
            cache.put(key, (key, 0))
            if key % 500 == 3:
                cache._locked(cache._engine.widen)
            assert cache.get(key) == (key, 0)

    owners = [Owner(cache, number) for number in range(4)]
    together(
        *(lambda one=one: one.run(150, is_quiet=True) for one in owners),  # type: ignore[misc]
        lambda: grow(0),
        lambda: grow(10_000),
    )
    assert isinstance(cache._engine.table, wide.Wide)
    assert 3000 + sum(len(one.latest) for one in owners) == len(cache)
    in_order(cache)
