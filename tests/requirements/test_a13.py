"""
Idle sessions hibernate: resources closed, state on disk, restored when they come back.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import memguard
from memguard.testing import FakeClock

WRITER = """
import sys
from memguard import Guard

guard = Guard("chat", state_dir=sys.argv[1])
guard.start()
chat = guard.sessions("chat", durable=True)
for number in range(10_000):
    with chat.open("ann") as session:
        session.data["number"] = number
        session.ring("log", of=int, max_entries=500).append(number)
    print(number, flush=True)
"""


class Socket:
    """
    Something that has to be closed.
    """

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_ten_idle_minutes_close_everything_and_lose_nothing(tmp_path: Path) -> None:
    """
    What it owned is closed, what it held is on disk, and comes back when it is used.
    """
    clock = FakeClock()
    rebuilt: list[str] = []
    with memguard.Guard("app", clock=clock, state_dir=str(tmp_path)) as guard:
        chat = guard.sessions("chat")
        chat.on_restore(lambda session: rebuilt.append(session.id))
        socket = Socket()
        with chat.open("ann") as session:
            session.data["name"] = "Ann"
            session.ring("messages", of=str).extend(["hello", "anybody?"])
            session.series("latency").add(1.5)
            timer = session.timer(lambda: None, every="1h")
            session.register(socket, keep=True)
        clock.advance("9m")
        assert (1, False) == (chat.live, socket.closed)
        clock.advance("2m")
        assert (0, True, True) == (chat.live, socket.closed, timer.closed)
        assert 1 == chat.stats().hibernated
        assert [] == [node for node in guard.walk() if node.kind == "session"]
        assert any(tmp_path.rglob("*.sqlite3"))
        with chat.open("ann") as session:
            assert "Ann" == session.data["name"]
            assert ["hello", "anybody?"] == list(session.ring("messages", of=str))
            assert [1.5] == session.series("latency").recent(1)
        assert ["ann"] == rebuilt


def test_it_is_restored_once_however_many_ask(tmp_path: Path) -> None:
    """
    Lazily, when it is first opened; whoever comes meanwhile waits for the same one.
    """
    entered = threading.Barrier(8)
    restored: list[int] = []
    found: list[int] = []
    with memguard.Guard("app", clock=FakeClock(), state_dir=str(tmp_path)) as guard:
        chat = guard.sessions("chat")

        @chat.on_restore
        def slowly(session: memguard.Session) -> None:
            restored.append(id(session))

        with chat.open("ann") as session:
            session.data["n"] = 1
        chat.hibernate("ann")
        assert [] == restored

        def use() -> None:
            entered.wait(5)
            with chat.open("ann") as session:
                found.append(id(session))
                entered.wait(5)

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert (1, 8) == (len(restored), len(found))
        assert set(restored) == set(found)


@pytest.mark.system
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """
    The process dies in the middle of anything; the next one has its last word.
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert writer.stdout is not None
    acknowledged = -1
    for line in writer.stdout:
        acknowledged = int(line)
        if acknowledged >= 300:
            break
    writer.send_signal(signal.SIGKILL)
    for line in writer.stdout:
        if line.endswith("\n"):
            acknowledged = int(line)
    writer.stdout.close()
    assert -signal.SIGKILL == writer.wait(10)
    with memguard.Guard("chat", state_dir=str(tmp_path)) as guard:
        chat = guard.sessions("chat", durable=True)
        with chat.open("ann") as session:
            ring = session.ring("log", of=int, max_entries=500)
            last = session.data["number"]
            assert last in (acknowledged, acknowledged + 1)
            held = list(ring)
            assert list(range(last + 1))[-500:] == held
            assert held[-150:-50] == list(ring.page(held[-50] + 1, 100))
