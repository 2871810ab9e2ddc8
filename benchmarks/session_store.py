"""
What a store of sessions in SQLite costs, next to a bare upsert.

The upsert has no owner, no version, no end and no size; it is the floor. All run round
by round in one process, on records of 1 KiB that differ in each round. Once with
`synchronous=NORMAL`, which survives a SIGKILL, and for the record with FULL, which
survives a loss of power. Figures are those of the quietest round, ratios the median of
all rounds: other work on the machine makes any of them slower, and none faster.
"""

from __future__ import annotations

import gc
import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, time
from typing import Any

from bars import Bar, table, verdict

from memguard import SqliteStore
from memguard._clock import SystemClock
from memguard._probes.identity import identity
from memguard._sessions.stores.space import Entry

SESSIONS = 10_000
AT_ONCE = 1000
ROUNDS = 15
BATCH = 250
LEASE_S = 3600.0
RECORDS = [os.urandom(1024) for _ in range(AT_ONCE + ROUNDS + 1)]
OWNER = f"{identity()}:bench"


class Bench:
    """
    One store with sessions in it; each verb times itself.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        self.space = SqliteStore(path, **options).space("chat", SystemClock())
        self.space.join(OWNER, LEASE_S)
        self.version = 0
        self.slow: list[float] = []
        ids = [f"user {number}" for number in range(SESSIONS)]
        random.Random(1).shuffle(ids)
        for first in range(0, SESSIONS, BATCH):
            some = ids[first : first + BATCH]
            self.claim(some)
            self.space.put(OWNER, self.entries(some, release=True))
        self.ids = ids
        self.slow.clear()

    def entries(self, ids: list[str], *, release: bool) -> list[Entry]:
        self.version += 1
        end = time() + LEASE_S
        shift = self.version % ROUNDS
        return [
            Entry(
                one,
                self.version,
                end + number,
                RECORDS[number % AT_ONCE + shift],
                {},
                release,
            )
            for number, one in enumerate(ids)
        ]

    def claim(self, ids: list[str]) -> float:
        began = perf_counter()
        took = []
        for one in ids:
            start = perf_counter()
            self.space.claim(one, OWNER)
            took.append(perf_counter() - start)
        self.slow.append(sorted(took)[len(took) * 99 // 100])
        return perf_counter() - began

    def put(self, ids: list[str], *, release: bool) -> float:
        entries = self.entries(ids, release=release)
        began = perf_counter()
        for one in entries:
            self.space.put(OWNER, [one])
        return perf_counter() - began

    def release(self, ids: list[str]) -> float:
        began = perf_counter()
        for one in ids:
            self.space.release(one, OWNER)
        return perf_counter() - began

    def again(self, verb: Callable[..., object], *args: Any) -> float:
        began = perf_counter()
        for _ in range(AT_ONCE):
            verb(*args)
        return perf_counter() - began

    def all_at_once(self) -> float:
        self.claim(self.ids)
        entries = self.entries(self.ids, release=True)
        began = perf_counter()
        for first in range(0, SESSIONS, BATCH):
            self.space.put(OWNER, entries[first : first + BATCH])
        return perf_counter() - began


class Bare:
    """
    An upsert of the same records.
    """

    def __init__(self, path: Path, synchronous: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.execute = self.connection.execute
        self.execute("PRAGMA journal_mode = WAL")
        self.execute(f"PRAGMA synchronous = {synchronous}")
        self.execute("CREATE TABLE t (id TEXT PRIMARY KEY, record BLOB)")
        self.shift = 0

    def put(self, ids: list[str]) -> float:
        self.shift = (self.shift + 1) % ROUNDS
        began = perf_counter()
        for number, one in enumerate(ids):
            self.execute(
                "INSERT INTO t VALUES (?, ?) ON CONFLICT (id)"
                " DO UPDATE SET record = excluded.record",
                (one, RECORDS[number + self.shift]),
            )
        return perf_counter() - began


def level(directory: Path, synchronous: str, rounds: int) -> dict[str, list[float]]:
    """
    Seconds of each verb in each round, for `AT_ONCE` of it.
    """
    place = directory / synchronous
    bench = Bench(place / "sessions.db", synchronous=synchronous)  # type: ignore[arg-type]
    found: dict[str, list[float]] = {}
    dice = random.Random(2)
    bare = Bare(place / "bare.db", synchronous)
    with closing(bare.connection):
        bare.put(bench.ids[:AT_ONCE])
        gc.collect()
        for _ in range(rounds):
            some = dice.sample(bench.ids, AT_ONCE)
            runs: dict[str, Callable[[], float]] = {
                "bare upsert": partial(bare.put, some),
                "claim": partial(bench.claim, some),
                "put": partial(bench.put, some, release=False),
                "put and give back": partial(bench.put, some, release=True),
                "claim again": partial(bench.claim, some),
                "give back": partial(bench.release, some),
                "wanted": partial(bench.again, bench.space.wanted, OWNER),
                "beat": partial(bench.again, bench.space.beat, OWNER, LEASE_S),
            }
            for name, run in runs.items():
                found.setdefault(name, []).append(run())
        found["claim p99"] = [AT_ONCE * one for one in bench.slow]
        if synchronous == "normal":
            found["all at once"] = [bench.all_at_once() for _ in range(5)]
            began = perf_counter()
            bench.space.count()
            found["counting"] = [perf_counter() - began]
        bench.space.leave(OWNER)
        bench.space.close()
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        normal = level(Path(directory), "normal", ROUNDS)
        full = level(Path(directory), "full", 3)

    def each_us(found: dict[str, list[float]], name: str) -> float:
        return min(found[name]) / AT_ONCE * 1e6

    names = (
        "bare upsert",
        "put",
        "put and give back",
        "claim",
        "give back",
        "beat",
        "wanted",
    )
    table(
        ("one by one, µs", "NORMAL", "FULL"),
        [
            (name, f"{each_us(normal, name):.1f}", f"{each_us(full, name):.1f}")
            for name in names
        ],
    )
    ratio = median(
        mine / other
        for mine, other in zip(
            normal["put and give back"], normal["bare upsert"], strict=True
        )
    )
    print(f"A put that gives back takes {ratio:.2f} times as long as a bare upsert.")
    print(f"10,000 sessions are counted in {normal['counting'][0] * 1e3:.1f} ms.")
    return verdict(
        [
            Bar(
                "puts that give back a second, 1 KiB, one by one",
                AT_ONCE / min(normal["put and give back"]),
                8000,
                gain=True,
            ),
            Bar(
                "10,000 sessions in batches of 250",
                min(normal["all at once"]),
                1.0,
                0.5,
                unit=" s",
            ),
            Bar(
                "claim with its record, 99 of 100",
                each_us(normal, "claim p99"),
                300,
                100,
                unit=" µs",
            ),
            Bar("wanted, nothing changed", each_us(normal, "wanted"), 20, unit=" µs"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
