"""
A store in SQLite whose process is killed at any moment keeps what it acknowledged.
"""

from __future__ import annotations

import json
import random
import select
import subprocess
import sys
import threading
from pathlib import Path
from statistics import median
from time import monotonic
from typing import IO, TYPE_CHECKING, Any

import pytest
from tests.conftest import child_environment

from memguard._clock import SystemClock
from memguard._probes.identity import identity
from memguard._sessions.stores.space import Claim, Entry
from memguard._sessions.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from memguard._sessions.stores.space import Space

pytestmark = pytest.mark.system

WRITER = Path(__file__).parent / "programs" / "store_writer.py"
READY_S = 1.0
WAITED_S = 10.0
DEADLINE_S = 30.0


class Known:
    """
    What has to be in the store, by what the writers said before they were killed.
    """

    def __init__(self) -> None:
        #: By id the number of its last write; who was deleted is not in it.
        self.acknowledged: dict[str, int] = {}
        #: What may have happened as well: ids and number of what was in flight.
        self.in_flight: tuple[int, str, list[str]] | None = None
        self.number = 0
        self.writes = 0

    def heard(self, lines: list[str]) -> None:
        """
        A writer's operations, in their order.
        """
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "try":
                number, _, text = rest.partition(" ")
                ((what, ids),) = json.loads(text).items()
                self.in_flight = (int(number), what, ids)
                self.number = int(number)
            elif word == "ok":
                assert self.in_flight is not None
                assert int(rest) == self.in_flight[0]
                self._done(*self.in_flight)
                self.in_flight = None

    def _done(self, number: int, what: str, ids: list[str]) -> None:
        self.writes += 1
        for key in ids:
            if what == "put":
                self.acknowledged[key] = number
            else:
                self.acknowledged.pop(key, None)

    def check(self, found: dict[str, dict[str, Any]]) -> None:
        """
        What a writer has restored is what was acknowledged, or that with all of the
        operation in flight.
        """
        if self.in_flight is not None:
            number, what, ids = self.in_flight
            self.in_flight = None
            done = [self._shows(found, key, number, what) for key in ids]
            assert all(done) or not any(done), "half of an operation"
            if all(done):
                self._done(number, what, ids)
                self.writes -= 1
        versions = {key: one["version"] for key, one in found.items()}
        assert self.acknowledged == versions
        for key, one in found.items():
            content = one["content"]
            assert (key, one["version"]) == (content["id"], content["number"])
            expected = {page: [key, at] for page, at in content["pages"].items()}
            assert expected == one["pages"]

    def _shows(
        self, found: dict[str, dict[str, Any]], key: str, number: int, what: str
    ) -> bool:
        if what == "put":
            return key in found and found[key]["version"] == number
        # Where there was nothing to delete, it cannot be told.
        return key not in found


def lines_until(stream: IO[bytes], word: str, buffer: bytearray) -> list[str]:
    """
    What a writer says, up to and with the line that begins with *word*.
    """
    lines: list[str] = []
    end = monotonic() + DEADLINE_S
    while not lines or not lines[-1].startswith(word):
        cut = buffer.find(b"\n")
        if cut >= 0:
            lines.append(bytes(buffer[:cut]).decode())
            del buffer[: cut + 1]
            continue
        ready, _, _ = select.select([stream], [], [], max(0.0, end - monotonic()))
        part = stream.read1(1 << 16) if ready else b""  # type: ignore[attr-defined]
        assert part, f"the writer said no {word!r}: {lines[-3:]}"
        buffer += part
    return lines


def one_round(
    path: Path, known: Known, pause: float, beside: Neighbour | None
) -> list[float]:
    """
    A writer from its start to its sudden end; returns the seconds that restoring took,
    and those of the processor from its start until it had restored.
    """
    command = [sys.executable, str(WRITER), str(path)]
    command.append(str(known.number))
    buffer = bytearray()
    with subprocess.Popen(
        command, env=child_environment(None), stdout=subprocess.PIPE
    ) as writer:
        try:
            assert writer.stdout is not None
            *has, ready = lines_until(writer.stdout, "ready", buffer)
            found = [json.loads(line.removeprefix("has ")) for line in has]
            known.check({one["id"]: one for one in found})
            # A pipe holds 64 KiB: who writes more is read meanwhile.
            reader = threading.Thread(target=drain, args=(writer.stdout, buffer))
            reader.start()
            if beside is not None:
                beside.write()
            threading.Event().wait(pause)
            writer.kill()
            reader.join(DEADLINE_S)
        finally:
            writer.kill()
    whole, _, _ = bytes(buffer).decode().rpartition("\n")
    known.heard(whole.splitlines())
    return [float(word) for word in ready.split()[1:]]


def drain(stream: IO[bytes], buffer: bytearray) -> None:
    """
    Read to the end.
    """
    while part := stream.read(1 << 16):
        buffer += part


class Neighbour:
    """
    Another process that has the file open all the time: this one.
    """

    def __init__(self, path: Path) -> None:
        self.space: Space = SqliteStore(path).space("beside", SystemClock())
        self.owner = f"{identity()}:neighbour"
        self.version = 0
        self.space.join(self.owner, 1e6)
        assert isinstance(self.space.claim("neighbour", self.owner), Claim)

    def write(self) -> None:
        """
        Write on, in between the writer's operations.
        """
        for _ in range(20):
            self.version += 1
            one = Entry("neighbour", self.version, None, b"x" * 3000, {}, release=False)
            assert [True] == self.space.put(self.owner, [one])

    def close(self) -> None:
        stored = self.space.read("neighbour")
        assert stored is not None
        assert self.version == stored.version
        self.space.leave(self.owner)
        self.space.close()


def test_killed_at_any_moment(tmp_path: Path, long_form: bool) -> None:
    """
    Nothing acknowledged is lost, nothing is torn or half done, and whoever comes next
    has all of it within a second, though the dead one's lease still runs.

    In half of the rounds another process has the file open, so that the log is
    recovered under its eyes, and in the others nobody has.
    """
    path = tmp_path / "sessions.db"
    known = Known()
    dice = random.Random(11)
    restored, from_start = [], []
    neighbour: Neighbour | None = None
    rounds = 1000 if long_form else 30
    try:
        for number in range(rounds):
            if number % 10 == 5:
                neighbour = Neighbour(path)
            elif number % 10 == 0 and neighbour is not None:
                neighbour.close()
                neighbour = None
            pause = dice.choice((0.0, dice.uniform(0, 0.02), dice.uniform(0, 0.2)))
            took, since_start = one_round(path, known, pause, neighbour)
            restored.append(took)
            from_start.append(since_start)
    finally:
        if neighbour is not None:
            neighbour.close()
    # Other work on the machine delays everything, and an interpreter's start above all,
    # so that is counted in the process's own time; but whoever waited for the lease of
    # the dead would take longer than that each time.
    assert median(restored) <= READY_S
    assert max(restored) <= WAITED_S
    assert median(from_start) <= READY_S
    assert known.writes > rounds
