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

from memguard._guard import Guard
from memguard.integrations._lifespan import Lifespan, note_loop
from memguard.integrations._request import Requests, RequestScope, request_name

__all__ = ("MemguardMiddleware",)

_LOG: Final = logging.getLogger("memguard")
_KEY: Final = "memguard.scope"
_WEBSOCKET: Final = "websocket"

Message: TypeAlias = MutableMapping[str, Any]
Connection: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Connection, Receive, Send], Awaitable[None]]


class MemguardMiddleware:
    """
    Wrap an ASGI application, or `app.add_middleware(MemguardMiddleware)`.

    With *health* that path answers GET and HEAD with the health record. A websocket's
    scope is no unit of work: make one for each message with
    `current_scope().scope("message")`. Inside another memguard middleware it adds no
    second scope.
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
        self._lifespan: Lifespan | None = None
        self._has_warned = False

    async def __call__(
        self, connection: Connection, receive: Receive, send: Send
    ) -> None:
        """
        One connection, from its first message to its last.
        """
        kind = connection["type"]
        if kind == "http":
            if self._requests.health_path is not None and self._asks_health(connection):
                await self._health(connection, send)
                return
        elif kind == "lifespan":
            self._lifespan = Lifespan(self._requests.guard)
            await self._lifespan.run(self.app, connection, receive, send)
            return
        elif kind != _WEBSOCKET:
            await self.app(connection, receive, send)
            return
        scope = None if _KEY in connection else self._open()
        if scope is None:
            await self.app(connection, receive, send)
            return
        connection[_KEY] = scope
        if kind == _WEBSOCKET:
            scope.name = _WEBSOCKET
            scope.work = False
        scope.__enter__()
        try:
            await self.app(connection, receive, send)
        finally:
            if kind != _WEBSOCKET:
                _count(scope, connection)
            await scope.__aexit__(None, None, None)

    def _open(self) -> RequestScope | None:
        requests = self._requests
        if not (requests.guard.registry.running or self._has_warned):
            self._without_lifespan()
        return requests.open()

    def _without_lifespan(self) -> None:
        if self._lifespan is not None and self._lifespan.complete:
            return
        self._has_warned = True
        note_loop(self._requests.guard)
        _LOG.warning(
            "memguard: a request came without a lifespan start-up (does the server run"
            " with --lifespan off?); nothing will shut the guard down in order, unless"
            " a server's hook or your code does"
        )

    def _asks_health(self, connection: Connection) -> bool:
        if connection["method"] not in ("GET", "HEAD"):
            return False
        # Some servers put the prefix the application is mounted at into the path.
        path: str = connection["path"]
        health = self._requests.health_path
        return path == health or path == f"{connection.get('root_path', '')}{health}"

    async def _health(self, connection: Connection, send: Send) -> None:
        status, body = self._requests.health()
        headers = [
            (b"content-type", b"application/health+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        shown = b"" if connection["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": shown})


def _count(scope: RequestScope, connection: Connection) -> None:
    template = getattr(connection.get("route"), "path", None)
    if template is None:
        # Older versions of Starlette tell the function and not the route.
        template = getattr(connection.get("endpoint"), "__qualname__", None)
    scope.count_as(request_name(connection["method"], template))
