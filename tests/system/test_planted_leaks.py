"""
The audit in each host: one planted leak of each kind is named, a clean run is clean.
"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import child_environment

PROGRAMS = Path(__file__).parent / "programs"
SYNC = {"fd", "socket", "thread", "timer", "process", "tempfile", "listener", "object"}
GUNICORN = [
    "-m",
    "gunicorn",
    "--config",
    "planted_conf.py",
    "--bind",
    "127.0.0.1:{port}",
]
HOSTS = {
    "script": (["planted.py", "script", "{plant}"], SYNC),
    "asyncio": (["planted.py", "asyncio", "{plant}"], SYNC | {"task"}),
    "uvicorn": (
        ["-m", "uvicorn", "--factory", "planted:make_asgi", "--port", "{port}"],
        SYNC | {"task"},
    ),
    "gunicorn-sync": ([*GUNICORN, "planted:make_wsgi()"], SYNC),
    "gunicorn-gthread": (
        [
            *GUNICORN,
            "--worker-class",
            "gthread",
            "--threads",
            "2",
            "planted:make_wsgi()",
        ],
        SYNC,
    ),
    "gunicorn-preload": ([*GUNICORN, "--preload", "planted:make_wsgi()"], SYNC),
    "gunicorn-uvicorn": (
        [
            *GUNICORN,
            "--worker-class",
            "uvicorn_worker.UvicornWorker",
            "planted:make_asgi()",
        ],
        SYNC | {"task"},
    ),
}


def run_host(name: str, folder: Path, *, plant: bool) -> dict[str, Any]:
    """
    Start the host, plant or not, stop it, and return its one shutdown report.
    """
    command, _ = HOSTS[name]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = folder / "report.jsonl"
    file.unlink(missing_ok=True)
    words = {"port": port, "plant": "plant" if plant else "clean"}
    process = subprocess.Popen(
        [sys.executable, *(word.format(**words) for word in command)],
        cwd=PROGRAMS,
        env=child_environment(
            {"MEMGUARD_REPORT_FILE": str(file), "TMPDIR": str(folder)}
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        if name in ("script", "asyncio"):
            assert process.stdout is not None
            assert b"ready" in process.stdout.readline()
        else:
            request(port, "/plant" if plant else "/")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait(10)
    lines = file.read_text().splitlines() if file.exists() else []
    assert 1 == len(lines), (lines, output.decode())
    report: dict[str, Any] = json.loads(lines[0])
    return report


def request(port: int, path: str) -> None:
    """
    One answered request, as soon as the host is up.
    """
    deadline = time.monotonic() + 20
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            assert 200 == connection.getresponse().status
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()


@pytest.mark.system
@pytest.mark.parametrize("name", HOSTS)
def test_each_planted_leak_is_named(name: str, tmp_path: Path) -> None:
    """
    One of each kind, 100 %.
    """
    report = run_host(name, tmp_path, plant=True)
    found = {one["kind"] for one in report["audit"]["findings"]}
    _, expected = HOSTS[name]

    assert not report["clean"]
    assert expected <= found, report["audit"]


@pytest.mark.system
@pytest.mark.parametrize("name", HOSTS)
def test_clean_runs_audit_clean(name: str, tmp_path: Path, long_form: bool) -> None:
    """
    Twice in every test run, 100 times in `make matrix`.
    """
    for _ in range(100 if long_form else 2):
        report = run_host(name, tmp_path, plant=False)
        assert report["clean"], report["audit"]
