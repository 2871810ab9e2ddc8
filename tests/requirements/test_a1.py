"""
The footprint of a process: what it takes from the system, as record, text and JSON.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

import memguard

MIB = 1 << 20


@pytest.fixture
def guard() -> memguard.Guard:
    """
    A guard that was not started: the footprint needs no thread.
    """
    return memguard.Guard("shop")


def test_everything_opened_is_in_it(guard: memguard.Guard, tmp_path: Path) -> None:
    """
    Descriptors by type, connections, children, threads, logs and sessions: one more of
    each is told as one more.
    """
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.log").write_bytes(b"x" * 1000)
    (logs / "a.log.1").write_bytes(b"x" * 500)
    before = guard.footprint(log_dir=logs)
    end = threading.Event()
    with ExitStack() as stack:
        stack.enter_context((tmp_path / "file").open("w"))
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        client = socket.create_connection(server.getsockname())
        stack.enter_context(client)
        stack.enter_context(server.accept()[0])
        for number in (*os.pipe(), *os.openpty()):
            stack.callback(os.close, number)
        command = [sys.executable, "-c", "input()"]
        child = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE))
        stack.callback(child.kill)
        thread = threading.Thread(target=end.wait)
        thread.start()
        stack.callback(thread.join)
        stack.callback(end.set)
        stack.enter_context(guard.sessions("carts").open("ann"))
        (logs / "b.log").write_bytes(b"x" * 250)
        after = guard.footprint(before, log_dir=logs)

    def more(kind: str) -> int:
        late, early = after.descriptors or {}, before.descriptors or {}
        return late.get(kind, 0) - early.get(kind, 0)

    # One of the pipes is the child's input.
    assert [1, 3, 3, 2] == [more(kind) for kind in ("file", "socket", "pipe", "pty")]
    assert (after.open_descriptors or 0) - (before.open_descriptors or 0) == 9
    early, late = before.connections or {}, after.connections or {}
    assert 2 == late["tcp established"] - early.get("tcp established", 0)
    assert 1 == late["tcp listening"] - early.get("tcp listening", 0)
    assert 1 == (after.children or 0) - (before.children or 0)
    assert 1 == (after.threads or 0) - (before.threads or 0)
    assert (0, 1) == (before.active_sessions, after.active_sessions)
    assert before.log is not None
    assert after.log is not None
    assert (1500, 2) == (before.log.bytes, before.log.files)
    assert (1750, 3) == (after.log.bytes, after.log.files)


def test_memory_of_the_process_and_of_the_host(guard: memguard.Guard) -> None:
    """
    Resident and virtual size, percentage of the host, mappings, faults, uptime.
    """
    before = guard.footprint()
    held = bytearray(b"x") * (40 * MIB)
    after = guard.footprint(before)
    assert before.rss is not None
    assert after.rss is not None
    assert after.virtual is not None
    assert after.rss - before.rss > 35 * MIB
    assert after.virtual > after.rss
    assert after.system is not None
    assert pytest.approx(100 * after.rss / after.system.total) == after.memory_percent
    assert after.system.available is not None
    assert after.system.available < after.system.total
    assert after.mappings is not None
    assert 0 < after.mappings.writable < after.mappings.count
    assert after.mappings.largest[0].bytes >= 40 * MIB
    assert after.rates is not None
    assert (after.rates.minor_faults or 0) > 0
    assert after.uptime_s is not None
    assert before.uptime_s is not None
    assert 0 < before.uptime_s <= after.uptime_s
    assert after.verdict is not None
    assert "python" == after.verdict.verdict
    del held


def test_it_can_be_read_by_people_and_by_machines(guard: memguard.Guard) -> None:
    """
    As text and as JSON with the same figures, each with its source.
    """
    found = guard.footprint(deep=True)
    data = json.loads(json.dumps(found.to_dict()))
    assert "memguard.footprint/1" == data["schema"]
    assert (os.getpid(), found.rss) == (data["pid"], data["memory"]["rss"])
    assert found.open_descriptors == data["descriptors"]["open"]
    assert {"memory", "malloc", "pymalloc", "counters", "limit"} <= set(data["sources"])
    assert data["pages"]["pss"] <= data["pages"]["rss"]
    text = str(found)
    for word in ("resident", "virtual", "uptime", "descriptors", "children", "threads"):
        assert word in text
    assert f"{found.open_descriptors} of {found.descriptors_limit}" in text
    assert "logs off: no directory was named" in text


def test_the_module_tells_it_as_well() -> None:
    """
    `memguard.footprint()` is the default guard's.
    """
    assert os.getpid() == memguard.footprint().pid
