"""
A real Redis server for a test: on a Unix socket and a port of its own.

It keeps everything in memory, unless it is started with DURABLE.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

BINARIES = ("redis-server", "valkey-server")
START_WITHIN = 10.0
END_WITHIN = 5.0
PORTS_TO_TRY = 5

#: Every change is on the disk before its answer is sent: nothing is lost by a kill.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def binary() -> str:
    """
    The path of a server; without one the test fails in CI and is skipped elsewhere.
    """
    for name in BINARIES:
        found = shutil.which(name)
        if found is not None:
            return found
    missing = (
        f"none of {', '.join(BINARIES)} is installed; these tests need a real server:"
        " `make redis` as root, or Debian: apt install redis-server"
    )
    if os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def free_port() -> int:
    """
    A port that nobody listens on at this moment.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """
    One server process; `path` is its socket, `port` where it listens on 127.0.0.1.

    It can be stopped, killed, paused and started again; the port stays the same, and
    so does what it had written. It does not outlive the process of the tests.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.path = str(directory / "redis.sock")
        self.port = 0
        self.options = options
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """
        Start, and come back when it accepts connections.
        """
        server = binary()
        told = ""
        for _ in range(PORTS_TO_TRY):
            # A port that was free may be taken before the server has it.
            port = self.port or free_port()
            told = self._try(server, port)
            if self.process is not None:
                self.port = port
                return self
        pytest.fail(f"{server} did not start:\n{told}", pytrace=False)

    def _try(self, server: str, port: int) -> str:
        keeper = shutil.which("setpriv")
        process = subprocess.Popen(
            [
                *((keeper, "--pdeathsig", "KILL") if keeper else ()),
                server,
                *("--bind", "127.0.0.1", "--port", str(port)),
                *("--unixsocket", self.path, "--dir", str(self.directory)),
                *("--save", "", "--appendonly", "no", "--daemonize", "no"),
                *self.options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # What it says after its start is little, and fits into the pipe.
        assert process.stdout is not None
        deadline = threading.Timer(START_WITHIN, process.kill)
        deadline.start()
        told = []
        try:
            for line in process.stdout:
                told.append(line)
                if "eady to accept connections" in line:
                    self.process = process
                    if "unix" in line or self._listens():
                        break
            else:
                self.process = None
        finally:
            deadline.cancel()
            deadline.join()
        if self.process is None:
            process.kill()
            process.communicate()
        return "".join(told)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.path) == 0

    def signal(self, number: signal.Signals) -> None:
        """
        Send a signal: SIGSTOP pauses it, SIGCONT lets it go on.
        """
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """
        End it at once, without any farewell to its clients.
        """
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """
        End it in order.
        """
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.communicate(timeout=END_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
