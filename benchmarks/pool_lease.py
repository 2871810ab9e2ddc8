"""
What lending a member of a pool costs, next to the queue that one pools with by hand.

All run round by round in one process. The queue has no bounds on what is made, no
idle time, no order at the end, and forgets to take back what an exception skipped.
"""

from __future__ import annotations

import sys
from collections import deque
from queue import LifoQueue
from time import perf_counter
from typing import Any

from bars import Bar, table, verdict
from rounds import alternate, timed

import memguard

LOOPS = 3_000


def lend(pool: Any) -> float:
    began = perf_counter()
    for _ in range(LOOPS):
        with pool.acquire():
            pass
    return perf_counter() - began


def get_and_put(queue: Any) -> float:
    began = perf_counter()
    for _ in range(LOOPS):
        member = queue.get()
        queue.put(member)
    return perf_counter() - began


def pop_and_append(members: Any) -> float:
    began = perf_counter()
    for _ in range(LOOPS):
        member = members.pop()
        members.append(member)
    return perf_counter() - began


def make(members: Any) -> float:
    began = perf_counter()
    for _ in range(LOOPS):
        bytearray(65_536)
    return perf_counter() - began


def empty(members: Any) -> float:
    began = perf_counter()
    for _ in range(LOOPS):
        pass
    return perf_counter() - began


def is_well(member: object) -> bool:
    return True


def main() -> int:
    queue: LifoQueue[object] = LifoQueue()
    queue.put(object())
    with memguard.Guard() as guard:
        figures = alternate(
            {
                "empty": timed(empty, None),
                "deque, pop and append": timed(pop_and_append, deque([object()])),
                "queue.LifoQueue, get and put": timed(get_and_put, queue),
                "pool": timed(lend, guard.pool("plain", object)),
                "pool with a reset": timed(
                    lend, guard.pool("reset", bytearray, reset=bytearray.clear)
                ),
                "pool with a check and a reset": timed(
                    lend,
                    guard.pool("both", bytearray, reset=bytearray.clear, check=is_well),
                ),
                "making bytearray(65536)": timed(make, None),
            },
            count=LOOPS,
            rounds=21,
        )
    by_hand = figures.names[1]
    table(
        ("in and out", "ns", "/ LifoQueue"),
        (
            (
                name,
                f"{figures.each_ns(name):.0f}",
                f"{figures.ratio(name, by_hand):.2f}",
            )
            for name in figures.names
        ),
    )
    return verdict([Bar("pool / LifoQueue", figures.ratio("pool", by_hand), 2.0, 1.5)])


if __name__ == "__main__":
    sys.exit(main())
