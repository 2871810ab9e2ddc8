"""
One connection pool a process: 10 connections, 10 s idle, 2 s of waiting; and the pools
of other libraries, counted, capped where they allow it, closed in order.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import redis
import sqlalchemy
from sqlalchemy.exc import TimeoutError as PoolTimeout

import memguard
from memguard.errors import SpecConflict
from memguard.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests._http import HttpServer
    from tests._redis import RedisServer


def connect() -> sqlite3.Connection:
    """
    What is pooled.
    """
    return sqlite3.connect(":memory:", check_same_thread=False)


def test_the_defaults() -> None:
    """
    Exactly these, and the time is that of the clock.
    """
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        pool = guard.pool("db", connect)
        leases = [pool.acquire() for _ in range(10)]
        for lease in leases:
            lease.__enter__()
        for lease in leases:
            lease.__exit__(None, None, None)
        assert (10, 10, 2.0) == (
            pool.stats().idle,
            pool.stats().max_size,
            pool.acquire_timeout,
        )
        clock.advance("9.9s")
        assert 10 == pool.stats().idle
        clock.advance("0.1s")
        assert 0 == pool.stats().idle


def test_the_same_name_is_the_same_pool() -> None:
    """
    Asked for in every request, with a function that is made anew each time.
    """
    with memguard.Guard(clock=FakeClock()) as guard:

        def handle(path: str) -> object:
            return guard.pool("db", lambda: sqlite3.connect(path))

        path = ":memory:"
        assert handle(path) is handle(path)
        with pytest.raises(SpecConflict, match="factory"):
            handle("other.sqlite3")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_connections_of_its_own() -> None:
    """
    A connection is never used by two processes, and never closed by the wrong one.
    """
    guard = memguard.Guard()
    pool = guard.pool("db", connect)  # declared: it is there in each process
    with guard:
        with pool.acquire() as mine:
            mine.execute("create table t (x)")
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                before = pool.stats().size
                with pool.acquire() as childs:
                    tables = childs.execute("select * from sqlite_master").fetchall()
                os.write(write, f"{before} {len(tables)} {childs is mine}".encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(pid, 0)
        with os.fdopen(read) as told:
            assert "0 0 False" == told.read()
        with pool.acquire() as again:
            assert again is mine
            assert 1 == len(again.execute("select * from sqlite_master").fetchall())


# -- pools of other libraries ----------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path, redis_server: RedisServer) -> Iterator[dict[str, Any]]:
    """
    What a service has: a database, a Redis, an HTTP interface of others.
    """
    made = {
        "database": sqlalchemy.create_engine(
            f"sqlite:///{tmp_path}/database",
            pool_size=1,
            max_overflow=9,
            pool_timeout=0.01,
        ),
        "redis": redis.Redis(unix_socket_path=redis_server.path, max_connections=50),
        "api": httpx.Client(),
    }
    yield made
    made["database"].dispose()
    made["redis"].close()
    made["api"].close()


def use(foreign: dict[str, Any], server: HttpServer) -> None:
    """
    One connection of each is made, and given back.
    """
    with foreign["database"].connect() as connection:
        connection.execute(sqlalchemy.text("select 1"))
    foreign["redis"].ping()
    foreign["api"].get(server.url)


def test_foreign_pools_are_counted(
    foreign: dict[str, Any], http_server: HttpServer
) -> None:
    """
    Connections in use and idle, against the bound that they have.
    """
    guard = memguard.Guard()
    handles = {name: guard.adopt(pool, name) for name, pool in foreign.items()}
    assert [0, 0, 0] == [one.info().entries for one in handles.values()]
    use(foreign, http_server)
    for handle in handles.values():
        info = handle.info()
        assert ("client", 1, 0, 1) == (
            info.kind,
            info.entries,
            info.details["in_use"],
            info.details["idle"],
        )
        assert info.limit is not None
        assert handle.risk() is None
    assert 3 == guard.snapshot().count("client")
    assert 1 == http_server.open


def test_foreign_pools_are_capped_where_they_allow_it(
    foreign: dict[str, Any], http_server: HttpServer
) -> None:
    """
    By the figure that each decides by itself; where that is not safe, a sentence.
    """
    guard = memguard.Guard()
    for name in ("database", "redis"):
        handle = guard.adopt(foreign[name], name, max_connections=1)
        assert (1, "max_connections=1") == (
            handle.info().limit,
            handle.info().cap.partition(":")[0],
        )
    with foreign["database"].connect(), pytest.raises(PoolTimeout):
        foreign["database"].connect()
    pool = foreign["redis"].connection_pool
    connection = pool.get_connection()
    with pytest.raises(redis.ConnectionError):
        pool.get_connection()
    pool.release(connection)

    async def fetch() -> None:
        patience = httpx.Timeout(5.0, pool=0.01)
        async with httpx.AsyncClient(timeout=patience) as client:
            guard.adopt(client, "asynchronous", max_connections=1)
            async with client.stream("GET", http_server.url):
                with pytest.raises(httpx.PoolTimeout):
                    await client.get(http_server.url)

    asyncio.run(fetch())
    assert 1 == http_server.most

    unbounded = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.NullPool)
    with pytest.raises(TypeError, match="QueuePool"):
        guard.adopt(unbounded, max_connections=1)
    with pytest.raises(TypeError, match="limiter"):
        guard.adopt(foreign["api"], max_connections=1)


def test_foreign_pools_are_closed_in_order(
    foreign: dict[str, Any], http_server: HttpServer, redis_server: RedisServer
) -> None:
    """
    After the work that needs them, newest first; no connection is left.
    """
    used = []

    def work(_: Any) -> None:
        use(foreign, http_server)
        used.append(True)

    class Worker:
        pass

    with memguard.Guard() as guard:
        worker = Worker()
        guard.register(worker, name="worker", close=work, phase="work")
        for name, pool in foreign.items():
            guard.adopt(pool, name)
        report = guard.shutdown()
    assert report.clean, report
    assert [True] == used
    assert ["worker", "api", "redis", "database"] == [
        row.name for row in report.resources
    ]
    http_server.wait_for(open=0)
    with redis.Redis(unix_socket_path=redis_server.path) as asking:
        assert 1 == len(asking.client_list())
    assert 0 == foreign["database"].pool.checkedin()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_foreign_pools_alone(
    foreign: dict[str, Any], http_server: HttpServer
) -> None:
    """
    The connections are the parent's, and live on.
    """
    with memguard.Guard() as guard:
        handles = [guard.adopt(pool, name) for name, pool in foreign.items()]
        use(foreign, http_server)
        pid = os.fork()
        if not pid:
            guard.shutdown()
            os._exit(0)
        os.waitpid(pid, 0)
        use(foreign, http_server)
        assert [1, 1, 1] == [one.info().entries for one in handles]
        assert 1 == http_server.most
