"""
Queues of the standard library: what waits in them, and how much may.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

#: The bound of a queue of multiprocessing that was given none: what a semaphore of the
#: system can count to.
_ENDLESS: Final = 2**31 - 1
_NAMES: Final = (
    ("queue", "Queue"),
    ("queue", "SimpleQueue"),
    ("asyncio", "Queue"),
    ("multiprocessing.queues", "Queue"),
)


class Queue(Adapter):
    """
    A `queue.Queue`, `LifoQueue`, `PriorityQueue`, `SimpleQueue`, or a queue of asyncio
    or multiprocessing: what waits in it, and its bound. Closing it lets go of it.
    """

    kind = "queue"
    phase = "work"
    cannot = (
        "the bound of a queue is fixed where it is made, because its writers have to"
        " know whether they wait, fail or drop; use Queue(maxsize=...) there, or a"
        " memguard.ring"
    )
    must_close = False

    def types(self) -> Iterable[type]:
        for module, name in _NAMES:
            found = getattr(sys.modules.get(module), name, None)
            if found is not None:
                yield found

    def measure(self, obj: Any) -> Measured:
        unfinished = getattr(obj, "unfinished_tasks", None)
        details = {} if unfinished is None else {"unfinished": unfinished}
        return Measured(entries=_waiting(obj), limit=_bound(obj), details=details)

    def risk(self, obj: Any) -> Risk | None:
        if _bound(obj) is not None:
            return None
        return Risk(
            "entries",
            "it has no bound: when its readers are slower than its writers, it grows",
            "make it with a maxsize, or use a memguard.ring",
        )


def _waiting(queue: Any) -> int | None:
    try:
        return int(queue.qsize())
    except NotImplementedError:  # of multiprocessing, on macOS
        return None


def _bound(queue: Any) -> int | None:
    bound = getattr(queue, "maxsize", None) or getattr(queue, "_maxsize", None) or 0
    return bound if 0 < bound < _ENDLESS else None


ADAPTERS = (Queue(),)
