"""
Any process of the same user, from outside: files, sockets, regions, counters.
"""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from memguard._probes import elsewhere
from memguard._probes.connections import connections
from memguard._probes.counters import counters
from memguard._probes.mappings import MappingGroup, mappings, parse_maps, parse_rollup
from memguard._probes.process import ProcessView

MIB = 1 << 20
CHILD = """
import os, socket, subprocess, sys, threading
held = bytearray(b"x") * (30 << 20)
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
taken, _ = server.accept()
pipe = os.pipe()
file = open(sys.argv[1], "w")
end = threading.Event()
for _ in range(2):
    threading.Thread(target=end.wait, daemon=True).start()
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print("ready", flush=True)
input()
child.communicate(b"x")
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessView]:
    """
    A process with a file, a pipe, three sockets, three threads and a child.
    """
    path = tmp_path_factory.mktemp("other") / "a.log"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        yield ProcessView(process.pid)
        process.communicate("\n", timeout=20)


def test_another_process_is_read_from_outside(other: ProcessView) -> None:
    """
    Its memory, threads, age, children and descriptors, not ours.
    """
    pages, stat = other.pages(), other.stat()
    assert pages is not None
    assert pages.own is not None
    assert 30 * MIB < pages.own < pages.rss < pages.virtual
    assert stat is not None
    assert (other.pid, os.getpid(), 3) == (stat.pid, stat.parent, stat.threads)
    assert 0 <= (other.uptime(stat, 0.0) or -1) < 60
    assert 1 == len(other.children() or ())
    found = other.descriptors()
    assert found is not None
    types = [one.type for one in found.values()]
    assert (3, 1) == (types.count("socket"), types.count("file"))
    assert {"tcp established": 2, "tcp listening": 1} == other.connections(found)
    assert (other.descriptors_limit() or 0) > 10
    assert other.exists()
    assert not other.is_self


def test_its_regions_and_counters(other: ProcessView) -> None:
    """
    What it maps, its page faults and the switches of its threads.
    """
    regions, sums, told = other.mappings(), other.rollup(), other.counters()
    assert regions is not None
    assert regions.largest[0].bytes >= 30 * MIB
    assert sums is not None
    assert 30 * MIB < sums.anonymous <= sums.rss
    assert "stat" == told.source
    assert (told.minor_faults or 0) > 30 * MIB // 4096 // 512
    assert (told.voluntary_switches or 0) > 0


def test_a_process_that_is_not_there() -> None:
    """
    Nothing is told about it, and nothing is raised.
    """
    gone = ProcessView(2**22 + 1)
    assert (None, None, None, None) == (
        gone.pages(),
        gone.stat(),
        gone.descriptors(),
        gone.mappings(),
    )
    assert not gone.exists()
    assert gone.uptime(None, 0.0) is None
    assert gone.connections(None) is None
    assert counters(process=str(gone.pid)).minor_faults is None
    assert "no such file" in gone.unreadable()


def test_this_process_is_known_by_both_names() -> None:
    """
    By its number it is seen as from outside, with the counters of getrusage.
    """
    by_number = ProcessView(os.getpid())
    assert by_number.is_self
    assert ProcessView().is_self
    assert "getrusage" == by_number.counters().source
    assert ProcessView().descriptors_limit() == by_number.descriptors_limit()


def test_regions_are_grouped_by_what_backs_them() -> None:
    """
    Reserved space counts and is no candidate for the largest.
    """
    text = (
        "00400000-00500000 r-xp 00000000 08:01 7  /usr/bin/python3.11\n"
        "00500000-00600000 rw-p 00100000 08:01 7  /usr/bin/python3.11\n"
        "01000000-01400000 rw-p 00000000 00:00 0  [heap]\n"
        "10000000-20000000 ---p 00000000 00:00 0 \n"
        "20000000-20800000 rw-p 00000000 00:00 0 \n"
        "30000000-30100000 rw-p 00000000 00:00 0  [anon:libc malloc]\n"
        "40000000-40100000 rw-s 00000000 00:01 9  /data/with a blank.db (deleted)\n"
        "7ff00000-7ff21000 rw-p 00000000 00:00 0  [stack]\n"
        "rubbish\n"
    )
    found = parse_maps(text, largest=4)
    assert (8, 6) == (found.count, found.writable)
    assert (
        MappingGroup("anon", 9 * MIB, 2, 2, 8 * MIB),
        MappingGroup("heap", 4 * MIB, 1, 1, 4 * MIB),
        MappingGroup("/usr/bin/python3.11", 2 * MIB, 2, 1, MIB),
        MappingGroup("/data/with a blank.db (deleted)", MIB, 1, 1, MIB),
    ) == found.largest


def test_a_mapped_file_is_named(tmp_path: Path) -> None:
    """
    By its path, when it is among the largest.
    """
    path = tmp_path / "big.bin"
    with path.open("wb+") as file:
        file.truncate(512 * MIB)
        with mmap.mmap(file.fileno(), 512 * MIB):
            found = mappings(largest=3)
    assert found is not None
    assert str(path) in [one.name for one in found.largest]


@pytest.mark.parametrize("text", ["", "Rss: 4 kB\n", "rubbish\nPss: 4 kB\n"])
def test_sums_of_another_form_tell_nothing(text: str) -> None:
    """
    None, never zero.
    """
    assert parse_rollup(text) is None


def test_swap_is_told(tmp_path: Path) -> None:
    """
    Where it is used, and None where the kernel does not say.
    """
    directory = tmp_path / "proc/self"
    directory.mkdir(parents=True)
    (directory / "statm").write_text("1000 250 100 1 0 200 0\n")
    view = ProcessView(root=str(tmp_path))
    pages = view.pages()
    assert pages is not None
    assert (None, "statm") == (pages.swap, pages.source)
    (directory / "status").write_text("Name:\tx\nVmSwap:\t    64 kB\nThreads:\t1\n")
    assert 64 * 1024 == view.swap()


def test_sockets_of_all_kinds() -> None:
    """
    By the tables of the kernel; what they do not tell is "other".
    """
    left, right = socket.socketpair()
    with left, right, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        inodes = [os.fstat(one.fileno()).st_ino for one in (left, right, sock)]
        assert {"other": 1, "udp": 1, "unix": 2} == connections([*inodes, 1, None])
    assert {} == connections([])
    assert connections([1], root="/nowhere") is None


def test_elsewhere_psutil_tells(tmp_path: Path) -> None:
    """
    Without /proc: memory, threads, age and the host, marked as such.
    """
    view = ProcessView(root=str(tmp_path))
    pages, stat = view.pages(), view.stat()
    assert pages is not None
    assert (True, None, "psutil") == (pages.rss > MIB, pages.shared, pages.source)
    assert stat is not None
    assert (os.getpid(), os.getppid()) == (stat.pid, stat.parent)
    assert 0 <= (view.uptime(stat, stat.started_s + 5) or -1) <= 5
    host = view.system()
    assert host is not None
    assert host.total > 64 * MIB
    assert "no /proc" in view.unreadable()
    assert ProcessView(2**22 + 1, str(tmp_path)).pages() is None
    assert elsewhere.stat(2**22 + 1) is None


def test_without_psutil_nobody_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is optional: then the figures are None.
    """
    monkeypatch.setitem(sys.modules, "psutil", None)  # type: ignore[arg-type]
    view = ProcessView(root=str(tmp_path))
    assert (None, None, None) == (view.pages(), view.stat(), view.system())
    assert not isinstance(elsewhere.installed(), types.ModuleType)
