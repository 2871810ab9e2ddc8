"""
An object pool: pre-populated, bounded, reset on release, with an error when exhausted.
"""

from __future__ import annotations

import pytest

import memguard
from memguard.errors import PoolExhausted, UseAfterRelease
from memguard.testing import FakeClock


class Buffer:
    """
    What is pooled.
    """

    def __init__(self) -> None:
        self.content: list[str] = []
        self.well = True

    def reset(self) -> None:
        self.content.clear()

    def check(self) -> bool:
        return self.well


def test_made_ahead_reset_checked_and_ended_when_idle() -> None:
    """
    10 are there at the start; one that comes back is empty, a sick one is replaced.
    """
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        pool = guard.pool(
            "buffers",
            Buffer,
            reset=Buffer.reset,
            check=Buffer.check,
            min_size=10,
            max_size=100,
            idle_timeout="10s",
        )
        clock.advance("1ms")
        assert (10, 10) == (pool.stats().idle, pool.stats().created)
        with pool.acquire() as buffer:
            buffer.content.append("mine")
            buffer.well = False
        assert [] == buffer.content
        leases = [pool.acquire() for _ in range(20)]
        lent = [lease.__enter__() for lease in leases]
        assert buffer not in lent
        assert 1 == pool.stats().failed_checks
        for lease in leases:
            lease.__exit__(None, None, None)
        clock.advance("10s")
        assert 10 == pool.stats().size


def test_the_error_of_an_exhausted_pool_says_how_things_stand() -> None:
    """
    After a bounded wait; and it is counted.
    """
    with memguard.Guard() as guard:
        pool = guard.pool("buffers", Buffer, max_size=1, acquire_timeout="10ms")
        with (
            pool.acquire(),
            pytest.raises(PoolExhausted, match="1 of at most 1 are lent"),
            pool.acquire(),
        ):
            pass
        assert 1 == pool.stats().timeouts


def test_what_is_not_lent_cannot_be_given_back() -> None:
    """
    A stranger, and a member twice: refused, counted, and nobody loses a member.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        pool = guard.pool("buffers", Buffer, max_size=1)
        assert not pool.release(Buffer())
        with pool.acquire() as buffer:
            assert pool.release(buffer)
            with pool.acquire() as same:
                assert buffer is same
                assert 0 == pool.stats().idle
        assert (1, 2) == (pool.stats().idle, pool.stats().foreign_releases)


def test_a_use_after_the_release_is_an_error_in_strict_mode() -> None:
    """
    It names where it was given back; without strict mode the member itself is lent.
    """
    with memguard.Guard(clock=FakeClock(), strict=True) as guard:
        with guard.pool("buffers", Buffer).acquire() as buffer:
            assert isinstance(buffer, Buffer)
        with pytest.raises(UseAfterRelease, match=r"given back at \S*test_c3\.py:"):
            buffer.content.append("not mine any more")
    with (
        memguard.Guard(clock=FakeClock()) as guard,
        guard.pool("buffers", Buffer).acquire() as buffer,
    ):
        assert type(buffer) is Buffer
