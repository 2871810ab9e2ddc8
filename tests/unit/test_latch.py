"""
Latches: opened once, for threads and tasks that wait, were cancelled, or are gone.
"""

from __future__ import annotations

import asyncio
import threading

import pytest

from memguard._latch import Latch

SOON = 5.0


def test_threads_wait_until_it_is_opened() -> None:
    """
    Or until their time is over.
    """
    latch = Latch()
    assert not latch.wait(0.001)
    assert not latch.wait(-1)
    opener = threading.Timer(0.01, latch.set)
    opener.start()
    assert latch.wait(SOON)
    latch.set()
    assert latch.is_set


def test_tasks_wait_until_it_is_opened() -> None:
    """
    From a thread or from the loop; and nothing is left on the loop.
    """

    async def main() -> None:
        latch = Latch()
        assert not await latch.await_(0.001)
        assert not await latch.await_(0)
        opener = threading.Timer(0.01, latch.set)
        opener.start()
        waiting = [asyncio.create_task(latch.await_(None)) for _ in range(3)]
        assert await latch.await_(SOON)
        assert [True] * 3 == await asyncio.gather(*waiting)
        assert await latch.await_(0)
        assert [] == latch._wakers

    asyncio.run(main())


def test_a_cancellation_is_never_swallowed() -> None:
    """
    Also one that comes in the same round of the loop as the opening.
    """

    async def main() -> None:
        for opened_first in (True, False):
            latch = Latch()
            task = asyncio.create_task(latch.await_(SOON))
            await asyncio.sleep(0)
            if opened_first:
                latch.set()
                await asyncio.sleep(0)
            task.cancel()
            latch.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [] == latch._wakers

    asyncio.run(main())


def test_who_waits_on_a_closed_loop_is_passed_over() -> None:
    """
    Opening it wakes the others.
    """
    latch = Latch()
    loop = asyncio.new_event_loop()
    waiting = latch.await_(SOON)
    asyncio._set_running_loop(loop)
    try:
        waiting.send(None)
    finally:
        asyncio._set_running_loop(None)
        loop.close()
    latch.set()
    assert latch.wait(0)
    waiting.close()
