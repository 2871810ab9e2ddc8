"""
What holds for every adopted thing of another library, whichever it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
import redis
import requests
import sqlalchemy
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.pool import QueuePool

from memguard import Guard

if TYPE_CHECKING:
    from pathlib import Path

    from tests._http import HttpServer
    from tests._redis import RedisServer

WITHIN = 5.0


class World:
    """
    The servers that clients need, and a directory.
    """

    def __init__(self, http: HttpServer, redis: RedisServer, directory: Path) -> None:
        self.http = http
        self.redis = redis
        self.directory = directory


@pytest.fixture
def world(http_server: HttpServer, redis_server: RedisServer, tmp_path: Path) -> World:
    """
    Servers, running.
    """
    return World(http_server, redis_server, tmp_path)


def _timer(_: World) -> Any:
    made = threading.Timer(60.0, print)
    made.start()
    return made


def _executor(_: World) -> Any:
    made = ThreadPoolExecutor(1)
    made.submit(int).result(WITHIN)
    return made


def _popen(_: World) -> Any:
    code = "import signal; print(flush=True); signal.pause()"
    made = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert made.stdout is not None
    made.stdout.readline()
    return made


def _process(_: World) -> Any:
    made = multiprocessing.get_context("spawn").Process(target=os.getpid)
    made.start()
    return made


def _thread_pool(_: World) -> Any:
    made = ThreadPool(1)
    made.apply(int)
    return made


def _requests(world: World) -> Any:
    made = requests.Session()
    made.get(world.http.url, timeout=WITHIN)
    return made


def _httpx(world: World) -> Any:
    made = httpx.Client()
    made.get(world.http.url)
    return made


def _redis(world: World) -> Any:
    made = redis.Redis(unix_socket_path=world.redis.path)
    made.ping()
    return made


def _engine(world: World) -> Any:
    made = sqlalchemy.create_engine(
        f"sqlite:///{world.directory}/database", poolclass=QueuePool
    )
    with made.connect() as connection:
        connection.execute(sqlalchemy.text("create table t (x)"))
    return made


def _scheduler(_: World) -> Any:
    made = BackgroundScheduler(timezone="UTC")
    made.start()
    made.add_job(print, "interval", hours=1)
    return made


MAKERS: dict[str, Callable[[World], Any]] = {
    "timer": _timer,
    "executor": _executor,
    "popen": _popen,
    "process": _process,
    "thread pool": _thread_pool,
    "socket": lambda _: socket.create_server(("127.0.0.1", 0)),
    "file": lambda world: (world.directory / "file").open("w"),
    "bytes": lambda _: io.BytesIO(b"text"),
    "directory": lambda _: tempfile.TemporaryDirectory(),
    "requests": _requests,
    "httpx": _httpx,
    "redis": _redis,
    "engine": _engine,
    "scheduler": _scheduler,
}


def outside(thing: Any) -> dict[str, Any]:
    """
    What a wrapper would have changed.
    """
    return {
        "type": type(thing),
        "attributes": dict(getattr(thing, "__dict__", {})),
        "class": dict(vars(type(thing))),
    }


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_it_is_left_as_it_is_and_belongs_to_the_guard(
    make: Callable[[World], Any], world: World
) -> None:
    """
    Nothing is wrapped or patched; a live audit finds nothing without an owner; the
    shutdown leaves nothing behind.
    """
    with Guard() as guard:
        thing = make(world)
        before = outside(thing)
        handle = guard.adopt(thing)
        assert handle.info().type == type(thing).__qualname__
        after = outside(thing)
        assert before["type"] is after["type"]
        assert before["class"] == after["class"]
        assert set(before["attributes"]) == set(after["attributes"])
        assert handle is guard.adopt(thing)
        assert handle.info().cannot or handle.adapter.caps
        live = guard.audit()
        assert live.clean, live
        report = guard.shutdown()
    assert report.clean, report
    assert ["closed"] == [str(row.outcome) for row in report.resources]
    assert not handle.info().alive


def test_what_belongs_to_a_loop_belongs_to_the_guard(world: World) -> None:
    """
    As above, of what is made and ended in a loop.
    """

    async def main() -> None:
        async with Guard() as guard:
            session = aiohttp.ClientSession()
            async with session.get(world.http.url) as answer:
                await answer.read()
            client = httpx.AsyncClient()
            await client.get(world.http.url)
            store: Any = redis.asyncio.Redis(unix_socket_path=world.redis.path)
            await store.ping()
            things = [
                session,
                client,
                store,
                asyncio.create_task(asyncio.Event().wait()),
                asyncio.get_running_loop().call_later(60, print),
                await asyncio.start_server(lambda *_: None, "127.0.0.1", 0),
            ]
            for thing in things:
                before = set(getattr(thing, "__dict__", ()))
                guard.adopt(thing)
                assert before == set(getattr(thing, "__dict__", ()))
            live = guard.audit()
            assert live.clean, live
            report = await guard.ashutdown()
            assert report.clean, report
            assert {"closed"} == {str(row.outcome) for row in report.resources}

    asyncio.run(main())


@contextlib.contextmanager
def busy(work: Callable[[], object], count: int = 3) -> Iterator[None]:
    """
    So many threads that do it again and again.
    """
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            work()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(WITHIN)


@pytest.mark.stress
@pytest.mark.parametrize("name", ["executor", "requests", "httpx", "redis", "engine"])
def test_it_may_be_looked_at_while_threads_use_it(name: str, world: World) -> None:
    """
    Figures may be of different moments, and never below zero or over the bound.
    """
    with Guard() as guard:
        thing = MAKERS[name](world)
        uses: dict[str, Callable[[], object]] = {
            "executor": lambda: thing.submit(int).result(),
            "requests": lambda: thing.get(world.http.url, timeout=WITHIN),
            "httpx": lambda: thing.get(world.http.url),
            "redis": lambda: thing.get("key"),
            "engine": lambda: thing.connect().close(),
        }
        handle = guard.adopt(thing)
        with busy(uses[name]):
            for _ in range(300):
                info = handle.info()
                assert info.entries is not None
                assert info.entries >= 0
                assert info.limit is None or info.entries <= info.limit
                assert all(
                    value >= 0 for value in info.details.values() if type(value) is int
                )
        report = guard.shutdown()
    assert report.clean, report
