"""
A real control group: its limit, a change of it, and page cache that is no used memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memguard._clock import SystemClock
from memguard._footprint import footprint_of_process
from memguard._probes.process import ProcessView

pytestmark = pytest.mark.system

MIB = 1 << 20
MEMBER = """
import os, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))
held = bytearray(b"x") * (20 << 20)
with open(sys.argv[2], "wb") as file:
    file.write(b"x" * (25 << 20))
    file.flush()
    os.fsync(file.fileno())
print("ready", flush=True)
input()
"""


class Group:
    """
    A control group below our own, and the file that holds its limit.
    """

    def __init__(self, directory: str, version: int) -> None:
        self.directory = directory
        name = "memory.max" if version == 2 else "memory.limit_in_bytes"
        self.file = Path(directory, name)

    def limit(self, size: int) -> None:
        """
        Allow so many bytes from now on.
        """
        self.file.write_text(str(size), encoding="ascii")


@pytest.fixture
def group() -> Iterator[Group]:
    """
    A group of our own; where none may be made, the made-up hosts have to do.
    """
    reason = "there is no control group of memory"
    for place in ProcessView()._limits.places() or ():
        found = Group(f"{place.directory}/memguard-test-{os.getpid()}", place.version)
        try:
            Path(found.directory).mkdir()
        except OSError as error:
            reason = f"no control group can be made here: {error.strerror}"
            continue
        try:
            found.limit(64 * MIB)
        except OSError as error:
            Path(found.directory).rmdir()
            reason = f"groups below ours have no limit: {error.strerror}"
            continue
        yield found
        Path(found.directory).rmdir()
        return
    pytest.skip(reason)


def test_the_limit_of_a_real_group_and_a_change_of_it(
    group: Group, tmp_path: Path
) -> None:
    """
    Found from outside, at once after a resize, against the working set alone.
    """
    command = [sys.executable, "-c", MEMBER, group.directory, str(tmp_path / "file")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as member:
        assert member.stdout is not None
        assert "ready\n" == member.stdout.readline()
        view = ProcessView(member.pid)
        first = footprint_of_process(view, SystemClock())
        group.limit(96 * MIB)
        second = footprint_of_process(view, SystemClock())
        member.communicate("\n", timeout=20)
    assert (64 * MIB, "cgroup") == (first.limit.limit_bytes, first.limit.source)
    assert 96 * MIB == second.limit.limit_bytes
    assert first.group is not None
    assert first.group.working_set is not None
    assert first.group.charged is not None
    assert 20 * MIB < first.group.working_set < 45 * MIB
    assert first.group.charged > first.group.working_set
    assert first.limit_ratio is not None
    assert second.limit_ratio is not None
    assert second.limit_ratio < first.limit_ratio < 0.7
    assert 0 == first.group.oom_kills
