"""
Real servers under real load, stopped by SIGTERM at a chosen moment.

A cell of the matrix is one host, one moment and one arm (with memguard, or the same
program without). `run_cell` starts it, brings it to the moment, signals, and returns
what happened; every wait has a deadline. It judges nothing.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

from tests.conftest import child_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = Path(__file__).parent / "programs"
BODY = 1024
STREAM = 8 * 1024
DEADLINE_S = 20.0


class Moment(str, Enum):
    STARTING = "starting"
    IDLE = "idle"
    REQUEST = "mid-request"
    STREAM = "mid-stream"
    TIMER = "mid-timer"
    STOPPING = "during-shutdown"


@dataclass(frozen=True)
class Host:
    """
    How to start one kind of server. `bare`: nobody but memguard handles SIGTERM.
    """

    name: str
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    workers: int = 1
    bare: bool = False
    at_once: int = 3

    def argv(self, port: int) -> list[str]:
        return [sys.executable, *(part.format(port=port) for part in self.command)]


GUNICORN = ("-m", "gunicorn", "--config", "gunicorn_conf.py")
UVICORN = ("uvicorn_main.py", "asgi_service:application", "--port", "{port}")

HOSTS = (
    Host("script", ("script_main.py",), bare=True),
    Host("script-handler", ("script_main.py",), env={"PREVIOUS": "1"}),
    Host("asyncio", ("asyncio_main.py",), bare=True),
    Host("asyncio-handler", ("asyncio_main.py",), env={"PREVIOUS": "1"}),
    Host("uvloop", ("asyncio_main.py",), env={"LOOP": "uvloop"}, bare=True),
    Host("uvicorn", UVICORN),
    Host("uvicorn-2", (*UVICORN, "--workers", "2"), workers=2),
    Host(
        "gunicorn-sync",
        (*GUNICORN, "wsgi_service:application"),
        workers=2,
        at_once=1,
    ),
    Host(
        "gunicorn-gthread",
        (*GUNICORN, "--threads", "4", "flask_service:application"),
        workers=2,
    ),
    Host(
        "gunicorn-preload",
        (*GUNICORN, "--preload", "--threads", "4", "flask_service:application"),
        workers=2,
    ),
    Host(
        "gunicorn-uvicorn",
        (
            *GUNICORN,
            "--worker-class",
            "uvicorn_worker.UvicornWorker",
            "asgi_service:application",
        ),
        workers=2,
    ),
)


@dataclass
class Outcome:
    """
    What a cell did: its status, its evidence by event, the answers to its clients.
    """

    status: int | None
    seconds: float
    lines: list[tuple[str, str, str]]
    bodies: list[int | str]
    log: str

    def pids(self, event: str) -> Counter[str]:
        return Counter(pid for name, pid, _ in self.lines if name == event)

    def details(self, event: str) -> list[str]:
        return [detail for name, _, detail in self.lines if name == event]

    def count(self, event: str) -> int:
        return sum(name == event for name, _, _ in self.lines)


class NotInTime(Exception):
    """
    A process did not get somewhere within its deadline.
    """


class Running:
    """
    One server process with its workers, its evidence file and its log.
    """

    def __init__(self, host: Host, arm: str, place: Path, env: dict[str, str]) -> None:
        self.evidence = place / "evidence"
        self.log = place / "log"
        self.port = free_port()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                host.argv(self.port),
                cwd=PROGRAMS,
                env=child_environment(
                    {
                        "ARM": arm,
                        "EVIDENCE": str(self.evidence),
                        "PORT": str(self.port),
                        "PYTHONDONTWRITEBYTECODE": "1",
                        **host.env,
                        **env,
                    }
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lines(self) -> list[tuple[str, str, str]]:
        try:
            text = self.evidence.read_text()
        except FileNotFoundError:
            return []
        parts = (line.split(" ", 2) for line in text.splitlines())
        return [(one[0], one[1], one[2] if len(one) > 2 else "") for one in parts]

    def count(self, event: str) -> int:
        return sum(name == event for name, _, _ in self.lines())

    def wait_for(self, what: str, reached: Callable[[], bool]) -> None:
        deadline = monotonic() + DEADLINE_S
        while not reached():
            if monotonic() > deadline or self.process.poll() is not None:
                msg = f"no {what}; log:\n{self.log.read_text()[-4000:]}"
                raise NotInTime(msg)
            sleep(0.005)

    def wait_for_event(self, event: str, times: int = 1) -> None:
        self.wait_for(f"{times} x {event}", lambda: self.count(event) >= times)

    def signal(self, number: int = signal.SIGTERM) -> None:
        try:
            self.process.send_signal(number)
        except ProcessLookupError:
            return  # it has ended already

    def end(self) -> int | None:
        """
        Wait for the end; None, and everything killed, when it does not come.
        """
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Client(threading.Thread):
    """
    One request; `got` is the number of bytes, or the error, of its answer.
    """

    def __init__(self, port: int, path: str) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.path = path
        self.got: int | str = "no answer"
        self.start()

    def run(self) -> None:
        try:
            self.got = len(get(self.port, self.path))
        except (OSError, http.client.HTTPException) as error:
            self.got = type(error).__name__


def get(port: int, path: str) -> bytes:
    """
    The body of a GET, whole.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().read()
    finally:
        connection.close()


def answers(port: int) -> bool:
    try:
        return get(port, "/quick") == b"ok"
    except (OSError, http.client.HTTPException):
        return False


_ports: set[int] = set()
_ports_lock = threading.Lock()


def free_port() -> int:
    """
    A port nobody listens on, and that this process has not given out before.
    """
    with _ports_lock:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in _ports:
                _ports.add(port)
                return port


def run_cell(host: Host, moment: Moment, arm: str, place: Path) -> Outcome:
    """
    Start, bring to the moment, signal, wait for the end.
    """
    place.mkdir(parents=True)
    env = {"SLOW_CLOSE": "0.4"} if moment is Moment.STOPPING else {}
    running = Running(host, arm, place, env)
    clients: list[Client] = []
    try:
        clients.extend(reach(running, host, moment, arm))
        signalled = monotonic()
        running.signal()
        if moment is Moment.STOPPING:
            if arm == "memguard":
                running.wait_for_event("closing")
            else:
                sleep(0.1)
            running.signal()
        status = running.end()
        seconds = monotonic() - signalled
        for client in clients:
            client.join(DEADLINE_S)
    finally:
        running.kill()
    return Outcome(
        status,
        seconds,
        running.lines(),
        [client.got for client in clients],
        running.log.read_text(),
    )


def reach(running: Running, host: Host, moment: Moment, arm: str) -> Iterator[Client]:
    """
    Wait until the moment has come; the clients are in the middle of their requests.
    """
    if moment is Moment.STARTING:
        running.wait_for_event("starting", host.workers)
        return
    running.wait_for_event("worker", host.workers)
    running.wait_for("answer", lambda: answers(running.port))
    if moment is Moment.REQUEST:
        for _ in range(host.at_once):
            yield Client(running.port, "/slow")
        running.wait_for_event("slow", host.at_once)
    elif moment is Moment.STREAM:
        for _ in range(host.at_once):
            yield Client(running.port, "/stream")
        running.wait_for("chunks", lambda: running.count("chunk") >= 2 * host.at_once)
    elif moment is Moment.TIMER and arm == "memguard":
        running.wait_for_event("tick-begin", running.count("tick-begin") + 1)
