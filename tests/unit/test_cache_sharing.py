"""
A cache under a budget: its allowance, what it asks for, and what it tells.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from memguard._kinds.cache import Cache
from memguard._kinds.cache.store import OVERHEAD
from memguard._kinds.cache.turn import is_taken
from memguard._kinds.demand import DEPTHS, IDLE
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.testing import FakeClock


class Root(Branch):
    """
    The least that can own a cache.
    """

    __slots__ = ()

    def __init__(self, clock: FakeClock) -> None:
        registry = Registry(clock, clock)
        super().__init__(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        self.owner = None
        self._children = {}


class Seat:
    """
    A place under a budget that remembers who asks, and may give.
    """

    def __init__(self, cache: Cache[Any, Any], give: int = 0) -> None:
        self.cache = cache
        self.give = give
        self.asked: list[int] = []
        self.then: Callable[[], object] = lambda: None
        cache.seat = self

    def waits(self, nbytes: int) -> bool:
        """
        Asks each time.
        """
        return False

    def ask(self, nbytes: int) -> bool:
        """
        Called with no lock held.
        """
        assert not is_taken(self.cache._turn)
        self.asked.append(nbytes)
        self.then()
        if self.give:
            self.cache.allowance = (self.cache.allowance or 0) + self.give
        return bool(self.give)


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that starts at zero.
    """
    return FakeClock(start=0.0)


@pytest.fixture
def root(clock: FakeClock) -> Root:
    """
    An owner in virtual time.
    """
    return Root(clock)


def made(root: Root, loader: Any = None, **options: Any) -> Cache[Any, Any]:
    """
    A cache that is in the tree, but not armed.
    """
    return Cache(root, "shared", loader, **options).attach()


# -- the allowance ---------------------------------------------------------------------


def test_without_a_budget_its_own_caps_hold(root: Root) -> None:
    """
    Nobody is asked, and nothing is bounded twice.
    """
    cache = made(root, max_entries=30)
    for key in range(100):
        cache.put(key, "v" * 100)
    assert (None, None, 30) == (cache.allowance, cache.ceiling_bytes, len(cache))


@pytest.mark.parametrize("options", [{}, {"ttl": 60}, {"idle": 60}])
@pytest.mark.parametrize("size", [10, 1000])
def test_a_counted_cache_keeps_to_its_allowance(
    root: Root, options: dict[str, Any], size: int
) -> None:
    """
    Never above it by more than the last value, on any path of a put.
    """
    cache = made(root, max_entries=10_000, **options)
    seat = Seat(cache)
    each = "v" * size
    for key in range(60):
        cache.put(f"key {key}", each)
    one = cache.memory_bytes() // 60
    cache.allowance = 40 * one
    cache.shrink(25 * one)
    for number in range(600):
        cache.put(f"key {number}", each)
        cache.put(("key", number), each)
        assert cache.memory_bytes() <= cache.allowance + 2 * one
    assert len(cache) >= 30
    assert seat.asked


@pytest.mark.parametrize("weigher", [None, lambda key, value: len(value)])
def test_a_weighed_cache_keeps_to_its_allowance(root: Root, weigher: Any) -> None:
    """
    With what it takes to hold entries, after every put.
    """
    cache = made(root, max_bytes="1MiB", weigher=weigher)
    Seat(cache)
    cache.allowance = 20_000
    for number in range(500):
        cache.put(number % 130, "v" * (number * 37 % 900))
        assert cache.info().bytes + OVERHEAD * len(cache) <= 20_000
    assert len(cache) > 10
    assert not cache.put("heavy", "v" * 25_000)


def test_a_lower_allowance_is_reached_by_puts(root: Root) -> None:
    """
    Setting it is arithmetic; then each put lets some go, and none of them very many.
    """
    cache = made(root, max_entries=8000)
    Seat(cache)
    for key in range(8000):
        cache.put(key, None)
    cache.content_bytes()
    cache.allowance = cache.memory_bytes() // 4
    assert 8000 == len(cache)
    before = 8000
    for key in range(10_000, 10_400):
        cache.put(key, None)
        assert before - len(cache) <= 256
        before = len(cache)
    assert len(cache) <= 2000 + 32


def test_the_allowance_may_be_set_in_the_middle_of_a_change(root: Root) -> None:
    """
    By somebody who holds a lock: nothing is called, nothing waits.
    """
    cache = made(root, max_entries=100)
    for key in range(100):
        cache.put(key, "value")

    def step() -> None:
        cache.allowance = 1000

    cache._locked(step)
    assert (1000, 100) == (cache.allowance, len(cache))
    cache.allowance = None
    cache.put("more", 1)
    assert 100 == len(cache)


# -- asking ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"max_entries": 1000}, {"max_entries": 1000, "ttl": 60}]
)
def test_what_is_given_is_used_at_once(root: Root, options: dict[str, Any]) -> None:
    """
    The put that asks evicts nothing if it is given something.
    """
    cache = made(root, **options)
    seat = Seat(cache, give=10_000)
    cache.allowance = 0
    for key in range(300):
        cache.put(key, "v" * 50)
    assert (300, 0) == (len(cache), cache.info().evictions)
    assert 1 <= len(seat.asked) < 40


def test_a_weighed_put_asks_for_its_weight(root: Root) -> None:
    """
    And is let in if it is given as much, however heavy; its own cap comes first.
    """
    cache = made(root, max_bytes=50_000, weigher=lambda key, value: value)
    seat = Seat(cache, give=30_000)
    cache.allowance = 0
    assert cache.put("a", 20_000)
    assert [20_000 + OVERHEAD] == seat.asked
    assert cache.put("b", 20_000)
    assert 2 == len(cache)
    asked = len(seat.asked)
    assert cache.put("c", 20_000)
    assert (asked, 2) == (len(seat.asked), len(cache))


@pytest.mark.parametrize(
    "options", [{"max_entries": 500}, {"max_bytes": "1MiB"}, {"max_entries": 5}]
)
def test_who_is_asked_may_use_the_cache(root: Root, options: dict[str, Any]) -> None:
    """
    It may even put, invalidate and shrink; the put that asked goes on.
    """
    cache = made(root, **options)
    seat = Seat(cache)
    cache.allowance = 1500
    busy: list[bool] = []

    def then() -> None:
        if not busy:
            busy.append(True)
            cache.put("inner", 1)
            cache.invalidate("key 3")
            cache.shrink(200)
            assert len(cache) >= 0
            busy.pop()

    seat.then = then
    for number in range(100):
        cache.put(f"key {number}", "v" * 20)
        assert "v" * 20 == cache.get(f"key {number}")
    assert bool(seat.asked) is (options != {"max_entries": 5})


# -- what it tells ---------------------------------------------------------------------


@pytest.mark.parametrize("entries", [50, 5000])
def test_every_miss_of_a_victim_is_told(root: Root, entries: int) -> None:
    """
    In large caches, too, where some leave together; each once.
    """
    cache = made(root, max_entries=entries)
    assert () == cache.demand().marginal_hits
    for key in range(entries):
        cache.put(key, 1)
    cache.demand()
    for key in range(entries, 2 * entries):
        cache.put(key, 1)
    cache.demand()
    lately = [key for key in range(2 * entries) if key not in cache._engine.table]
    again = lately[-entries // 20 :]
    for key in again:
        assert cache.get(key) is None
        cache.put(key, 1)
    told = cache.demand()
    assert len(again) == told.misses
    assert len(DEPTHS) == len(told.marginal_hits)
    assert len(again) * 0.8 <= told.marginal_hits[-1] <= len(again)
    assert (0, (0,) * len(DEPTHS)) == (
        cache.demand().misses,
        cache.demand().marginal_hits,
    )


def test_demand_is_what_happened_since(root: Root, clock: FakeClock) -> None:
    """
    Misses, and the seconds that loads took.
    """

    def load(key: int) -> int:
        clock.advance(0.5)
        return key

    cache = made(root, load, max_entries=10)
    cache.demand()
    for key in (1, 2, 1):
        cache.get(key)
    told = cache.demand()
    assert (2, 1.0) == (told.misses, told.load_seconds)
    told = cache.demand()
    assert (0, 0.0) == (told.misses, told.load_seconds)
    assert IDLE == cache._locked(cache.demand)


def test_its_weight_is_told_with_what_holding_takes(root: Root) -> None:
    """
    Measured where each is weighed, else estimated from some; a weigher's as it says.
    """
    cache = made(root, max_entries=1000)
    assert 0 == cache.memory_bytes()
    for key in range(1000):
        cache.put(key, "v" * 1000)
    assert cache.memory_bytes() == pytest.approx(1000 * (1049 + 28 + OVERHEAD), rel=0.1)
    for key in range(1000):
        cache.put(key, "v" * 100)
    assert cache.memory_bytes() == pytest.approx(1000 * (149 + 28 + OVERHEAD), rel=0.1)
    other = made(root, max_bytes=5000, weigher=lambda key, value: value)
    other.put("a", 700)
    other.put("b", 300)
    assert (1000, 1000 + 2 * OVERHEAD) == (other.content_bytes(), other.memory_bytes())
    assert 5000 <= (other.ceiling_bytes or 0)


@pytest.mark.parametrize(
    "options",
    [{"max_entries": 400}, {"max_bytes": 10**6}, {"max_entries": 400, "ttl": 60}],
)
def test_shrinking_gives_what_it_says(root: Root, options: dict[str, Any]) -> None:
    """
    As much as was asked, down to the floor, and nothing after the end.
    """
    cache = made(root, floor_bytes=8000, **options)
    for key in range(400):
        cache.put(key, "v" * 51)
    before = cache.content_bytes()
    given = cache.shrink(before // 2)
    assert before // 2 <= given <= before // 2 + 1000
    assert before - given == pytest.approx(cache.content_bytes(), abs=300)
    assert 0 < cache.shrink(10**9)
    # One entry more or less.
    assert 8000 - 100 <= cache.content_bytes() <= 8000 + 100
    assert 0 == cache.shrink(10**9)
    assert 0 == cache._locked(cache.shrink, 10)
    cache.close()
    assert 0 == cache.shrink(10**9)
