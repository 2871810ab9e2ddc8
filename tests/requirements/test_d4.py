"""
One connection pool a process: 10 connections, 10 s idle, 2 s of waiting.
"""

from __future__ import annotations

import os
import sqlite3

import pytest

import memguard
from memguard.errors import SpecConflict
from memguard.testing import FakeClock


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
