"""
One registry of everything that has to be closed, checked against the system.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from pathlib import Path

import memguard
from memguard.testing import FakeClock


def sleeping_child() -> subprocess.Popen[bytes]:
    """
    A child that would outlive the test.
    """
    return subprocess.Popen(["sleep", "60"])


def test_every_kind_is_listed_with_owner_and_place(tmp_path: Path) -> None:
    """
    Timers, tasks, emitters, sessions, caches, files, sockets, threads, children.
    """
    done = threading.Event()
    thread = threading.Thread(target=done.wait)

    async def main() -> None:
        async with memguard.Guard("shop") as guard:
            guard.emitter("bus")
            guard.cache("users")
            async with guard.scope("job") as scope, guard.sessions("carts").open("ann"):
                scope.timer(print, every="1h")
                scope.spawn(asyncio.sleep(3600))
                scope.register((tmp_path / "log").open("w"), keep=True)
                scope.register(socket.socket(), keep=True)
                scope.register(thread, close=lambda _: done.set()).start()
                child = scope.register(sleeping_child())
                nodes = {node.kind: node for node in guard.snapshot().nodes}
                assert guard.audit().clean
            for kind in ("timer", "task", "file", "socket", "thread", "process"):
                assert nodes[kind].path.startswith("shop/job/")
                assert "test_b6.py:" in nodes[kind].site
                assert 0 == guard.snapshot().count(kind)
            for kind in ("emitter", "sessions", "session", "cache"):
                assert nodes[kind].path.startswith("shop/")
            report = await guard.ashutdown()
            assert report.clean, str(report)
            assert child.returncode is not None
            assert not thread.is_alive()

    asyncio.run(main())


def test_what_is_in_no_registry_is_found_at_the_operating_system(
    tmp_path: Path,
) -> None:
    """
    A file, a socket, a thread and a child that nobody registered are named.
    """
    guard = memguard.Guard(clock=FakeClock()).start()
    done = threading.Event()
    file = (tmp_path / "stray").open("w")
    sock = socket.socket()
    thread = threading.Thread(target=done.wait)
    thread.start()
    child = sleeping_child()
    try:
        report = guard.shutdown("50ms")
    finally:
        done.set()
        thread.join()
        child.kill()
        child.wait()
        file.close()
        sock.close()
    found = {one.kind for one in report.audit.findings if one.verdict == "leaked"}
    assert {"fd", "socket", "thread", "process"} == found
    assert not report.clean
