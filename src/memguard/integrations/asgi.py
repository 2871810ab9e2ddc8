"""
Middleware for any ASGI application: a scope a request, and the lifespan.

Pure ASGI: nothing is buffered, context variables reach the application, and the
scope lives until the last part of the body was sent. The guard starts before the
application's own start-up and shuts down after its own shutdown.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias
from weakref import ref

from memguard._guard import Guard
from memguard._scope import Scope
from memguard.integrations._request import Requests, request_name

__all__ = ("MemguardMiddleware",)

_LOG: Final = logging.getLogger("memguard")

Message: TypeAlias = MutableMapping[str, Any]
Connection: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Connection, Receive, Send], Awaitable[None]]


class MemguardMiddleware:
    """
    Wrap an ASGI application, or `app.add_middleware(MemguardMiddleware)`.

    With *health* that path answers with the health record. A websocket's scope is no
    unit of work: make one for each message with `current_scope().scope("message")`.
    """

    def __init__(
        self,
        app: Application,
        *,
        guard: Guard | None = None,
        health: str | None = None,
    ) -> None:
        self.app = app
        self._requests = Requests(guard, health)
        self._saw_lifespan = False

    async def __call__(
        self, connection: Connection, receive: Receive, send: Send
    ) -> None:
        kind = connection["type"]
        if kind == "http":
            if connection["path"] == self._requests.health_path:
                await self._health(send)
                return
            scope = self._open(connection)
            try:
                async with scope:
                    await self.app(connection, receive, send)
                    _count(scope, connection)
            except BaseException:
                _count(scope, connection)
                raise
        elif kind == "websocket":
            scope = self._open(connection)
            scope.work = False
            async with scope:
                await self.app(connection, receive, send)
        elif kind == "lifespan":
            self._saw_lifespan = True
            await _Lifespan(self.app, self._requests.guard).run(
                connection, receive, send
            )
        else:
            await self.app(connection, receive, send)

    def _open(self, connection: Connection) -> Scope:
        requests = self._requests
        guard = requests.guard
        if not guard.registry.running and not guard.control.draining:
            _note_loop(guard)
            if not self._saw_lifespan:
                _LOG.warning(
                    "memguard: a request came without a lifespan start-up (does the"
                    " server run with --lifespan off?); nothing will shut the guard"
                    " down in order, unless a server's hook or your code does"
                )
                self._saw_lifespan = True
        return requests.open()

    async def _health(self, send: Send) -> None:
        status, body = self._requests.health()
        headers = [
            (b"content-type", b"application/health+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})


class _Lifespan:
    """
    One lifespan: the guard's life around the application's.
    """

    def __init__(self, app: Application, guard: Guard) -> None:
        self._app = app
        self._guard = guard
        self._started = False
        self._stopped = False
        self._send: Send
        self._receive: Receive

    async def run(self, connection: Connection, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        try:
            await self._app(connection, self._before, self._after)
        except BaseException:
            if self._started:
                await self._shut_down()
                raise
            # The application knows no lifespan; the guard needs it all the same.
            await self._alone()

    async def _before(self) -> Message:
        message = await self._receive()
        if message["type"] == "lifespan.startup":
            self._start()
        return message

    async def _after(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self._started = True
        elif kind == "lifespan.startup.failed" or kind.startswith("lifespan.shutdown"):
            await self._shut_down()
        await self._send(message)

    async def _alone(self) -> None:
        if not self._guard.registry.running:
            await self._receive()
            self._start()
        await self._send({"type": "lifespan.startup.complete"})
        await self._receive()
        await self._shut_down()
        await self._send({"type": "lifespan.shutdown.complete"})

    def _start(self) -> None:
        _note_loop(self._guard)
        self._guard.start()

    async def _shut_down(self) -> None:
        if not self._stopped:
            self._stopped = True
            await self._guard.ashutdown(reason="lifespan shutdown")


def _note_loop(guard: Guard) -> None:
    import asyncio

    guard.registry.loop = ref(asyncio.get_running_loop())


def _count(scope: Scope, connection: Connection) -> None:
    route = connection.get("route")
    template = getattr(route, "path", None)
    scope.count_as(request_name(connection["method"], template))
