"""
How often a cache has what is asked for, next to an LRU and to other caches.

Bars: on average 3 pp above an LRU over all workloads at 1 % and 10 % of their keys, and
nowhere more than 3.6 pp below it. Under a byte cap of 1 % and 5 %: 5 pp more objects
than an LRU of as many bytes. And ids that lie far apart hit about as often as others.
The bars are judged on whatever was replayed: without traces (see workloads.py) that is
less than it should be, and said so.

`--quick` replays less, without other caches and pictures, in under a minute.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bars import Bar, table, verdict
from picture import lines
from references import OTHERS, Maker, Verbs, byte_lru, lru, s3_fifo
from workloads import Workload, synthetic, synthetic_sized, traces

from memguard import Guard

HERE = Path(__file__).resolve().parent
PERCENTS = (1, 10)
BYTE_PERCENTS = (1, 5)
CURVE_PERCENTS = (0.5, 1, 2, 5, 10, 20, 40)
# One curve of each kind: made up, database, block device, joins with loops.
DRAWN = {
    "Zipf 1.0": "zipf",
    "Zipf, 1/3 scans": "zipf-scans",
    "Zipf, shifting": "zipf-shifting",
    "web12": "web12",
    "orm-busy": "orm-busy",
    "multi3": "multi3",
}
MEAN_BAR, MEAN_HARD = 3.0, 4.5
WORST_BAR, WORST_HARD = -3.6, -1.5
OBJECT_BAR, OBJECT_HARD, BYTES_LOST = 5.0, 8.0, 1.0
SPACING_COST = 1.0


@contextmanager
def memguard(most: int) -> Iterator[Verbs]:
    with Guard() as guard:
        cache: Any = guard.cache("measured", max_entries=most)
        yield Verbs(cache.get, cache.put)


@contextmanager
def memguard_bytes(most: int) -> Iterator[Verbs]:
    with Guard() as guard:
        cache: Any = guard.cache(
            "measured", max_bytes=most, weigher=lambda _, size: size
        )
        yield Verbs(cache.get, cache.put)


def hit_percent(keys: list[int], make: Maker, most: int) -> float:
    with make(most) as (get, put):
        missed = 0
        for key in keys:
            if get(key) is None:
                missed += 1
                put(key, 1)
    return 100 - 100 * missed / len(keys)


def byte_percents(workload: Workload, make: Maker, most: int) -> tuple[float, float]:
    """
    Of the objects and of the bytes that were asked for.
    """
    sizes = workload.sizes or {}
    asked = missed = missed_bytes = 0
    with make(most) as (get, put):
        for key in workload.keys:
            size = sizes[key]
            asked += size
            if get(key) is None:
                missed += 1
                missed_bytes += size
                put(key, size)
    return 100 - 100 * missed / len(workload.keys), 100 - 100 * missed_bytes / asked


def by_entries(workloads: list[Workload], kinds: dict[str, Maker]) -> list[Bar]:
    """
    Capped by their number: every kind against an LRU.
    """
    gains: dict[str, list[float]] = {name: [] for name in kinds}
    rows: list[list[str]] = []
    for workload, percent in itertools.product(workloads, PERCENTS):
        most = workload.capacity(percent)
        reference = hit_percent(workload.keys, lru, most)
        for name, make in kinds.items():
            gains[name].append(hit_percent(workload.keys, make, most) - reference)
        latest = [f"{of_kind[-1]:+.1f}" for of_kind in gains.values()]
        rows.append([workload.name, f"{most:,}", f"{reference:.1f} %", *latest])
    means = [f"**{statistics.mean(of_kind):+.2f}**" for of_kind in gains.values()]
    worst = [f"**{min(of_kind):+.2f}**" for of_kind in gains.values()]
    rows += [["**mean**", "", "", *means], ["**worst**", "", "", *worst]]
    print("Hits, and how many percentage points more or less than an LRU has:")
    table(["workload", "entries", "LRU", *kinds], rows)
    ours, points = gains["memguard"], f"{len(rows) - 2} points"
    return [
        Bar(
            f"hits against LRU, mean of {points}",
            statistics.mean(ours),
            MEAN_BAR,
            MEAN_HARD,
            " pp",
            gain=True,
        ),
        Bar(
            f"hits against LRU, worst of {points}",
            min(ours),
            WORST_BAR,
            WORST_HARD,
            " pp",
            gain=True,
        ),
    ]


def by_spacing(workload: Workload) -> list[Bar]:
    """
    The same accesses with ids whose low bits say nothing, as of a time and a counter.
    """
    most = workload.capacity(1)
    plain = hit_percent(workload.keys, memguard, most)
    spaced = hit_percent([key << 22 for key in workload.keys], memguard, most)
    what = f"hits of {workload.name} with ids in steps of 2^22, against plain ones"
    return [Bar(what, spaced - plain, -SPACING_COST, None, " pp", gain=True)]


def by_bytes(workloads: list[Workload]) -> list[Bar]:
    """
    Capped by bytes: objects and bytes found, against an LRU of as many bytes.
    """
    rows, bars = [], []
    for workload, percent in itertools.product(workloads, BYTE_PERCENTS):
        most = workload.byte_capacity(percent)
        before = byte_percents(workload, byte_lru, most)
        after = byte_percents(workload, memguard_bytes, most)
        objects, octets = after[0] - before[0], after[1] - before[1]
        rows.append(
            [
                workload.name,
                f"{most / 1e6:.1f} MB",
                *(f"{figure:.1f} %" for figure in before),
                *(f"{figure:+.1f}" for figure in (objects, octets)),
            ]
        )
        # The hard goal counts only where hardly any bytes are lost for it.
        hard = OBJECT_HARD if octets >= -BYTES_LOST else None
        what = f"objects against LRU, {workload.name}, {percent} % of the bytes"
        bars.append(Bar(what, objects, OBJECT_BAR, hard, " pp", gain=True))
    print("Capped by bytes: of what is asked for, the objects and the bytes that hit:")
    columns = ["objects, LRU", "bytes, LRU", "objects, memguard", "bytes, memguard"]
    table(["workload", "cap", *columns], rows)
    return bars


def draw(workload: Workload, kinds: dict[str, Maker]) -> None:
    curves = {
        name: [
            (percent, hit_percent(workload.keys, make, workload.capacity(percent)))
            for percent in CURVE_PERCENTS
        ]
        for name, make in kinds.items()
    }
    title = f"Hit ratio: {workload.name}"
    picture = f"pictures/hit-ratio-{DRAWN[workload.name]}.svg"
    x_label = "capacity, % of the different keys"
    lines(HERE / picture, title, x_label, "hits, %", curves, log_x=True)
    print(f"![{title}]({picture})\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="less of it, in a minute")
    parser.add_argument(
        "--traces", default=os.environ.get("MEMGUARD_TRACES"), help="a directory"
    )
    options = parser.parse_args()
    accesses = 60_000 if options.quick else 300_000
    made_up, sized = synthetic(accesses), synthetic_sized(accesses)
    workloads = made_up
    if options.traces:
        found = traces(Path(options.traces), accesses if options.quick else 600_000)
        workloads = [one for one in found if one.sizes is None] + made_up
        sized = [one for one in found if one.sizes is not None] + sized
    else:
        print("no traces given (MEMGUARD_TRACES, --traces): made-up workloads alone")
    kinds: dict[str, Maker] = {"memguard": memguard, "S3-FIFO": s3_fifo}
    if not options.quick:
        kinds |= {
            name: make for module, (name, make) in OTHERS.items() if find_spec(module)
        }
    bars = by_entries(workloads, kinds) + by_bytes(sized)
    bars += by_spacing(made_up[0])
    # The other LRUs would lie on the reference.
    curves = {name: make for name, make in kinds.items() if "LRU" not in name}
    for workload in [] if options.quick else workloads:
        if workload.name in DRAWN:
            draw(workload, {"memguard": memguard, "LRU": lru, **curves})
    return verdict(bars)


if __name__ == "__main__":
    sys.exit(main())
