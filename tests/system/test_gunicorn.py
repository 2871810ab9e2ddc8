"""
gunicorn beyond SIGTERM: recycling, silent workers, files, masters that must not arm.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.system._hosts import (
    BODY,
    GUNICORN,
    Client,
    Host,
    NotInTime,
    Running,
    answers,
    get,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.system

PRELOADED = (*GUNICORN, "--preload", "installing_service:application")


def started(host: Host, place: Path, **env: str) -> Running:
    """
    A server that answers.
    """
    place.mkdir(exist_ok=True)
    running = Running(host, "memguard", place, env)
    running.wait_for("answer", lambda: answers(running.port))
    return running


def once_each(running: Running, *, hurried: bool = False) -> None:
    """
    Every worker there was has closed once, and its report was clean.

    In a hurry a timer may be cut short in its call, which the report says.
    """
    lines = running.lines()
    workers = {pid for event, pid, _ in lines if event == "worker"}
    for event in ("closed", "hook", "report"):
        assert dict.fromkeys(workers, 1) == Counter(
            pid for name, pid, _ in lines if name == event
        ), (event, running.log.read_text())
    for detail in {detail for event, _, detail in lines if event == "report"}:
        assert detail == "clean" or (hurried and detail.endswith("audit: clean"))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("wsgi_service:application",), id="sync"),
        pytest.param(("--threads", "2", "flask_service:application"), id="gthread"),
        pytest.param(
            (
                "--worker-class",
                "uvicorn_worker.UvicornWorker",
                "asgi_service:application",
            ),
            id="uvicorn",
        ),
    ],
)
def test_recycled_workers_each_close_once(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    """
    max_requests ends a worker in the middle of the service; the next one takes over.
    """
    host = Host("recycling", (*GUNICORN, "--max-requests", "5", *command))
    running = started(host, tmp_path)
    try:
        # A worker that ends may refuse what is in its backlog, memguard or not.
        running.wait_for(
            "recycled workers",
            lambda: answers(running.port) and running.count("closed") >= 3,
        )
        running.signal()
        assert 0 == running.end()
        once_each(running)
    finally:
        running.kill()


def test_silent_worker_is_aborted_and_closes_quickly(tmp_path: Path) -> None:
    """
    The master aborts a worker that hangs: what is registered is closed in what is left.
    """
    host = Host(
        "silent", (*GUNICORN, "--timeout", "1", "wsgi_service:application"), workers=2
    )
    running = started(host, tmp_path, SLOW="30")
    try:
        Client(running.port, "/slow")
        running.wait_for_event("closed")
        running.wait_for_event("worker", 3)
        running.signal()
        assert 0 == running.end()
        once_each(running, hurried=True)
        assert "WORKER TIMEOUT" in running.log.read_text()
    finally:
        running.kill()


def test_group_signalled_by_a_supervisor(tmp_path: Path) -> None:
    """
    Systemd signals every process of the group, and the master its workers once more.

    That is one request to stop: requests in hand get their time.
    """
    host = Host(
        "group", (*GUNICORN, "--threads", "4", "flask_service:application"), workers=2
    )
    running = started(host, tmp_path, SLOW="1.5")
    try:
        clients = [Client(running.port, "/slow") for _ in range(3)]
        running.wait_for_event("slow", 3)
        os.killpg(running.process.pid, signal.SIGTERM)
        assert 0 == running.end()
        for client in clients:
            client.join(10)
        assert [BODY] * 3 == [client.got for client in clients]
        once_each(running)
    finally:
        running.kill()


@pytest.mark.parametrize("worker", ["sync", "gthread"])
@pytest.mark.parametrize("chained", ["star", "hooks"])
def test_preloaded_application_that_installs(
    worker: str, chained: str, tmp_path: Path
) -> None:
    """
    `memguard.install()` in the module: the master declares, each worker is armed.
    """
    host = Host(
        "preloaded", (*PRELOADED, "--worker-class", worker), env={"HOOKS": chained}
    )
    running = started(host, tmp_path)
    try:
        running.wait_for_event("armed", 2)
        running.signal()
        assert 0 == running.end()
        (master,) = (line for line in running.lines() if line[0] == "master")
        assert str(running.process.pid) == master[1]
        assert "" == master[2]
        armed = [pid for event, pid, _ in running.lines() if event == "armed"]
        assert 2 == len(armed)
        assert master[1] not in armed
    finally:
        running.kill()


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_files_are_sent_by_the_kernel(worker: str, tmp_path: Path) -> None:
    """
    Gunicorn finds its own file wrapper in what the middleware returns.
    """
    host = Host(
        "files", (*GUNICORN, "--worker-class", worker, "file_service:application")
    )
    running = started(host, tmp_path)
    try:
        size = len(get(running.port, "/file"))
        assert 1_000_000 == size
        assert ["True"] == [
            detail for event, _, detail in running.lines() if event == "sendfile"
        ]
        running.signal()
        assert 0 == running.end()
    finally:
        running.kill()


def test_daemon_knows_its_master(tmp_path: Path) -> None:
    """
    A daemon is forked once more after the configuration was read.
    """
    host = Host(
        "daemon",
        (*PRELOADED, "--daemon", "--pid", str(tmp_path / "pid")),
        env={"HOOKS": "star"},
    )
    running = Running(host, "memguard", tmp_path, {})
    master = 0
    try:
        assert 0 == running.process.wait(20)
        until(lambda: answers(running.port))
        until(lambda: running.count("armed") == 2)
        master = int((tmp_path / "pid").read_text())
        os.kill(master, signal.SIGTERM)
        until(lambda: running.count("master") == 1)
        assert [""] == [
            detail for event, _, detail in running.lines() if event == "master"
        ]
        armed = {pid for event, pid, _ in running.lines() if event == "armed"}
        assert 2 == len(armed - {str(master)})
    finally:
        if master:
            try:
                os.killpg(os.getpgid(master), signal.SIGKILL)
            except ProcessLookupError:
                pass


def until(reached: Callable[[], bool]) -> None:
    """
    Wait for another process, with a deadline.
    """
    pause = threading.Event()
    for _ in range(2000):
        if reached():
            return
        pause.wait(0.01)
    msg = "it never came"
    raise NotInTime(msg)
