"""
The health endpoint, in WSGI and in ASGI.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import memguard
from memguard.integrations.asgi import MemguardMiddleware
from memguard.integrations.wsgi import Middleware
from memguard.testing import FakeClock, FakeProbe


def made_up() -> tuple[FakeClock, memguard.Guard]:
    """
    A guard of a process that uses 192 of 256 MiB.
    """
    clock = FakeClock()
    probe = FakeProbe(rss="192MiB", limit="256MiB")
    return clock, memguard.Guard(clock=clock, probe=probe)


def over_wsgi(guard: memguard.Guard) -> tuple[int, str, dict[str, Any]]:
    """
    The answer of the middleware; the application is never asked.
    """
    told: list[Any] = []
    application: Any = None
    app = Middleware(application, guard=guard, health="/healthz")
    environ = {"PATH_INFO": "/healthz", "REQUEST_METHOD": "GET"}
    body = b"".join(app(environ, lambda *answer: told.append(answer)))
    ((status, headers),) = told
    return int(status[:3]), dict(headers)["Content-Type"], json.loads(body)


def over_asgi(guard: memguard.Guard) -> tuple[int, str, dict[str, Any]]:
    """
    As `over_wsgi`.
    """
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    application: Any = None
    app = MemguardMiddleware(application, guard=guard, health="/healthz")
    request = {"type": "http", "method": "GET", "path": "/healthz", "headers": []}
    asyncio.run(app(request, application, send))
    headers = dict(sent[0]["headers"])
    body = json.loads(sent[1]["body"])
    return sent[0]["status"], headers[b"content-type"].decode(), body


def test_both_say_the_same() -> None:
    """
    Uptime, memory, sessions, time and level are in the answer.
    """
    clock, guard = made_up()
    guard.start()
    sessions = guard.sessions("chat")
    with sessions.open("a"), sessions.open("b"):
        clock.advance("90s")
        answers = over_wsgi(guard), over_asgi(guard)
    guard.shutdown()
    for status, kind, body in answers:
        assert (200, "application/health+json") == (status, kind)
        assert ("warn", "warning") == (body["status"], body["level"])
        assert (90.0, 2) == (body["uptime"], body["activeSessions"])
        memory = body["memory"]
        assert (192 << 20, 256 << 20, 75.0) == (
            memory["rss"],
            memory["limit"],
            memory["percent"],
        )
        assert memory["pythonBlocks"] > 0
        assert body["timestamp"].startswith("2023-11-14T22:14:50")


def test_no_more_requests_while_it_shuts_down() -> None:
    """
    From the first moment of a shutdown the answer is 503.
    """
    _, guard = made_up()
    guard.start()
    answers: list[int] = []
    guard.on_shutdown(phase="work")(lambda: answers.append(over_wsgi(guard)[0]))
    guard.shutdown()
    assert [503] == answers
