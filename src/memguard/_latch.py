"""
A latch: opened once, waited for by threads and by tasks alike.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ("Latch",)


class Latch:
    """
    Closed until `set`; then everybody who waits, or comes later, goes on.

    A task never blocks its loop: it is woken on it. No lock is held while it is.
    """

    __slots__ = ("_event", "_wakers")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._wakers: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """
        Open it. Opening twice does nothing.
        """
        self._event.set()
        # Whoever appends after this line sees the event set and wakes itself.
        wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    def wait(self, timeout: float) -> bool:
        """
        Wait in this thread for at most *timeout* seconds; False if still closed.
        """
        return self._event.wait(max(0.0, timeout))

    async def await_(self, timeout: float | None) -> bool:
        """
        Wait on this loop for at most *timeout* seconds (None: as long as it takes).
        """
        import asyncio

        if self._event.is_set():
            return True
        loop = asyncio.get_running_loop()
        opened = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(opened.set)

        self._wakers.append(wake)
        if self._event.is_set():
            wake()
        try:
            await asyncio.wait_for(opened.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        finally:
            if wake in self._wakers:
                self._wakers.remove(wake)
        return True
