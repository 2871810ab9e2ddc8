"""
The budget of a guard: its caches and rings, and where it is seen.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from memguard import Guard
from memguard._events import Squeezed
from memguard._probes.libc import trim_heap
from memguard.testing import FakeClock, FakeProbe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memguard._events import Event

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def clock() -> FakeClock:
    """
    Time at will.
    """
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Iterator[Guard]:
    """
    A guard whose caches and rings may hold a megabyte.
    """
    guard = Guard(clock=clock, probe=FakeProbe(rss="64MiB"), managed_limit=MIB)
    yield guard
    guard.shutdown()


def budget(guard: Guard) -> Any:
    """
    What its caches share.
    """
    return guard.registry.budget


def kib(key: object, value: object) -> int:
    """
    Every entry weighs so much.
    """
    del key, value
    return KIB


def total(*members: Any) -> int:
    """
    What they hold together.
    """
    return sum(one.memory_bytes() for one in members)


@pytest.mark.parametrize(
    "options",
    [
        {"max_entries": 100_000},
        {"max_bytes": "100MiB"},
        {"max_entries": 100_000, "weigher": kib},
        {"max_entries": 100_000, "ttl": "1h"},
    ],
    ids=["count", "bytes", "weigher", "ttl"],
)
def test_all_caches_together_stay_within_the_limit(
    guard: Guard, options: dict[str, Any]
) -> None:
    """
    Whatever bounds them by themselves: the sum holds after each put.
    """
    caches: list[Any] = [guard.cache(name, **options) for name in "abc"]
    for number in range(1_500):
        for at, cache in enumerate(caches):
            cache.put(f"{at} {number}", f"{number:>1000}")
        assert total(*caches) <= MIB * 1.05
        assert budget(guard).given <= MIB
    assert total(*caches) >= MIB * 0.6


@pytest.mark.parametrize("options", [{"max_entries": 500}, {"max_bytes": "900KiB"}])
def test_nothing_is_evicted_while_there_is_room(
    guard: Guard, options: dict[str, Any]
) -> None:
    """
    A cache that grows within its caps and the limit never loses an entry.
    """
    cache: Any = guard.cache("a", **options)
    for number in range(500):
        cache.put(number, f"{number:>1000}")
    assert len(cache) == 500
    assert cache.info().evictions == 0


def test_a_cap_of_its_own_is_used_up(clock: FakeClock) -> None:
    """
    What it takes to hold the entries is the budget's matter, and none of `max_bytes`.
    """
    alone, shared = (
        Guard(clock=clock, probe=FakeProbe(rss="1MiB"), managed_limit=limit)
        for limit in (None, "1GiB")
    )
    alone.registry.budget.resize(None)
    sizes = []
    for guard in (alone, shared):
        cache: Any = guard.cache("a", max_bytes="100KiB", max_entries=10_000)
        for number in range(2_000):
            cache.put(f"{number}", number)
        sizes.append(len(cache))
    assert sizes[0] == sizes[1]


def test_the_limit_is_half_of_the_memory_limit_by_default(clock: FakeClock) -> None:
    """
    Nothing has to be set.
    """
    probe = FakeProbe(rss="64MiB", limit="256MiB")
    guard = Guard(clock=clock, probe=probe)
    assert guard.snapshot().budget.limit == 128 * MIB  # type: ignore[union-attr]


def test_a_cache_whose_misses_cost_more_grows_at_the_others_cost(
    guard: Guard, clock: FakeClock
) -> None:
    """
    The same look-ups in two caches: the bytes go where a load takes longer.
    """

    def loader(seconds: float) -> Callable[[int], str]:
        def load(key: int) -> str:
            clock.advance(seconds)
            return "x"

        return load

    cheap = guard.cache("cheap", loader(0.001), max_entries=9_000, weigher=kib)
    dear = guard.cache("dear", loader(0.050), max_entries=9_000, weigher=kib)
    for turn in range(12_000):
        key = turn * 7_919 % 1_000
        key = key * key // 1_000
        cheap.get(key)
        dear.get(key)
    assert len(dear) > 1.3 * len(cheap)


def test_without_a_put_a_floor_stays(guard: Guard) -> None:
    """
    What is below the floor of an idle cache is nobody else's.
    """
    idle: Any = guard.cache(
        "idle", max_entries=9_000, weigher=kib, floor_bytes="300KiB"
    )
    busy: Any = guard.cache("busy", max_entries=9_000, weigher=kib)
    for number in range(250):
        idle.put(number, number)
    for number in range(5_000):
        busy.put(number, number)
    assert idle.memory_bytes() >= 250 * KIB


def test_a_shrinkable_ring_takes_part(guard: Guard) -> None:
    """
    It gives its oldest entries to a cache that needs the room; others do not.
    """
    history = guard.ring("history", of=bytes, max_entries=5_000, shrinkable=True)
    fixed = guard.ring("fixed", of=bytes, max_entries=100)
    for _ in range(900):
        history.append(bytes(KIB))
    fixed.append(bytes(KIB))
    before = len(history)
    cache: Any = guard.cache("cache", max_entries=9_000, weigher=kib)
    for number in range(3_000):
        cache.get(number % 700)
        cache.put(number % 700, number)
    assert len(history) < before
    assert len(fixed) == 1
    assert {one.name for one in budget(guard).shares()} == {"history", "cache"}
    assert total(history, cache) <= MIB * 1.1


@pytest.mark.parametrize("ttl", [None, "1h"])
def test_a_ring_keeps_to_its_allowance_within_a_lap(
    guard: Guard, ttl: str | None
) -> None:
    """
    It is looked at after every 64 entries.
    """
    ring = guard.ring(
        "r", of=bytes, max_entries=None, max_bytes="8MiB", ttl=ttl, shrinkable=True
    )
    for _ in range(3_000):
        ring.append(bytes(KIB))
        assert ring.memory_bytes() <= MIB + 70 * 1_300
    assert len(ring) > 500


def test_reads_of_old_entries_are_a_rings_demand(guard: Guard) -> None:
    """
    Who pages back into the oldest tenth wants it kept.
    """
    ring = guard.ring("r", of=int, max_entries=100, shrinkable=True)
    for number in range(100):
        ring.append(number)
    ring.recent(10)
    assert ring.demand().marginal_hits == (0,)
    ring.recent(95)
    assert ring.demand().marginal_hits == (1,)
    assert ring.demand().marginal_hits == (0,)


def test_what_ends_gives_its_bytes_back(guard: Guard) -> None:
    """
    The end of a scope frees the allowances of its caches.
    """
    with guard.scope("request") as scope:
        cache: Any = scope.cache("own", max_entries=9_000, weigher=kib)
        for number in range(900):
            cache.put(number, number)
        assert budget(guard).given > 800 * KIB
    assert budget(guard).given == 0
    assert budget(guard).members() == []


def test_another_limit_after_the_first_use_is_followed(guard: Guard) -> None:
    """
    Settings that are applied later cut what caches have by then.
    """
    cache: Any = guard.cache("a", max_entries=9_000, weigher=kib)
    for number in range(900):
        cache.put(number, number)
    guard.apply(type(guard.settings).load(managed_limit=MIB // 2))
    assert cache.memory_bytes() <= MIB // 2


def test_snapshot_and_health_show_it(guard: Guard) -> None:
    """
    The limit, the allowances, what is held, and the prices.
    """
    assert guard.health().budget is None
    assert "managed" not in guard.health().to_dict()
    cache: Any = guard.cache("a", max_entries=9_000, weigher=kib)
    cache.put(1, 1)
    seen = guard.snapshot().budget
    assert seen is not None
    assert seen.limit == MIB
    assert seen.allowed >= seen.held > KIB
    assert [(one.kind, one.name) for one in seen.members] == [("cache", "a")]
    told = guard.health().to_dict()["managed"]
    assert told["limit"] == MIB
    assert set(told["members"][0]) == {
        "kind",
        "name",
        "allowance",
        "held",
        "price",
        "squeezed",
    }


def test_a_squeeze_is_an_event_at_most_once_a_minute(
    guard: Guard, clock: FakeClock
) -> None:
    """
    With the total so far, so that nothing is lost by the silence between.
    """
    seen: list[Event] = []
    guard.subscribe(seen.append)
    first: Any = guard.cache("first", max_entries=9_000, weigher=kib)
    second: Any = guard.cache("second", max_entries=9_000, weigher=kib)
    for number in range(2_000):
        first.put(number, number)
    for number in range(2_000):
        second.put(number, number)
    (told,) = [one for one in seen if isinstance(one, Squeezed)]
    assert (told.kind, told.name) == ("cache", "first")
    assert told.total > 0
    clock.advance(61)


def test_time_alone_gives_back_what_a_cleared_cache_had(clock: FakeClock) -> None:
    """
    While the guard runs, the budget looks again a tick after somebody found no room.
    """
    guard = Guard(clock=clock, probe=FakeProbe(rss="1MiB"), managed_limit=MIB)
    with guard:
        cache: Any = guard.cache("a", max_entries=9_000, weigher=kib)
        for number in range(1_500):
            cache.put(number, number)
        assert budget(guard).given == MIB
        cache.clear()
        clock.advance("2s")
        assert budget(guard).given < MIB // 2


def test_threads_that_put_release_and_end_keep_the_sum(guard: Guard) -> None:
    """
    Eight threads at once: the sum of the allowances is that of the members, and within
    the limit.
    """
    sys.setswitchinterval(1e-5)
    failed: list[BaseException] = []

    def work(at: int) -> None:
        try:
            for turn in range(2):
                with guard.scope(f"work {at}") as scope:
                    options: dict[str, Any] = (
                        {"max_bytes": "2MiB"} if at % 2 else {"max_entries": 5_000}
                    )
                    cache: Any = scope.cache("own", **options)
                    ring = scope.ring("ring", of=bytes, shrinkable=True)
                    for number in range(300):
                        cache.put(f"{turn} {number}", bytes(700))
                        cache.get(f"{turn} {number // 2}")
                        ring.append(bytes(300))
                    if at == 0:
                        budget(guard).release(100 * KIB, pause=lambda _: None)
                        budget(guard).step()
                    if at == 1:
                        budget(guard).resize(MIB // (1 + turn % 2))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(8)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(0.005)
    assert failed == []
    assert budget(guard).given == 0
    assert budget(guard)._moving == 0
    assert budget(guard).members() == []


def test_release_returns_memory_of_caches_and_rings(guard: Guard) -> None:
    """
    What pressure calls: requested, evicted and returned are told apart.
    """
    cache: Any = guard.cache("a", max_entries=9_000, weigher=kib)
    ring = guard.ring("r", of=bytes, max_entries=5_000, shrinkable=True)
    for number in range(400):
        cache.put(number, number)
        ring.append(bytes(KIB))
    held = total(cache, ring)
    released = budget(guard).release(
        300 * KIB, rss=lambda: guard.probe.memory().rss, pause=lambda _: None
    )
    assert released.requested == 300 * KIB
    assert released.evicted >= 300 * KIB
    assert released.returned == 0
    assert total(cache, ring) <= held - 300 * KIB


def test_trimming_the_heap_is_asked_for_by_who_releases() -> None:
    """
    What the C library keeps goes back to the system, where it can be told to.
    """
    guard = Guard(managed_limit=64 * MIB)
    cache: Any = guard.cache("a", max_bytes="60MiB")
    for number in range(20_000):
        cache.put(number, bytes(2_000))
    released = budget(guard).release(
        40 * MIB, rss=lambda: guard.probe.memory().rss, trim=trim_heap
    )
    assert released.evicted >= 30 * MIB
    assert released.longest_slice_s < 0.05
    assert released.returned is not None
    assert released.returned > 5 * MIB
    guard.shutdown()


def test_a_forked_child_has_a_budget_of_its_own() -> None:
    """
    What the child inherits counts against its own limit.
    """
    guard = Guard(managed_limit=MIB)
    cache: Any = guard.cache("a", max_entries=9_000, weigher=kib)
    for number in range(500):
        cache.put(number, number)
    mine = budget(guard)
    pid = os.fork()
    if pid == 0:
        own = budget(guard)
        fine = own is not mine and own.given >= cache.memory_bytes() > 0
        for number in range(3_000):
            cache.put(number, number)
        fine = fine and cache.memory_bytes() <= MIB
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
