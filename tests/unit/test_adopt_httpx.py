"""
Adopted httpx clients: counted, capped request by request, closed on their loop.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from memguard import Guard
from memguard.errors import MemguardResourceWarning

if TYPE_CHECKING:
    from tests._http import HttpServer

WITHIN = 5.0


class Api(httpx.Client):
    """
    A subclass of an application's.
    """


class AsyncApi(httpx.AsyncClient):
    """
    Its asynchronous twin.
    """


@pytest.mark.parametrize("kind", [httpx.Client, Api])
def test_connections_move_with_use(
    kind: type[httpx.Client], http_server: HttpServer
) -> None:
    """
    In use while a request is on its way, idle after it, gone with the client.
    """
    with kind(limits=httpx.Limits(max_connections=7)) as client:
        handle = Guard().adopt(client)
        assert ("client", 0, 7) == (
            handle.kind,
            handle.info().entries,
            handle.info().limit,
        )
        client.get(http_server.url)
        assert (1, 1) == (handle.info().entries, handle.info().details["idle"])
        with ThreadPoolExecutor(2) as threads:
            held = [
                threads.submit(client.get, f"{http_server.url}/hold") for _ in range(2)
            ]
            http_server.wait_for(held=2)
            info = handle.info()
            assert 2 == info.entries == http_server.open
            assert (2, 0, 0) == tuple(
                info.details[name] for name in ("in_use", "idle", "waiting")
            )
            http_server.release()
            assert {200} == {one.result(WITHIN).status_code for one in held}
        assert 2 == handle.info().details["idle"]
    assert (0, False) == (handle.info().entries, handle.is_open())
    http_server.wait_for(open=0)


def test_a_client_of_threads_takes_no_cap_and_says_why() -> None:
    """
    Its pool would fail requests of other threads whenever one has to wait.
    """
    with httpx.Client() as client:
        handle = Guard().adopt(client)
        with pytest.raises(TypeError, match="httpcore issue 1110"):
            handle.resize(max_connections=2)
        assert 100 == handle.info().limit
        assert "memguard.limiter" in handle.info().cannot


def test_one_without_a_bound_is_a_risk() -> None:
    """
    It opens as many connections as there are requests.
    """
    with httpx.Client(limits=httpx.Limits()) as client:
        handle = Guard().adopt(client)
        assert handle.info().limit is None
        risk = handle.risk()
        assert risk is not None
        assert "httpx.Limits" in risk.fix


def test_caps_are_kept_tightened_and_lifted(http_server: HttpServer) -> None:
    """
    The server never sees more connections; what is idle beyond a lower cap goes.
    """

    async def main() -> None:
        async with httpx.AsyncClient(timeout=WITHIN) as client:
            before = set(vars(client)), set(vars(client._transport))
            handle = Guard().adopt(client, max_connections=3)
            assert before == (set(vars(client)), set(vars(client._transport)))
            assert "max_connections=3" in handle.info().cap
            held = [
                asyncio.create_task(client.get(f"{http_server.url}/hold"))
                for _ in range(5)
            ]
            await asyncio.to_thread(http_server.wait_for, held=3)
            info = handle.info()
            assert (3, 3, 2) == (info.entries, info.limit, info.details["waiting"])
            http_server.release()
            await asyncio.gather(*held)
            assert 3 == handle.info().entries == http_server.most
            handle.resize(max_connections=1)
            assert (1, 1) == (handle.info().limit, handle.info().details["max_idle"])
            await client.get(http_server.url)
            assert 1 == handle.info().entries
            await asyncio.to_thread(http_server.wait_for, open=1)
            handle.resize(max_connections=None)
            info = handle.info()
            assert (None, 20) == (info.limit, info.details["max_idle"])
            handle.resize(max_keepalive_connections=5)
            assert 5 == handle.info().details["max_idle"]
            assert handle.risk() is not None

    asyncio.run(main())


def test_no_request_fails_because_it_had_to_wait(http_server: HttpServer) -> None:
    """
    Many more at a time than the cap allows: each has its answer.
    """

    async def main() -> None:
        async with httpx.AsyncClient(timeout=WITHIN) as client:
            Guard().adopt(client, max_connections=2)
            for _ in range(5):
                answers = await asyncio.gather(
                    *(client.get(http_server.url) for _ in range(30))
                )
                assert {200} == {one.status_code for one in answers}
        assert 2 >= http_server.most

    asyncio.run(main())


def test_a_shutdown_closes_it_after_the_work(http_server: HttpServer) -> None:
    """
    Clean, and the server sees the connections go.
    """
    with Guard() as guard:
        client = httpx.Client()
        guard.adopt(client)
        client.get(http_server.url)
        report = guard.shutdown()
    assert report.clean, report
    assert client.is_closed
    http_server.wait_for(open=0)


@pytest.mark.parametrize("kind", [httpx.AsyncClient, AsyncApi])
def test_an_asynchronous_one_is_counted_capped_and_closed(
    kind: type[httpx.AsyncClient], http_server: HttpServer
) -> None:
    """
    In its loop, in the same words.
    """

    async def main() -> None:
        async with Guard() as guard:
            client = kind(timeout=WITHIN)
            handle = guard.adopt(client, max_connections=2)
            held = [
                asyncio.create_task(client.get(f"{http_server.url}/hold"))
                for _ in range(5)
            ]
            await asyncio.to_thread(http_server.wait_for, held=2)
            info = handle.info()
            assert (2, 2, 3) == (info.entries, info.limit, info.details["waiting"])
            http_server.release()
            await asyncio.gather(*held)
            assert 2 == http_server.most
            report = await guard.ashutdown()
            assert report.clean, report
            assert client.is_closed

    asyncio.run(main())
    http_server.wait_for(open=0)


def test_it_is_closed_on_the_loop_of_its_connections(
    http_server: HttpServer,
) -> None:
    """
    Made at module level, adopted where no loop runs, used in another thread's loop.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with Guard() as guard:
            client = httpx.AsyncClient(timeout=WITHIN)
            handle = guard.adopt(client)
            assert handle.loop is None
            asyncio.run_coroutine_threadsafe(client.get(http_server.url), loop).result(
                WITHIN
            )
            assert handle.loop is not None
            assert loop is handle.loop()
            report = guard.shutdown()
        assert report.clean, report
        http_server.wait_for(open=0)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WITHIN)
        loop.close()


def test_a_client_without_a_pool_says_so() -> None:
    """
    Of a mock transport there is nothing to count, and nothing to cap.
    """
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    with httpx.Client(transport=transport) as client:
        handle = Guard().adopt(client)
        assert 0 == handle.info().entries
        assert handle.risk() is None

    async def main() -> None:
        async with httpx.AsyncClient(transport=transport) as client:
            handle = Guard().adopt(client)
            assert "no connection pool" in handle.info().cannot
            with pytest.raises(TypeError, match="no connection pool"):
                handle.resize(max_connections=1)

    asyncio.run(main())


def test_proxies_have_pools_of_their_own() -> None:
    """
    They are counted together.
    """

    async def main() -> None:
        transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=3))
        async with httpx.AsyncClient(
            mounts={"http://": transport}, limits=httpx.Limits(max_connections=4)
        ) as client:
            handle = Guard().adopt(client)
            assert 7 == handle.info().limit
            handle.resize(max_connections=2)
            assert 4 == handle.info().limit

    asyncio.run(main())


@pytest.mark.parametrize("bad", [0, -1, 1.5, "3", True])
def test_a_bad_cap_is_refused(bad: object) -> None:
    """
    Before anything is changed.
    """

    async def main() -> None:
        async with httpx.AsyncClient() as client:
            handle = Guard().adopt(client)
            with pytest.raises(ValueError, match="max_connections"):
                handle.resize(max_connections=bad)
            assert 100 == handle.info().limit

    asyncio.run(main())


def test_one_that_is_collected_unclosed_is_told() -> None:
    """
    The library says nothing; its sockets would.
    """
    guard = Guard()
    client = httpx.Client()
    guard.adopt(client)
    del client
    with pytest.warns(MemguardResourceWarning, match="test_adopt_httpx"):
        assert 0 == guard.snapshot().count("client")
