"""
Adopted clients of redis-py against a real server: counted, capped, closed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from redis.exceptions import ConnectionError as NoConnection
from tests._redis import RedisServer

from memguard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WITHIN = 5.0


class Store(redis.Redis):
    """
    A subclass of an application's.
    """


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """
    A client that has not connected yet.
    """
    made = redis.Redis(unix_socket_path=redis_server.path, socket_timeout=WITHIN)
    yield made
    made.close()


def connected(server: RedisServer) -> int:
    """
    Connections that the server has, without the one that asks.
    """
    with redis.Redis(unix_socket_path=server.path) as asking:
        return len(asking.client_list()) - 1


def held(pool: redis.ConnectionPool, count: int) -> list[Any]:
    """
    So many connections taken from the pool.
    """
    return [pool.get_connection() for _ in range(count)]


@pytest.mark.parametrize("kind", [redis.Redis, Store])
def test_connections_move_with_use(
    kind: type[redis.Redis], redis_server: RedisServer
) -> None:
    """
    In use while a command is on its way, idle after it.
    """
    client = kind(unix_socket_path=redis_server.path, max_connections=50)
    handle = Guard().adopt(client)
    assert ("client", 0) == (handle.kind, handle.info().entries)
    assert not handle.is_open()
    client.ping()
    info = handle.info()
    assert {"in_use": 0, "idle": 1, "made": 1} == info.details
    assert 50 == info.limit
    connections = held(client.connection_pool, 2)
    info = handle.info()
    assert {"in_use": 2, "idle": 0, "made": 2} == info.details
    assert 2 == info.entries == connected(redis_server)
    for connection in connections:
        client.connection_pool.release(connection)
    assert {"in_use": 0, "idle": 2, "made": 2} == handle.info().details
    assert handle.is_open()
    client.close()
    assert not handle.is_open()


@pytest.mark.parametrize("whole", [True, False], ids=["client", "pool"])
def test_a_cap_is_kept_whenever_a_connection_is_made(
    whole: bool, client: redis.Redis, redis_server: RedisServer
) -> None:
    """
    One more is refused as the pool refuses it, and nothing is wrapped.
    """
    pool = client.connection_pool
    before = set(vars(pool))
    handle = Guard().adopt(client if whole else pool, max_connections=2)
    assert before == set(vars(pool))
    assert 2 == handle.info().limit
    connections = held(pool, 2)
    with pytest.raises(NoConnection):
        pool.get_connection()
    assert 2 == connected(redis_server)
    handle.resize(max_connections=3)
    connections += held(pool, 1)
    with pytest.raises(NoConnection):
        pool.get_connection()
    handle.resize(max_connections=None)
    connections += held(pool, 1)
    assert (4, None) == (handle.info().entries, handle.info().limit)
    risk = handle.risk()
    assert risk is not None
    assert "max_connections" in risk.fix
    for connection in connections:
        pool.release(connection)


def test_connections_beyond_a_lower_cap_stay(client: redis.Redis) -> None:
    """
    They are used on; the pool makes no more of them.
    """
    pool = client.connection_pool
    for connection in held(pool, 3):
        pool.release(connection)
    handle = Guard().adopt(client, max_connections=1)
    assert (3, 1) == (handle.info().entries, handle.info().limit)
    assert client.ping()
    assert 3 == handle.info().entries


def test_a_shutdown_closes_its_pool_even_a_shared_one(
    redis_server: RedisServer,
) -> None:
    """
    Idle connections and those that somebody forgot to give back.
    """
    with Guard() as guard:
        pool = redis.ConnectionPool(
            connection_class=redis.UnixDomainSocketConnection, path=redis_server.path
        )
        client = redis.Redis(connection_pool=pool)
        guard.adopt(client)
        client.ping()
        forgotten = held(pool, 2)
        assert 2 == connected(redis_server)
        report = guard.shutdown()
    assert report.clean, report
    assert 0 == connected(redis_server)
    del forgotten


def test_a_pool_that_blocks_has_its_bound_since_it_was_made(
    redis_server: RedisServer,
) -> None:
    """
    It is counted; another cap is refused with the way to have one.
    """
    pool = redis.BlockingConnectionPool(
        connection_class=redis.UnixDomainSocketConnection,
        path=redis_server.path,
        max_connections=3,
        timeout=0.01,
    )
    handle = Guard().adopt(pool)
    assert (0, 3) == (handle.info().entries, handle.info().limit)
    connections = held(pool, 2)
    pool.release(connections.pop())
    assert (1, 1) == tuple(handle.info().details[one] for one in ("in_use", "idle"))
    with pytest.raises(TypeError, match="since it was made"):
        handle.resize(max_connections=2)
    handle.close()
    assert 0 == connected(redis_server)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_begins_anew(
    client: redis.Redis, redis_server: RedisServer
) -> None:
    """
    The parent's connections live on, whatever the child does at its end.
    """
    with Guard() as guard:
        handle = guard.adopt(client)
        client.ping()
        before = client.client_id()
        pid = os.fork()
        if not pid:
            guard.shutdown()
            client.close()
            os._exit(0)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert before == client.client_id()
        assert 1 == handle.info().entries


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_one_adopted_before_the_start_is_the_childs_as_well(
    client: redis.Redis, redis_server: RedisServer
) -> None:
    """
    As in a server that forks its workers: the child closes what the child opened.
    """
    guard = Guard()
    handle = guard.adopt(client)
    with guard:
        before = client.client_id()
        pid = os.fork()
        if not pid:
            opened = client.client_id()
            guard.shutdown()
            os._exit(int(opened == before or handle.is_open()))
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert before == client.client_id()
        assert 1 == connected(redis_server)


def test_a_server_that_is_gone_does_not_hold_the_shutdown_up(
    redis_server: RedisServer,
) -> None:
    """
    There is nobody to say farewell to.
    """
    with Guard() as guard:
        client = redis.Redis(unix_socket_path=redis_server.path)
        guard.adopt(client)
        client.ping()
        redis_server.kill()
        report = guard.shutdown()
    assert report.clean, report


def test_one_that_is_gone_vanishes() -> None:
    """
    It closes its pool when it is collected: no fault.
    """
    guard = Guard()
    client = redis.Redis()
    guard.adopt(client)
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    assert 0 == guard.snapshot().count("client")


# -- asynchronous ones -----------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["client", "pool"])
def test_an_asynchronous_one_is_counted_capped_and_closed(
    whole: bool, redis_server: RedisServer
) -> None:
    """
    In its loop, in the same words.
    """

    async def main() -> None:
        async with Guard() as guard:
            client = redis.asyncio.Redis(unix_socket_path=redis_server.path)
            pool = client.connection_pool
            handle = guard.adopt(client if whole else pool, max_connections=2)
            assert await client.ping()
            connections = [await pool.get_connection() for _ in range(2)]
            info = handle.info()
            assert (2, 2, 2) == (info.entries, info.limit, info.details["in_use"])
            with pytest.raises(NoConnection):
                await pool.get_connection()
            await pool.release(connections.pop())
            info = handle.info()
            assert (1, 1) == (info.details["in_use"], info.details["idle"])
            report = await guard.ashutdown()
            assert report.clean, report
            assert not any(one.is_connected for one in connections)
            await client.aclose()

    asyncio.run(main())
    assert 0 == connected(redis_server)


def test_it_is_closed_on_the_loop_of_its_connections(
    redis_server: RedisServer,
) -> None:
    """
    Made at module level, adopted where no loop runs, used in another thread's loop.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with Guard() as guard:
            client: Any = redis.asyncio.Redis(unix_socket_path=redis_server.path)
            handle = guard.adopt(client)
            assert handle.loop is None
            asyncio.run_coroutine_threadsafe(client.ping(), loop).result(WITHIN)
            assert handle.loop is not None
            assert loop is handle.loop()
            report = guard.shutdown()
        assert report.clean, report
        assert 0 == connected(redis_server)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WITHIN)
        loop.close()


def test_one_that_never_connected_is_closed_without_a_loop() -> None:
    """
    There is nothing to await.
    """
    with Guard() as guard:
        client: Any = redis.asyncio.Redis()
        guard.adopt(client)
        report = guard.shutdown()
    assert report.clean, report


# -- a cluster -------------------------------------------------------------------------


@pytest.fixture
def cluster_server(tmp_path: Path) -> Iterator[RedisServer]:
    """
    A cluster of a single node, with all the slots.
    """
    server = RedisServer(tmp_path, "--cluster-enabled", "yes").start()
    try:
        with redis.Redis(port=server.port) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            pause = threading.Event()
            while b"cluster_state:ok" not in node.execute_command("CLUSTER", "INFO"):
                pause.wait(0.01)
        yield server
    finally:
        server.kill()


def test_a_cluster_counts_its_nodes_together(cluster_server: RedisServer) -> None:
    """
    And is closed with them.
    """
    with Guard() as guard:
        cluster = redis.RedisCluster(host="127.0.0.1", port=cluster_server.port)
        handle = guard.adopt(cluster)
        assert cluster.set("key", "value")
        info = handle.info()
        assert 1 == info.details["nodes"]
        assert info.entries is not None
        assert info.entries >= 1
        with pytest.raises(TypeError, match="each node"):
            handle.resize(max_connections=1)
        report = guard.shutdown()
    assert report.clean, report


def test_an_asynchronous_cluster_as_well(cluster_server: RedisServer) -> None:
    """
    In its loop.
    """

    async def main() -> None:
        async with Guard() as guard:
            cluster: Any = redis.asyncio.RedisCluster(
                host="127.0.0.1", port=cluster_server.port
            )
            handle = guard.adopt(cluster)
            assert not handle.is_open()
            assert await cluster.set("key", "value")
            info = handle.info()
            assert (1, 0) == (info.details["nodes"], info.details["in_use"])
            assert info.entries == info.details["idle"] >= 1
            assert handle.is_open()
            assert handle.loop is not None
            assert asyncio.get_running_loop() is handle.loop()
            report = await guard.ashutdown()
            assert report.clean, report

    asyncio.run(main())
