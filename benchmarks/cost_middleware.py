"""
Extra CPU per request of the WSGI and the ASGI middleware.

Process time, direct calls of the application, ABBA order, so that drift of the machine
falls on both arms; the upper bound of the 95 % interval of the mean difference counts.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from memguard import Guard
from memguard.integrations.asgi import MemguardMiddleware
from memguard.integrations.wsgi import Middleware

PAIRS = 40
CALLS = 4_000
BAR_US = 10.0


def wsgi_arms(guard: Guard) -> tuple[Callable[[], None], Callable[[], None]]:
    """
    A bare WSGI application, and the same one wrapped.
    """

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    wrapped = Middleware(app, guard=guard)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.file_wrapper": None}

    def start_response(status: str, headers: list[tuple[str, str]]) -> None: ...

    def arm(target: Any) -> Callable[[], None]:
        def run() -> None:
            for _ in range(CALLS):
                body = target(dict(environ), start_response)
                for _part in body:
                    pass
                close = getattr(body, "close", None)
                if close is not None:
                    close()

        return run

    return arm(app), arm(wrapped)


def asgi_arms(guard: Guard) -> tuple[Callable[[], None], Callable[[], None]]:
    """
    A bare ASGI application, and the same one wrapped.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    wrapped = MemguardMiddleware(app, guard=guard)
    connection = {"type": "http", "method": "GET", "path": "/"}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None: ...

    async def many(target: Any) -> None:
        for _ in range(CALLS):
            await target(dict(connection), receive, send)

    loop = asyncio.new_event_loop()

    def arm(target: Any) -> Callable[[], None]:
        return lambda: loop.run_until_complete(many(target))

    return arm(app), arm(wrapped)


def cpu_us(run: Callable[[], None]) -> float:
    """
    Microseconds of CPU for one call.
    """
    began = time.process_time()
    run()
    return (time.process_time() - began) / CALLS * 1e6


def differences(bare: Callable[[], None], wrapped: Callable[[], None]) -> list[float]:
    """
    One difference a pair, in microseconds a request.
    """
    bare(), wrapped()
    found = []
    for pair in range(PAIRS):
        if pair % 2:
            with_us, without = cpu_us(wrapped), cpu_us(bare)
        else:
            without, with_us = cpu_us(bare), cpu_us(wrapped)
        found.append(with_us - without)
    return found


def main() -> int:
    worst = 0.0
    with Guard() as guard:
        for name, make in (("WSGI", wsgi_arms), ("ASGI", asgi_arms)):
            found = differences(*make(guard))
            mean = statistics.fmean(found)
            error = statistics.stdev(found) / math.sqrt(len(found))
            upper = mean + 1.96 * error
            worst = max(worst, upper)
            print(
                f"{name} middleware: {mean:.2f} µs CPU a request, 95 % upper bound"
                f" {upper:.2f} µs ({PAIRS} pairs of {CALLS} calls; bar {BAR_US:g} µs)"
            )
    return 0 if worst <= BAR_US else 1


if __name__ == "__main__":
    sys.exit(main())
