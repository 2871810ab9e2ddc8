"""
How often the fast path is used: exact at first, then by windows, which leave no trace.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from memguard._kinds.cache import Cache
from memguard._kinds.cache.sampling import COUNTED
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


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that starts at zero.
    """
    return FakeClock(start=0.0)


def made(clock: FakeClock, **options: Any) -> Cache[int, Any]:
    """
    An armed cache with a hundred entries.
    """
    cache: Cache[int, Any] = Cache(
        Root(clock), "sampled", **{"max_entries": 200, **options}
    ).attach()
    cache._arm()
    for key in range(100):
        cache.put(key, str(key))
    return cache


def use(cache: Cache[int, Any], times: int, keys: int = 100) -> None:
    """
    So many uses, of so many keys in turn.
    """
    fast = cache.fast
    for number in range(times):
        assert str(number % keys) == fast(number % keys)


def counted(clock: FakeClock, **options: Any) -> Cache[int, Any]:
    """
    A cache whose uses are not counted any more, one by one; all take the fast path.
    """
    cache = made(clock, **options)
    use(cache, COUNTED)
    use(cache, 100)
    assert set(range(100)) == set(cache._engine.front)
    return cache


def to_window(cache: Cache[int, Any], clock: FakeClock) -> set[int]:
    """
    Let time pass until a window is open; what is counted in it.
    """
    for _ in range(8000):
        if cache._sampler.keys:
            return set(cache._sampler.keys)
        clock.advance(0.01)
    msg = "no window has opened"
    raise AssertionError(msg)


def test_the_first_uses_are_counted_one_by_one(clock: FakeClock) -> None:
    """
    Exactly, and none of them takes the fast path.
    """
    cache = made(clock)
    use(cache, 1234)
    assert (1234, {}) == (cache.info().hits, dict(cache._engine.front))
    use(cache, COUNTED - 1234)
    assert COUNTED == cache.info().hits
    cache.get(1000)
    assert 1 == cache.info().misses
    use(cache, 100)
    assert (COUNTED + 100, 100) == (cache.info().hits, len(cache._engine.front))


def test_only_while_the_guard_runs(clock: FakeClock) -> None:
    """
    Not armed: the fast path is used, and nobody wakes up to count.
    """
    cache: Cache[int, Any] = Cache(Root(clock), "quiet", max_entries=5).attach()
    cache.put(1, "1")
    for _ in range(COUNTED + 50):
        assert "1" == cache.get(1)
    assert (0, 1) == (clock.pending, len(cache._engine.front))
    cache._arm()
    assert 1 == clock.pending
    cache._rest()
    assert 0 == clock.pending


def test_windows_open_and_close(clock: FakeClock) -> None:
    """
    A part of the entries is counted for 20 ms, and is on the fast path with its next
    use; the next window has others.
    """
    cache = counted(clock)
    before = cache.info().hits
    seen: set[int] = set()
    for _ in range(14):
        window = to_window(cache, clock)
        assert len(window) == 7
        seen |= window
        assert not window & set(cache._engine.front)
        assert window <= cache._engine.seen
        use(cache, 300)
        assert not window & set(cache._engine.front)
        clock.advance(0.03)
        assert set() == cache._sampler.keys
        use(cache, 100)
        assert (100, set()) == (len(cache._engine.front), cache._engine.seen)
    assert set(range(98)) <= seen
    assert cache.info().hits > before


def test_the_estimate_is_about_right(clock: FakeClock) -> None:
    """
    Uses at an even rate over a minute.
    """
    cache = counted(clock)
    before = cache.info().hits
    uses = 0
    for _ in range(6000):
        use(cache, 100)
        uses += 100
        clock.advance(0.01)
    assert cache.info().hits - before == pytest.approx(uses, rel=0.15)


def test_who_is_not_used_is_seldom_looked_at(clock: FakeClock) -> None:
    """
    The pauses grow while nothing is used, to half a minute.
    """
    cache = counted(clock)
    windows = 0
    for _ in range(2000):
        was = bool(cache._sampler.keys)
        clock.advance(0.1)
        windows += bool(cache._sampler.keys) and not was
    assert windows <= 12
    hits = cache.info().hits
    to_window(cache, clock)
    clock.advance(0.1)
    assert hits == cache.info().hits
    assert clock.pending <= 2


@pytest.mark.parametrize(
    "leave",
    [
        lambda cache, key: cache.invalidate(key),
        lambda cache, key: cache.pop(key),
        lambda cache, key: cache.clear(),
        lambda cache, key: cache.resize(max_entries=1),
        lambda cache, key: [cache.put(new, "new") for new in range(1000, 1400)],
    ],
    ids=["invalidate", "pop", "clear", "resize", "evict"],
)
def test_keys_may_leave_during_a_window(clock: FakeClock, leave: Any) -> None:
    """
    They do not come back with its end, on no path.
    """
    cache = counted(clock)
    key = min(to_window(cache, clock))
    leave(cache, key)
    clock.advance(0.05)
    assert set(cache._engine.front) | cache._engine.seen <= set(cache._engine.table)
    assert key in cache._engine.table or cache.fast(key) is None
    cache.put(key, "new")
    assert "new" == cache.fast(key) == cache.get(key) == cache.fast(key)


def test_a_new_value_in_a_window_is_the_one_that_counts(clock: FakeClock) -> None:
    """
    The old one is not brought back with the end of the window.
    """
    cache = counted(clock)
    key = min(to_window(cache, clock))
    cache.put(key, "new")
    clock.advance(0.05)
    for _ in range(3):
        assert "new" == cache.fast(key) == cache.get(key)


def test_an_age_given_in_a_window_is_looked_at(clock: FakeClock) -> None:
    """
    An entry whose age has to be looked at does not get on the fast path by it.
    """
    cache = counted(clock)
    key = min(to_window(cache, clock))
    cache.put(key, "short", ttl=5)
    clock.advance(0.05)
    assert "short" == cache.fast(key)
    assert key not in cache._engine.front
    clock.advance(6)
    assert cache.fast(key) is None


@pytest.mark.parametrize("options", [{}, {"ttl": 60}, {"idle": 60}])
def test_stopping_in_a_window(clock: FakeClock, options: dict[str, Any]) -> None:
    """
    Afterwards nobody counts, nothing is scheduled, and ages are looked at.
    """
    cache: Cache[int, Any] = made(clock, **options)
    cache._look_at_ages(always=False)
    use(cache, COUNTED)
    use(cache, 100)
    to_window(cache, clock)
    cache._rest()
    assert (set(), 0) == (cache._sampler.keys, clock.pending)
    clock.advance(0.1)
    use(cache, 100)
    if options:
        assert {} == dict(cache._engine.front)
        clock.advance(100)
        assert cache.fast(3) is None is cache.get(4)
    else:
        assert 100 == len(cache._engine.front)
    cache._arm()
    for key in range(100):
        cache.put(key, str(key))
    use(cache, 200)
    assert clock.pending >= 1


def test_a_forked_child_does_not_count_on(clock: FakeClock) -> None:
    """
    A window that was open at the fork is closed; all take the fast path again.
    """
    cache = counted(clock)
    to_window(cache, clock)
    child = FakeClock(start=0.0)
    cache._after_fork(Registry(child, child))
    use(cache, 200)
    assert (100, set()) == (len(cache._engine.front), cache._sampler.keys)
    cache._arm()
    assert 1 == child.pending


def test_counts_of_threads_that_meet_at_the_end(clock: FakeClock) -> None:
    """
    Two last counts at once may take the number below nothing: sampling begins, once.
    """
    cache = made(clock)
    cache._counted = 1
    cache.get(1)
    cache._counted = -1
    cache.get(2)
    assert 1 == clock.pending
    cache._rest()
    cache._arm()
    assert 1 == clock.pending


def test_uses_that_are_counted_keep_an_entry_from_being_idle() -> None:
    """
    Also where sweeps look after ages: from the first use on, and for keys that never
    take the fast path.
    """
    clock = FakeClock(start=0.0)
    key: Any = ("key", object())
    for counts in (COUNTED, 0):
        cache: Cache[Any, Any] = Cache(Root(clock), "idle", idle=10).attach()
        cache._arm()
        cache._look_at_ages(always=False)
        cache._counted = counts
        cache.put(key, "foreign")
        cache.put("text", "trusted")
        cache.put("unused", 1)
        for _ in range(12):
            clock.advance(4)
            assert ("foreign", "trusted") == (cache.get(key), cache.fast("text"))
        assert "unused" not in cache._engine.table
        clock.advance(16)
        assert {} == cache._engine.table
        cache.close()
