"""
A sink whose process is killed at any moment leaves whole lines.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest
from tests.conftest import child_environment

from memguard import Guard

pytestmark = pytest.mark.system

WRITER = Path(__file__).parent / "programs" / "sink_writer.py"


def killed_writers(path: Path, run: int, moments: list[float]) -> None:
    """
    Start a writer for each moment, all at once, and kill each at its own.
    """
    pause = threading.Event()
    writers = []
    for number in range(len(moments)):
        command = [sys.executable, str(WRITER), str(path), f"{run}/{number}"]
        writers.append(
            subprocess.Popen(
                command, env=child_environment(None), stdout=subprocess.PIPE
            )
        )
    try:
        for writer, moment in zip(writers, moments, strict=True):
            assert writer.stdout is not None
            assert b"writes\n" == writer.stdout.readline()
            pause.wait(moment)
            writer.kill()
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


def test_killed_at_any_moment(tmp_path: Path, long_form: bool) -> None:
    """
    In all files each line is a record, those of one writer without a gap; the only
    half line there may ever be is the last one, and it is gone with the next open.
    """
    path = tmp_path / "events.jsonl"
    dice = random.Random(4)
    for run in range(100 if long_form else 5):
        writers = 1 + run % 2  # two processes share the path in every other run
        moments = [dice.uniform(0.0, 0.15) for _ in range(writers)]
        killed_writers(path, run, moments)
        *whole, last = path.read_bytes().split(b"\n")
        for line in whole:
            json.loads(line)
        guard = Guard()
        guard.sink(path).write({"run": "after", "thread": 0, "n": run, "pad": ""})
        assert guard.sink(path).info().torn == bool(last)
        guard.shutdown()

    files = sorted(tmp_path.iterdir(), key=lambda one: one.suffix, reverse=True)
    files = [one for one in files if one != path] + [path]
    assert all(one.stat().st_size <= 2 << 20 for one in files)
    assert len(files) <= 5
    numbers: dict[tuple[str, int], list[int]] = defaultdict(list)
    for file in files:
        text = file.read_bytes()
        assert text.endswith(b"\n")
        for line in text.splitlines():
            found = json.loads(line)
            numbers[found["run"], found["thread"]].append(found["n"])
    assert numbers
    for writer, found in numbers.items():
        assert list(range(found[0], found[-1] + 1)) == found, writer
