"""
One registry of everything that has to be closed, checked against the system.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import blinker
import pytest

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


def test_what_other_libraries_made_is_in_it_as_well() -> None:
    """
    Adopted: with its owner, its place, its bytes and its end, like what memguard made.
    """

    @functools.lru_cache(maxsize=100)
    def price(article: str) -> str:
        return article * 100

    class Shop:
        def __init__(self) -> None:
            self.orders = {number: str(number) for number in range(1000)}

    shop = Shop()
    signal = blinker.Signal()
    signal.connect(print, weak=False)
    executor = ThreadPoolExecutor(1)
    assert 1 == executor.submit(int, "1").result()
    guard = memguard.Guard("shop", clock=FakeClock()).start()
    price("tea")
    for thing in (price, signal, executor):
        guard.adopt(thing)
    guard.adopt(shop, "orders")
    nodes = {node.kind: node for node in guard.snapshot().nodes}
    assert {"cache", "container", "executor", "signal"} == set(nodes)
    for node in nodes.values():
        assert node.path.startswith("shop/")
        assert "test_b6.py:" in node.site
    assert 1000 < (nodes["container"].bytes_held or 0)
    assert guard.audit().clean
    report = guard.shutdown()
    assert report.clean, str(report)
    assert 4 == len(report.resources)
    assert (0, False) == (price.cache_info().currsize, bool(signal.receivers))
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(int)


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
