"""
Load for the two examples, from a process of its own. Counts what failed, and when.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from dataclasses import dataclass, field

__all__ = ("ChatLoad", "Tally", "WebLoad", "get_json", "wait_until_up")

_TIMEOUT_S = 15.0


@dataclass
class Tally:
    """
    Answers and failures. What began after the stop was asked for may be refused.
    """

    done: int = 0
    refused_after_stop: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop_asked: float = float("inf")

    def well(self) -> None:
        with self.lock:
            self.done += 1

    def failed(self, what: str, begun: float) -> None:
        with self.lock:
            if begun >= self.stop_asked:
                self.refused_after_stop += 1
            else:
                self.failures.append(what)


def get_json(port: int, path: str) -> dict[str, object]:
    """
    One GET, decoded.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        body: dict[str, object] = json.loads(connection.getresponse().read())
        return body
    finally:
        connection.close()


def wait_until_up(port: int, seconds: float = 30.0) -> None:
    """
    Wait until somebody accepts connections on *port*.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class WebLoad:
    """
    Clients of the Flask example: posts, reads and streamed exports.
    """

    def __init__(self, port: int, clients: int) -> None:
        self.tally = Tally()
        self._port = port
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(number,), daemon=True)
            for number in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> Tally:
        """
        Begin no more requests, wait for those under way.
        """
        self._over.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_S)
        return self.tally

    def _client(self, number: int) -> None:
        dice = random.Random(number)
        while not self._over.is_set():
            begun = time.monotonic()
            tenant = f"tenant-{dice.randrange(8)}"
            kind = dice.choices(("post", "read", "export"), (6, 3, 1))[0]
            try:
                self._request(kind, tenant, f"user-{number}")
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.tally.failed(f"{kind}: {type(error).__name__} {error}", begun)
                if begun >= self.tally.stop_asked:
                    return
            else:
                self.tally.well()

    def _request(self, kind: str, tenant: str, user: str) -> None:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=_TIMEOUT_S
        )
        try:
            headers = {"X-User": user, "Content-Type": "application/json"}
            path = f"/{tenant}/" + ("export" if kind == "export" else "messages")
            method, body = "GET", None
            if kind == "post":
                method, body = "POST", json.dumps({"text": "hello " * 5})
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, f"status {answer.status}"
            assert kind == "export" or json.loads(text)["history"] is not None
        finally:
            connection.close()


class ChatLoad:
    """
    Clients of the asyncio example: each talks, leaves, and comes back by its name.
    """

    def __init__(self, port: int, clients: int) -> None:
        self.tally = Tally()
        self._port = port
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._client, args=(number,), daemon=True)
            for number in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> Tally:
        self._over.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_S)
        return self.tally

    def _client(self, number: int) -> None:
        while not self._over.is_set():
            try:
                self._talk(f"user-{number}")
            except (OSError, AssertionError) as error:
                # A connection has no end of its own: what counts is when it broke.
                now = time.monotonic()
                self.tally.failed(f"chat: {type(error).__name__} {error}", now)
                if now >= self.tally.stop_asked:
                    return

    def _talk(self, name: str) -> None:
        with (
            socket.create_connection(
                ("127.0.0.1", self._port), timeout=_TIMEOUT_S
            ) as peer,
            peer.makefile("rwb") as lines,
        ):
            lines.write(f"{name}\n".encode())
            lines.flush()
            hello = _read_until(lines, b"hello")
            assert hello, "no greeting"
            for _ in range(20):
                if self._over.is_set():
                    return
                lines.write(b"a line\n/history\n")
                lines.flush()
                if not _read_until(lines, b"["):
                    now = time.monotonic()
                    self.tally.failed("chat: the server hung up", now)
                    return
                self.tally.well()


def _read_until(lines: object, start: bytes) -> bytes:
    """
    The next line that begins with *start*; what others said is passed over.
    """
    while True:
        line: bytes = lines.readline()  # type: ignore[attr-defined]
        if not line or line.startswith(start):
            return line
