"""
Four threads that read through one cache: a miss computes the value and stores it.

Zipf(1.0) over 100,000 keys, 10,000 of them cached. All caches are warm and take turns
round by round, and each round is the time from the common start to the last thread's
end; a ratio is the median of the rounds.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from statistics import median
from threading import Barrier, Lock, Thread
from time import perf_counter
from typing import Any

import cachebox
import cachetools
import lru
import moka_py
import theine
from bars import Bar, table, verdict

import memguard

CAP = 10_000
UNIVERSE = 100_000
READS = 30_000  # of each thread in a round
ROUNDS = 9

Worker = Callable[[list[str]], None]


def zipf(thread: int) -> list[str]:
    weights = list(accumulate(1 / rank for rank in range(1, UNIVERSE + 1)))
    draw = random.Random(thread)
    ranks = draw.choices(range(UNIVERSE), cum_weights=weights, k=READS)
    return [f"page:{rank}" for rank in ranks]


def through(get: Any, put: Any) -> Worker:
    """
    A lookup without a lock of the caller's, and a put.
    """

    def work(keys: list[str]) -> None:
        for key in keys:
            if get(key) is None:
                put(key, key)

    return work


def through_fast(cache: Any) -> Worker:
    def work(keys: list[str]) -> None:
        get, put = cache.fast, cache.put
        for key in keys:
            if get(key) is None:
                put(key, key)

    return work


def through_locked(cache: Any) -> Worker:
    """
    The same with one lock, as for caches that are not safe under threads.
    """
    lock, get = Lock(), cache.get

    def work(keys: list[str]) -> None:
        for key in keys:
            with lock:
                value = get(key)
            if value is None:
                with lock:
                    cache[key] = key

    return work


def calling(call: Any) -> Worker:
    def work(keys: list[str]) -> None:
        for key in keys:
            call(key)

    return work


def workers(guard: memguard.Guard) -> dict[str, Worker]:
    fast: Any = guard.cache("fast", max_entries=CAP)
    polite: Any = guard.cache("get", max_entries=CAP)
    sized: Any = guard.cache("sized", max_entries=CAP, max_bytes="64MiB")
    loading: Any = guard.cache("loading", lambda key: key, max_entries=CAP)
    rust: Any = cachebox.LRUCache(CAP)
    tiny: Any = moka_py.Moka(CAP)
    sketch: Any = theine.Cache(CAP)
    return {
        "memguard `.fast`, `put`": through_fast(fast),
        "memguard `get`, `put`": through(polite.get, polite.put),
        "memguard `get`, `put`, byte cap too": through(sized.get, sized.put),
        "memguard `get` with a loader": calling(loading.get),
        "memguard.cached": calling(guard.cached(_value, max_entries=CAP)),
        "cachetools.LRUCache + Lock": through_locked(cachetools.LRUCache(CAP)),
        "cachetools.TTLCache + Lock": through_locked(cachetools.TTLCache(CAP, 3600)),
        "cachebox.LRUCache": through(rust.get, rust.insert),
        "lru-dict + Lock": through_locked(lru.LRU(CAP)),
        "moka-py": through(tiny.get, tiny.set),
        "theine": through(sketch.get, sketch.set),
        "functools.lru_cache": calling(lru_cache(maxsize=CAP)(_value)),
    }


def _value(key: str) -> str:
    return key


def seconds(work: Worker, parts: list[list[str]]) -> float:
    """
    From the common start until the last thread is done.
    """
    gate = Barrier(len(parts) + 1)
    failures: list[BaseException] = []

    def run(keys: list[str]) -> None:
        gate.wait(60)
        try:
            work(keys)
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=run, args=(keys,)) for keys in parts]
    for thread in threads:
        thread.start()
    gate.wait(60)
    began = perf_counter()
    for thread in threads:
        thread.join(120)
    took = perf_counter() - began
    if failures:
        raise failures[0]
    return took


def main() -> int:
    works = workers(memguard.Guard(name="bench"))
    parts = [zipf(thread) for thread in range(4)]
    taken: dict[str, dict[int, list[float]]] = {name: {} for name in works}
    names = list(works)
    for count in (4, 1):
        for work in works.values():
            seconds(work, parts[:count])
        for number in range(ROUNDS):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                took = seconds(works[name], parts[:count])
                taken[name].setdefault(count, []).append(took)

    def speed(name: str, count: int) -> float:
        return count * READS / median(taken[name][count]) / 1e6

    def gain(name: str, count: int = 4) -> float:
        peers = taken["cachetools.LRUCache + Lock"][count]
        pairs = zip(taken[name][count], peers, strict=True)
        return median(peer / mine for mine, peer in pairs)

    table(
        (
            "read-through, Zipf(1.0)",
            "4 threads, Mops/s",
            "1 thread, Mops/s",
            "4 threads / cachetools + Lock",
        ),
        (
            (
                name,
                f"{speed(name, 4):.2f}",
                f"{speed(name, 1):.2f}",
                f"{gain(name):.1f}",
            )
            for name in names
        ),
    )
    bar = Bar(
        "4 threads read-through / cachetools.LRU + Lock",
        gain("memguard `.fast`, `put`"),
        4.5,
        8,
        "x",
        gain=True,
    )
    return verdict([bar])


if __name__ == "__main__":
    sys.exit(main())
