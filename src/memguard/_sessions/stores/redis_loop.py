"""
The event loop that an asynchronous client of Redis belongs to.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ("Home",)

_T = TypeVar("_T")


class Home:
    """
    Where the connections of a client are: the loop that first awaited one of its verbs.

    What is awaited on another loop, as a shutdown does that goes on in a thread, is
    performed there, because a connection can be read by its own loop only. When that
    loop has ended, the next one takes its place.
    """

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        self._loop: weakref.ref[AbstractEventLoop] | None = None

    async def perform(self, make: Callable[[], Awaitable[_T]]) -> _T:
        """
        The result of what *make* gives.
        """
        import asyncio

        here = asyncio.get_running_loop()
        home = None if self._loop is None else self._loop()
        if home is None or home.is_closed():
            self._loop = weakref.ref(here)
        elif home is not here and home.is_running():

            async def there() -> _T:
                return await make()

            future = asyncio.run_coroutine_threadsafe(there(), home)
            return await asyncio.wrap_future(future)
        return await make()
