"""
How fast caches and cached functions are, next to the named others.

Every cap is 10,000 entries, keys are strings made before, hits are read in random
order from a cache whose entries have all been read. Figures are medians over rounds
in which all take their turn; the same empty loop is taken off from each.

With names of parts as arguments it measures only those: hits, functions, signatures,
awaits, puts, ages, misses.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Coroutine, Iterable
from functools import lru_cache
from threading import Lock
from time import perf_counter
from typing import Any

import async_lru
import cachebox
import cachetools
import lru
import moka_py
from bars import Bar, table, verdict
from rounds import Figures, Fresh, Run, alternate, timed

import memguard

CAP = 10_000
# Each loop goes this often over the keys: long enough for the clock.
AGAIN = 3
# As many keys as no cache remembers, not even as gone.
MANY = 8 * CAP

KEYS = [f"user:{number}" for number in range(CAP)]
READS = KEYS * AGAIN
random.Random(7).shuffle(READS)
UNKNOWN = [f"nobody:{number}" for number in range(len(READS))]

Report = list[tuple[str, Figures, str]]
Step = Coroutine[Any, Any, Any]


# -- loops -----------------------------------------------------------------------------


def nothing(keys: list[str]) -> float:
    began = perf_counter()
    for _ in keys:
        pass
    return perf_counter() - began


def call_each(call: Any, keys: list[str]) -> float:
    began = perf_counter()
    for key in keys:
        call(key)
    return perf_counter() - began


def item_each(cache: Any, keys: list[str]) -> float:
    began = perf_counter()
    for key in keys:
        cache[key]
    return perf_counter() - began


def call_each_locked(call: Any, lock: Any, keys: list[str]) -> float:
    began = perf_counter()
    for key in keys:
        with lock:
            call(key)
    return perf_counter() - began


class Batches:
    """
    New keys for each round of puts.
    """

    def __init__(self) -> None:
        self._keys = [f"order:{number}" for number in range(MANY)]
        self._at = 0

    def __call__(self) -> list[str]:
        at = self._at
        self._at = (at + CAP) % MANY
        return self._keys[at : at + CAP]


def put_each(put: Any, batches: Batches) -> float:
    keys = batches()
    began = perf_counter()
    for key in keys:
        put(key, key)
    return perf_counter() - began


def set_each(cache: Any, batches: Batches) -> float:
    keys = batches()
    began = perf_counter()
    for key in keys:
        cache[key] = key
    return perf_counter() - began


def set_each_locked(cache: Any, lock: Any, batches: Batches) -> float:
    keys = batches()
    began = perf_counter()
    for key in keys:
        with lock:
            cache[key] = key
    return perf_counter() - began


def send_each(
    call: Callable[[str], Coroutine[Any, Any, Any]], keys: list[str]
) -> float:
    began = perf_counter()
    for key in keys:
        try:
            call(key).send(None)
        except StopIteration:
            pass
    return perf_counter() - began


async def await_each(call: Any, keys: list[str]) -> float:
    began = perf_counter()
    for key in keys:
        await call(key)
    return perf_counter() - began


# -- parts -----------------------------------------------------------------------------


def filled(cache: Any, put: Callable[[str, str], Any], get: Any = None) -> Any:
    """
    The *cache* with all keys, each of them read again and again.
    """
    for key in KEYS:
        put(key, key)
    for _ in range(3):
        for key in KEYS:
            (get or cache.get)(key)
    return cache


def theine_cache(**options: Any) -> Any:
    import theine  # starts a thread

    return theine.Cache(CAP, **options)


def hits(guard: memguard.Guard) -> tuple[list[Bar], Report]:
    cache: Any = guard.cache("hits", max_entries=CAP)
    filled(cache, cache.put)
    strict: Any = guard.cache("strict hits", max_entries=CAP, strict=True)
    filled(strict, strict.put)
    capped: Any = guard.cache("capped hits", max_entries=CAP, max_bytes="64MiB")
    filled(capped, capped.put)
    remembered = lru_cache(maxsize=CAP)(lambda key: key)
    for key in KEYS:
        remembered(key)
    rust: Any = cachebox.LRUCache(CAP)
    filled(rust, rust.insert)
    plain: Any = cachetools.LRUCache(CAP)
    filled(plain, plain.__setitem__)
    chained: Any = lru.LRU(CAP)
    filled(chained, chained.__setitem__)
    tiny: Any = moka_py.Moka(CAP)
    filled(tiny, tiny.set)
    sketch = theine_cache()
    filled(sketch, sketch.set)
    figures = alternate(
        {
            "empty": timed(nothing, READS),
            "memguard `.fast`": timed(call_each, Fresh(lambda: cache.fast), READS),
            "memguard `get`": timed(call_each, cache.get, READS),
            "memguard `[]`": timed(item_each, cache, READS),
            "memguard `get`, strict": timed(call_each, strict.get, READS),
            "memguard `.fast`, byte cap too": timed(
                call_each, Fresh(lambda: capped.fast), READS
            ),
            "functools.lru_cache": timed(call_each, remembered, READS),
            "cachebox.LRUCache `get`": timed(call_each, rust.get, READS),
            "cachebox.LRUCache `[]`": timed(item_each, rust, READS),
            "cachetools.LRUCache `get`": timed(call_each, plain.get, READS),
            "cachetools.LRUCache `get` + Lock": timed(
                call_each_locked, plain.get, Lock(), READS
            ),
            "lru-dict `get`": timed(call_each, chained.get, READS),
            "moka-py `get`": timed(call_each, tiny.get, READS),
            "theine `get`": timed(call_each, sketch.get, READS),
        },
        count=len(READS),
    )
    fast = "memguard `.fast`"
    bars = [
        Bar(
            "`.fast` hit / lru_cache",
            figures.ratio(fast, "functools.lru_cache"),
            0.65,
            0.55,
        ),
        # `.fast` and `get` answer None for what is missing, `[]` raises.
        Bar(
            "`.fast` hit / cachebox.LRU `get`",
            figures.ratio(fast, "cachebox.LRUCache `get`"),
            0.90,
            0.75,
        ),
        Bar(
            "`get` hit / lru_cache",
            figures.ratio("memguard `get`", "functools.lru_cache"),
            1.3,
        ),
    ]
    return bars, [("hit", figures, "functools.lru_cache")]


def functions(guard: memguard.Guard) -> tuple[list[Bar], Report]:
    @guard.cached(max_entries=CAP)
    def ours(key: str) -> str:
        return key

    @lru_cache(maxsize=CAP)
    def theirs(key: str) -> str:
        return key

    @cachetools.cached(cachetools.LRUCache(CAP), lock=Lock())
    def locked(key: str) -> str:
        return key

    @cachebox.cached(cachebox.LRUCache(CAP))
    def rust(key: str) -> str:
        return key

    @moka_py.cached(maxsize=CAP)
    def tiny(key: str) -> str:
        return key

    for function in (ours, theirs, locked, rust, tiny):
        read_all(function)
    figures = alternate(
        {
            "empty": timed(nothing, READS),
            "memguard.cached": timed(call_each, ours, READS),
            "memguard.cached `.fast`": timed(
                call_each, Fresh(lambda: ours.fast), READS
            ),
            "functools.lru_cache": timed(call_each, theirs, READS),
            "cachetools.cached + Lock": timed(call_each, locked, READS),
            "cachebox.cached": timed(call_each, rust, READS),
            "moka_py.cached": timed(call_each, tiny, READS),
        },
        count=len(READS),
    )
    ratio = figures.ratio("memguard.cached", "functools.lru_cache")
    bar = Bar("`cached`, one argument / lru_cache", ratio, 1.25)
    return [bar], [("call that hits", figures, "functools.lru_cache")]


def read_all(function: Callable[[str], object]) -> None:
    for _ in range(4):
        for key in KEYS:
            function(key)


class Ours:
    """
    A method with a cache of memguard's.
    """

    lookup: Any


class Theirs:
    """
    The same with one of functools'.
    """

    lookup: Any


def two(call: Any, keys: list[str]) -> float:
    began = perf_counter()
    for key in keys:
        call(key, 5)
    return perf_counter() - began


def keyword(call: Any, keys: list[str]) -> float:
    began = perf_counter()
    for key in keys:
        call(key=key)
    return perf_counter() - began


def both(call: Any, keys: list[str]) -> float:
    began = perf_counter()
    for key in keys:
        call(key, flag=True)
    return perf_counter() - began


def three(call: Any, keys: list[str]) -> float:
    began = perf_counter()
    for key in keys:
        call(key, 5, 6)
    return perf_counter() - began


def method(thing: Any, keys: list[str]) -> float:
    began = perf_counter()
    for key in keys:
        thing.lookup(key)
    return perf_counter() - began


def method_keyword(thing: Any, keys: list[str]) -> float:
    began = perf_counter()
    for key in keys:
        thing.lookup(key=key)
    return perf_counter() - began


# What is called, and how: name, function, loop.
SIGNATURES: tuple[tuple[str, Any, Any], ...] = (
    ("f(key, 5)", lambda key, size: key, two),
    ("f(key), with a default", lambda key, size=5: key, call_each),
    ("f(key=key)", lambda key: key, keyword),
    ("f(key, flag=True)", lambda key, flag=False: key, both),
    ("f(key, flag=True), by keyword only", lambda key, *, flag=False: key, both),
    ("f(key, 5, 6) of *args", lambda *args: args, three),
    ("f(key=key) of **kwargs", lambda **kwargs: 5, keyword),
    ("f(key, flag=True) of *args, **kwargs", lambda *args, **kwargs: 5, both),
    ("thing.lookup(key)", lambda self, key: key, method),
    ("thing.lookup(key=key)", lambda self, key: key, method_keyword),
)


def signatures(guard: memguard.Guard) -> tuple[list[Bar], Report]:
    runs: dict[str, Run] = {"empty": timed(nothing, READS)}
    for name, function, loop in SIGNATURES:
        ours: Any = guard.cached(function, name=name, max_entries=CAP)
        theirs: Any = lru_cache(maxsize=CAP)(function)
        if loop in (method, method_keyword):
            kind = type("Ours", (Ours,), {"lookup": ours})
            other = type("Theirs", (Theirs,), {"lookup": theirs})
            ours, theirs = kind(), other()
        for subject in (ours, theirs):
            for _ in range(4):
                loop(subject, KEYS)
        runs[f"memguard {name}"] = timed(loop, ours, READS)
        runs[f"lru_cache {name}"] = timed(loop, theirs, READS)
    figures = alternate(runs, count=len(READS), rounds=21)
    ratios = {
        name: figures.ratio(f"memguard {name}", f"lru_cache {name}")
        for name, _, _ in SIGNATURES
    }
    table(
        ("`cached` against lru_cache", "memguard, ns", "lru_cache, ns", "ratio"),
        (
            (
                f"`{name}`",
                f"{figures.each_ns(f'memguard {name}'):.0f}",
                f"{figures.each_ns(f'lru_cache {name}'):.0f}",
                f"{ratio:.2f}",
            )
            for name, ratio in ratios.items()
        ),
    )
    worst = max(ratios, key=ratios.__getitem__)
    what = f"`cached`, any signature / lru_cache (worst: `{worst}`)"
    return [Bar(what, ratios[worst], 3.4, 2.0)], []


def awaits(guard: memguard.Guard) -> tuple[list[Bar], Report]:
    @guard.cached(max_entries=CAP)
    async def ours(key: str) -> str:
        return key

    @async_lru.alru_cache(maxsize=CAP)
    async def theirs(key: str) -> str:
        return key

    @cachebox.cached(cachebox.LRUCache(CAP))
    async def rust(key: str) -> str:
        return key

    called = {
        "memguard.cached": ours,
        "memguard.cached `.fast`": ours.fast,
        "async-lru": theirs,
        "cachebox.cached": rust,
    }
    loop = asyncio.new_event_loop()

    async def fill() -> None:
        for function in called.values():
            for _ in range(4):
                for key in KEYS:
                    await function(key)

    loop.run_until_complete(fill())

    def sent(call: Any) -> Run:
        run = timed(send_each, call, READS)

        def with_loop() -> float:
            # async-lru asks for the running loop; nothing else needs one.
            asyncio._set_running_loop(loop)
            try:
                return run()
            finally:
                asyncio._set_running_loop(None)

        return with_loop

    def awaited(call: Any) -> Run:
        run: Any = timed(await_each, call, READS)
        return lambda: loop.run_until_complete(run())

    empty = timed(nothing, READS)
    bars, report = [], []
    for how, form in (("`await` in a loop", awaited), ("`send(None)`", sent)):
        runs = {"empty": empty}
        runs |= {name: form(call) for name, call in called.items()}
        figures = alternate(runs, count=len(READS), rounds=15)
        ratio = figures.ratio("memguard.cached", "async-lru")
        bars.append(Bar(f"async `cached` hit, {how} / async-lru", ratio, 0.6))
        report.append((f"async hit, {how}", figures, "async-lru"))
    loop.close()
    return bars, report


def puts(guard: memguard.Guard) -> tuple[list[Bar], Report]:
    def batches_for(cache: Any, put: Callable[[str, str], Any]) -> Batches:
        filled(cache, put)
        return Batches()

    cache: Any = guard.cache("puts", max_entries=CAP)
    sized: Any = guard.cache("sized puts", max_entries=CAP, max_bytes="64MiB")
    # 10,000 such entries weigh about this.
    bytes_only: Any = guard.cache("bytes only", max_bytes=CAP * 130)
    aged: Any = guard.cache("aged puts", max_entries=CAP, ttl="1h")
    plain: Any = cachetools.LRUCache(CAP)
    guarded: Any = cachetools.LRUCache(CAP)
    weighed: Any = cachetools.LRUCache(CAP * 60, getsizeof=sys.getsizeof)
    timely: Any = cachetools.TTLCache(CAP, ttl=3600)
    rust: Any = cachebox.LRUCache(CAP)
    chained: Any = lru.LRU(CAP)
    tiny: Any = moka_py.Moka(CAP)
    sketch = theine_cache()
    remembered = lru_cache(maxsize=CAP)(lambda key: key)
    for key in KEYS:
        remembered(key)

    def missed(call: Any, batches: Batches) -> float:
        return call_each(call, batches())

    def setting(cache: Any) -> Run:
        return timed(set_each, cache, batches_for(cache, cache.__setitem__))

    def putting(cache: Any, put: Any) -> Run:
        return timed(put_each, put, batches_for(cache, put))

    figures = alternate(
        {
            "empty": timed(nothing, KEYS),
            "memguard `put`": putting(cache, cache.put),
            "memguard `put`, count and byte cap": putting(sized, sized.put),
            "memguard `put`, byte cap": putting(bytes_only, bytes_only.put),
            "memguard `put`, ttl": putting(aged, aged.put),
            "functools.lru_cache, a miss": timed(missed, remembered, Batches()),
            "cachetools.LRUCache": setting(plain),
            "cachetools.LRUCache + Lock": timed(
                set_each_locked,
                guarded,
                Lock(),
                batches_for(guarded, guarded.__setitem__),
            ),
            "cachetools.LRUCache, getsizeof": setting(weighed),
            "cachetools.TTLCache": setting(timely),
            "cachebox.LRUCache": putting(rust, rust.insert),
            "lru-dict": setting(chained),
            "moka-py": putting(tiny, tiny.set),
            "theine": putting(sketch, sketch.set),
        },
        count=CAP,
    )
    ratio = figures.ratio("memguard `put`", "cachetools.LRUCache")
    bar = Bar("put with eviction / cachetools.LRU", ratio, 0.65, 0.45)
    return [bar], [("put with eviction", figures, "cachetools.LRUCache")]


def ages(guard: memguard.Guard) -> tuple[list[Bar], Report]:
    with memguard.Guard(name="running").start() as running:
        checked: Any = guard.cache("checked", max_entries=CAP, ttl="1h")
        filled(checked, checked.put)
        idle: Any = guard.cache("idle", max_entries=CAP, idle="1h")
        filled(idle, idle.put)
        swept: Any = running.cache("swept", max_entries=CAP, ttl="1h")
        filled(swept, swept.put)
        strict: Any = running.cache("strict", max_entries=CAP, ttl="1h", strict=True)
        filled(strict, strict.put)
        timely: Any = cachetools.TTLCache(CAP, ttl=3600)
        filled(timely, timely.__setitem__)
        rust: Any = cachebox.TTLCache(CAP, 3600)
        filled(rust, rust.insert)
        tiny: Any = moka_py.Moka(CAP, ttl=3600)
        filled(tiny, tiny.set)
        sketch = theine_cache()
        import datetime as dt

        filled(sketch, lambda key, one: sketch.set(key, one, dt.timedelta(hours=1)))
        peer = "cachetools.TTLCache `get` + Lock"
        figures = alternate(
            {
                "empty": timed(nothing, READS),
                "memguard `get`, guard not started": timed(
                    call_each, checked.get, READS
                ),
                "memguard `get`, guard started": timed(call_each, swept.get, READS),
                "memguard `.fast`, guard not started": timed(
                    call_each, Fresh(lambda: checked.fast), READS
                ),
                "memguard `.fast`, guard started": timed(
                    call_each, Fresh(lambda: swept.fast), READS
                ),
                "memguard `get`, strict": timed(call_each, strict.get, READS),
                "memguard `get`, idle": timed(call_each, idle.get, READS),
                peer: timed(call_each_locked, timely.get, Lock(), READS),
                "cachetools.TTLCache `get`": timed(call_each, timely.get, READS),
                "cachebox.TTLCache `get`": timed(call_each, rust.get, READS),
                "moka-py `get`, ttl": timed(call_each, tiny.get, READS),
                "theine `get`, ttl": timed(call_each, sketch.get, READS),
            },
            count=len(READS),
            rounds=21,
        )
    bars = [
        Bar(
            f"ttl hit, `get`, guard {state} / cachetools.TTL + Lock",
            figures.ratio(f"memguard `get`, guard {state}", peer),
            0.10,
            0.06,
        )
        for state in ("not started", "started")
    ]
    return bars, [("ttl hit", figures, peer)]


def misses(guard: memguard.Guard) -> tuple[list[Bar], Report]:
    cache: Any = guard.cache("misses", max_entries=CAP)
    filled(cache, cache.put)
    aged: Any = guard.cache("aged misses", max_entries=CAP, ttl="1h")
    filled(aged, aged.put)
    plain: Any = cachetools.LRUCache(CAP)
    filled(plain, plain.__setitem__)
    rust: Any = cachebox.LRUCache(CAP)
    filled(rust, rust.insert)
    chained: Any = lru.LRU(CAP)
    filled(chained, chained.__setitem__)
    tiny: Any = moka_py.Moka(CAP)
    filled(tiny, tiny.set)
    sketch = theine_cache()
    filled(sketch, sketch.set)
    figures = alternate(
        {
            "empty": timed(nothing, UNKNOWN),
            "memguard `.fast`": timed(call_each, Fresh(lambda: cache.fast), UNKNOWN),
            "memguard `get`": timed(call_each, cache.get, UNKNOWN),
            "memguard `get`, ttl": timed(call_each, aged.get, UNKNOWN),
            "cachetools.LRUCache `get`": timed(call_each, plain.get, UNKNOWN),
            "cachetools.LRUCache `get` + Lock": timed(
                call_each_locked, plain.get, Lock(), UNKNOWN
            ),
            "cachebox.LRUCache `get`": timed(call_each, rust.get, UNKNOWN),
            "lru-dict `get`": timed(call_each, chained.get, UNKNOWN),
            "moka-py `get`": timed(call_each, tiny.get, UNKNOWN),
            "theine `get`": timed(call_each, sketch.get, UNKNOWN),
        },
        count=len(UNKNOWN),
        rounds=15,
    )
    return [], [("miss", figures, "cachetools.LRUCache `get`")]


PARTS: dict[str, Callable[[memguard.Guard], tuple[list[Bar], Report]]] = {
    "hits": hits,
    "functions": functions,
    "signatures": signatures,
    "awaits": awaits,
    "puts": puts,
    "ages": ages,
    "misses": misses,
}


def main(parts: Iterable[str]) -> int:
    guard = memguard.Guard(name="bench")
    bars: list[Bar] = []
    report: Report = []
    for part in parts or PARTS:
        more, rows = PARTS[part](guard)
        bars += more
        report += rows
    for what, figures, peer in report:
        table(
            (what, "ns", f"/ {peer}"),
            (
                (
                    name,
                    f"{figures.each_ns(name):.0f}",
                    f"{figures.ratio(name, peer):.2f}",
                )
                for name in figures.names
            ),
        )
    return verdict(bars)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
