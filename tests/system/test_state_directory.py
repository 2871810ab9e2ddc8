"""
Where sessions are kept without a setting: what the workers of a service share.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.system._hosts import GUNICORN, Host, Running, answers, get

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.system


def visits(running: Running, path: str, times: int) -> Iterator[tuple[int, str]]:
    """
    How many visits each answer has counted, and by which worker.
    """
    for _ in range(times):
        visit, worker = get(running.port, path).decode().split()
        yield int(visit), worker


def until_both(running: Running, path: str) -> list[int]:
    """
    Visits until both workers have answered, however the kernel chooses them.
    """
    counted: list[int] = []
    workers: set[str] = set()
    while len(workers) < 2:
        assert len(counted) < 500, "the second worker never answered"
        ((visit, worker),) = visits(running, path, 1)
        counted.append(visit)
        workers.add(worker)
    return counted


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_the_workers_of_a_service_share_its_sessions(
    preload: bool, tmp_path: Path
) -> None:
    """
    Whichever worker answers, it goes on counting where the other one was.

    And so does the service after a restart, with other options too.
    """
    more = ("--preload",) if preload else ()
    counted: list[int] = []
    for run, threads in enumerate(("1", "2")):
        place = tmp_path / str(run)
        place.mkdir()
        command = (*GUNICORN, *more, "--threads", threads)
        host = Host("visits", (*command, "visits_service:application"), workers=2)
        running = Running(host, "memguard", place, {})
        try:
            running.wait_for("answer", partial(answers, running.port))
            counted += until_both(running, "/ann")
            running.signal()
            assert 0 == running.end(), running.log.read_text()
        finally:
            running.kill()
    assert list(range(1, len(counted) + 1)) == counted
    (service,) = (Path(os.environ["XDG_STATE_HOME"]) / "memguard").iterdir()
    assert ["sessions.sqlite3"] == [one.name for one in service.iterdir()]
