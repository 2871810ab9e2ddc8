from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime, perf_counter
from typing import TYPE_CHECKING

import pytest

from memguard._probes.cgroup import LimitProbe
from memguard._probes.probe import MemoryProbe, SystemProbe
from memguard._probes.procfs import ProcessProbe, held, parse_stat
from memguard._probes.readings import Count, MemoryReading

if TYPE_CHECKING:
    from conftest import RunPython

PAGE = os.sysconf("SC_PAGE_SIZE")
STAT = "42 (a (b) c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 5 0 {ticks} 9 9 0\n"


@pytest.fixture(autouse=True)
def no_probe_goes_meanwhile() -> None:
    """
    Guards of other tests that wait for the collector hold descriptors: not here.
    """
    gc.collect()


def fake(root: Path, statm: str = "1000 250 100 1 0 200 0\n") -> ProcessProbe:
    """
    A process made of files: pages of 4 KiB, started 100 s after boot, now 160 s.
    """
    directory = root / "proc/self"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "statm").write_text(statm)
    ticks = 100 * os.sysconf("SC_CLK_TCK")
    (directory / "stat").write_text(STAT.format(ticks=ticks))
    return ProcessProbe(str(root), page_size=4096, boottime=lambda: 160.0)


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    """
    The kernel's pages, resident first, and where they are from.
    """
    probe = fake(tmp_path)
    assert (250 * 4096, 1000 * 4096) == probe.memory()
    assert MemoryReading(250 * 4096, 1000 * 4096, "statm", 0.0) == probe.reading()
    assert 4096 == probe.page_size
    probe.close()


def test_the_descriptor_stays_open_between_readings(tmp_path: Path) -> None:
    """
    One descriptor for any number of readings, whatever the file says meanwhile.
    """
    probe = fake(tmp_path)
    before = set(held)
    assert (250 * 4096, 1000 * 4096) == probe.memory()
    (number,) = set(held) - before
    fake(tmp_path, "2000 500 100 1 0 200 0\n")
    assert (500 * 4096, 2000 * 4096) == probe.memory()
    assert {number} == set(held) - before
    probe.close()
    assert before == set(held)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    probe.close()


def test_reading_after_close_opens_again(tmp_path: Path) -> None:
    """
    A guard that is started anew reads on.
    """
    probe = fake(tmp_path)
    probe.memory()
    probe.close()
    assert (250 * 4096, 1000 * 4096) == probe.memory()
    probe.close()


def test_a_forgotten_probe_gives_its_descriptor_back(tmp_path: Path) -> None:
    """
    Collected without `close`, it leaves no descriptor behind, and warns nobody.
    """
    probe = fake(tmp_path)
    before = set(held)
    probe.memory()
    (number,) = set(held) - before
    del probe
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_descriptor_that_somebody_closed_is_opened_anew(tmp_path: Path) -> None:
    """
    Programs that become daemons close everything; the next reading is right again.
    """
    probe = fake(tmp_path)
    before = set(held)
    probe.memory()
    (number,) = set(held) - before
    os.close(number)
    assert (250 * 4096, 1000 * 4096) == probe.memory()
    probe.close()


def test_a_descriptor_that_became_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    """
    Neither is a foreign file read as memory, nor is it closed.
    """
    probe = fake(tmp_path)
    before = set(held)
    probe.memory()
    (number,) = set(held) - before
    foreign = tmp_path / "foreign"
    foreign.write_text("1 2 3\n")
    other = os.open(foreign, os.O_RDONLY)
    try:
        os.dup2(other, number)
        assert (250 * 4096, 1000 * 4096) == probe.memory()
        probe.close()
        assert os.fstat(other).st_ino == os.fstat(number).st_ino
    finally:
        os.close(other)
        os.close(number)


def test_without_proc_the_peak_is_marked_as_one(tmp_path: Path) -> None:
    """
    A peak may be hours old (P14): its age is unknown, and its source says what it is.
    """
    probe = ProcessProbe(str(tmp_path))
    assert probe.memory() is None
    found = probe.reading()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert ("rusage-peak", None, None) == (found.source, found.virtual, found.age_s)
    assert found.rss is not None
    assert 0 < found.rss <= peak


def test_without_any_source_memory_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    None, never zero.
    """
    monkeypatch.setitem(sys.modules, "resource", None)
    expected = MemoryReading(None, None, "unavailable", None)
    assert expected == ProcessProbe(str(tmp_path)).reading()


@pytest.mark.parametrize("text", ["", "1 2 3\n", "a b c d e f g\n"])
def test_nonsense_is_no_reading(tmp_path: Path, text: str) -> None:
    """
    A file of another form is not believed.
    """
    probe = fake(tmp_path, text)
    assert probe.memory() is None
    probe.close()


def test_age_and_threads_come_from_the_stat_file(tmp_path: Path) -> None:
    """
    A name may hold blanks and parentheses; the fields after it are found all the same.
    """
    probe = fake(tmp_path)
    stat = probe.stat()
    assert stat is not None
    assert (42, "a (b) c", "S", 7) == (stat.pid, stat.name, stat.state, stat.parent)
    assert (100.0, 60.0) == (probe.start_time(), probe.uptime())
    assert Count(5, "stat") == probe.threads_count()


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    """
    Without /proc nobody knows the age or the threads.
    """
    probe = ProcessProbe(str(tmp_path), boottime=lambda: None)
    assert (None, None) == (probe.start_time(), probe.uptime())
    assert Count(None, "unavailable") == probe.threads_count()
    assert fake(tmp_path).uptime() == 60.0


@pytest.mark.parametrize(
    "text", [None, "", "1 (x)", "x (y) S 1", "1 (x) S " + "z " * 30]
)
def test_nonsense_is_no_stat_line(text: str | None) -> None:
    """
    None instead of an error.
    """
    assert parse_stat(text) is None


def test_the_figures_of_this_process_are_right() -> None:
    """
    Against the kernel's other files, and growing with what is allocated.
    """
    probe = ProcessProbe()
    before = probe.memory()
    ballast = bytearray(b"x" * (32 << 20))
    after = probe.memory()
    assert before is not None
    assert after is not None
    assert after[0] - before[0] > 24 << 20
    status = Path("/proc/self/status").read_text()
    rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    assert after[0] == pytest.approx(int(rss.split()[1]) * 1024, rel=0.05)
    assert len(ballast) == 32 << 20
    probe.close()


def test_the_age_of_a_process_is_right() -> None:
    """
    A child's start lies between the moments before and after it was started.
    """
    earliest = clock_gettime(CLOCK_BOOTTIME)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as child:
        latest = clock_gettime(CLOCK_BOOTTIME)
        stat = parse_stat(Path(f"/proc/{child.pid}/stat").read_text())
        child.communicate(b"\n")
    assert stat is not None
    assert earliest - 0.02 <= stat.started_s <= latest + 0.02
    probe = ProcessProbe()
    uptime = probe.uptime()
    assert uptime is not None
    started = clock_gettime(CLOCK_BOOTTIME) - uptime
    assert started == pytest.approx(probe.start_time(), abs=0.5)


def test_a_thread_more_is_counted() -> None:
    """
    The kernel's count follows a thread that starts.
    """
    probe = ProcessProbe()
    done = threading.Event()
    before = probe.threads_count().value
    thread = threading.Thread(target=done.wait, args=(5,))
    thread.start()
    try:
        assert before is not None
        assert Count(before + 1, "stat") == probe.threads_count()
    finally:
        done.set()
        thread.join(5)


def test_a_forked_child_reads_its_own_memory() -> None:
    """
    The inherited descriptor is the parent's file: the child closes it, opens its own.
    """
    probe = ProcessProbe()
    probe.memory()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - the child's lines are not seen
        ballast = bytearray(b"x" * (64 << 20))
        memory = probe.memory() or (0, 0)
        inherited = sum(
            os.readlink(f"/proc/self/fd/{number}").endswith("/statm")
            for number in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{number}")
        )
        text = f"{memory[0]} {len(ballast)} {inherited} {len(held)}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        rss, ballast_size, inherited_count, held_count = map(int, pipe.read().split())
    os.waitpid(child, 0)
    mine = probe.memory()
    assert mine is not None
    assert rss > ballast_size
    assert 1 == inherited_count
    assert 1 == held_count
    probe.close()


def test_many_threads_share_one_descriptor() -> None:
    """
    Threads that read for the first time at once leave one descriptor, and all read.
    """
    probe = ProcessProbe()
    before = set(held)
    start = threading.Barrier(8)
    found = []

    def read() -> None:
        start.wait(5)
        found.append(probe.memory())

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert 8 == len(found)
    assert None not in found
    assert 1 == len(set(held) - before)
    probe.close()
    assert before == set(held)


def test_a_reading_is_cheap_enough_for_every_tick() -> None:
    """
    A reading from the open descriptor takes microseconds (P18); the bar is wide, for a
    machine that does other things as well.
    """
    probe = ProcessProbe()
    probe.memory()
    best = 1.0
    for _ in range(20):
        start = perf_counter()
        for _ in range(100):
            probe.memory()
        best = min(best, (perf_counter() - start) / 100)
    probe.close()
    assert best < 20e-6


def test_the_probe_of_the_system_is_a_memory_probe() -> None:
    """
    It answers everything a guard asks, and a fake needs `memory` only.
    """
    probe = SystemProbe()
    assert isinstance(probe, MemoryProbe)
    assert "statm" == probe.memory().source
    assert LimitProbe().limit() == probe.limit()
    assert probe.uptime() is not None
    assert (probe.threads_count().value or 0) >= len(probe.python_threads())
    assert threading.get_native_id() in (probe.native_threads() or {})
    assert probe.children() is not None
    assert (probe.descriptors_count().value or 0) >= len(probe.descriptors() or {})
    probe.close()


def test_a_probe_at_the_end_of_the_interpreter_is_silent(run_python: RunPython) -> None:
    """
    Nothing is printed when the last probe goes together with its module.
    """
    code = """
from memguard._probes.probe import SystemProbe

class Holder:
    def __init__(self):
        self.probe = SystemProbe()
        self.cycle = self

SystemProbe.holder = Holder()
kept = SystemProbe()
print(kept.memory().source, SystemProbe.holder.probe.memory().source)
"""
    done = run_python(code)
    assert ("statm statm\n", "", 0) == (done.stdout, done.stderr, done.returncode)
