"""
Who comes late to sessions while they are shut down: sweeps, alarms, blocks, openings.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import memguard
from memguard._phases import DRAINING
from memguard._sessions.stores.sqlite.space import SqliteSpace
from memguard.errors import ScopeClosed


def test_a_sweep_under_way_leaves_no_open_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    What looks for expired sessions while the store is closed closes it once more.
    """
    sweeping, closed = threading.Event(), threading.Event()
    due, close = SqliteSpace.due, SqliteSpace.close

    def slow(space: SqliteSpace, *args: Any) -> Any:
        sweeping.set()
        assert closed.wait(5)
        return due(space, *args)

    def tell(space: SqliteSpace) -> None:
        close(space)
        closed.set()

    monkeypatch.setattr(SqliteSpace, "due", slow)
    monkeypatch.setattr(SqliteSpace, "close", tell)
    guard = memguard.Guard(state_dir=tmp_path)
    guard.sessions("visits")
    guard.start()
    assert sweeping.wait(5)

    report = guard.shutdown()

    assert report.clean, str(report)


def test_an_alarm_that_comes_late_opens_nothing(tmp_path: Path) -> None:
    """
    One that rings while the guard is shut down finds no sessions to look after.
    """
    guard = memguard.Guard(state_dir=tmp_path)
    sessions = guard.sessions("visits")
    guard.start()
    core = sessions.core
    assert guard.shutdown().clean
    opened = sessions.core.space._database.opened

    sessions._core = None
    sessions._rang()
    sessions._sweep(core)

    assert sessions._core is None
    assert opened == core.space._database.opened


def test_a_block_that_outlasts_the_shutdown_opens_nothing(tmp_path: Path) -> None:
    """
    What it has not saved is told, and lost; the store stays closed.
    """
    guard = memguard.Guard(state_dir=tmp_path)
    sessions = guard.sessions("visits")
    guard.start()
    with sessions.open("ann") as session:
        database = sessions.core.space._database
        session.data["visits"] = 1
        report = guard.shutdown("100ms")
        assert database._connection is None
    assert database._connection is None
    assert report.audit.clean, str(report)


def test_who_is_let_in_late_is_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    An opening under way when the shutdown begins is refused, or counts.
    """
    claiming, go = threading.Event(), threading.Event()
    claim = SqliteSpace.claim

    def slow(space: SqliteSpace, *args: Any) -> Any:
        claiming.set()
        assert go.wait(5)
        return claim(space, *args)

    monkeypatch.setattr(SqliteSpace, "claim", slow)
    guard = memguard.Guard(state_dir=tmp_path)
    sessions = guard.sessions("visits")
    let_in = False

    async def visit() -> None:
        nonlocal let_in
        async with sessions.connect("ann") as connection:
            connection.session.data["visits"] = 1
            let_in = True
            await asyncio.sleep(60)

    async def service() -> memguard.ShutdownReport:
        async with guard:
            visitor = asyncio.create_task(visit())
            assert await asyncio.to_thread(claiming.wait, 5)
            ending = asyncio.create_task(guard.ashutdown())
            while sessions.state < DRAINING and not ending.done():  # noqa: ASYNC110
                await asyncio.sleep(0)
            go.set()
            report = await ending
            visitor.cancel()
            with pytest.raises((asyncio.CancelledError, ScopeClosed)):
                await visitor
        return report

    report = asyncio.run(service())
    with memguard.Guard(state_dir=tmp_path) as later:
        known = later.sessions("visits").ids()
    assert report.audit.clean, str(report)
    assert (("ann",) if let_in else ()) == known
