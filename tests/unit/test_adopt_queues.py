"""
Adopting queues of the standard library.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
from typing import Any

import pytest

from memguard import Guard
from memguard.testing import FakeClock


@pytest.fixture
def guard() -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=FakeClock())


@pytest.mark.parametrize(
    ("made", "bound"),
    [
        (queue.Queue(), None),
        (queue.Queue(5), 5),
        (queue.LifoQueue(5), 5),
        (queue.PriorityQueue(), None),
        (queue.SimpleQueue(), None),
        (asyncio.Queue(), None),
        (asyncio.Queue(5), 5),
        (asyncio.PriorityQueue(5), 5),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_queue_is_measured(guard: Guard, made: Any, bound: int | None) -> None:
    """
    What waits, and the bound; without one it is a risk. A cap is refused.
    """
    handle = guard.adopt(made)
    put = getattr(made, "put_nowait", made.put)
    for number in range(3):
        put(number)
    info = handle.info()
    assert ("queue", 3, bound) == (info.kind, info.entries, info.limit)
    assert (bound is None) == (handle.risk() is not None)
    with pytest.raises(TypeError, match="maxsize"):
        handle.resize(max_entries=2)
    handle.close()
    assert 3 == made.qsize()


@pytest.mark.parametrize(("size", "bound"), [(0, None), (5, 5)])
def test_a_queue_between_processes_is_measured(
    guard: Guard, size: int, bound: int | None
) -> None:
    """
    One without a size has the bound of the system's semaphores, which is none.
    """
    made = multiprocessing.get_context("spawn").Queue(size)
    try:
        made.put(1)
        handle = guard.adopt(made)
        assert (1, bound) == (handle.info().entries, handle.info().limit)
        assert (bound is None) == (handle.risk() is not None)
        assert 1 == made.get(timeout=5)
    finally:
        made.close()
        made.join_thread()
