"""
Adopted things of asyncio: told, and closed on the loop that they belong to.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from memguard import Guard
from memguard.errors import WouldBlockLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN = 5.0


async def for_ever() -> None:
    """
    A coroutine that ends when it is cancelled.
    """
    await asyncio.Event().wait()


class LoopThread:
    """
    An event loop in a thread of its own.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.loop.run_forever()

    def call(self, coro: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coro, self.loop).result(WITHIN)


@pytest.fixture
def elsewhere() -> Iterator[LoopThread]:
    """
    A loop that runs in another thread.
    """
    made = LoopThread()
    made.thread.start()
    yield made
    made.loop.call_soon_threadsafe(made.loop.stop)
    made.thread.join(WITHIN)
    made.loop.close()


# -- tasks and futures -----------------------------------------------------------------


def test_a_task_is_cancelled_and_its_end_awaited() -> None:
    """
    Also one that has something to clean up.
    """
    cleaned = []

    async def worker() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)

    async def main() -> None:
        async with Guard() as guard:
            task = asyncio.create_task(worker())
            await asyncio.sleep(0)
            handle = guard.adopt(task)
            assert ("task", "pending") == (
                handle.kind,
                handle.info().details["state"],
            )
            assert handle.label.endswith("worker")
            report = await guard.ashutdown()
            assert report.clean, report
            assert task.cancelled()

    asyncio.run(main())
    assert [True] == cleaned


def test_a_task_that_ends_by_itself_is_told_so() -> None:
    """
    And a future that has a result.
    """

    async def main() -> None:
        guard = Guard()
        task = asyncio.create_task(asyncio.sleep(0))
        future = asyncio.get_running_loop().create_future()
        handles = [guard.adopt(task), guard.adopt(future)]
        assert [1, 1] == [one.info().entries for one in handles]
        await task
        future.set_result(None)
        assert ["done", "done"] == [one.info().details["state"] for one in handles]
        assert not any(one.is_open() for one in handles)

    asyncio.run(main())


def test_the_task_that_asks_for_the_shutdown_is_not_cancelled() -> None:
    """
    Nor is one that waits for its end.
    """
    went_on = []

    async def asks(guard: Guard) -> None:
        guard.adopt(asyncio.current_task())
        await guard.ashutdown()
        await asyncio.sleep(0)
        went_on.append("asked")

    async def waits(guard: Guard) -> None:
        guard.adopt(asyncio.current_task())
        await guard.stopped()
        went_on.append("waited")

    async def main() -> None:
        guard = Guard()
        guard.start()
        waiting = asyncio.create_task(waits(guard))
        await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.create_task(asks(guard)), WITHIN)
        await asyncio.wait_for(waiting, WITHIN)

    asyncio.run(main())
    assert {"asked", "waited"} == set(went_on)


def test_a_task_of_another_thread_is_closed_over_there(elsewhere: LoopThread) -> None:
    """
    Adopted here, where no loop runs: its own loop is the one that counts.
    """

    async def make() -> asyncio.Task[None]:
        return asyncio.create_task(for_ever())

    with Guard() as guard:
        task = elsewhere.call(make())
        guard.adopt(task)
        report = guard.shutdown()
    assert report.clean, report
    assert task.cancelled()


def test_a_close_by_hand_never_blocks_the_loop() -> None:
    """
    In the loop `aclose` is the verb.
    """

    async def main() -> None:
        guard = Guard()
        task = asyncio.create_task(for_ever())
        handle = guard.adopt(task)
        with pytest.raises(WouldBlockLoop, match="aclose"):
            handle.close()
        await handle.aclose()
        assert task.cancelled()

    asyncio.run(main())


def test_one_that_is_gone_vanishes() -> None:
    """
    A task that has ended and is let go of is no fault.
    """

    async def main() -> None:
        guard = Guard()
        task = asyncio.create_task(asyncio.sleep(0))
        guard.adopt(task)
        await task
        gone = weakref.ref(task)
        del task
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None
        assert 0 == guard.snapshot().count("task")

    asyncio.run(main())


# -- timers ----------------------------------------------------------------------------


def test_a_handle_tells_when_it_is_due_and_is_cancelled() -> None:
    """
    Of call_later; one that was called is over.
    """

    async def main() -> None:
        called = asyncio.Event()
        async with Guard() as guard:
            loop = asyncio.get_running_loop()
            later = loop.call_later(60, int)
            soon = loop.call_later(0, called.set)
            handles = [guard.adopt(later), guard.adopt(soon)]
            assert "timer" == handles[0].kind
            assert 50.0 < handles[0].info().details["due_in_s"] <= 60.0
            await called.wait()
            assert "called" == handles[1].info().details["state"]
            report = await guard.ashutdown()
            assert report.clean, report
            assert later.cancelled()

    asyncio.run(main())


def test_what_call_soon_gave_is_a_handle_as_well() -> None:
    """
    It has no time.
    """

    async def main() -> None:
        soon = asyncio.get_running_loop().call_soon(int)
        handle = Guard().adopt(soon)
        assert ("waiting", None) == (
            handle.info().details["state"],
            handle.info().details["due_in_s"],
        )
        handle.close()
        assert soon.cancelled()
        assert not handle.is_open()

    asyncio.run(main())


# -- servers and connections -----------------------------------------------------------


def test_a_server_takes_nobody_in_and_its_connections_end_later() -> None:
    """
    Server first, connections with the clients; both are counted.
    """

    async def main() -> None:
        served: list[asyncio.StreamWriter] = []
        came = asyncio.Event()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served.append(writer)
            came.set()

        async with Guard() as guard:
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            handle = guard.adopt(server)
            assert ("server", 1) == (handle.kind, handle.info().details["sockets"])
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            await came.wait()
            assert 1 == handle.info().entries
            guard.adopt(writer)
            line = guard.adopt(served[0])
            served[0].write(b"answer")
            info = line.info()
            assert ("connection", 1) == (info.kind, info.entries)
            assert info.bytes is not None
            assert info.byte_limit is not None
            assert "drain" in info.cannot
            del info
            report = await guard.ashutdown()
            assert report.clean, report
            kinds = [row.kind for row in report.resources]
            assert ["server", "connection", "connection"] == kinds
            assert writer.is_closing()

    asyncio.run(main())


def test_a_connection_that_nobody_reads_is_aborted() -> None:
    """
    What cannot be sent is not waited for longer than the time of a close.
    """
    serving: list[Any] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        serving.extend((asyncio.current_task(), writer))
        await for_ever()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        guard = Guard(shutdown_timeout=2.0)
        guard.start()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        guard.adopt(writer, "line")
        writer.write(bytes(64 * 1024 * 1024))
        report = await guard.ashutdown()
        outcomes = {row.name: str(row.outcome) for row in report.resources}
        assert "forced" == outcomes["line"]
        server.close()
        serving[0].cancel()
        serving[1].close()
        await asyncio.wait([serving[0]])

    asyncio.run(main())


# -- child processes -------------------------------------------------------------------


@pytest.mark.parametrize("raw", [False, True], ids=["process", "transport"])
def test_a_child_is_asked_to_end_and_reaped(raw: bool) -> None:
    """
    What asyncio's two ways to start one give.
    """
    code = "import signal; print('up', flush=True); signal.pause()"

    async def main() -> None:
        async with Guard() as guard:
            child: Any
            if raw:
                up = asyncio.Event()

                class Protocol(asyncio.SubprocessProtocol):
                    def pipe_data_received(self, fd: int, data: bytes) -> None:
                        up.set()

                child, _ = await asyncio.get_running_loop().subprocess_exec(
                    Protocol, sys.executable, "-c", code, stdin=None, stderr=None
                )
                await up.wait()
            else:
                child = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
                )
                assert b"up\n" == await child.stdout.readline()
            handle = guard.adopt(child)
            assert ("process", "running") == (
                handle.kind,
                handle.info().details["state"],
            )
            report = await guard.ashutdown()
            assert report.clean, report
            assert -15 == (child.get_returncode() if raw else child.returncode)

    asyncio.run(main())


def test_a_child_that_does_not_listen_is_killed() -> None:
    """
    Forced, within the time of a close.
    """
    code = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " print('up', flush=True); signal.pause()"
    )

    async def main() -> None:
        async with Guard(shutdown_timeout=2.0) as guard:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
            )
            assert child.stdout is not None
            assert b"up\n" == await child.stdout.readline()
            guard.adopt(child, "deaf")
            report = await guard.ashutdown()
            outcomes = {row.name: str(row.outcome) for row in report.resources}
            assert "forced" == outcomes["deaf"]
            assert -9 == await asyncio.wait_for(child.wait(), WITHIN)

    asyncio.run(main())


def test_none_of_them_takes_a_cap() -> None:
    """
    Their number is for a limiter.
    """

    async def main() -> None:
        task = asyncio.create_task(for_ever())
        with pytest.raises(TypeError, match="limiter"):
            Guard().adopt(task, max_bytes=1)
        task.cancel()

    asyncio.run(main())
