"""
What a million small entries weigh in a cache, and the longest put on the way there.

Each measurement has a fresh process. Keys and values are made before, so that only what
the cache itself takes is counted: by the resident set, and by tracemalloc, which does
not see what extensions allocate by themselves. "read" is after every entry was read
twice. The longest put is given as median of the maxima of the processes and as the
worst of them; by the clock on the wall, and by the thread's own processor time, which
leaves out that somebody else had the processor.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from statistics import median
from time import perf_counter_ns, thread_time_ns
from typing import Any

from bars import Bar, table, verdict
from peers import OTHERS, OURS, make

MANY = 1_000_000
REPEATS = 9
PEER_REPEATS = 3


# -- in the fresh process --------------------------------------------------------------


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def entries() -> tuple[list[str], list[str]]:
    """
    Keys and values, out of sight of the collector: they are not the cache's.
    """
    keys = [f"key:{number}" for number in range(MANY)]
    values = [f"value:{number}" for number in range(MANY)]
    gc.collect()
    gc.freeze()
    return keys, values


def weigh(name: str, *, traced: bool) -> dict[str, float]:
    keys, values = entries()
    held = make(name, 10)  # whatever is imported or made once
    held.put("a", "b")
    held = make(name, MANY)
    if traced:
        tracemalloc.start(1)

    def now() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] if traced else resident()

    before = now()
    put, get = held.put, held.get
    for key, value in zip(keys, values, strict=True):
        put(key, value)
    filled = now()
    for _ in range(2):
        for key in keys:
            get(key)
    read = now()
    kept = sum(get(key) is not None for key in keys[:: MANY // 1000])
    return {
        "filled": (filled - before) / MANY,
        "read": (read - before) / MANY,
        "kept": kept / 1000,
    }


def grow(name: str) -> dict[str, float]:
    keys, values = entries()
    put = make(name, MANY).put
    longest = busiest = 0
    clock, cpu = perf_counter_ns, thread_time_ns
    for key, value in zip(keys, values, strict=True):
        worked = cpu()
        began = clock()
        put(key, value)
        took = clock() - began
        worked = cpu() - worked
        longest = max(longest, took)
        busiest = max(busiest, worked)
    return {"wall": longest / 1e6, "cpu": busiest / 1e6}


def alone(what: str, name: str) -> dict[str, float]:
    if what == "grow":
        return grow(name)
    return weigh(name, traced=what == "traced")


# -- in the process that asks ----------------------------------------------------------


def ask(what: str, name: str) -> dict[str, float]:
    run = subprocess.run(
        [sys.executable, __file__, what, name],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    answer: dict[str, float] = json.loads(run.stdout)
    return answer


def weights() -> list[Bar]:
    bars = []
    rows = []
    for name in [*OURS, *OTHERS]:
        by_rss, traced = ask("resident", name), ask("traced", name)
        least = min(by_rss["kept"], traced["kept"])
        rows.append(
            (
                name,
                f"{by_rss['filled']:.0f}",
                f"{by_rss['read']:.0f}",
                f"{traced['filled']:.0f}" if traced["filled"] > 1 else "not seen",
                f"{traced['read']:.0f}" if traced["filled"] > 1 else "not seen",
                f"{least:.1%}",
            )
        )
        if name in OURS:
            worst = max(answer[when] for answer in (by_rss, traced) for when in WHEN)
            bars.append(Bar(f"bytes per entry, {name}", worst, 80, 50, " B"))
    table(
        (
            "bytes per entry at 1M",
            "RSS, filled",
            "RSS, read",
            "tracemalloc, filled",
            "tracemalloc, read",
            "still in",
        ),
        rows,
    )
    return bars


WHEN = ("filled", "read")


def growth() -> list[Bar]:
    bars: list[Bar] = []
    rows = []
    for name in [*OURS, *OTHERS]:
        repeats = REPEATS if name in OURS else PEER_REPEATS
        answers: list[dict[str, float]] = [ask("grow", name) for _ in range(repeats)]
        walls = [answer["wall"] for answer in answers]
        works = [answer["cpu"] for answer in answers]
        rows.append(
            (
                name,
                f"{median(walls):.2f}",
                f"{max(walls):.2f}",
                f"{median(works):.2f}",
                f"{max(works):.2f}",
                str(repeats),
            )
        )
        if name in OURS:
            what = f"longest put while growing to 1M, {name}"
            bars.append(Bar(what, median(walls), 10, 2, " ms"))
    table(
        (
            "longest put, ms",
            "median",
            "worst",
            "median, processor time",
            "worst, processor time",
            "processes",
        ),
        rows,
    )
    return bars


def main(parts: list[str]) -> int:
    doing: dict[str, Any] = {"weights": weights, "growth": growth}
    return verdict([bar for part in parts or doing for bar in doing[part]()])


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(alone(*sys.argv[1:])))
    else:
        sys.exit(main(sys.argv[1:]))
