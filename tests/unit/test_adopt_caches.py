"""
Adopting caches of functools, cachetools, cachebox and Django, the real ones.
"""

from __future__ import annotations

import functools
import gc
import math
import sys
import threading
from types import ModuleType
from typing import Any

import cachebox
import cachetools
import cachetools.func
import pytest
from django.core.cache import CacheHandler
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.utils.connection import ConnectionProxy

import memguard
from memguard import Guard
from memguard.testing import FakeClock

TICK = 1.5


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that stands still.
    """
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=clock)


# -- functools -------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def bounded(key: int) -> str:
    """
    Something to cache.
    """
    return "x" * key


@functools.cache
def unbounded(key: int) -> str:
    """
    Something to cache for ever.
    """
    return "x" * key


class Repository:
    @functools.lru_cache(maxsize=4)  # noqa: B019 - the very mistake
    def load(self, key: int) -> int:
        return key

    @staticmethod
    @functools.lru_cache(maxsize=4)
    def parse(text: str) -> str:
        return text


def test_a_bounded_lru_cache_is_measured_and_cleared(guard: Guard) -> None:
    """
    Entries, bound, hits and misses come from the wrapper; the end empties it.
    """
    bounded.cache_clear()
    handle = guard.adopt(bounded)
    for key in (1, 2, 1000, 1, 2):
        bounded(key)
    info = handle.info()
    assert ("cache", "bounded") == (info.kind, info.name)
    assert (3, 4, 2, 3) == (info.entries, info.limit, info.hits, info.misses)
    assert info.bytes is not None
    assert 1000 < info.bytes < 3000
    assert "maxsize" in info.cannot
    assert handle.risk() is None
    handle.close()
    assert 0 == bounded.cache_info().currsize


def test_an_unbounded_lru_cache_is_a_risk_and_cannot_be_capped(guard: Guard) -> None:
    """
    The error says what to do instead.
    """
    handle = guard.adopt(unbounded)
    assert handle.info().limit is None
    risk = handle.risk()
    assert risk is not None
    assert "maxsize" in risk.reason
    with pytest.raises(TypeError, match=r"fixed where it is made.*memguard\.cached"):
        handle.resize(max_entries=10)
    handle.close()


def test_a_method_keeps_its_instances(guard: Guard) -> None:
    """
    An lru_cache on a method is flagged; on a static method it is not.
    """
    risk = guard.adopt(Repository.load).risk()
    assert risk is not None
    assert "instances" == risk.what
    assert guard.adopt(Repository.parse).risk() is None


def test_a_cached_function_that_goes_is_no_fault(guard: Guard) -> None:
    """
    Held weakly: when the function is gone, its handle is, without a warning.
    """

    @functools.lru_cache
    def local(key: int) -> int:
        return key

    handle = guard.adopt(local)
    del local
    gc.collect()
    assert 0 == guard.snapshot().count("cache")
    assert not handle.info().alive
    assert handle.closed


# -- cachetools ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cache",
    [
        cachetools.Cache(8),
        cachetools.FIFOCache(8),
        cachetools.LRUCache(8),
        cachetools.LFUCache(8),
        cachetools.RRCache(8),
        cachetools.TTLCache(8, ttl=60),
        cachetools.TLRUCache(8, ttu=lambda _, __, now: now + 60),
    ],
    ids=lambda one: type(one).__name__,
)
def test_each_cache_of_cachetools_is_measured(guard: Guard, cache: Any) -> None:
    """
    Entries and bound; a cap is refused with the reason; the end empties it.
    """
    for key in range(5):
        cache[key] = "x" * 1000
    handle = guard.adopt(cache)
    info = handle.info()
    assert ("cache", 5, 8) == (info.kind, info.entries, info.limit)
    assert info.bytes is not None
    assert 1000 < info.bytes
    with pytest.raises(TypeError, match="no lock of its own"):
        handle.resize(max_entries=2)
    handle.close()
    assert 0 == len(cache)


@pytest.mark.parametrize(
    "cache",
    [
        cachetools.Cache(3000),
        cachetools.FIFOCache(3000),
        cachetools.LRUCache(3000),
        cachetools.LFUCache(3000),
        cachetools.RRCache(3000),
        cachetools.TTLCache(3000, ttl=60),
        cachetools.TLRUCache(3000, ttu=lambda _, __, now: now + 60),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_bytes_of_a_cache_are_about_right(guard: Guard, cache: Any) -> None:
    """
    Within a quarter of a walk over everything, at a hundredth of its cost.
    """
    for key in range(10_000, 13_000):
        cache[key] = {"key": key, "value": str(key) * 20}
    whole = memguard.sizeof(cache, limit=10_000_000)
    found = guard.adopt(cache).info().bytes
    assert found is not None
    assert 0.75 < found / whole < 1.25


@pytest.mark.parametrize("maxsize", [3000, None])
def test_the_bytes_of_a_cached_function_are_about_right(
    guard: Guard, maxsize: int | None
) -> None:
    """
    With a bound its results hang on links that cannot be looked into.
    """

    @functools.lru_cache(maxsize=maxsize)
    def load(key: int) -> dict[str, Any]:
        return {"key": key, "value": str(key) * 20}

    results = [load(key) for key in range(10_000, 13_000)]
    whole = memguard.sizeof(results, limit=10_000_000)
    found = guard.adopt(load).info().bytes
    assert found is not None
    assert 1.0 < found / whole < 1.6


def test_measuring_throws_nothing_out(guard: Guard) -> None:
    """
    A look at a cache with a time to live does not change it: there is no lock.
    """
    now = [0.0]
    cache = cachetools.TTLCache(8, ttl=10, timer=lambda: now[0])
    cache["key"] = 1
    handle = guard.adopt(cache)
    now[0] = 60.0
    assert 1 == handle.info().entries
    assert 0 == len(cache)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="each instance has a dict")
def test_a_look_leaves_an_instance_as_fast_as_it_was(guard: Guard) -> None:
    """
    An instance that was asked for its `__dict__` has slower attributes from then on.
    """
    cache: Any = cachetools.LRUCache(8)

    def has_dict() -> bool:
        held = gc.get_referents(cache)
        return any(type(one) is dict and "_Cache__data" in one for one in held)

    handle = guard.adopt(cache)
    with guard:
        assert 8 == handle.info().limit
        assert handle.risk() is None
        assert guard.snapshot().count("cache")
        assert not has_dict()
    assert cache.__dict__
    assert has_dict() or sys.version_info >= (3, 13)


def test_a_maxsize_in_bytes_is_no_number_of_entries(guard: Guard) -> None:
    """
    With getsizeof the bound is not one of entries; without an end it is a risk.
    """
    sized = cachetools.LRUCache(1000, getsizeof=len)
    sized["key"] = "x" * 300
    info = guard.adopt(sized).info()
    assert None is info.limit
    assert (1000, 300) == (info.details["maxsize"], info.details["currsize"])
    assert guard.adopt(cachetools.LRUCache(math.inf)).risk() is not None


def test_a_decorated_function_with_a_lock_is_capped(
    guard: Guard, clock: FakeClock
) -> None:
    """
    Under its own lock entries can be taken out; without one the cap is refused.
    """
    cache: Any = cachetools.LRUCache(100)

    @cachetools.cached(cache, lock=threading.Lock(), info=True)
    def load(key: int) -> int:
        return key

    @cachetools.cached(cachetools.LRUCache(100))
    def alone(key: int) -> int:
        return key

    handle = guard.adopt(load, max_entries=10)
    assert "load" in handle.label
    with pytest.raises(TypeError, match="no lock"):
        guard.adopt(alone, max_entries=10)
    with guard:
        for key in range(50):
            load(key)
        load(49)
        clock.advance(TICK)
        assert [(key,) for key in range(40, 50)] == sorted(cache)
        info = handle.info()
        assert (10, 10, 1, 50) == (info.entries, info.limit, info.hits, info.misses)
        assert "a tick" in info.cap
    assert 0 == len(cache)


def test_functions_decorated_like_an_lru_cache(guard: Guard) -> None:
    """
    `cachetools.func` brings a lock; without a bound it keeps a plain dict: a risk.
    """

    @cachetools.func.ttl_cache(maxsize=16, ttl=60)
    def some(key: int) -> int:
        return key

    @cachetools.func.lru_cache(maxsize=None)
    def everything(key: int) -> int:
        return key

    some(1)
    info = guard.adopt(some, max_entries=4).info()
    assert (1, 4) == (info.entries, info.limit)
    risk = guard.adopt(everything).risk()
    assert risk is not None
    assert "dict" in risk.reason


# -- cachebox --------------------------------------------------------------------------


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """
    A module of an application.
    """
    made = ModuleType("an_application_with_caches")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


@pytest.mark.parametrize(
    "cache",
    [
        cachebox.FIFOCache(100),
        cachebox.LRUCache(100),
        cachebox.LFUCache(100),
        cachebox.RRCache(100),
        cachebox.TTLCache(100, 60.0),
        cachebox.VTTLCache(100),
    ],
    ids=lambda one: type(one).__name__,
)
def test_each_cache_of_cachebox_is_capped_at_its_place(
    guard: Guard, clock: FakeClock, module: Any, cache: Any
) -> None:
    """
    They lock themselves and drain by their own policy, once a tick.
    """
    module.CACHE = cache
    for key in range(50):
        cache.insert(key, f"{key:0100}")
    handle = guard.adopt(module, "CACHE", max_entries=10)
    assert f"{module.__name__}.CACHE" == handle.label
    assert 50 == handle.info().entries
    assert 5000 < (handle.info().bytes or 0)
    with guard:
        clock.advance(TICK)
        assert 10 == len(cache)
    assert 0 == len(cache)


def test_by_itself_a_cache_of_cachebox_has_to_be_kept(guard: Guard) -> None:
    """
    It cannot be referenced weakly: the error names both ways out.
    """
    cache: Any = cachebox.LRUCache(8)
    with pytest.raises(TypeError, match=r"keep=True.*place"):
        guard.adopt(cache)
    handle = guard.adopt(cache, keep=True)
    assert handle is guard.adopt(cache)
    assert 8 == handle.info().limit
    handle.close()


def test_without_a_policy_nothing_can_be_taken_out(guard: Guard, module: Any) -> None:
    """
    A `cachebox.Cache` refuses a cap, and without a maxsize it is a risk.
    """
    module.CACHE = cachebox.Cache(0)
    with pytest.raises(TypeError, match="no order"):
        guard.adopt(module, "CACHE", max_entries=10)
    handle = guard.adopt(module, "CACHE")
    assert handle.info().limit is None
    assert handle.risk() is not None
    module.CACHE = {}
    assert not handle.info().alive


def test_functions_decorated_by_cachebox(guard: Guard, clock: FakeClock) -> None:
    """
    The function is adopted, and its cache drained.
    """

    @cachebox.cached(cachebox.LRUCache(100))
    def load(key: int) -> int:
        return key

    handle = guard.adopt(load, max_entries=5)
    with guard:
        for key in range(20):
            load(key)
        clock.advance(TICK)
        assert 5 == handle.info().entries
        assert 20 == handle.info().misses


# -- Django ----------------------------------------------------------------------------


def local_memory(name: str, entries: int) -> Any:
    """
    Django's cache in this process, with so many entries.
    """
    cache = LocMemCache(name, {"max_entries": 300})
    for key in range(entries):
        cache.set(f"key-{key}", "x" * 100)
    return cache


def test_local_memory_of_django_is_capped(guard: Guard, clock: FakeClock) -> None:
    """
    What was used longest ago goes, under Django's own lock.
    """
    cache = local_memory("capped", 50)
    cache.get("key-0")
    handle = guard.adopt(cache, max_entries=10)
    assert (50, 10) == (handle.info().entries, handle.info().limit)
    assert 5000 < (handle.info().bytes or 0)
    with guard:
        clock.advance(TICK)
        assert 10 == len(cache._cache) == len(cache._expire_info)
        assert "x" * 100 == cache.get("key-0")
        assert None is cache.get("key-1")
    assert None is cache.get("key-0")


def test_the_proxy_of_django_stands_for_its_backend(
    guard: Guard, clock: FakeClock
) -> None:
    """
    `django.core.cache.cache` differs from thread to thread; what it stands for counts.
    """
    backend = "django.core.cache.backends.locmem.LocMemCache"
    handler = CacheHandler({"default": {"BACKEND": backend, "LOCATION": "proxied"}})
    proxy: Any = ConnectionProxy(handler, "default")
    for key in range(20):
        proxy.set(f"key-{key}", key)
    handle = guard.adopt(proxy, max_entries=7)
    assert "cache default" == handle.label
    with guard:
        clock.advance(TICK)
        assert 7 == handle.info().entries


@pytest.mark.parametrize("kind", [DummyCache, FileBasedCache])
def test_other_backends_are_only_measured(
    guard: Guard, kind: Any, tmp_path: Any
) -> None:
    """
    Their entries are elsewhere: no cap, and the end clears nothing.
    """
    cache = kind(str(tmp_path), {})
    cache.set("key", "value")
    handle = guard.adopt(cache)
    assert None is handle.info().entries
    with pytest.raises(TypeError, match="not in this process"):
        handle.resize(max_entries=3)
    handle.close()
    assert list(tmp_path.iterdir()) == list(tmp_path.glob("*.djcache"))
    assert (kind is FileBasedCache) == bool(list(tmp_path.iterdir()))
