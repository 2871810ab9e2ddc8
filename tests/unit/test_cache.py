"""
Caches: caps, order, age, weights, listeners, loading once, and their end.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest

from memguard._kinds.cache import Cache
from memguard._kinds.cache.flight import Flight, aload, load
from memguard._kinds.cache.wanted import Wanted
from memguard._registry import Registry
from memguard._sizing import exact_sizeof, sizeof
from memguard._tree import Branch
from memguard.errors import LimitReached, ScopeClosed
from memguard.testing import FakeClock

SOON = 5.0


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

    def cache(self, loader: Any = None, **options: Any) -> Cache[Any, Any]:
        """
        A cache that is in the tree, but not armed.
        """
        return Cache(self, "tenants", loader, **options).attach()

    @property
    def failures(self) -> list[tuple[str, str]]:
        """
        Background failures: where, and of which type.
        """
        return [key[:2] for key in self.registry.failures.counts]


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


class Thing:
    """
    Something that can be referenced weakly, and call somebody when it dies.
    """

    def __init__(self, last_words: Any = None) -> None:
        self.last_words = last_words

    def __del__(self) -> None:
        if self.last_words is not None:
            self.last_words()


class Departures(list[tuple[Any, Any, str]]):
    """
    A listener that remembers.
    """

    def __call__(self, key: Any, value: Any, cause: str) -> None:
        self.append((key, value, cause))


# -- the verbs -------------------------------------------------------------------------


def test_what_is_put_can_be_got(root: Root) -> None:
    """
    The verbs of a mapping, with their usual meaning.
    """
    cache = root.cache()
    assert cache.put("a", 1)
    cache["b"] = 2
    assert (1, 2, None, 7) == (
        cache.get("a"),
        cache["b"],
        cache.get("c"),
        cache.get("c", 7),
    )
    assert (True, False) == ("a" in cache, "c" in cache)
    assert (["a", "b"], 2) == (list(cache), len(cache))
    assert [("a", 1), ("b", 2)] == cache.items()
    assert {"a": 1, "b": 2} == dict(zip(cache.keys(), cache.values(), strict=True))
    assert (1, 2, None) == (cache.fast("a"), cache.pop("b"), cache.pop("b", None))
    with pytest.raises(KeyError):
        cache["b"]
    with pytest.raises(KeyError):
        cache.pop("b")
    assert (True, False) == (cache.invalidate("a"), cache.invalidate("a"))
    with pytest.raises(KeyError):
        del cache["a"]
    cache["a"] = 3
    del cache["a"]
    cache["a"] = 4
    cache.clear()
    assert (0, {}) == (len(cache), dict(cache.items()))


def test_a_stored_none_is_a_value(root: Root) -> None:
    """
    Who puts None gets None and no default.
    """
    cache = root.cache()
    cache["a"] = None
    assert (None, True) == (cache.get("a", 7), "a" in cache)


def test_an_unhashable_key_is_a_type_error(root: Root) -> None:
    """
    As with a dict.
    """
    cache = root.cache()
    for use in (cache.get, cache.invalidate, cache.pop, cache.__contains__):
        with pytest.raises(TypeError, match="unhashable"):
            use([])
    with pytest.raises(TypeError, match="unhashable"):
        cache.put([], 1)


def test_equal_keys_are_one(root: Root) -> None:
    """
    1 and 1.0 are one key, as in a dict; keys that only share a hash are two.
    """

    class Same:
        def __hash__(self) -> int:
            return 1

    cache = root.cache()
    one, other = Same(), Same()
    cache[1], cache[1.0], cache[one], cache[other] = "a", "b", "c", "d"
    assert ("b", "c", "d", 3) == (cache[True], cache[one], cache[other], len(cache))
    assert cache.invalidate(one)
    assert ("b", "d", 2) == (cache[1], cache[other], len(cache))


def test_figures(root: Root) -> None:
    """
    `info` counts what happened.
    """
    cache = root.cache(max_entries=2)
    for key in "abc":
        cache[key] = key
    cache["c"] = "d"
    for key in "abca":
        cache.get(key)
    cache.invalidate("c")
    info = cache.info()
    assert (1, 2, 2, 1) == (info.entries, info.hits, info.misses, info.evictions)
    assert (2, None, 0) == (info.max_entries, info.max_bytes, info.expired)
    assert sizeof("b") * 2 == info.bytes
    assert {"size": 1, "replaced": 1, "explicit": 1} == {
        cause: times for cause, times in info.causes.items() if times
    }
    assert (0.5, 0.5) == (info.hit_ratio, info.utilisation)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"max_entries": 0}, ValueError, "max_entries"),
        ({"max_entries": 1.5}, ValueError, "max_entries"),
        ({"max_bytes": "64M"}, ValueError, "max_bytes"),
        ({"max_bytes": 0}, ValueError, "max_bytes"),
        ({"ttl": -1}, ValueError, "ttl"),
        ({"idle": 0}, ValueError, "idle"),
        ({"weigher": "rough"}, TypeError, "weigher"),
        ({"on_evict": "x"}, TypeError, "on_evict"),
        ({"priority": "high"}, ValueError, "priority"),
        ({"max_bytes": 10, "floor_bytes": 20}, ValueError, "floor_bytes"),
        ({"on_limit": "explode"}, ValueError, "on_limit"),
        ({"loader": 7}, TypeError, "loader"),
    ],
)
def test_a_bad_option_is_refused_at_the_door(
    root: Root, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    """
    The error names the option that is wrong.
    """
    with pytest.raises(error, match=told):
        root.cache(**options)


def test_the_spec_is_in_one_spelling(root: Root) -> None:
    """
    Texts and numbers agree, and so does a lambda that is made anew.
    """

    def make(ttl: Any) -> dict[str, object]:
        return root.cache(lambda key: key, max_bytes="1KiB", ttl=ttl).spec

    assert make("1m") == make(60)
    assert make("1m") != make("2m")
    assert root.cache(lambda key: key).spec != root.cache(lambda key: -key).spec


# -- caps ------------------------------------------------------------------------------


def test_without_a_cap_there_is_one(root: Root) -> None:
    """
    Nobody gets an unbounded cache by leaving something out.
    """
    cache = root.cache(ttl="1h")
    for number in range(1200):
        cache[number] = number
    assert (1000, 1000) == (len(cache), cache.info().max_entries)


def test_the_least_used_leave(root: Root) -> None:
    """
    Over the number of entries the one goes that was not used.
    """
    cache = root.cache(max_entries=3)
    for key in "abc":
        cache[key] = key
    cache.get("a")
    cache["d"] = "d"
    assert {"a", "c", "d"} == set(cache)
    cache.get("c")
    cache.get("a")
    cache["e"] = "e"
    assert {"a", "c", "e"} == set(cache)


def test_looking_with_in_is_no_use(root: Root) -> None:
    """
    `in` and iteration leave the order and the figures alone.
    """
    cache = root.cache(max_entries=2)
    cache["a"] = cache["b"] = 1
    assert "a" in cache
    assert ["a", "b"] == list(cache)
    cache["c"] = 1
    assert ({"b", "c"}, 0) == (set(cache), cache.info().hits)


def test_if_all_are_used_somebody_leaves_all_the_same(root: Root) -> None:
    """
    The cap holds when every entry was used, however many there are.
    """
    cache = root.cache(max_entries=2000)
    for number in range(2000):
        cache[number] = number
        cache.get(number)
    cache["new"] = 1
    assert (2000, 1) == (len(cache), cache.info().evictions)
    assert "new" in cache
    # And the search for a victim is bounded: most marks were not even looked at.
    engine = cache._engine
    assert 1400 < len(engine.seen) + len(engine.front) < 2000


def test_the_byte_cap_holds_after_every_put(root: Root) -> None:
    """
    The weight of keys and values never exceeds the cap, not for a moment.
    """
    cache = root.cache(max_bytes=10_000)
    for number in range(200):
        assert cache.put(number, "x" * (number * 37 % 3000))
        exact = sum(sizeof(key) + sizeof(value) for key, value in cache.items())
        assert exact == cache.info().bytes
        assert exact <= 10_000
    assert cache.info().evictions > 100


def test_what_is_heavier_than_the_cache_is_refused(root: Root) -> None:
    """
    It neither empties the cache nor leaves an outdated value behind.
    """
    gone = Departures()
    cache = root.cache(max_bytes=1000, on_evict=gone)
    cache["a"], cache["b"] = "old", "stays"
    assert cache.put("a", "x" * 5000) is False
    assert (["b"], 1) == (list(cache), cache.info().refused)
    assert [("a", "old", "size")] == gone


def test_a_heavier_new_value_makes_room_for_itself(root: Root) -> None:
    """
    Replacing a value counts the difference, and others leave for it.
    """
    cache = root.cache(max_bytes=1000)
    cache["a"], cache["b"] = "x" * 100, "y" * 100
    cache["b"] = "y" * 800
    assert (["b"], True) == (list(cache), cache.info().bytes <= 1000)


def test_both_caps_and_a_ttl_in_one(root: Root, clock: FakeClock) -> None:
    """
    Number, bytes and age hold together.
    """
    cache = root.cache(max_entries=5, max_bytes=2000, ttl=10)
    for number in range(20):
        cache[number] = "x" * 300
    assert 5 == len(cache)
    cache["big"] = "x" * 1500
    assert cache.info().bytes <= 2000
    clock.advance(10)
    assert 0 == len(cache)


def test_a_weigher_gives_the_weight(root: Root) -> None:
    """
    It gets key and value, and its unit is that of the cap.
    """
    cache = root.cache(max_bytes=10, weigher=lambda key, value: key + value)
    cache[1] = 4
    assert 5 == cache.info().bytes
    cache[2] = 6
    assert ([2], 8) == (list(cache), cache.info().bytes)


def test_exact_weights_are_those_of_pympler(root: Root) -> None:
    """
    `weigher="exact"` asks the reference.
    """
    cache = root.cache(weigher="exact")
    value = {"a": [1.5] * 10}
    cache["key"] = value
    assert exact_sizeof("key", value) == cache.info().bytes


@pytest.mark.parametrize("result", [-1, 1.5, None, ZeroDivisionError])
def test_a_weigher_that_fails_is_reported(root: Root, result: Any) -> None:
    """
    The entry is then measured; the caller of put never sees the failure.
    """

    def weigher(key: Any, value: Any) -> Any:
        if result is ZeroDivisionError:
            raise ZeroDivisionError
        return result

    cache = root.cache(max_bytes=1000, weigher=weigher)
    cache["a"] = "x" * 100
    assert sizeof("a") + sizeof("x" * 100) == cache.info().bytes
    kind = "ZeroDivisionError" if result is ZeroDivisionError else "TypeError"
    assert [("weigher of cache tenants", kind)] == root.failures


def test_on_limit_raise(root: Root, clock: FakeClock) -> None:
    """
    Then a put that needs room raises, and changes nothing.
    """
    cache = root.cache(max_entries=2, max_bytes=1000, ttl=10, on_limit="raise")
    cache["a"], cache["b"] = 1, 2
    with pytest.raises(LimitReached, match="cache 'tenants' is full"):
        cache["c"] = 3
    cache["b"] = 3
    with pytest.raises(LimitReached):
        cache["b"] = "x" * 2000
    assert [("a", 1), ("b", 3)] == cache.items()
    clock.advance(10)
    cache["c"] = 4
    assert ["c"] == list(cache)


def test_memory_is_told(root: Root) -> None:
    """
    `memory_bytes` is what the entries weigh, and what it takes to hold them.
    """
    cache = root.cache(max_entries=1000)
    assert 0 == cache.memory_bytes()
    for number in range(1000):
        cache[number] = "x" * 1000
    assert 1_049_000 + 28_000 < cache.memory_bytes() < 1_600_000
    assert cache.memory_bytes() > cache.info().bytes


def test_resize(root: Root) -> None:
    """
    Caps can be changed at run time; lowering one lets the least used go.
    """
    gone = Departures()
    cache = root.cache(max_entries=1000, on_evict=gone)
    for number in range(1000):
        cache[number] = "x" * 100
    cache.get(0)
    cache.resize(max_entries=10)
    assert (10, 990, {"size"}) == (len(cache), len(gone), {one[2] for one in gone})
    assert 0 in cache
    cache.resize(max_bytes=1000)
    assert cache.info().bytes <= 1000
    cache.resize(max_entries=None)
    for number in range(100):
        cache[number] = "x" * 100
        assert cache.info().bytes <= 1000
    with pytest.raises(ValueError, match="no cap left"):
        cache.resize(max_bytes=None)
    with pytest.raises(ValueError, match="max_entries"):
        cache.resize(max_entries=0)


def test_a_cap_given_later_is_exact(root: Root) -> None:
    """
    From the moment there is a byte cap each put is measured, not estimated.
    """
    cache = root.cache()
    cache.resize(max_entries=None, max_bytes=20_000)
    for number in range(100):
        cache[number] = ["x" * (number * 31 % 900)]
        exact = sum(sizeof(key) + sizeof(value) for key, value in cache.items())
        assert exact == cache.info().bytes


def test_shrinking_stops_at_the_floor(root: Root) -> None:
    """
    Under pressure bytes are given back, down to what was promised.
    """
    gone = Departures()
    cache = root.cache(max_bytes=100_000, floor_bytes=5000, on_evict=gone)
    for number in range(50):
        cache[number] = "x" * 1000
    before = cache.info().bytes
    freed = cache.shrink(10_000)
    assert 10_000 <= freed < 12_000
    assert before - freed == cache.info().bytes
    assert {"pressure"} == {one[2] for one in gone}
    cache.shrink(10**9)
    assert 4000 < cache.info().bytes <= 5000


# -- age -------------------------------------------------------------------------------


def test_what_is_over_is_never_returned(root: Root, clock: FakeClock) -> None:
    """
    `ttl` counts from the put; hits do not make it longer.
    """
    gone = Departures()
    cache = root.cache(ttl=10, on_evict=gone)
    cache["a"] = 1
    clock.advance(9.9)
    assert 1 == cache.get("a")
    clock.advance(0.1)
    assert "a" not in cache
    assert [] == gone
    assert cache.get("a") is None
    assert [("a", 1, "ttl")] == gone
    info = cache.info()
    assert (1, 1, 1, 0) == (info.hits, info.misses, info.expired, info.evictions)


def test_a_put_may_have_a_ttl_of_its_own(root: Root, clock: FakeClock) -> None:
    """
    Shorter or longer than the cache's, and also where the cache has none.
    """
    timed, timeless = root.cache(ttl=10), root.cache()
    for cache in (timed, timeless):
        cache.put("short", 1, ttl="5s")
        cache.put("long", 2, ttl=20)
        cache.put("usual", 3)
    clock.advance(5)
    assert ["long", "usual"] == list(timed) == list(timeless)
    clock.advance(5)
    assert (["long"], ["long", "usual"]) == (list(timed), list(timeless))
    clock.advance(10)
    assert ([], ["usual"]) == (list(timed), list(timeless))
    with pytest.raises(ValueError, match="ttl"):
        timed.put("never", 1, ttl=0)


def test_a_new_value_has_a_new_age(root: Root, clock: FakeClock) -> None:
    """
    Putting a key again begins its time anew.
    """
    cache = root.cache(ttl=10)
    cache["a"] = 1
    clock.advance(8)
    cache["a"] = 2
    clock.advance(8)
    assert 2 == cache.get("a")
    clock.advance(2)
    assert cache.get("a") is None


def test_what_is_used_is_not_idle(root: Root, clock: FakeClock) -> None:
    """
    `idle` counts from the last use, `in` is none; the cause is told.
    """
    gone = Departures()
    cache = root.cache(idle=10, on_evict=gone)
    cache["a"], cache["b"] = 1, 2
    for _ in range(5):
        clock.advance(6)
        cache.get("a")
        assert ("b" in cache) is (clock.monotonic() < 10)
    assert (["a"], [("b", 2, "idle")]) == (list(cache), gone)
    clock.advance(10)
    assert 0 == len(cache)


def test_idle_and_ttl_together(root: Root, clock: FakeClock) -> None:
    """
    Whatever comes first ends an entry.
    """
    cache = root.cache(idle=10, ttl=25)
    cache["a"] = cache["b"] = 1
    for _ in range(3):
        clock.advance(8)
        assert 1 == cache.get("a")
        cache.get("b")
    clock.advance(1)
    assert cache.get("a") is None
    assert {"ttl"} == {cause for cause, n in cache.info().causes.items() if n}


def test_an_armed_cache_lets_go_by_itself(root: Root, clock: FakeClock) -> None:
    """
    When the guard runs, memory is given back and listeners are told without a use.
    """
    gone = Departures()
    cache = root.cache(ttl=10, on_evict=gone)
    cache["a"] = 1
    cache._arm()
    clock.advance(4)
    cache["b"] = 2
    cache.put("c", 3, ttl=1)
    clock.advance(1)
    assert [("c", 3, "ttl")] == gone
    clock.advance(5)
    assert [("c", 3, "ttl"), ("a", 1, "ttl")] == gone
    clock.advance(4)
    assert (3, 0) == (len(gone), clock.pending)


def test_an_armed_idle_cache_lets_go_by_itself(root: Root, clock: FakeClock) -> None:
    """
    Uses move the moment, and cost the scheduler nothing.
    """
    gone = Departures()
    cache = root.cache(idle=10, on_evict=gone)
    cache._arm()
    cache["a"] = 1
    clock.advance(6)
    cache.get("a")
    assert 1 == clock.pending
    clock.advance(9)
    assert [] == gone
    clock.advance(1)
    assert [("a", 1, "idle")] == gone


def test_many_short_lives_leave_nothing_behind(root: Root, clock: FakeClock) -> None:
    """
    Numbers of entries that left do not pile up in the queues.
    """
    cache = root.cache(max_entries=10, ttl="1h")
    for number in range(5000):
        cache[number] = number
        cache[number % 3] = number
        cache.pop(number)
    engine = cache._engine
    assert len(engine.probation) + len(engine.main) <= 2 * 10 + 64 + 1
    assert len(cache._deadlines._at) == len(engine.table)
    assert len(cache._deadlines._heap) <= 2 * 10 + 64
    assert sizeof(engine) < 20_000


# -- listeners, locks and other people's code ------------------------------------------


def test_every_departure_is_told_with_its_cause(root: Root) -> None:
    """
    All but `pop`, whose caller has the value.
    """
    gone = Departures()
    cache = root.cache(max_entries=2, on_evict=gone)
    for key in "abc":
        cache[key] = key.upper()
    cache["c"] = "new"
    cache.invalidate("b")
    assert "new" == cache.pop("c")
    cache["d"] = "D"
    cache.clear()
    expected = [
        ("a", "A", "size"),
        ("c", "C", "replaced"),
        ("b", "B", "explicit"),
        ("d", "D", "explicit"),
    ]
    assert expected == gone


def test_a_listener_that_fails_is_reported(root: Root) -> None:
    """
    It neither reaches the caller nor stops the others.
    """
    told: list[str] = []

    def listener(key: str, value: Any, cause: str) -> None:
        told.append(key)
        raise ZeroDivisionError

    cache = root.cache(on_evict=listener)
    cache["a"] = cache["b"] = 1
    cache.clear()
    assert ["a", "b"] == told
    assert [("on_evict of cache tenants", "ZeroDivisionError")] == root.failures


def in_another_thread(call: Callable[[], object]) -> bool:
    """
    True if *call* comes back in another thread: no lock of ours is in its way.
    """
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(SOON)
    return not thread.is_alive()


def test_no_user_code_runs_under_the_lock(root: Root) -> None:
    """
    Weigher, listener, loader, keys and destructors may all use the cache, in this
    thread and from others.
    """
    results: dict[str, bool] = {}

    def note(who: str) -> None:
        if who not in results:
            results[who] = True
            results[who] = in_another_thread(lambda: cache.put("elsewhere", 1))
            cache.get("elsewhere")

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            note("hash")
            return 1

        def __eq__(self, other: object) -> bool:
            note("eq")
            return isinstance(other, Key) and self.number == other.number

    def weigher(key: Any, value: Any) -> int:
        note("weigher")
        return 1

    def listener(key: Any, value: Any, cause: str) -> None:
        note("listener")

    def loader(key: Any) -> Any:
        note("loader")
        return 1

    cache = root.cache(loader, max_entries=3, weigher=weigher, on_evict=listener)
    for number in range(6):
        cache[Key(number)] = Thing(lambda: note("destructor"))
        cache.get(Key(number))
    cache.invalidate(Key(5))
    cache.get(Key(7))
    cache.clear()
    assert dict.fromkeys(results, True) == results
    assert {"hash", "eq", "weigher", "listener", "loader", "destructor"} == set(results)


def test_keys_that_change_the_cache_while_they_are_compared(root: Root) -> None:
    """
    A comparison that invalidates, puts or clears leaves a cache that still holds.
    """
    cache = root.cache(max_entries=10)
    actions: list[Callable[[], object]] = [
        cache.clear,
        lambda: cache.put("x", 1),
        lambda: cache.invalidate("x"),
    ]
    busy: list[int] = []

    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if not busy:
                busy.append(1)
                actions[0]()
                actions.append(actions.pop(0))
                busy.clear()
            return self is other

    for number in range(100):
        cache[Key()] = number
        cache[1] = number
        assert len(cache) <= 10
    entries = cache.items()
    assert len(entries) == len(cache) == cache.info().entries
    cache.clear()
    assert (0, 0) == (len(cache), cache.info().bytes)


def test_a_key_that_comes_while_another_is_compared_comes_once(root: Root) -> None:
    """
    Who compared in a bucket that has changed since compares again.
    """

    class Key:
        def __init__(self, name: str) -> None:
            self.name = name

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if busy:
                busy.pop()()
            return isinstance(other, Key) and self.name == other.name

    cache = root.cache()
    busy: list[Callable[[], object]] = []
    cache[Key("first")] = 0
    busy.append(lambda: cache.put(Key("second"), 1))
    cache[Key("second")] = 2
    assert [0, 2] == cache.values()
    busy.append(lambda: cache.put(Key("second"), 3))
    assert cache.invalidate(Key("second"))
    assert [0] == cache.values()


def test_a_destructor_inside_the_locked_section_is_put_off(root: Root) -> None:
    """
    What a collection calls in the middle of a change happens right after it.
    """
    cache = root.cache(lambda key: key.upper())
    cache["a"] = 1
    seen: list[Any] = []

    def in_the_middle() -> None:
        seen.append((cache.put("b", 2), cache.get("a"), cache.get("new")))
        seen.append((cache.pop("a"), cache.invalidate("zz"), len(cache)))
        seen.append((cache.shrink(5), "b" in cache))
        cache.resize(max_entries=5)

    cache._locked(in_the_middle)
    assert [(True, 1, "NEW"), (1, False, 1), (0, False)] == seen
    assert ([("b", 2)], 5) == (cache.items(), cache.info().max_entries)


def test_values_die_when_they_leave(root: Root, clock: FakeClock) -> None:
    """
    Whatever way an entry goes, nothing of it is kept, not even for its old deadline.
    """
    cache = root.cache(max_entries=2, ttl="1h")
    for leave in (
        lambda: cache.invalidate("a"),
        lambda: cache.pop("a") and None,
        lambda: cache.put("a", 1),
        cache.clear,
        lambda: cache.resize(max_entries=1),
        lambda: clock.advance(3600) or len(cache),
    ):
        thing = Thing()
        watch = weakref.ref(thing)
        cache["a"] = thing
        cache.put("b", 1, ttl="2h")
        del thing
        leave()
        assert watch() is None
        cache.resize(max_entries=2)


# -- loading ---------------------------------------------------------------------------


def test_a_missing_key_is_loaded(root: Root) -> None:
    """
    By `[]`, `get` and `fast`; the second time it is there.
    """
    loaded: list[str] = []

    def loader(key: str) -> str:
        loaded.append(key)
        return key.upper()

    cache = root.cache(loader)
    assert ("A", "B", "C") == (cache["a"], cache.get("b"), cache.fast("c"))
    assert ("A", "B", "C") == (cache["a"], cache.get("b"), cache.fast("c"))
    assert (["a", "b", "c"], 3, 3) == (loaded, cache.info().loads, cache.info().hits)
    assert "d" not in cache


def test_none_and_failures_are_not_stored(root: Root, clock: FakeClock) -> None:
    """
    The next one asks again; load times are counted.
    """
    asked: list[str] = []

    def loader(key: str) -> Any:
        asked.append(key)
        clock.advance(2)
        return None if key == "none" else {}[key]

    cache = root.cache(loader)
    assert (None, 7) == (cache["none"], cache.get("none", 7))
    for _ in range(2):
        with pytest.raises(KeyError):
            cache.get("fails")
    assert (["none"] * 2 + ["fails"] * 2, 0) == (asked, len(cache))
    info = cache.info()
    assert (2, 2, 4.0) == (info.loads, info.load_failures, info.load_seconds)


class Race:
    """
    A loader that waits until it is let go, and threads that all want the same key.
    """

    def __init__(self) -> None:
        self.loads = 0
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.results: list[Any] = []
        self.threads: list[threading.Thread] = []

    def loader(self, key: str) -> Any:
        self.loads += 1
        number = self.loads
        self.begun.release()
        assert self.go_on.acquire(timeout=SOON)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return f"{key}{number}"

    outcome: BaseException | None = None

    def want(self, call: Callable[[], Any]) -> None:
        """
        Make *call* in a thread of its own.
        """

        def work() -> None:
            try:
                self.results.append(call())
            except BaseException as error:
                self.results.append(type(error))

        thread = threading.Thread(target=work)
        self.threads.append(thread)
        thread.start()

    def join(self) -> list[Any]:
        """
        Wait for all threads.
        """
        for thread in self.threads:
            thread.join(SOON)
            assert not thread.is_alive()
        return self.results


def await_waiters(cache: Cache[Any, Any], key: Any, count: int) -> None:
    """
    Until *count* threads wait for the flight of *key*.
    """
    deadline = threading.Event()
    for _ in range(500):
        (flight,) = cache._flights.at(hash(key))
        waiting = len(flight.latch._wakers)
        if waiting >= count:
            return
        deadline.wait(0.01)
    raise AssertionError


def test_of_many_threads_one_loads(root: Root) -> None:
    """
    The others wait for it and get its value.
    """
    race = Race()
    cache = root.cache(race.loader)
    for _ in range(8):
        race.want(lambda: cache["a"])
    assert race.begun.acquire(timeout=SOON)
    await_waiters(cache, "a", 7)
    race.go_on.release()
    assert (["a1"] * 8, 1) == (race.join(), race.loads)
    assert 1 == cache.info().loads


def test_a_value_that_is_not_stored_still_goes_to_all(root: Root) -> None:
    """
    Followers of a load that gives None do not load one after the other.
    """
    race = Race()
    cache = root.cache(lambda key: race.loader(key) and None)
    for _ in range(4):
        race.want(lambda: cache["a"])
    assert race.begun.acquire(timeout=SOON)
    await_waiters(cache, "a", 3)
    race.go_on.release()
    assert ([None] * 4, 1, 0) == (race.join(), race.loads, len(cache))


def test_followers_of_a_failure_try_once_more(root: Root) -> None:
    """
    One of them for all: two loads in a bad minute, however many wait.
    """
    race = Race()
    race.outcome = ZeroDivisionError()
    cache = root.cache(race.loader)
    for _ in range(6):
        race.want(lambda: cache["a"])
    assert race.begun.acquire(timeout=SOON)
    await_waiters(cache, "a", 5)
    race.go_on.release()
    assert race.begun.acquire(timeout=SOON)
    await_waiters(cache, "a", 4)
    race.go_on.release()
    assert ([ZeroDivisionError] * 6, 2) == (race.join(), race.loads)
    assert ([], 0) == (cache._flights.things(), len(cache))


def test_followers_get_what_the_second_try_brings(root: Root) -> None:
    """
    A failure that was the leader's own does not hurt the others.
    """
    race = Race()
    race.outcome = ZeroDivisionError()
    cache = root.cache(race.loader)
    for _ in range(4):
        race.want(lambda: cache["a"])
    assert race.begun.acquire(timeout=SOON)
    await_waiters(cache, "a", 3)
    race.go_on.release()
    assert race.begun.acquire(timeout=SOON)
    race.outcome = None
    race.go_on.release()
    assert {ZeroDivisionError, "a2"} == set(race.join())
    assert (3, 2) == (race.results.count("a2"), race.loads)


def test_an_interrupted_leader_is_replaced(root: Root) -> None:
    """
    A KeyboardInterrupt ends the leader alone.
    """
    race = Race()
    race.outcome = KeyboardInterrupt()
    cache = root.cache(race.loader)
    for _ in range(3):
        race.want(lambda: cache["a"])
    assert race.begun.acquire(timeout=SOON)
    await_waiters(cache, "a", 2)
    race.go_on.release()
    assert race.begun.acquire(timeout=SOON)
    race.outcome = None
    race.go_on.release()
    results = race.join()
    assert (1, 2) == (results.count(KeyboardInterrupt), results.count("a2"))


def wanted(
    compute: Callable[[], Any], patience: float = 0.05, key: Any = "a"
) -> Wanted:
    """
    A value that is missing, for who has little patience.
    """
    return Wanted(key, hash(key), compute, lambda value: True, patience)


def test_who_has_waited_long_enough_loads_itself(root: Root) -> None:
    """
    A leader that hangs holds nobody up, and nobody who comes later.
    """
    race = Race()
    cache = root.cache()
    race.want(lambda: load(cache, wanted(lambda: race.loader("hangs"))))
    assert race.begun.acquire(timeout=SOON)
    assert "mine" == load(cache, wanted(lambda: "mine"))
    assert "mine" == cache["a"]
    race.go_on.release()
    assert ["hangs1"] == race.join()


def test_a_flight_is_taken_over_once(root: Root) -> None:
    """
    Of all who have waited long enough one leads; the others compute for themselves.
    """
    cache = root.cache()
    flight = Flight("a", hash("a"))
    assert cache._take_off(flight, ())
    new = cache._take_over(flight)
    assert [new] == cache._flights.things()
    assert cache._take_over(flight) is None


def test_a_load_of_the_same_key_inside_of_itself_computes(root: Root) -> None:
    """
    A loader that asks for its own key does not wait for itself.
    """
    depth: list[int] = []

    def loader(key: str) -> int:
        depth.append(1)
        return len(depth) if len(depth) == 3 else cache[key] + 10

    cache = root.cache(loader)
    assert (23, 23, 3) == (cache["a"], cache["a"], len(depth))


def test_a_loader_may_ask_for_other_keys(root: Root) -> None:
    """
    Recursion over keys, the way of memoisation.
    """
    cache = root.cache(lambda n: n if n < 2 else cache[n - 1] + cache[n - 2])
    assert (832040, 31) == (cache[30], cache.info().loads)


def test_inside_a_loop_nobody_is_waited_for(root: Root) -> None:
    """
    A synchronous follower in a running loop computes instead of blocking the loop.
    """
    race = Race()
    cache = root.cache()
    race.want(lambda: load(cache, wanted(lambda: race.loader("a"), SOON)))
    assert race.begun.acquire(timeout=SOON)

    async def main() -> Any:
        return load(cache, wanted(lambda: "mine", SOON))

    assert "mine" == asyncio.run(main())
    race.go_on.release()
    assert ["a1"] == race.join()


@pytest.mark.parametrize("change", ["invalidate", "clear", "put"])
def test_a_change_during_a_load_wins(root: Root, change: str) -> None:
    """
    What was read before an invalidation is not stored after it.
    """
    race = Race()
    cache = root.cache(race.loader)
    race.want(lambda: cache["a"])
    assert race.begun.acquire(timeout=SOON)
    if change == "put":
        cache.put("a", "newer")
    elif change == "clear":
        cache.clear()
    else:
        assert cache.invalidate("a") is False
        race.want(lambda: cache["a"])
        assert race.begun.acquire(timeout=SOON)
        race.go_on.release()
    race.go_on.release()
    race.join()
    expected = {"put": ["newer"], "clear": [], "invalidate": ["a2"]}
    assert expected[change] == cache.values()
    assert [] == cache._flights.things()


def test_a_load_that_outlives_the_cache(root: Root) -> None:
    """
    It gets its value, and stores nothing in what has ended.
    """
    race = Race()
    cache = root.cache(race.loader)
    race.want(lambda: cache["a"])
    assert race.begun.acquire(timeout=SOON)
    cache.close()
    race.go_on.release()
    assert (["a1"], 0) == (race.join(), len(cache._engine.table))


def test_flights_leave_nothing_behind(root: Root) -> None:
    """
    Neither the value nor the error of a load is kept by the machinery.
    """
    values: list[weakref.ref[Thing]] = []

    def loader(key: str) -> Any:
        thing = Thing()
        values.append(weakref.ref(thing))
        return thing

    cache = root.cache(loader)
    gc.disable()
    try:
        for key in "abc":
            cache[key]
        cache.clear()
        assert [None] * 3 == [watch() for watch in values]
    finally:
        gc.enable()


# -- loading on a loop -----------------------------------------------------------------


def test_of_many_tasks_one_loads(root: Root) -> None:
    """
    `aget` with an asynchronous loader: once for all, and then it is there.
    """
    loads: list[str] = []

    async def loader(key: str) -> str:
        loads.append(key)
        await asyncio.sleep(0.01)
        return key.upper()

    cache = root.cache(loader)

    async def main() -> list[Any]:
        return await asyncio.gather(*(cache.aget("a") for _ in range(10)))

    assert (["A"] * 10, ["a"]) == (asyncio.run(main()), loads)
    assert ("A", "A") == (cache["a"], cache.get("a"))
    with pytest.raises(TypeError, match=r"await cache\.aget"):
        cache["b"]


def test_aget_without_and_with_a_plain_loader(root: Root) -> None:
    """
    `aget` works for every cache.
    """
    plain, bare = root.cache(str.upper), root.cache()

    async def main() -> list[Any]:
        return [
            await plain.aget("a"),
            await plain.aget("a"),
            await bare.aget("a"),
            await bare.aget("a", 7),
        ]

    assert ["A", "A", None, 7] == asyncio.run(main())


def test_a_cancelled_leader_hands_over(root: Root) -> None:
    """
    One of those who wait loads, as often as it takes; the others wait on.
    """
    loads: list[Any] = []
    begun: asyncio.Queue[Any] = asyncio.Queue()

    async def loader(key: str) -> str:
        loads.append(1)
        begun.put_nowait(asyncio.current_task())
        await asyncio.sleep(SOON if len(loads) <= 3 else 0)
        return f"{key}{len(loads)}"

    cache = root.cache(loader)

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(cache.aget("a")) for _ in range(6)]
        for _ in range(3):
            leader = await asyncio.wait_for(begun.get(), SOON)
            leader.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(main())
    assert 3 == sum(isinstance(one, asyncio.CancelledError) for one in results)
    assert (3, 4) == (results.count("a4"), len(loads))


def test_a_cancelled_follower_goes_alone(root: Root) -> None:
    """
    The leader loads on, and nothing is left of who went.
    """

    async def loader(key: str) -> str:
        await asyncio.sleep(0.02)
        return key

    cache = root.cache(loader)

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(cache.aget("a")) for _ in range(3)]
        await asyncio.sleep(0.001)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert ("a", "a") == (first, third)
    assert isinstance(second, asyncio.CancelledError)


def test_tasks_share_a_failure_after_one_more_try(root: Root) -> None:
    """
    As in threads: two loads, and nothing stored.
    """
    loads: list[int] = []

    async def loader(key: str) -> str:
        loads.append(1)
        await asyncio.sleep(0.001)
        raise ZeroDivisionError

    cache = root.cache(loader)

    async def main() -> list[Any]:
        waiting = [cache.aget("a") for _ in range(5)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [ZeroDivisionError] * 5 == [type(one) for one in asyncio.run(main())]
    assert (2, 0) == (len(loads), len(cache))


def test_a_task_that_has_waited_long_enough_loads_itself(root: Root) -> None:
    """
    A leader that never comes back holds nobody up.
    """
    cache = root.cache()

    async def never() -> Any:
        await asyncio.sleep(SOON)

    async def mine() -> str:
        return "mine"

    async def main() -> Any:
        leader = asyncio.create_task(aload(cache, wanted(never)))
        await asyncio.sleep(0)
        got = await aload(cache, wanted(mine))
        leader.cancel()
        return got

    assert ("mine", "mine") == (asyncio.run(main()), cache["a"])


def test_a_child_task_of_a_load_may_ask_for_its_key(root: Root) -> None:
    """
    It stands inside of the load, though it is another task, and computes.
    """
    depth: list[int] = []

    async def loader(key: str) -> int:
        depth.append(1)
        if len(depth) == 2:
            return 1
        inner = await asyncio.gather(asyncio.create_task(cache.aget(key)))
        return int(inner[0]) + 10

    cache = root.cache(loader)

    async def main() -> Any:
        return await asyncio.wait_for(cache.aget("a"), SOON)

    assert (11, 2) == (asyncio.run(main()), len(depth))


def test_a_thread_waits_for_a_task(root: Root) -> None:
    """
    One flight for threads and loops: the one on the loop loads, the thread gets it.
    """
    cache = root.cache()
    begun = threading.Event()
    results: list[Any] = []

    async def slow() -> str:
        begun.set()
        await asyncio.sleep(0.05)
        return "from the loop"

    def follower() -> None:
        begun.wait(SOON)
        results.append(load(cache, wanted(lambda: "from the thread", SOON)))

    thread = threading.Thread(target=follower)
    thread.start()
    assert "from the loop" == asyncio.run(aload(cache, wanted(slow, SOON)))
    thread.join(SOON)
    assert ["from the loop"] == results


def test_a_loop_waits_for_a_thread(root: Root) -> None:
    """
    And the other way round, while the loop goes on.
    """
    race = Race()
    cache = root.cache()
    race.want(lambda: load(cache, wanted(lambda: race.loader("a"), SOON)))
    assert race.begun.acquire(timeout=SOON)
    ticks: list[int] = []

    async def unused() -> str:
        return "not this"

    async def tick() -> None:
        for _ in range(3):
            await asyncio.sleep(0.001)
            ticks.append(1)
        race.go_on.release()

    async def main() -> Any:
        got, _ = await asyncio.gather(aload(cache, wanted(unused, SOON)), tick())
        return got

    assert ("a1", 3) == (asyncio.run(main()), len(ticks))
    race.join()


def test_a_leader_whose_loop_is_gone_is_replaced(root: Root) -> None:
    """
    A coroutine that is thrown away with its loop frees the key.
    """
    cache = root.cache()

    async def never() -> Any:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(aload(cache, wanted(never)))
        await asyncio.sleep(0)
        assert 1 == len(cache._flights.things())
        del task

    asyncio.run(main())
    assert [] == cache._flights.things()
    assert "next" == load(cache, wanted(lambda: "next"))


# -- life ------------------------------------------------------------------------------


def test_a_closed_cache_takes_nothing(root: Root) -> None:
    """
    Its entries leave as `explicit`; reading is empty, a loader still loads.
    """
    gone = Departures()
    cache = root.cache(lambda key: key, on_evict=gone, ttl=10)
    cache._arm()
    cache["a"] = 1
    cache.close()
    cache.close()
    assert [("a", 1, "explicit")] == gone
    assert (0, False, "x", "x") == (len(cache), "a" in cache, cache["x"], cache["x"])
    assert ([], 0) == (list(cache), cache.memory_bytes())
    with pytest.raises(ScopeClosed, match="cache 'tenants' is closed"):
        cache["a"] = 1
    with pytest.raises(ScopeClosed):
        cache.resize(max_entries=7)
    assert (False, 0) == (cache.invalidate("a"), cache.shrink(5))


def test_closing_leaves_nothing_in_the_scheduler(root: Root, clock: FakeClock) -> None:
    """
    The alarm goes with the cache.
    """
    cache = root.cache(ttl=10)
    cache._arm()
    cache["a"] = 1
    assert 1 == clock.pending
    cache.close()
    assert 0 == clock.pending


def test_a_disarmed_cache_can_be_used_again(root: Root, clock: FakeClock) -> None:
    """
    A declared cache is empty after a shutdown, usable, and armed by the next start.
    """
    cache = root.cache(ttl=10)
    cache._arm()
    cache["a"] = 1
    cache._disarm()
    assert (0, 0) == (len(cache), clock.pending)
    cache["b"] = 2
    cache._arm()
    assert (1, 1) == (len(cache), clock.pending)
    clock.advance(10)
    assert 0 == len(cache._engine.table)


def test_a_forked_child_goes_on_with_a_fresh_lock(root: Root, clock: FakeClock) -> None:
    """
    A declared cache keeps its entries, unless it was being changed; loads are gone.
    """
    cache = root.cache(ttl=10)
    cache["a"] = 1
    cache._flights.add(SimpleNamespace(key="b", hashed=hash("b")))  # type: ignore[arg-type]
    cache._after_fork(Registry(clock, clock))
    assert ([("a", 1)], []) == (cache.items(), cache._flights.things())
    cache._lock.acquire()
    cache._after_fork(Registry(clock, clock))
    assert 0 == len(cache)
    cache["c"] = 3
    assert ["c"] == list(cache)


def test_a_cache_of_the_parent_process_is_not_touched(root: Root) -> None:
    """
    In a forked child its lock may be held for ever: hits and loads do without.
    """
    cache = root.cache(lambda key: f"loaded {key}", ttl=10)
    cache["a"] = 1
    cache._lock.acquire()
    root.registry.detached = True
    assert (1, "loaded b") == (cache["a"], cache["b"])
    assert 1 == len(cache)
    with pytest.raises(ScopeClosed, match="fork"):
        cache["c"] = 1
    cache.close()


@pytest.mark.stress
def test_threads_leave_the_cache_in_order(root: Root) -> None:
    """
    Eight threads do everything at once; then every book agrees with every other.
    """
    departures: list[str] = []
    cache = root.cache(
        lambda key: [key],
        max_entries=100,
        max_bytes=20_000,
        idle="1h",
        on_evict=lambda key, value, cause: departures.append(cause),
    )
    together = threading.Barrier(8)
    failed: list[BaseException] = []

    def work(seed: int) -> None:
        together.wait(SOON)
        try:
            for at in range(800):
                key = (at * 7919 + seed * 104729) % 300
                cache.get(key)
                if at % 3 == 0:
                    cache.put(key, "x" * (key * 3))
                if at % 7 == 0:
                    cache.invalidate(key)
                if at % 50 == 0:
                    cache.shrink(1000)
                    assert len(cache) <= 100
                if at % 200 == 0:
                    cache.clear()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [] == failed
    engine, info = cache._engine, cache.info()
    table = engine.table
    assert sum(cell.weight for cell in table.values()) == cache._weight == info.bytes
    assert len(table) == info.entries
    places = set(chain.from_iterable(engine._keys))
    assert table.keys() <= places
    assert (engine.seen | engine.front.keys()) <= table.keys()
    assert len(departures) == sum(info.causes.values())
    assert 8 * 800 == info.hits + info.misses
    assert [] == cache._flights.things()


def test_partial_loaders_are_known_as_asynchronous(root: Root) -> None:
    """
    `async def` behind a partial is still a coroutine function.
    """

    async def loader(prefix: str, key: str) -> str:
        return prefix + key

    cache = root.cache(partial(loader, "x"))
    assert "xa" == asyncio.run(cache.aget("a"))
