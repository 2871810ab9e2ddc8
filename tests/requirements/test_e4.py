"""
Pools are tightened while they work: 3 members, 1 idle, 5 s. Limiters as well.
"""

from __future__ import annotations

from typing import Any

import pytest

import memguard
from memguard.errors import LimiterFull
from memguard.testing import FakeClock


class Connection:
    """
    What is pooled.
    """

    closed = False

    def close(self) -> None:
        self.closed = True


def busy_pool(guard: memguard.Guard, lent: int) -> tuple[Any, list[Any]]:
    """
    A pool with ten members, *lent* of them still lent: it, and their leases.
    """
    pool = guard.pool("db", Connection, min_size=4, idle_timeout="1h")
    leases = [pool.acquire() for _ in range(10)]
    for lease in leases:
        lease.__enter__()
    for lease in leases[lent:]:
        lease.__exit__(None, None, None)
    return pool, leases[:lent]


def test_at_run_time() -> None:
    """
    Idle members beyond 3 end at once, lent ones on their return, all but 1 after 5 s.
    """
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        pool, leases = busy_pool(guard, lent=2)
        pool.resize(3, min_size=1, idle_timeout="5s")
        assert (3, 1, 2) == (pool.stats().size, pool.stats().idle, pool.stats().used)
        for lease in leases:
            lease.__exit__(None, None, None)
        assert (3, 3) == (pool.stats().size, pool.stats().idle)
        clock.advance("5s")
        assert (1, 1) == (pool.stats().size, pool.stats().idle)


def test_under_pressure() -> None:
    """
    Tightened, all idle ones end at once; who has one keeps it; then it is as before.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        pool, leases = busy_pool(guard, lent=1)
        assert 9 == pool.tighten(0.3)
        assert (1, 1, 3, 1) == (
            pool.stats().size,
            pool.stats().min_size,
            pool.stats().max_size,
            pool.stats().used,
        )
        pool.restore()
        leases[0].__exit__(None, None, None)
        assert (4, 10) == (pool.stats().min_size, pool.stats().max_size)


def test_limiters_too() -> None:
    """
    Who is inside stays, and until enough have left nobody else goes in.
    """
    guard = memguard.Guard(clock=FakeClock())
    work = guard.limiter("work", max_in_flight=5)
    turns = [work() for _ in range(5)]
    for turn in turns:
        turn.__enter__()
    work.resize(4)
    work.tighten(0.25)
    for turn in turns:
        with pytest.raises(LimiterFull), work(timeout=0):
            pass
        turn.__exit__(None, None, None)
    with work(timeout=0):
        assert 1 == work.info().max_in_flight
    work.restore()
    assert 4 == work.info().max_in_flight
