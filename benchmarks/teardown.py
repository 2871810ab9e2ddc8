"""
How long everybody is held up while one huge value of each shape is taken apart.

Each measurement has a fresh process. "hold" is the longest processor time between two
moments at which other threads may run; "pause" the longest time in which a thread that
wants to wake every 0.1 ms could not, in which other processes of the machine have a
part. Medians of the processes, the worst in brackets. `benchmarks/cache_pauses.py`
measures pauses through a cache; here is what the taking apart alone costs, and shapes
that caches seldom hold.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Any

from bars import Bar, table, verdict
from cache_pauses import MANY, VALUES, Ticker, idle_ms, undisturbed

from memguard._clock import give_way
from memguard._kinds.teardown import dismantle

REPEATS = 5


class Node:
    """
    Refers to four more, down to a depth.
    """

    def __init__(self, depth: int) -> None:
        self.below = (
            [Node(depth - 1) for _ in range(4)] if depth else f"leaf {id(self)}"
        )


def linked() -> dict[str, Any]:
    last: dict[str, Any] = {}
    for number in range(MANY // 3):
        last = {"next": last, "value": f"value {number}"}
    return last


OTHERS: dict[str, Callable[[], Any]] = {
    "deque": lambda: deque([f"value {n}" for n in range(MANY)]),
    "list of tuples": lambda: [(n, f"value {n}") for n in range(MANY)],
    "tree of objects": lambda: Node(9),
    "linked dicts": linked,
}
# Nothing in the interpreter empties one.
UNBOUND: dict[str, Callable[[], Any]] = {
    "frozenset": lambda: frozenset([f"value {n}" for n in range(MANY)]),
}
ALL = {**VALUES, **OTHERS, **UNBOUND}


class Holds:
    """
    Pauses, and the processor time between them.
    """

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._since = time.thread_time()

    def note(self) -> None:
        held = (time.thread_time() - self._since) * 1e3
        self.longest_ms = max(self.longest_ms, held)

    def __call__(self, seconds: float) -> None:
        self.note()
        give_way(seconds)
        self._since = time.thread_time()


def measure(kind: str) -> dict[str, float]:
    answer = {"idle": idle_ms()}
    dismantle([tuple(range(1000))])  # whatever is imported at the first use
    for way in ("sliced", "plain"):
        bag: list[Any] = [ALL[kind]()]
        gc.collect()
        gc.freeze()
        with undisturbed(), Ticker() as ticker:
            began = time.perf_counter()
            holds = Holds()
            if way == "sliced":
                dismantle(bag, pause=holds)
            else:
                bag.clear()
            holds.note()
            took = time.perf_counter() - began
            time.sleep(0.01)
        gc.unfreeze()
        answer[way] = ticker.longest
        answer[f"{way}, hold"] = holds.longest_ms
        answer[f"{way}, total"] = took * 1e3
    return answer


def ask(kind: str) -> list[dict[str, float]]:
    answers = []
    for _ in range(REPEATS):
        run = subprocess.run(
            [sys.executable, __file__, kind],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
        )
        answers.append(json.loads(run.stdout))
    return answers


def main() -> int:
    bars, rows = [], []
    for kind in ALL:
        answers = ask(kind)
        column = {key: [one[key] for one in answers] for key in answers[0]}
        rows.append(
            (
                kind,
                *(
                    f"{median(column[way]):.2f} ({max(column[way]):.2f})"
                    for way in ("sliced, hold", "sliced", "plain", "idle")
                ),
                f"{median(column['sliced, total']):.0f}",
            )
        )
        if kind not in UNBOUND:
            what = f"longest hold while a 1M-item {kind} goes"
            bars.append(Bar(what, median(column["sliced, hold"]), 2, 1, " ms"))
    table(
        (
            "1M items: longest pause, ms",
            "in slices",
            "plain `del`",
            "idle",
            "total, ms",
        ),
        rows,
    )
    return verdict(bars)


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)
    if len(sys.argv) == 2:
        print(json.dumps(measure(sys.argv[1])))
    else:
        sys.exit(main())
