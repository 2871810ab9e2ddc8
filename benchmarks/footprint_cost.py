"""
What a look at the memory of a process costs, with few objects and with a million.

The cheap look (pages, both allocators) is what a verdict is made of; the footprint is
everything. Each number of objects has a fresh process. The parts of the cheap look take
turns, round by round, and after them the others, some of which walk all page tables;
medians, and the fastest in brackets.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from bars import Bar, table, verdict

import memguard
from memguard._probes.allocators import malloc, pymalloc
from memguard._probes.process import ProcessView
from memguard._probes.sample import sample

OBJECTS = (10_000, 1_000_000)
ROUNDS = 60
BAR_MS = 0.3


def looks() -> tuple[dict[str, Callable[[], object]], ...]:
    """
    What is measured, by name: the cheap look, and everything else.
    """
    view, guard = ProcessView(), memguard.Guard()
    first = guard.footprint()
    cheap = {
        "cheap look": lambda: sample(view, 0.0),
        "of it: pymalloc": pymalloc,
        "of it: malloc": malloc,
        "of it: pages": view.pages,
    }
    rest = {
        "mappings": view.mappings,
        "sums over pages": view.rollup,
        "control group": view.group,
        "footprint": lambda: guard.footprint(first),
    }
    return cheap, rest


def measured(objects: int) -> dict[str, tuple[float, float]]:
    """
    Median and minimum in milliseconds, with so many objects that Python tracks.
    """
    kept: list[Any] = [(index,) for index in range(objects)]
    times: dict[str, list[float]] = {}
    for calls in looks():
        for _ in range(ROUNDS):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                took = (time.perf_counter() - start) * 1e3
                times.setdefault(name, []).append(took)
    assert len(kept) == objects
    return {name: (median(found), min(found)) for name, found in times.items()}


def main() -> int:
    """
    Print one line a look; exit 1 when the bar is missed.
    """
    if len(sys.argv) > 1:
        print(json.dumps(measured(int(sys.argv[1]))))
        return 0
    columns = []
    for objects in OBJECTS:
        done = subprocess.run(
            [sys.executable, __file__, str(objects)],
            check=True,
            capture_output=True,
            text=True,
        )
        columns.append(json.loads(done.stdout))
    rows = [
        [name, *(f"{one[name][0]:.3f} ({one[name][1]:.3f})" for one in columns)]
        for name in columns[0]
    ]
    table(["ms", *(f"{objects:,} objects" for objects in OBJECTS)], rows)
    cost = columns[-1]["cheap look"][0]
    return verdict(
        [Bar("the cheap look at a million objects", cost, BAR_MS, unit=" ms")]
    )


if __name__ == "__main__":
    sys.exit(main())
