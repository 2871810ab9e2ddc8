"""
What adopting costs: 10,000 objects at once, nothing on their way, little in the rounds.

The hot paths of adopted objects are timed next to those of their twins that nobody
adopted, while a guard runs that measures and trims them.
"""

from __future__ import annotations

import functools
import gc
import logging
import queue
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import thread_time
from typing import Any

import blinker
import cachebox
import cachetools
import httpx
import pyee
import redis
import requests
import sqlalchemy
from apscheduler.schedulers.background import BackgroundScheduler
from bars import Bar, table, verdict
from django.core.cache.backends.locmem import LocMemCache
from rounds import alternate, timed

from memguard import Guard
from memguard.typing import Adapter

MANY = 10_000
ROUNDS = 9
OPERATIONS = 20_000


def functions(count: int) -> list[Any]:
    return [functools.lru_cache(maxsize=8)(lambda key: key) for _ in range(count)]


KINDS: dict[str, Callable[[int], list[Any]]] = {
    "functions with an lru_cache": functions,
    "caches of cachetools": lambda count: [
        cachetools.LRUCache(8) for _ in range(count)
    ],
    "signals of blinker": lambda count: [blinker.Signal() for _ in range(count)],
    "timers of threading": lambda count: [
        threading.Timer(1, print) for _ in range(count)
    ],
}


class Thing:
    """
    Something to register, for comparison.
    """

    def close(self) -> None: ...


def registering_ms() -> float:
    """
    The same for as many registrations.
    """
    seconds = []
    for _ in range(ROUNDS):
        things = [Thing() for _ in range(MANY)]
        guard = Guard().start()
        gc.collect()
        began = thread_time()
        for thing in things:
            guard.register(thing)
        seconds.append(thread_time() - began)
        guard.shutdown()
    return min(seconds) * 1000


def adopting_ms(make: Callable[[int], list[Any]]) -> float:
    """
    CPU milliseconds for all of them in a running guard: the best of some rounds, as
    whatever else a machine does only ever adds to it.
    """
    seconds = []
    for _ in range(ROUNDS):
        things = make(MANY)
        guard = Guard().start()
        gc.collect()
        began = thread_time()
        for thing in things:
            guard.adopt(thing)
        seconds.append(thread_time() - began)
        assert sum(one.live for one in guard.snapshot().kinds) == MANY
        things.clear()
        guard.shutdown()
    return min(seconds) * 1000


# -- a look at what others made --------------------------------------------------------


def executor() -> ThreadPoolExecutor:
    made = ThreadPoolExecutor(8)
    for future in [made.submit(int) for _ in range(50)]:
        future.result()
    return made


def engine() -> sqlalchemy.Engine:
    made = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.QueuePool)
    for connection in [made.connect() for _ in range(5)]:
        connection.close()
    return made


def scheduler() -> BackgroundScheduler:
    made = BackgroundScheduler(timezone="UTC")
    made.start(paused=True)
    for _ in range(50):
        made.add_job(print, "interval", hours=1)
    return made


def filled(cache: Any) -> Any:
    for key in range(1000):
        cache[key] = str(key)
    return cache


def called() -> Any:
    @functools.lru_cache(maxsize=1000)
    def function(key: int) -> str:
        return str(key)

    for key in range(1000):
        function(key)
    return function


def local_memory() -> LocMemCache:
    made = LocMemCache("benchmark", {"max_entries": 1000})
    for key in range(1000):
        made.set(str(key), key)
    return made


def signal() -> blinker.Signal:
    made = blinker.Signal()
    for _ in range(50):
        made.connect(lambda sender: sender, weak=False)
    return made


def emitter() -> pyee.EventEmitter:
    made = pyee.EventEmitter()
    for _ in range(50):
        made.on("event", lambda: None)
    return made


class Registry(dict[int, str]):
    """
    A dict that can be adopted by itself.
    """


LOOKS: dict[str, Callable[[], Any]] = {
    "lru_cache, 1,000 results": called,
    "cachetools.TTLCache, 1,000 entries": lambda: filled(
        cachetools.TTLCache(1000, ttl=60)
    ),
    "cachebox.TTLCache, 1,000 entries": lambda: filled(cachebox.TTLCache(1000, 60.0)),
    "LocMemCache of Django, 1,000 entries": local_memory,
    "dict, 1,000 entries": lambda: filled(Registry()),
    "queue.Queue": queue.Queue,
    "signal of blinker, 50 receivers": signal,
    "emitter of pyee, 50 listeners": emitter,
    "logging.StreamHandler": logging.StreamHandler,
    "socket": socket.socket,
    "ThreadPoolExecutor, 8 threads": executor,
    "requests.Session": requests.Session,
    "httpx.Client": httpx.Client,
    "redis.Redis": redis.Redis,
    "sqlalchemy.Engine, 5 connections": engine,
    "BackgroundScheduler, 50 jobs": scheduler,
}


def look_us(make: Callable[[], Any]) -> tuple[float, float | None]:
    """
    Microseconds to measure one, and to estimate its bytes where that is done; medians
    of some rounds. It is closed afterwards.
    """
    thing = make()
    with Guard() as guard:
        handle = guard.adopt(thing)
        seconds, weighing = [], []
        for _ in range(ROUNDS):
            began = thread_time()
            for _ in range(200):
                handle.measure()
            seconds.append((thread_time() - began) / 200)
            began = thread_time()
            for _ in range(5):
                handle.weigh()
            weighing.append((thread_time() - began) / 5)
    weighs = type(handle.adapter).weigh is not Adapter.weigh
    return median(seconds) * 1e6, median(weighing) * 1e6 if weighs else None


# -- hot paths: an adopted one and its twin --------------------------------------------


def calls(subject: Any) -> float:
    began = thread_time()
    for _ in range(OPERATIONS):
        subject(1)
    return thread_time() - began


def gets(subject: Any) -> float:
    began = thread_time()
    for _ in range(OPERATIONS):
        subject.get(1)
    return thread_time() - began


def appends(subject: Any) -> float:
    append = subject.append
    began = thread_time()
    for _ in range(OPERATIONS):
        append(1)
    return thread_time() - began


def sends(subject: Any) -> float:
    began = thread_time()
    for _ in range(OPERATIONS):
        subject.send()
    return thread_time() - began


class Application:
    """
    Where the containers lie.
    """

    def __init__(self) -> None:
        self.registry: dict[int, int] = {1: 1}
        self.queue: deque[int] = deque(maxlen=1000)


def hot_paths(guard: Guard) -> dict[str, float]:
    """
    How much longer an operation takes on what was adopted: the best round of each.
    """
    pairs: dict[str, tuple[Any, Callable[[], Any]]] = {
        "call of an lru_cache": (calls, lambda: functions(1)[0]),
        "get of a cachetools.LRUCache": (gets, lambda: cachetools.LRUCache(8)),
        "get of a dict at its place": (gets, Application),
        "append to a deque at its place": (appends, Application),
        "send of a signal": (sends, blinker.Signal),
    }
    ratios = {}
    for name, (loop, make) in pairs.items():
        bare, adopted = make(), make()
        if isinstance(adopted, Application):
            attribute = "registry" if loop is gets else "queue"
            guard.adopt(adopted, attribute, max_entries=1000)
            keep = bare, adopted
            bare, adopted = getattr(bare, attribute), getattr(adopted, attribute)
        else:
            guard.adopt(adopted)
            keep = bare, adopted
        found = alternate(
            {"bare": timed(loop, bare), "adopted": timed(loop, adopted)},
            count=OPERATIONS,
            rounds=41,
        )
        ratios[name] = found.best("adopted", "bare")
        del keep
    return ratios


# -- the rounds ------------------------------------------------------------------------


def a_round_ms(count: int) -> float:
    """
    CPU milliseconds of one round over so many adopted functions, the longest of some.
    """
    guard = Guard(tick="50s").start()
    things = functions(count)
    for thing in things:
        thing(1)
        guard.adopt(thing)
    rounds = guard.registry.rounds
    worst = 0.0
    for _ in range(20):
        began = thread_time()
        rounds.look()
        worst = max(worst, thread_time() - began)
    guard.shutdown()
    return worst * 1000


def main() -> int:
    adopted = {name: adopting_ms(make) for name, make in KINDS.items()}
    peer = registering_ms()
    print(f"for comparison, {MANY} objects registered: {peer:.1f} ms")
    table(
        ("10,000 objects adopted", "ms", "µs each"),
        [(name, f"{ms:.1f}", f"{ms / 10:.2f}") for name, ms in adopted.items()],
    )
    looks = {name: look_us(make) for name, make in LOOKS.items()}
    table(
        ("a look at", "its figures, µs", "its bytes, µs"),
        [
            (name, f"{us:.1f}", "" if bytes_us is None else f"{bytes_us:.0f}")
            for name, (us, bytes_us) in looks.items()
        ],
    )
    slowest = max(figures_us for figures_us, _ in looks.values())
    with Guard() as guard:
        ratios = hot_paths(guard)
    table(
        ("hot path", "adopted / bare"),
        [(name, f"{ratio:.3f}") for name, ratio in ratios.items()],
    )
    print(f"one round over {MANY} functions: {a_round_ms(MANY):.2f} ms of CPU at most")
    return verdict(
        [
            Bar("10,000 objects adopted", max(adopted.values()), 50, unit=" ms"),
            Bar(
                "a look at a foreign object",
                slowest,
                100,
                unit=" µs",
            ),
            Bar("an adopted object's hot path", max(ratios.values()), 1.03),
            Bar("a round over 10,000, a tick", a_round_ms(MANY), 5, unit=" ms"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
