"""
uvicorn beyond SIGTERM: endless streams, no lifespan, and programs that call it.
"""

from __future__ import annotations

import signal
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from tests.system._hosts import UVICORN, Client, Host, Running, answers, free_port
from tests.system._scripts import Script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system


def test_endless_stream_does_not_cost_the_clean_up(tmp_path: Path) -> None:
    """
    Uvicorn waits for ever for a stream that never ends, and then comes SIGKILL.

    memguard shuts down when the supervisor's grace is about to run out.
    """
    host = Host("endless", UVICORN)
    running = Running(
        host,
        "memguard",
        tmp_path,
        {
            "CHUNKS": "100000",
            "MEMGUARD_GRACE": "3s",
            "MEMGUARD_SHUTDOWN_TIMEOUT": "2s",
        },
    )
    try:
        running.wait_for("answer", lambda: answers(running.port))
        Client(running.port, "/stream")
        running.wait_for_event("chunk", 2)
        sent = monotonic()
        running.signal()
        running.wait_for_event("report")
        assert 1.0 < monotonic() - sent < 3.25
        assert 1 == running.count("closed")
        assert running.process.poll() is None  # uvicorn waits for its stream
    finally:
        running.kill()


def test_second_signal_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    """
    Whoever signals again wants it now: memguard takes two seconds at most.
    """
    running = Running(
        Host("endless", UVICORN), "memguard", tmp_path, {"CHUNKS": "99999"}
    )
    try:
        running.wait_for("answer", lambda: answers(running.port))
        Client(running.port, "/stream")
        running.wait_for_event("chunk", 2)
        running.signal()
        running.wait_for_event("chunk", running.count("chunk") + 25)  # some 1.2 s
        second = monotonic()
        running.signal()
        running.wait_for_event("report")
        assert monotonic() - second < 2.25
        assert 1 == running.count("closed")
    finally:
        running.kill()


def test_without_a_lifespan_the_log_says_so_once(tmp_path: Path) -> None:
    """
    `--lifespan off`: requests are served and counted, and the missing end is named.
    """
    host = Host("off", (*UVICORN, "--lifespan", "off"))
    running = Running(host, "memguard", tmp_path, {})
    try:
        running.wait_for("answer", lambda: answers(running.port))
        for _ in range(5):
            assert answers(running.port)
        running.signal()
        assert -signal.SIGTERM == running.end()
        assert 1 == running.log.read_text().count("--lifespan off")
    finally:
        running.kill()


SERVING = """
    import os, signal, sys, threading, time
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    import memguard
    from memguard.integrations.asgi import MemguardMiddleware

    def print(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # lines stay whole

    class Thing:
        def close(self):
            print("closed")

    thing = Thing()

    async def ok(request):
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/", ok)])
    app.add_middleware(MemguardMiddleware)

    def told(event):
        if type(event).__name__ == "ShutdownFinished":
            print("clean" if event.report.clean else event.report)

    memguard.current().subscribe(told)
    port, loop = int(sys.argv[1]), sys.argv[2]
    options = {"port": port, "loop": loop, "log_level": "critical"}
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_installed_before_uvicorn_runs(loop: str) -> None:
    """
    Uvicorn replaces the handler, the lifespan puts ours on top, uvicorn restores all.

    Its end then raises the signal, which does what it does without memguard.
    """
    code = (
        SERVING
        + """
    memguard.install().register(thing)
    first = signal.getsignal(signal.SIGTERM)

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets=sockets)
            ours = signal.getsignal(signal.SIGTERM)
            print("again on top" if ours is not first else "not")
            print("ready")

    Server(uvicorn.Config(app, **options)).run()
    print("never")
    """
    )
    with Script(code, str(free_port()), loop) as script:
        script.wait_for("ready")
        script.signal()
        assert -signal.SIGTERM == script.end(), script.text
        assert ["again on top", "ready", "closed", "clean"] == script.lines


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_program_that_goes_on_after_uvicorn(loop: str) -> None:
    """
    A server that is told to stop by itself: handlers are as before, and it can restart.
    """
    code = (
        SERVING
        + """
    before = [signal.getsignal(number) for number in (2, 15)]

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            memguard.register(thing)
            await super().startup(sockets=sockets)
            self.should_exit = True

    for _ in range(3):
        Server(uvicorn.Config(app, **options)).run()
        print(before == [signal.getsignal(number) for number in (2, 15)])
        print([one.name for one in threading.enumerate() if "memguard" in one.name])
    """
    )
    with Script(code, str(free_port()), loop) as script:
        assert 0 == script.end(), script.text
        assert ["closed", "clean", "True", "[]"] * 3 == script.lines


def test_uvicorn_in_a_thread() -> None:
    """
    There it can have no handlers, and neither can we: its own stop ends the guard.
    """
    code = (
        SERVING
        + """
    server = uvicorn.Server(uvicorn.Config(app, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    memguard.register(thing)
    server.should_exit = True
    thread.join()
    """
    )
    with Script(code, str(free_port()), "asyncio") as script:
        assert 0 == script.end(), script.text
        assert ["closed", "clean"] == script.lines
