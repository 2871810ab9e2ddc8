"""
What an append to a ring costs, and a point of a series, next to a bare deque.

All run round by round in one process. The deque has no bytes, no counts by key, no
sequence numbers and no owner; it is the floor. The locked deque is what one writes by
hand to have a cap of bytes. Rings are full: each append drops the oldest entry.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from threading import Lock
from time import perf_counter
from typing import Any

from bars import Bar, table, verdict
from rounds import alternate, timed

import memguard

LOOPS = 20_000
TEXT = "a line of some fifty characters, as a log has them"
EVENT = {"number": 1, "path": "/"}
CAP_BYTES = 100_000


class ByHand:
    """
    A deque with a cap of bytes behind a lock, sizes by sys.getsizeof.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: deque[tuple[int, Any]] = deque()
        self._bytes = 0

    def append(self, value: Any) -> None:
        size = sys.getsizeof(value)
        with self._lock:
            self._entries.append((size, value))
            self._bytes += size
            while self._bytes > CAP_BYTES:
                self._bytes -= self._entries.popleft()[0]


def append(subject: Any, value: Any) -> float:
    began = perf_counter()
    for _ in range(LOOPS):
        subject.append(value)
    return perf_counter() - began


def append_keyed(subject: Any, value: Any) -> float:
    began = perf_counter()
    for _ in range(LOOPS):
        subject.append(value, "line")
    return perf_counter() - began


def add(subject: Any, value: Any) -> float:
    began = perf_counter()
    for _ in range(LOOPS):
        subject.add(value)
    return perf_counter() - began


def empty(subject: Any, value: Any) -> float:
    began = perf_counter()
    for _ in range(LOOPS):
        pass
    return perf_counter() - began


def main() -> int:
    logging.disable()
    guard = memguard.Guard()
    plain = guard.ring("plain")
    sized = guard.ring("sized", max_entries=None, max_bytes=CAP_BYTES)
    series = guard.series("series")
    figures = alternate(
        {
            "empty": timed(empty, None, None),
            "deque(maxlen=1000).append": timed(append, deque(maxlen=1000), TEXT),
            "locked deque with a cap of bytes": timed(append, ByHand(), TEXT),
            "ring": timed(append, plain, TEXT),
            "ring, with a key": timed(append_keyed, plain, TEXT),
            "ring of dictionaries": timed(append, guard.ring("dicts"), EVENT),
            "ring with a cap of bytes": timed(append, sized, TEXT),
            "series, a float": timed(add, series, 1.5),
            "series, an int": timed(add, series, 3),
        },
        count=LOOPS,
        rounds=21,
    )
    floor, by_hand = figures.names[:2]
    table(
        ("append", "ns", "/ deque", "/ by hand"),
        (
            (
                name,
                f"{figures.each_ns(name):.0f}",
                f"{figures.ratio(name, floor):.1f}",
                f"{figures.ratio(name, by_hand):.2f}",
            )
            for name in figures.names
        ),
    )
    # Ratios, because nanoseconds are those of a machine that has nothing else to do.
    return verdict(
        [
            Bar("ring / by hand", figures.ratio("ring", by_hand), 0.7, 0.5),
            Bar(
                "ring with a cap of bytes / by hand",
                figures.ratio("ring with a cap of bytes", by_hand),
                1.4,
                1.0,
            ),
            Bar(
                "series, a float / by hand",
                figures.ratio("series, a float", by_hand),
                0.4,
                0.3,
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
