"""
Adopted sessions of aiohttp: counted, capped request by request, closed on their loop.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from memguard import Guard
from memguard.errors import MemguardResourceWarning

if TYPE_CHECKING:
    from tests._http import HttpServer

WITHIN = 5.0


async def fetch(session: aiohttp.ClientSession, url: str) -> int:
    """
    One request; the status of its answer.
    """
    async with session.get(url) as answer:
        await answer.read()
        return answer.status


def test_connections_move_with_use(http_server: HttpServer) -> None:
    """
    In use while a request is on its way, idle after it, gone with the session.
    """

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            handle = Guard().adopt(session)
            info = handle.info()
            assert ("client", 0, 100) == (info.kind, info.entries, info.limit)
            assert 200 == await fetch(session, http_server.url)
            assert (1, 1) == (handle.info().entries, handle.info().details["idle"])
            held = [
                asyncio.create_task(fetch(session, f"{http_server.url}/hold"))
                for _ in range(2)
            ]
            await asyncio.to_thread(http_server.wait_for, held=2)
            info = handle.info()
            assert 2 == info.entries == http_server.open
            assert (2, 0, 0) == tuple(
                info.details[name] for name in ("in_use", "idle", "waiting")
            )
            http_server.release()
            await asyncio.gather(*held)
            assert 2 == handle.info().details["idle"]
        assert (0, False) == (handle.info().entries, handle.is_open())

    asyncio.run(main())
    http_server.wait_for(open=0)


@pytest.mark.parametrize("whole", [True, False], ids=["session", "connector"])
def test_a_cap_is_kept_request_by_request(whole: bool, http_server: HttpServer) -> None:
    """
    The server never sees more connections; the other requests wait their turn.
    """

    async def main() -> None:
        async with Guard() as guard:
            session = aiohttp.ClientSession()
            connector = session.connector
            assert connector is not None
            before = set(vars(connector))
            handle = guard.adopt(session if whole else connector, max_connections=2)
            assert before == set(vars(connector)), "nothing was wrapped"
            held = [
                asyncio.create_task(fetch(session, f"{http_server.url}/hold"))
                for _ in range(5)
            ]
            await asyncio.to_thread(http_server.wait_for, held=2)
            info = handle.info()
            assert (2, 2, 3) == (info.entries, info.limit, info.details["waiting"])
            http_server.release()
            assert {200} == set(await asyncio.gather(*held))
            assert 2 == http_server.most
            handle.resize(max_connections=None, max_connections_per_host=1)
            info = handle.info()
            assert (None, 1) == (info.limit, info.details["max_per_host"])
            risk = handle.risk()
            assert risk is not None
            assert "connections" == risk.what
            report = await guard.ashutdown()
            assert report.clean, report
            assert connector.closed
            await session.close()

    asyncio.run(main())
    http_server.wait_for(open=0)


def test_those_that_wait_go_on_when_the_cap_is_raised(http_server: HttpServer) -> None:
    """
    All of them, and not one for each that ends.
    """

    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            handle = Guard().adopt(session, max_connections=1)
            held = [
                asyncio.create_task(fetch(session, f"{http_server.url}/hold"))
                for _ in range(4)
            ]
            await asyncio.to_thread(http_server.wait_for, held=1)
            handle.resize(max_connections=3)
            await asyncio.to_thread(http_server.wait_for, held=3)
            assert (3, 1) == (handle.info().entries, handle.info().details["waiting"])
            http_server.release()
            await asyncio.gather(*held)
            assert 3 == http_server.most

    asyncio.run(main())


def test_it_is_closed_on_its_own_loop(http_server: HttpServer) -> None:
    """
    Adopted and shut down in a thread where no loop runs.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def make() -> aiohttp.ClientSession:
        session = aiohttp.ClientSession()
        await fetch(session, http_server.url)
        return session

    try:
        with Guard() as guard:
            session: Any = asyncio.run_coroutine_threadsafe(make(), loop).result(WITHIN)
            handle = guard.adopt(session)
            assert handle.loop is not None
            assert loop is handle.loop()
            report = guard.shutdown()
        assert report.clean, report
        assert session.closed
        http_server.wait_for(open=0)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WITHIN)
        loop.close()


def test_one_whose_loop_is_closed_is_named() -> None:
    """
    Nothing can be awaited any more; the report says so.
    """
    made: list[aiohttp.ClientSession] = []

    async def make() -> None:
        made.append(aiohttp.ClientSession())

    guard = Guard(shutdown_timeout=1.0)
    guard.start()
    asyncio.run(make())
    guard.adopt(made[0], "api")
    report = guard.shutdown()
    assert "event loop is closed" in str(report)
    asyncio.run(made[0].close())


def test_a_closed_one_takes_no_cap() -> None:
    """
    Before anything is changed.
    """

    async def main() -> None:
        session = aiohttp.ClientSession()
        handle = Guard().adopt(session)
        await session.close()
        with pytest.raises(ValueError, match="closed"):
            handle.resize(max_connections=1)
        assert handle.risk() is None

    asyncio.run(main())


def test_one_that_is_collected_unclosed_is_told() -> None:
    """
    As the library tells it, and with the place of its adoption.
    """
    guard = Guard()

    async def main() -> None:
        session = aiohttp.ClientSession()
        guard.adopt(session)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del session

    asyncio.run(main())
    with pytest.warns(MemguardResourceWarning, match="test_adopt_aiohttp"):
        assert 0 == guard.snapshot().count("client")
