"""
A consumer has at most five messages in hand, by count and by bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import memguard
from memguard.errors import LimiterFull
from memguard.testing import FakeClock

MESSAGES = 50


def test_five_are_in_hand_and_no_more() -> None:
    """
    A fast queue and a slow handler: five at once, each message handled once, in order.
    """

    async def main() -> None:
        guard = memguard.Guard(clock=FakeClock())
        prefetch = guard.limiter("messages")
        fetched = handled = most = inside = 0

        async def queue() -> AsyncIterator[int]:
            nonlocal fetched
            for number in range(MESSAGES):
                fetched += 1
                assert fetched - handled <= 5
                yield number

        async def handle(number: int) -> int:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            for _ in range(6 + number % 3):
                await asyncio.sleep(0)
            inside -= 1
            return number

        async for number in prefetch.map(handle, queue()):
            assert handled == number
            handled += 1
        assert (MESSAGES, 5, 5) == (handled, most, prefetch.info().peak)

    asyncio.run(main())


def test_bytes_count_as_well() -> None:
    """
    Of three large messages only two are in hand.
    """
    guard = memguard.Guard(clock=FakeClock())
    prefetch = guard.limiter("messages", max_bytes="1MiB")
    with prefetch("512KiB"), prefetch("512KiB"), pytest.raises(LimiterFull):
        prefetch("512KiB", timeout=0).__enter__()
    assert (2, 1 << 20) == (prefetch.info().peak, prefetch.info().peak_bytes)


def test_reduced_while_memory_is_short() -> None:
    """
    To a share of it, and back to what was asked for.
    """
    guard = memguard.Guard(clock=FakeClock())
    prefetch = guard.limiter("messages", max_bytes="1MiB")
    prefetch.tighten(0.4)
    with prefetch(), prefetch(), pytest.raises(LimiterFull), prefetch(timeout=0):
        pass
    assert (2, 419430) == (prefetch.info().max_in_flight, prefetch.info().max_bytes)
    prefetch.restore()
    with prefetch(), prefetch(), prefetch(), prefetch(), prefetch():
        assert 5 == prefetch.info().in_flight
