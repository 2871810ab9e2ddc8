"""
Load for the two examples, from a process of its own. Counts what failed, and when.

The clients of the Flask example remember what they were answered, and compare each
history with it: nothing of that may ever be missing, whoever answers.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = (
    "ChatLoad",
    "Remembered",
    "Tally",
    "Visitor",
    "WebLoad",
    "get_json",
    "wait_until_up",
)

_TIMEOUT_S = 15.0
# What was in hand when a worker was killed fails within so long.
_AFTERMATH_S = 3.0
_KEPT = 20


@dataclass
class Tally:
    """
    Answers and failures. What began after the stop was asked for may be refused, and
    what a killed worker had in hand may break off.
    """

    done: int = 0
    refused_after_stop: int = 0
    cut_off: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop_asked: float = float("inf")
    killed: float = float("inf")

    def well(self) -> None:
        with self.lock:
            self.done += 1

    def failed(self, what: str, begun: float, *, broken: bool = False) -> None:
        with self.lock:
            if begun >= self.stop_asked:
                self.refused_after_stop += 1
            elif broken and 0 <= time.monotonic() - self.killed < _AFTERMATH_S:
                self.cut_off += 1
            else:
                self.failures.append(what)


class Remembered:
    """
    What one user has posted to one tenant, as far as it was answered.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.unsure: set[str] = set()
        self.posted = 0

    def check(self, history: list[str]) -> None:
        """
        AssertionError unless the newest messages are there, in order, each once.

        A message without an answer may be there or not.
        """
        known = [text for text in history if text not in self.unsure]
        expected = self.texts[-len(known) :] if known else []
        assert known == expected, "a history is not what was answered"
        enough = min(_KEPT - len(self.unsure), len(self.texts))
        assert len(known) >= enough, "an answered message is missing"


def get_json(port: int, path: str, user: str = "") -> dict[str, Any]:
    """
    One GET, decoded.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"X-User": user} if user else {})
        body: dict[str, Any] = json.loads(connection.getresponse().read())
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
        #: By tenant and user; each user is one client, which asks one thing at a time.
        self.said: dict[tuple[str, str], Remembered] = {}
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

    def answered(self) -> int:
        """
        How many messages were answered, and so must not get lost.
        """
        return sum(one.posted for one in list(self.said.values()))

    def come_back(self, port: int) -> int:
        """
        Ask a service that was started again for every history; gives how many it has.
        """
        for (tenant, user), remembered in self.said.items():
            answer = get_json(port, f"/{tenant}/messages", user)
            remembered.check(answer["history"])
        return len(self.said)

    def _client(self, number: int) -> None:
        dice = random.Random(number)
        while not self._over.is_set():
            begun = time.monotonic()
            tenant = f"tenant-{dice.randrange(8)}"
            kind = dice.choices(("post", "read", "export"), (6, 3, 1))[0]
            try:
                self._request(kind, tenant, f"user-{number}")
            except (OSError, http.client.HTTPException, AssertionError) as error:
                what = f"{kind}: {type(error).__name__} {error}"
                broken = not isinstance(error, AssertionError)
                self.tally.failed(what, begun, broken=broken)
                if begun >= self.tally.stop_asked:
                    return
            else:
                self.tally.well()

    def _request(self, kind: str, tenant: str, user: str) -> None:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=_TIMEOUT_S
        )
        remembered = self.said.setdefault((tenant, user), Remembered())
        sent = f"hello for the {remembered.posted + 1}. time, {time.monotonic_ns()}"
        answered = False
        try:
            headers = {"X-User": user, "Content-Type": "application/json"}
            path = f"/{tenant}/" + ("export" if kind == "export" else "messages")
            method, body = "GET", None
            if kind == "post":
                method, body = "POST", json.dumps({"text": sent})
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, f"status {answer.status}"
            answered = True
        finally:
            connection.close()
            if kind == "post" and answered:
                remembered.posted += 1
                remembered.texts = [*remembered.texts, sent][-2 * _KEPT :]
            elif kind == "post":
                remembered.unsure.add(sent)
        if kind != "export":
            remembered.check(json.loads(text)["history"])


class ChatLoad:
    """
    Clients of the asyncio example: each talks, leaves, and comes back by its name.
    """

    def __init__(self, port: int, clients: int) -> None:
        self.tally = Tally()
        #: Greetings that each has heard.
        self.visits: dict[str, int] = {}
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
        with Visitor(self._port, name) as visitor:
            # It may have been greeted before without hearing of it.
            assert visitor.visit > self.visits.get(name, 0), "a visit was forgotten"
            self.visits[name] = visitor.visit
            for _ in range(20):
                if self._over.is_set():
                    return
                visitor.say("a line")
                if not visitor.ask("/history"):
                    now = time.monotonic()
                    self.tally.failed("chat: the server hung up", now)
                    return
                self.tally.well()


class Visitor:
    """
    One connection to the asyncio example, greeted already.
    """

    def __init__(self, port: int, name: str) -> None:
        self._peer = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._lines = self._peer.makefile("rwb")
        try:
            self.say(name)
            self.hello = self._next(b"hello").decode().strip()
            assert self.hello, "no greeting"
        except BaseException:
            self.close()
            raise
        self.visit = int(self.hello.rpartition(" ")[2])

    def say(self, line: str) -> None:
        self._lines.write(f"{line}\n".encode())
        self._lines.flush()

    def ask(self, line: str) -> Any:
        """
        The answer to a command, None when the server hung up.
        """
        self.say(line)
        answer = self._next(b"{" if line == "/stats" else b"[")
        return json.loads(answer) if answer else None

    def close(self) -> None:
        for one in (self._lines, self._peer):
            try:
                one.close()
            except OSError:
                continue  # what was still to be sent will not be

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self, start: bytes) -> bytes:
        """
        The next line that begins with *start*; what others said is passed over.
        """
        while True:
            line: bytes = self._lines.readline()
            if not line or line.startswith(start):
                return line
