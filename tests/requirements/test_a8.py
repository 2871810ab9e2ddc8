"""
`memguard check PID`: a running process, looked at from outside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from memguard._cli import check, main
from memguard._clock import give_way
from memguard._probes.process import ProcessView

MIB = 1 << 20
# Not a program that knows memguard: it could not be asked.
SERVICE = """
import os, resource, socket, subprocess, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = bytearray(b"x") * (30 << 20)
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
taken, _ = server.accept()
pipe, pty = os.pipe(), os.openpty()
log = open(sys.argv[1] + "/service.log", "w")
log.write("x" * 1000)
log.flush()
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
more = []
for line in sys.stdin:
    if line == "end\\n":
        break
    if line == "open\\n":
        more = [open(os.devnull) for _ in range(40)]
    print("done", flush=True)
child.communicate(b"x")
"""


class Service:
    """
    The process that is looked at, and its directory of logs.
    """

    def __init__(self, process: subprocess.Popen[str], logs: Path) -> None:
        self.process = process
        self.logs = logs

    def ask(self, what: str) -> None:
        """
        Have it do something, and wait until it is done.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        assert "done\n" == self.process.stdout.readline()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """
    A service with a file, three sockets, pipes, a terminal and a child.
    """
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        found = Service(process, tmp_path)
        found.ask("begin")
        yield found
        process.communicate("end\n", timeout=20)


def checked(
    capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """
    Exit code, output and errors of the command.
    """
    code = main(["check", *(str(one) for one in arguments)])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_it_tells_everything_from_outside(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    RSS, virtual size, percentage, uptime, descriptors, children, logs, connections.
    """
    pid = service.process.pid
    code, out, _ = checked(capsys, pid, "--log-dir", service.logs, "--json")
    found: dict[str, Any] = json.loads(out)
    assert (0, pid, []) == (code, found["pid"], found["findings"])
    memory = found["memory"]
    assert 30 * MIB < memory["rss"] < memory["virtual"]
    assert 0 < memory["percent"] < 100
    assert memory["limit"] > 30 * MIB
    assert 0 < found["uptime"] < 60
    types = found["descriptors"]["by_type"]
    # Its own input and output and the child's input are pipes.
    assert (1, 3, 5, 2) == tuple(
        types[one] for one in ("file", "socket", "pipe", "pty")
    )
    assert 64 == found["descriptors"]["limit"]
    assert {"tcp established": 2, "tcp listening": 1} == found["connections"]
    assert (1, 1) == (found["children"], found["threads"])
    assert (1000, 1) == (
        found["log_directory"]["bytes"],
        found["log_directory"]["files"],
    )
    states = {one["name"]: one["because"] for one in found["capabilities"]}
    assert "only the process itself" in states["allocators"]
    code, out, _ = checked(capsys, pid, "--deep")
    assert 0 == code
    for word in ("resident", "virtual", "uptime", "2 tcp established", "children"):
        assert word in out


def test_it_does_not_touch_the_service(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing runs in it: it is not switched to, and it opens nothing.
    """
    view = ProcessView(service.process.pid)
    deadline = monotonic() + 10
    while monotonic() < deadline:
        stat = view.stat()
        if stat is not None and stat.state == "S":
            break  # else it has answered, and is about to wait for the next line
        give_way()
    before = view.counters(), view.descriptors()
    checked(capsys, service.process.pid, "--deep")
    assert before == (view.counters(), view.descriptors())


def test_a_service_near_a_limit_is_a_finding(
    service: Service,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Exit code 1 above the setting `warning`, which is 0.70 unless it is set.
    """
    service.ask("open")
    code, out, _ = checked(capsys, service.process.pid)
    assert 1 == code
    assert "finding: descriptors: 5" in out
    assert "of 64 are open" in out
    monkeypatch.setenv("MEMGUARD_WARNING", "0.89")
    assert 0 == checked(capsys, service.process.pid)[0]


def test_memory_near_its_limit_is_a_finding(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The limit of the control group against what is used there, without page cache.
    """
    hosts = Path(__file__).parents[1] / "fixtures" / "hosts"
    view = ProcessView(root=str(hosts / "v2-docker-host-view"))
    monkeypatch.setattr(check, "ProcessView", lambda _: view)
    code, out, _ = checked(capsys, os.getpid())
    assert 1 == code
    assert "finding: memory: 78% of the limit of 256MiB (cgroup) is used" in out


def test_what_cannot_be_looked_at_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Exit code 2 for what is no number, and for wrong settings; 3 for no process.
    """
    for wrong in ("x", "-1", "0", "12.5", str(1 << 30)):
        code, out, err = checked(capsys, "--", wrong)
        assert (2, "") == (code, out)
        assert "is not the number of a process" in err
    code, out, err = checked(capsys, (1 << 22) - 1)
    assert (3, "") == (code, out)
    assert "does not exist" in err
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        code, _, err = checked(capsys, ended.pid)
        assert (3, True) == (code, "has ended and waits for its parent" in err)
    monkeypatch.setenv("MEMGUARD_WARNING", "much")
    code, _, err = checked(capsys, os.getpid())
    assert (2, True) == (code, "warning" in err)


def test_what_another_user_hides_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The rest is told, and each missing part by name.
    """
    directory = tmp_path / "proc/42"
    directory.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir()
    stat = "42 (web) S 1 42 42 0 -1 0 70 0 3 0 5 5 0 0 20 0 6 0 100 9 9 0\n"
    (tmp_path / "proc/self/stat").write_text(stat)
    (directory / "stat").write_text(stat)
    (directory / "statm").write_text("9000 5000 100 1 0 4000 0\n")
    view = ProcessView(42, str(tmp_path))
    monkeypatch.setattr(check, "ProcessView", lambda _: view)
    code, out, _ = checked(capsys, 42)
    assert 0 == code
    assert "resident" in out
    for part in ("descriptors", "connections", "mappings"):
        assert f"{part} off: no such file or directory, as /proc says" in out
    (directory / "statm").unlink()
    code, out, err = checked(capsys, 42)
    assert (3, "") == (code, out)
    assert "process 42 cannot be read" in err
