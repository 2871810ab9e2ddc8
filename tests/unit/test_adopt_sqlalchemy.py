"""
Adopted engines of SQLAlchemy: their pools counted, capped, disposed of.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from memguard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WITHIN = 5.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    """
    A database in a file, whose engine has a real pool.
    """
    return f"sqlite:///{tmp_path}/database"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """
    Two connections kept, two more at need, and no patience.
    """
    made = create_engine(url, pool_size=2, max_overflow=2, pool_timeout=0.01)
    yield made
    made.dispose()


def test_connections_move_with_use(engine: Engine) -> None:
    """
    Checked out, checked in, over the size: as the pool counts them.
    """
    handle = Guard().adopt(engine)
    info = handle.info()
    assert ("client", "sqlite", 0, 4) == (
        info.kind,
        info.name,
        info.entries,
        info.limit,
    )
    connections = [engine.connect() for _ in range(3)]
    info = handle.info()
    assert 3 == info.entries
    assert {
        "pool": "QueuePool",
        "in_use": 3,
        "idle": 0,
        "pool_size": 2,
        "overflow": 1,
    } == info.details
    for connection in connections:
        connection.close()
    info = handle.info()
    assert (2, 0, 2) == (info.entries, info.details["in_use"], info.details["idle"])
    assert handle.is_open()


def test_a_cap_is_kept_at_each_checkout(engine: Engine) -> None:
    """
    One more is refused as the pool refuses it; nothing is wrapped, and a pool that was
    made anew has it as well.
    """
    before = set(vars(engine.pool))
    handle = Guard().adopt(engine, max_connections=3)
    assert before == set(vars(engine.pool))
    for _ in range(2):
        assert 3 == handle.info().limit
        connections = [engine.connect() for _ in range(3)]
        with pytest.raises(PoolTimeout):
            engine.connect()
        for connection in connections:
            connection.close()
        engine.dispose()


def test_a_cap_is_changed_while_it_works(engine: Engine) -> None:
    """
    Tightened to what the pool keeps, lifted to no bound at all.
    """
    handle = Guard().adopt(engine)
    assert handle.risk() is None
    handle.resize(max_connections=2)
    connections = [engine.connect() for _ in range(2)]
    with pytest.raises(PoolTimeout):
        engine.connect()
    handle.resize(max_connections=None)
    connections += [engine.connect() for _ in range(6)]
    assert (8, None) == (handle.info().entries, handle.info().limit)
    risk = handle.risk()
    assert risk is not None
    assert "max_connections" in risk.fix
    for connection in connections:
        connection.close()


def test_a_cap_below_what_the_pool_keeps_is_refused(engine: Engine) -> None:
    """
    With the words to make it so.
    """
    handle = Guard().adopt(engine)
    with pytest.raises(ValueError, match=r"pool_size=1, max_overflow=0"):
        handle.resize(max_connections=1)
    assert 4 == handle.info().limit


def test_a_shutdown_closes_what_is_checked_in(url: str) -> None:
    """
    The drivers see the close of each connection, and the audit is clean.
    """
    closed = []
    with Guard() as guard:
        engine = create_engine(url)
        event.listen(engine, "close", lambda *_: closed.append(1))
        guard.adopt(engine)
        connections = [engine.connect() for _ in range(3)]
        for connection in connections:
            connection.execute(text("select 1"))
            connection.close()
        report = guard.shutdown()
    assert report.clean, report
    assert [1, 1, 1] == closed


def test_what_is_still_out_is_named(url: str) -> None:
    """
    Nobody may take a connection away from who has it; the audit says where it is from.
    """
    with Guard(shutdown_timeout=1.0) as guard:
        engine = create_engine(url)
        guard.adopt(engine)
        connection = engine.connect()
        connection.execute(text("select 1"))
        report = guard.shutdown()
        connection.detach()  # no pool takes it back any more
        connection.close()
    assert not report.clean
    assert "test_what_is_still_out" in str(report.to_dict()["audit"])


def test_an_engine_bound_to_threads_is_closed_on_its_own() -> None:
    """
    SQLite in memory: a connection for each thread, which nobody else may close.
    """
    closed_on = []
    with Guard() as guard:
        engine = create_engine("sqlite://")
        event.listen(
            engine, "close", lambda *_: closed_on.append(threading.get_ident())
        )
        handle = guard.adopt(engine)
        with engine.connect() as connection:
            connection.execute(text("select 1"))
        info = handle.info()
        assert (1, 5, "SingletonThreadPool") == (
            info.entries,
            info.limit,
            info.details["pool"],
        )
        assert handle.risk() is None
        with pytest.raises(TypeError, match="poolclass=QueuePool"):
            handle.resize(max_connections=3)
        report = guard.shutdown()
    assert report.clean, report
    assert [threading.get_ident()] == closed_on


def test_sqlite_with_a_pool_of_its_own_is_closed_on_its_thread() -> None:
    """
    SQLite refuses a close by another thread, and SQLAlchemy only logs that.
    """
    closed_on = []
    with Guard() as guard:
        engine = create_engine("sqlite://", poolclass=QueuePool)
        event.listen(
            engine, "close", lambda *_: closed_on.append(threading.get_ident())
        )
        guard.adopt(engine, max_connections=7)
        with engine.connect() as connection:
            connection.execute(text("select 1"))
        report = guard.shutdown()
    assert report.clean, report
    assert [threading.get_ident()] == closed_on


def test_an_engine_of_a_server_may_be_closed_by_any_thread() -> None:
    """
    A shutdown is not held up by it.
    """
    engine = create_engine("sqlite://", poolclass=QueuePool)
    engine.dialect.name = "another"
    assert "any" == Guard().adopt(engine).affinity


@pytest.mark.parametrize(
    ("options", "risky"),
    [
        ({"poolclass": NullPool}, True),
        ({"poolclass": StaticPool}, False),
        ({"poolclass": QueuePool, "pool_size": 0}, True),
    ],
    ids=["NullPool", "StaticPool", "no size"],
)
def test_pools_that_keep_no_bound_say_so(
    options: dict[str, Any], risky: bool, url: str
) -> None:
    """
    What cannot be capped is refused with a sentence, and unbounded growth is a risk.
    """
    engine = create_engine(url, **options)
    handle = Guard().adopt(engine)
    with pytest.raises((TypeError, ValueError), match="make the engine with"):
        handle.resize(max_connections=3)
    assert risky == (handle.risk() is not None)
    with engine.connect():
        assert handle.info().entries in (None, 1)
    engine.dispose()


def test_one_that_is_gone_vanishes(url: str) -> None:
    """
    Its drivers close what it had: no fault.
    """
    guard = Guard()
    engine = create_engine(url)
    guard.adopt(engine)
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    assert 0 == guard.snapshot().count("client")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_closes_nothing(engine: Engine) -> None:
    """
    A farewell of the child would end the parent's connections at their server.
    """
    closed = []
    event.listen(engine, "close", lambda *_: closed.append(1))
    with Guard() as guard:
        guard.adopt(engine)
        with engine.connect() as connection:
            connection.execute(text("select 1"))
        pid = os.fork()
        if not pid:
            guard.shutdown()
            os._exit(len(closed))
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with engine.connect() as connection:
            assert 1 == connection.execute(text("select 1")).scalar()


def test_an_asynchronous_engine_is_disposed_of_on_its_loop(engine: Engine) -> None:
    """
    The pool is that of the engine behind it. Without greenlet SQLAlchemy makes none.
    """
    if find_spec("greenlet") is None:
        with pytest.raises(ImportError, match="greenlet"):
            __import__("sqlalchemy.ext.asyncio")
        return
    from sqlalchemy.ext.asyncio import AsyncEngine

    engine.dialect.is_async = True
    asynchronous = AsyncEngine(engine)

    async def main() -> None:
        async with Guard() as guard:
            handle = guard.adopt(asynchronous, max_connections=3)
            engine.connect().close()
            assert (1, 3) == (handle.info().entries, handle.info().limit)
            report = await guard.ashutdown()
            assert report.clean, report
            assert 0 == engine.pool.checkedin()  # type: ignore[attr-defined]

    asyncio.run(main())
