"""
Sessions of a process that is killed, and of one whose disk lets it down.
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
from typing import Any

import pytest
from tests.conftest import child_environment

pytestmark = pytest.mark.system

WRITER = Path(__file__).parent / "programs" / "sessions_writer.py"
READY_S = 1.0
WAITED_S = 10.0
DEADLINE_S = 30.0


class Known:
    """
    What the sessions have to contain, by what the writers said before they were killed.
    """

    def __init__(self) -> None:
        #: By id the number of its last use; None where it was ended.
        self.acknowledged: dict[str, int | None] = {}
        #: By id the use that was not acknowledged: it may have happened all the same.
        self.tried: dict[str, int | None] = {}
        self.number = 0
        self.uses = 0

    def heard(self, lines: list[str]) -> None:
        """
        What a writer said; its threads have sessions of their own.
        """
        open_tries: dict[int, tuple[str, int | None]] = {}
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "try":
                number, what, key = rest.split(" ", 2)
                self.number = max(self.number, int(number))
                open_tries[int(number)] = (key, int(number) if what == "put" else None)
            elif word == "ok":
                key, state = open_tries.pop(int(rest))
                self.acknowledged[key] = state
                self.uses += 1
        self.tried = dict(open_tries.values())

    def restored(self, lines: list[str]) -> None:
        """
        What a writer said that was killed while it started, or soon after.
        """
        ready = [at for at, line in enumerate(lines) if line.startswith("ready ")]
        if ready:
            has = [json.loads(line.removeprefix("has ")) for line in lines[: ready[0]]]
            self.check({one["id"]: one for one in has})
            self.heard(lines[ready[0] :])

    def check(self, found: dict[str, dict[str, Any]]) -> None:
        """
        Each session is as it was acknowledged, or as the use in flight has left it.
        """
        numbers: dict[str, int | None] = {
            key: one["number"] for key, one in found.items()
        }
        for key in {*self.acknowledged, *self.tried, *found}:
            allowed = [self.acknowledged.get(key)]
            if key in self.tried:
                allowed.append(self.tried[key])
            assert numbers.get(key) in allowed, key
            self.acknowledged[key] = numbers.get(key)
        self.tried = {}
        for one in found.values():
            assert one["sound"]
            assert [one["number"]] == one["last"]
            assert min(20, one["uses"]) == one["kept"]


class Writer:
    """
    A process that uses sessions, and what it says.
    """

    def __init__(self, directory: Path, number: int) -> None:
        command = [sys.executable, str(WRITER), str(directory)]
        self.process = subprocess.Popen(
            [*command, str(number)],
            env=child_environment(None),
            stdout=subprocess.PIPE,
        )
        self.said = b""
        assert self.process.stdout is not None
        self.stream = self.process.stdout

    def lines_until_ready(self) -> list[str]:
        """
        Which sessions it has restored; the last line says how long that took.
        """
        end = monotonic() + DEADLINE_S
        while not (ready := self._ready()):
            waiting, _, _ = select.select(
                [self.stream], [], [], max(0.0, end - monotonic())
            )
            part = self.stream.read1(1 << 16) if waiting else b""  # type: ignore[attr-defined]
            assert part, f"the writer was never ready: {self.said[-300:]!r}"
            self.said += part
        lines, self.said = self.said[:ready], self.said[ready:]
        return lines.decode().splitlines()

    def _ready(self) -> int:
        at = self.said.find(b"ready ")
        return self.said.find(b"\n", at) + 1 if at >= 0 else 0

    def kill_after(self, seconds: float) -> list[str]:
        """
        Let it go on for a while; all whole lines that it said until its end.
        """
        parts = []

        def read() -> None:
            # Meanwhile: a pipe holds 64 KiB.
            while part := self.stream.read(1 << 16):
                parts.append(part)

        reader = threading.Thread(target=read)
        reader.start()
        threading.Event().wait(seconds)
        self.end()
        reader.join(DEADLINE_S)
        self.stream.close()
        whole, _, _ = (self.said + b"".join(parts)).rpartition(b"\n")
        return whole.decode().splitlines()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def test_killed_at_any_moment(tmp_path: Path, long_form: bool) -> None:
    """
    What was saved before a SIGKILL is there when the next process asks, at once.

    Some are killed while they start, and while they restore what the one before has
    left.
    """
    known = Known()
    dice = random.Random(12)
    restored, from_start = [], []
    rounds = 1000 if long_form else 25
    for number in range(rounds):
        writer = Writer(tmp_path / "state", known.number)
        try:
            if number % 6 == 5:
                known.restored(writer.kill_after(dice.uniform(0.0, 0.4)))
                continue
            *has, ready = writer.lines_until_ready()
            found = [json.loads(line.removeprefix("has ")) for line in has]
            known.check({one["id"]: one for one in found})
            took, since_start = map(float, ready.split()[1:])
            restored.append(took)
            from_start.append(since_start)
            pause = dice.choice((0.0, dice.uniform(0, 0.02), dice.uniform(0, 0.2)))
            known.heard(writer.kill_after(pause))
        finally:
            writer.end()
    # Other work on the machine delays everything, and an interpreter's start above all,
    # so that is counted in the process's own time; but whoever waited for the lease of
    # the dead would take longer than that each time.
    assert median(restored) <= READY_S
    assert max(restored) <= WAITED_S
    assert median(from_start) <= READY_S
    assert known.uses > rounds
