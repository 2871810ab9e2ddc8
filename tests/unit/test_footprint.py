"""
What the footprint says where something cannot be told, and how it is written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memguard import Guard
from memguard._clock import SystemClock
from memguard._footprint import footprint_of_process
from memguard._probes.process import ProcessView
from memguard.testing import FakeClock, FakeProbe

if TYPE_CHECKING:
    from conftest import RunPython

HOSTS = Path(__file__).parents[1] / "fixtures" / "hosts"
MIB = 1 << 20
STAT = "42 (web server) S 1 42 42 0 -1 0 70 0 3 0 5 5 0 0 20 0 6 0 100 9 9 0\n"


def host(tmp_path: Path, **files: str) -> ProcessView:
    """
    Process 42 on a made-up host; a double underscore in a name is a slash.
    """
    directory = tmp_path / "proc/42"
    (directory / "fd").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/stat").write_text(STAT)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1048576 kB\n")
    for name, text in {"stat": STAT, "statm": "9000 5000 100 1 0 4000 0\n"}.items():
        (directory / name).write_text(text)
    for name, text in files.items():
        (directory / name).write_text(text)
    return ProcessView(42, str(tmp_path), boottime=lambda: 101.0)


def named(found: Any) -> dict[str, str]:
    """
    The states of the capabilities by name.
    """
    return {one.name: one.state for one in found.capabilities}


def test_a_process_of_files(tmp_path: Path) -> None:
    """
    Each figure from its file, and everything without a file said to be unknown.
    """
    limits = "Max open files            64                 128               files\n"
    view = host(tmp_path, limits=limits)
    (tmp_path / "proc/42/fd/0").symlink_to("/dev/pts/1")
    (tmp_path / "proc/42/fd/3").symlink_to("socket:[77]")
    found = footprint_of_process(view, SystemClock())
    page = os.sysconf("SC_PAGE_SIZE")
    assert (42, "web server", 6) == (found.pid, found.name, found.threads)
    assert (5000 * page, 9000 * page) == (found.rss, found.virtual)
    assert pytest.approx(100 * 5000 * page / (1 << 30)) == found.memory_percent
    assert {"pty": 1, "socket": 1} == found.descriptors
    assert (2, 64) == (found.open_descriptors, found.descriptors_limit)
    assert (70, 3) == (found.counters.minor_faults, found.counters.major_faults)
    assert (None, None, None) == (found.mappings, found.connections, found.log)
    assert 0 == found.children
    assert pytest.approx(101 - 100 / os.sysconf("SC_CLK_TCK")) == found.uptime_s
    states = named(found)
    assert ("supported", "off", "off") == (
        states["memory"],
        states["connections"],
        states["mappings"],
    )
    assert "the process itself" in str(found)
    assert found.sample is None
    assert found.verdict is None


def test_the_limit_of_a_control_group_is_held_against_its_working_set() -> None:
    """
    Not against the memory of one process, nor against page cache.
    """
    view = ProcessView(root=str(HOSTS / "v2-kubernetes-pod-limit"))
    found = footprint_of_process(view, SystemClock())
    assert pytest.approx(800 / 1024) == found.limit_ratio
    text = str(found)
    assert "1GiB (cgroup), 78.1% used" in text
    assert "800MiB used without page cache, 3 killed for want of memory" in text


def test_the_limit_of_the_address_space_is_held_against_virtual_memory() -> None:
    """
    That is what it limits.
    """
    found = footprint_of_process(ProcessView(root=str(HOSTS / "rlimit")), SystemClock())
    assert "rlimit" == found.limit.source
    assert found.virtual is not None
    assert found.virtual / (900 * MIB) == found.limit_ratio


def test_a_made_up_probe_tells_memory_alone() -> None:
    """
    The rest is off, because it would be another process's.
    """
    guard = Guard(clock=FakeClock(), probe=FakeProbe(rss="64MiB", limit="128MiB"))
    found = guard.footprint()
    assert (64 * MIB, 128 * MIB, None) == (
        found.rss,
        found.limit.limit_bytes,
        found.verdict,
    )
    assert {"off"} == set(named(found).values()) - {"supported"}
    assert "the guard was given a probe that does not tell" in str(found)


def test_rates_are_by_the_guards_clock() -> None:
    """
    Ten seconds of a fake clock are ten seconds; no time at all has no rates.
    """
    clock = FakeClock()
    guard = Guard(clock=clock)
    first = guard.footprint()
    assert guard.footprint(first).rates is None
    clock.advance("10s")
    held = bytearray(b"x") * (8 * MIB)
    later = guard.footprint(first)
    assert later.rates is not None
    assert 10.0 == later.rates.seconds
    expected = (later.counters.minor_faults or 0) - (first.counters.minor_faults or 0)
    assert pytest.approx(expected / 10) == later.rates.minor_faults
    assert "a second)" in str(later)
    del held


def test_a_wrong_argument_is_refused() -> None:
    """
    With a text that names it and says what it should be.
    """
    since: Any = 12.0
    with pytest.raises(
        TypeError, match=r"an earlier result of footprint\(\), not a float"
    ):
        Guard().footprint(since)


def test_a_directory_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """
    A file is no directory; one that is not there holds nothing.
    """
    (tmp_path / "file").write_text("x")
    found = Guard().footprint(log_dir=tmp_path / "file")
    assert (None, "off") == (found.log, named(found)["logs"])
    empty = Guard().footprint(log_dir=tmp_path / "nowhere").log
    assert empty is not None
    assert (0, 0) == (empty.bytes, empty.files)


def test_nothing_of_it_is_loaded_before_somebody_asks(run_python: RunPython) -> None:
    """
    A guard that reads memory and health needs neither ctypes nor the verdict.
    """
    code = """
import sys
import memguard
with memguard.Guard() as guard:
    guard.memory(), guard.health()
    names = ("memguard._footprint", "memguard._leaks.memory", "ctypes",
             "memguard._probes.process", "psutil")
    print([name for name in names if name in sys.modules])
    guard.footprint()
    print([name for name in names if name in sys.modules])
"""
    done = run_python(code)
    assert "" == done.stderr
    before, after = done.stdout.splitlines()
    assert "[]" == before
    assert "psutil" not in after
    assert "_footprint" in after


def test_asking_leaves_nothing_behind() -> None:
    """
    No descriptor, no thread, and no more memory with each look.
    """
    guard = Guard()
    first = guard.footprint()
    for _ in range(20):
        last = guard.footprint()
    assert (first.descriptors, first.threads) == (last.descriptors, last.threads)
    assert first.sample is not None
    assert last.sample is not None
    before, after = first.sample.pymalloc, last.sample.pymalloc
    assert abs((after.blocks or 0) - (before.blocks or 0)) < 2_000
