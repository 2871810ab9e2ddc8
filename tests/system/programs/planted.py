"""
One leak of each kind, planted by application code after the baseline.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading

import memguard

#: What a real leak is: something global that nobody takes down again.
LEFT: list[object] = []
BUS = memguard.Guard("elsewhere").emitter("bus")


class Request:
    """
    An object that should have died with its request.
    """


def plant(guard: memguard.Guard) -> None:
    """
    Leave one of each kind behind; tasks and loop timers only where a loop runs.
    """
    LEFT.append(os.open(os.devnull, os.O_RDONLY))
    LEFT.append(socket.socket())
    thread = threading.Thread(target=threading.Event().wait, args=(60,), daemon=True)
    thread.start()
    timer = threading.Timer(60, print)
    timer.daemon = True
    timer.start()
    LEFT.extend((thread, timer))
    LEFT.append(
        subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(20)"],
            # Not the pipe of the test, which would wait for this child.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    )
    LEFT.append(tempfile.mkstemp()[1])
    BUS.on("event", LEFT.append)
    request = Request()
    LEFT.append(request)
    guard.watch(request, "its request is over")
    if "asyncio" in sys.modules and asyncio._get_running_loop() is not None:
        LEFT.append(asyncio.ensure_future(forever()))


async def forever() -> None:
    await asyncio.Event().wait()


async def application(scope, receive, send):  # type: ignore[no-untyped-def]
    """
    ASGI, with no lifespan of its own.
    """
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/plant":
        plant(memguard.current())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"planted"})


def wsgi(environ, start_response):  # type: ignore[no-untyped-def]
    if environ["PATH_INFO"] == "/plant":
        plant(memguard.current())
    start_response("200 OK", [("Content-Length", "7")])
    return [b"planted"]


def make_asgi():  # type: ignore[no-untyped-def]
    from memguard.integrations.asgi import MemguardMiddleware

    return MemguardMiddleware(application)


def make_wsgi():  # type: ignore[no-untyped-def]
    from memguard.integrations.wsgi import Middleware

    return Middleware(wsgi)


def script(planted: bool) -> None:
    with memguard.install() as guard:
        if planted:
            plant(guard)
        print("ready", flush=True)
        while not guard.control.asked.wait(0.1):
            pass


async def loop(planted: bool) -> None:
    async with memguard.install() as guard:
        if planted:
            plant(guard)
        print("ready", flush=True)
        await guard.stopped()


if __name__ == "__main__":
    kind, planted = sys.argv[1], sys.argv[2] == "plant"
    if kind == "script":
        script(planted)
    else:
        asyncio.run(loop(planted))
