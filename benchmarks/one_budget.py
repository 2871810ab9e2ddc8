"""
What one budget for five caches saves, against an equal split of the same bytes.

Five workloads are interleaved, each with its cache and its cost of a miss: 5, 1, 3, 1
and 20 ms. The figure is the time that all misses cost, relative to five caches of a
fifth each. Beside the budget: one LRU over everything, and the best static split, which
nobody can know before: the split of the whole into steps that costs least, found from
the misses of caches of every size on the same workloads.

Workloads are traces, see workloads.py, else made up. `--quick` replays less of them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import statistics
import sys
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from bars import Bar, table, verdict
from workloads import Workload, scanned, shifting, traces, zipf

from memguard import Guard
from memguard._kinds.cache.store import OVERHEAD

COSTS_MS = (5, 1, 3, 1, 20)
ENTRIES = (3_000, 12_000)
MOST = 150_000
# Steps into which the best static split divides the whole.
STEPS = 24
# What an entry weighs: with what the cache needs to hold it, as much as a short text.
EACH = 1024
MIXES = {
    "multi3, sprite, orm-busy, web07, web12": "of the research",
    "sprite, vaultservice, 2_pools, web12, orm-busy": "",
    "2_pools, web07, vaultservice, multi3, sprite": "",
    "web12, web07, sprite, 2_pools, multi3": "",
    "vaultservice, orm-busy, web07, web12, sprite": "",
}
GOAL = 0.80


class Mix(NamedTuple):
    """
    Workloads, and all their accesses in one order: number of the workload, key.
    """

    name: str
    parts: tuple[Workload, ...]
    accesses: list[tuple[int, int]]


class Clock:
    """
    Moves by what loads cost.
    """

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic


def made_up(accesses: int) -> dict[str, tuple[Workload, ...]]:
    """
    Two mixes: of different skews and sizes, and one that moves on.
    """
    chance = random.Random(20_240_307)

    def loop(many: int) -> list[int]:
        return [number % many for number in range(accesses)]

    skews = [
        Workload(f"Zipf {exponent}", zipf(chance, accesses, exponent))
        for exponent in (0.7, 0.8, 0.9, 1.0, 1.1)
    ]
    others = [
        Workload("shifting", list(shifting(chance, accesses))),
        Workload("scans", list(scanned(chance, accesses))),
        Workload("loop of 2,000", loop(2_000)),
        skews[1],
        skews[3],
    ]
    return {
        "Zipf of 0.7, 0.8, 0.9, 1.0, 1.1": tuple(skews),
        "shifting, scans, a loop, Zipf 0.8, Zipf 1.0": tuple(others),
    }


def from_traces(directory: Path, most: int) -> dict[str, tuple[Workload, ...]]:
    known = {one.name: one for one in traces(directory, most)}
    mixes = {}
    for name in MIXES:
        parts = tuple(known[part] for part in name.split(", ") if part in known)
        if len(parts) == len(COSTS_MS):
            mixes[name] = parts
    if not mixes:  # other traces than the known ones: five after the other
        names = sorted(known)
        for at in range(0, max(1, len(names) - 4), 5):
            parts = tuple(known[one] for one in (names + names)[at : at + 5])
            mixes[", ".join(one.name for one in parts)] = parts
    return mixes


def interleaved(name: str, parts: tuple[Workload, ...]) -> Mix:
    """
    Each workload spread evenly over the whole time.
    """
    chance = random.Random(1)
    moments = sorted(
        ((at + chance.random()) / len(part.keys), number, key)
        for number, part in enumerate(parts)
        for at, key in enumerate(part.keys)
    )
    return Mix(name, parts, [(number, key) for _, number, key in moments])


def misses_of(workload: Workload, entries: int) -> int:
    """
    Of a cache of memguard with room for so many.
    """
    if entries < 1:
        return len(workload.keys)
    with Guard() as guard:
        held: Any = guard.cache("measured", max_entries=entries)
        get, put = held.get, held.put
        misses = 0
        for key in workload.keys:
            if get(key) is None:
                misses += 1
                put(key, True)
    return misses


def budgeted(mix: Mix, entries: int) -> tuple[float, list[int]]:
    """
    One budget; the cost in ms, and how many entries each cache has in the end.
    """
    clock = Clock()
    guard = Guard(clock=clock, managed_limit=entries * (EACH + OVERHEAD))

    def loader(cost: float) -> Any:
        def load(key: int) -> bool:
            clock.now += cost
            return True

        return load

    caches: list[Any] = [
        guard.cache(
            f"{number} {part.name}",
            loader(cost / 1000),
            max_entries=10 * entries,
            weigher=lambda key, value: EACH,
        )
        for number, (part, cost) in enumerate(zip(mix.parts, COSTS_MS, strict=True))
    ]
    gets = [one.get for one in caches]
    for number, key in mix.accesses:
        gets[number](key)
    assert sum(map(len, caches)) <= entries
    sizes = [len(one) for one in caches]
    guard.shutdown()
    return clock.now * 1000, sizes


def one_lru(mix: Mix, entries: int) -> float:
    held: OrderedDict[tuple[int, int], None] = OrderedDict()
    cost = 0.0
    for access in mix.accesses:
        if access in held:
            held.move_to_end(access)
            continue
        cost += COSTS_MS[access[0]]
        held[access] = None
        if len(held) > entries:
            held.popitem(last=False)
    return cost


def best_static(curves: list[list[float]]) -> tuple[float, list[int]]:
    """
    The least cost of a split into STEPS, by dynamic programming, and the split.

    A curve tells what a workload costs with 0, 1, 2 ... steps.
    """
    best = [(cost, [steps]) for steps, cost in enumerate(curves[0])]
    for curve in curves[1:]:
        best = [
            min(
                (best[steps - mine][0] + curve[mine], [*best[steps - mine][1], mine])
                for mine in range(steps + 1)
            )
            for steps in range(STEPS + 1)
        ]
    return best[STEPS]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="less of it")
    parser.add_argument(
        "--traces", default=os.environ.get("MEMGUARD_TRACES"), help="a directory"
    )
    options = parser.parse_args()
    most = 30_000 if options.quick else MOST
    if options.traces:
        mixes = from_traces(Path(options.traces), most)
    else:
        print("no traces given (MEMGUARD_TRACES, --traces): made-up workloads alone")
        mixes = made_up(most)
    known: dict[str, Workload] = {}

    @cache
    def misses(name: str, entries: int) -> int:
        return misses_of(known[name], entries)

    rows: list[tuple[str, ...]] = []
    ours: list[float] = []
    ratios: list[float] = []
    for (name, parts), entries in itertools.product(mixes.items(), ENTRIES):
        mix = interleaved(name, parts)
        known.update((part.name, part) for part in parts)
        costs = list(zip(parts, COSTS_MS, strict=True))
        equal = sum(misses(part.name, entries // 5) * cost for part, cost in costs)
        curves = [
            [
                misses(part.name, entries * step // STEPS) * float(cost)
                for step in range(STEPS + 1)
            ]
            for part, cost in costs
        ]
        static, split = best_static(curves)
        cost, sizes = budgeted(mix, entries)
        ours.append(cost / equal)
        ratios.append(cost / static)
        rows.append(
            (
                name,
                f"{entries:,}",
                "1.00",
                f"{one_lru(mix, entries) / equal:.3f}",
                f"**{cost / equal:.3f}**",
                f"{static / equal:.3f}",
                " ".join(str(one) for one in sizes),
                " ".join(str(one * entries // STEPS) for one in split),
            )
        )
    table(
        (
            "cost of all misses",
            "entries",
            "equal split",
            "one LRU",
            "one budget",
            "best static split",
            "sizes, budget",
            "sizes, static",
        ),
        rows,
    )
    what = "five interleaved workloads, mean of all mixes"
    return verdict(
        [
            Bar(f"miss cost of {what} / equal split", statistics.mean(ours), GOAL),
            Bar(
                f"miss cost of {what} / best static split in hindsight",
                statistics.mean(ratios),
                1.0,
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
