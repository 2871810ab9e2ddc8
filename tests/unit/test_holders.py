"""
What belongs to the host: found by walking from servers, doors and loops to what they
hold, and not one step into the application.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import io
import os
import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from memguard import Guard
from memguard._lifecycle.attribution import HOST
from memguard._lifecycle.handles import Heap, kept_by_loop
from memguard._lifecycle.holders import Reader, reach
from memguard._lifecycle.ownership import Owned, descriptors_of_hosts
from memguard._lifecycle.report import AuditReport


class Server:
    """
    An object of a server: it says so by its module.
    """

    __module__ = "uvicorn.server"

    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)


class Application:
    """
    What the server calls.
    """

    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)


@pytest.fixture
def guard() -> Iterator[Guard]:
    """
    One that runs, and whose leaks nobody waits for.
    """
    one = Guard(shutdown_timeout="150ms").start()
    yield one
    one.shutdown()


def verdicts(report: AuditReport, kind: str) -> list[str]:
    """
    What was said of each finding of one kind.
    """
    return sorted(one.verdict for one in report.findings if one.kind == kind)


def test_what_a_server_holds_is_the_hosts(guard: Guard) -> None:
    """
    Below lists, dictionaries and objects of the standard library.
    """
    with socket.socket() as listening, socket.socket() as accepted:
        server = Server(servers=[listening], state={"connections": {id(0): accepted}})
        assert [HOST, HOST] == verdicts(guard.audit(), "socket")
        assert guard.audit().clean
        assert server


def test_what_its_application_holds_is_not(guard: Guard) -> None:
    """
    The walk ends where the application begins: at its classes and functions.
    """
    with socket.socket() as first, socket.socket() as second:
        app = Application(client=first)
        call = functools.partial(lambda client: client, second)
        server = Server(app=app, call=call.func, scope={"app": app})
        assert ["leaked", "leaked"] == verdicts(guard.audit(), "socket")
        assert server is not call


def test_connections_at_doors_that_were_open_before(tmp_path: Path) -> None:
    """
    Were accepted by the host, wherever they are held; the other end was not.
    """
    with socket.create_server(("127.0.0.1", 0)) as door:
        guard = Guard(shutdown_timeout="150ms").start()
        with socket.create_connection(door.getsockname()) as client:
            accepted, _ = door.accept()
            with accepted:
                report = guard.audit()
                assert [HOST, "leaked"] == verdicts(report, "socket")
                (leaked,) = (one for one in report.findings if one.verdict != HOST)
                assert f"socket {client.fileno()}" == leaked.name
        guard.shutdown()


def test_a_door_may_be_closed_by_the_time_of_the_audit() -> None:
    """
    A server closes it first and lets connections go on for a while.
    """
    door = socket.create_server(("127.0.0.1", 0))
    guard = Guard().start()
    with socket.create_connection(door.getsockname()) as client:
        accepted, _ = door.accept()
        with accepted:
            door.close()
            guard.register(client)
            report = guard.shutdown()

    assert report.clean, report.audit
    assert [HOST] == verdicts(report.audit, "socket")


def test_threads_of_an_executor_that_a_server_holds(guard: Guard) -> None:
    """
    In an object or in a class; the application's own is a leak.
    """
    pools = [ThreadPoolExecutor(1) for _ in range(3)]
    for pool in pools:
        pool.submit(int).result(5)
    server = Server(pool=pools[0])

    class Shared:
        __module__ = "asgiref.sync"
        executor = pools[1]

    assert [HOST, HOST, "leaked"] == verdicts(guard.audit(), "thread")
    for pool in pools:
        pool.shutdown()
    assert server is not Shared


def test_threads_of_a_server_that_runs_code_of_the_standard_library(
    guard: Guard,
) -> None:
    """
    As werkzeug's requests do, in threads of socketserver.
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)

    class Threading(socketserver.ThreadingTCPServer):
        __module__ = "werkzeug.serving"
        daemon_threads = True

    def one_request(server: socketserver.BaseServer, address: Any) -> AuditReport:
        with socket.create_connection(address) as client:
            guard.register(client)
            server.handle_request()
            report = guard.audit()
            guard.release(client)
            return report

    own, plain = (Threading, HOST), (socketserver.ThreadingTCPServer, "leaked")
    for kind, verdict in (own, plain):
        with kind(("127.0.0.1", 0), Handler) as server:
            report = one_request(server, server.server_address)
            assert [verdict] == verdicts(report, "thread"), report
        for thread in threading.enumerate():
            if thread.name.startswith("Thread-"):
                thread.join(5)


def test_what_a_running_loop_keeps_is_the_hosts(guard: Guard) -> None:
    """
    Also when the audit comes from a thread that knows of no loop.
    """

    async def main() -> AuditReport:
        return await asyncio.to_thread(guard.audit)

    report = asyncio.run(main())
    assert report.clean, report
    assert [HOST, HOST] == verdicts(report, "socket")


def test_descriptors_are_read_past_the_methods_of_subclasses(tmp_path: Path) -> None:
    """
    No code of an application runs.
    """

    class Loud(socket.socket):
        def fileno(self) -> int:
            raise AssertionError

    class Strange(io.FileIO):
        def fileno(self) -> int:
            raise AssertionError

    reader = Reader()
    loud = Loud()
    strange = Strange(tmp_path / "x", "w")
    selector = selectors.DefaultSelector()
    try:
        with open(tmp_path / "y", "w") as text:
            assert () == reader.descriptors(text)
            assert (text.fileno(),) == reader.descriptors(text.buffer.raw)
        assert () == reader.descriptors(text.buffer.raw)
        assert (socket.socket.__mro__[1].fileno(loud),) == reader.descriptors(loud)
        assert (io.FileIO.fileno(strange),) == reader.descriptors(strange)
        assert (selector.fileno(),) == reader.descriptors(selector)
        assert () == reader.descriptors(object())
        assert reader.process(loud) is None
    finally:
        io.FileIO.close(strange)
        selector.close()
        socket.socket.close(loud)
    assert () == reader.descriptors(loud) == reader.descriptors(selector)


def test_a_walk_is_bounded_and_ends_in_cycles() -> None:
    """
    Each object once, and nothing of a large container.
    """
    ring: list[Any] = [1]
    ring.append(ring)
    large = list(range(10**5))
    found = list(reach([ring, large], lambda _: True))

    assert 1 == sum(one is ring for one in found)
    assert 1 == sum(one is large for one in found)
    assert len(found) < 100


def test_the_heap_is_not_walked_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A clean audit looks at no object.
    """
    monkeypatch.setattr(gc, "get_objects", None)

    assert {} == Heap(set()).holders
    with Guard() as guard:
        assert guard.audit().clean
    assert guard.shutdown().clean


def test_parts_of_a_loop() -> None:
    """
    Its selector and both ends of what wakes it up.
    """
    loop = asyncio.new_event_loop()
    kept = kept_by_loop(loop, Reader())
    loop.close()

    assert 3 == len(kept)
    assert set() == kept_by_loop(loop, Reader())


def test_owned_things_by_every_way(tmp_path: Path) -> None:
    """
    Held by a node, by what it holds, and as a number.
    """
    first, second = socket.socket(), socket.socket()
    number = os.open(tmp_path / "x", os.O_CREAT)
    with Guard() as guard:
        guard.register(first)
        holder = guard.register(Application(parts={"deep": [second]}), close=id)
        guard.register(number, keep=True, close=os.close)
        owned = Owned.by(guard, [str(tmp_path / "x")])
        assert {first.fileno(), second.fileno(), number} <= owned.fds
        assert set() == owned.paths
        holder.paths = [tmp_path / "x"]
        assert {str(tmp_path / "x")} == Owned.by(guard, [str(tmp_path / "x")]).paths
    second.close()


def test_small_numbers_of_nodes_are_no_descriptors() -> None:
    """
    A counter or a state inside the tree owns nothing.
    """
    with Guard() as guard:
        guard.timer(int, every="1h")
        guard.emitter("bus").on("event", print)
        guard.ring("lines").append(7)
        left = os.dup(0)
        try:
            assert not guard.audit().clean
        finally:
            os.close(left)


def test_hosts_are_only_followed_through_their_own_kind() -> None:
    """
    Standard library and servers; an application's container is a wall.
    """

    class Bag(dict[str, Any]):
        pass

    with socket.socket() as sock:
        reader = Reader()
        inside = Server(servers=(sock,))
        outside = Server(servers=Bag(one=sock))
        assert {sock.fileno()} == descriptors_of_hosts([inside], reader)
        assert set() == descriptors_of_hosts([outside], reader)
