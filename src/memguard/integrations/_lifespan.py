"""
The ASGI lifespan: the guard's life around the application's own.

The guard starts before the application does and shuts down after it has, whether the
application knows the lifespan, ignores it, or refuses it.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from weakref import ref

from memguard._default import ensure_started
from memguard._guard import Guard

__all__ = ("Lifespan", "note_loop")

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[..., Awaitable[None]]


class Lifespan:
    """
    One lifespan of one guard. It undoes at its end what it has installed itself.
    """

    def __init__(self, guard: Guard) -> None:
        #: The start-up was answered well: requests come after it.
        self.complete = False
        self._guard = guard
        self._receive: Receive
        self._send: Send
        self._begun = False
        self._ours = False  # this lifespan has started the guard
        self._over = False

    async def run(
        self, app: Application, connection: Any, receive: Receive, send: Send
    ) -> None:
        """
        Run the application's lifespan inside the guard's.
        """
        self._receive, self._send = receive, send
        try:
            await app(connection, self._before, self._after)
        except BaseException as error:
            if self._begun or not isinstance(error, Exception):
                # It knows the lifespan and failed in it: the server has to see that.
                await self._shut_down()
                raise
        if not self._over:
            # The application does not care for (the rest of) the lifespan; the guard
            # does.
            await self._alone()

    async def _before(self) -> Message:
        message = await self._receive()
        if message["type"] == "lifespan.startup":
            self._start()
        return message

    async def _after(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self.complete = True
        else:
            await self._shut_down()
        await self._send(message)

    async def _alone(self) -> None:
        if not self._begun:
            await self._receive()
            self._start()
        if not self.complete:
            await self._after({"type": "lifespan.startup.complete"})
        await self._receive()
        await self._after({"type": "lifespan.shutdown.complete"})

    def _start(self) -> None:
        guard = self._guard
        self._ours = not guard.is_running
        note_loop(guard)
        # Handlers can only be installed in the main thread; test clients run the
        # lifespan elsewhere, and need none.
        if threading.current_thread() is threading.main_thread():
            self._ours = ensure_started(guard) or self._ours
        else:
            guard.start()
        self._begun = True

    async def _shut_down(self) -> None:
        if self._over:
            return
        self._over = True
        if not self._begun:
            return
        try:
            await self._guard.ashutdown(reason="lifespan shutdown")
        finally:
            if self._ours:
                self._guard.uninstall()


def note_loop(guard: Guard) -> None:
    """
    The loop that runs here is the guard's.
    """
    import asyncio

    guard.registry.loop = ref(asyncio.get_running_loop())
