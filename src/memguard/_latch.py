"""
A latch: opened once, waited for by threads and by tasks alike.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ("Latch",)


class Latch:
    """
    Closed until `set`; then everybody who waits, or comes later, goes on.

    A task never blocks its loop: it is woken on it. No lock is held while it is.
    """

    __slots__ = ("_is_set", "_wakers")

    def __init__(self) -> None:
        self._is_set = False
        self._wakers: list[Callable[[], object]] = []

    @property
    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """
        Open it. Opening twice does nothing.
        """
        self._is_set = True
        # Whoever appends after this line sees that it is set, and does not wait.
        wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    def wait(self, timeout: float) -> bool:
        """
        Wait in this thread for at most *timeout* seconds; False if still closed.
        """
        if self._is_set:
            return True
        # A lock of one's own, because most latches have nobody who waits.
        gate = threading.Lock()
        gate.acquire()
        wake = gate.release
        self._wakers.append(wake)
        if not self._is_set:
            gate.acquire(timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX))
        try:
            self._wakers.remove(wake)
        except ValueError:
            pass  # it was called, or is just being called
        return self._is_set

    async def await_(self, timeout: float | None) -> bool:
        """
        Wait on this loop for at most *timeout* seconds (None: as long as it takes).
        """
        import asyncio

        if self._is_set:
            return True
        loop = asyncio.get_running_loop()
        # A bare future and not `wait_for`, which up to 3.11 swallows a cancellation
        # that comes together with the opening.
        opened: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(_finish, opened)
            except RuntimeError:
                return  # the loop was closed: nobody waits on it any more

        self._wakers.append(wake)
        if self._is_set:
            wake()
        timer = None
        if timeout is not None:
            timer = loop.call_later(max(0.0, timeout), _finish, opened)
        try:
            await opened
        finally:
            if timer is not None:
                timer.cancel()
            if wake in self._wakers:
                self._wakers.remove(wake)
        return self._is_set


def _finish(opened: Any) -> None:
    if not opened.done():
        opened.set_result(None)
