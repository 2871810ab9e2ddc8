from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memguard._probes.cgroup import LimitProbe, effective_limit, memory_limit
from memguard._probes.readings import LimitReading

if TYPE_CHECKING:
    from conftest import RunPython

MIB = 1 << 20
GIB = 1 << 30
NO_LIMIT_V1 = "9223372036854771712\n"
MEMINFO = f"MemTotal:       {16 * GIB // 1024} kB\nMemFree:         1234 kB\n"

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
CPU_MOUNT = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"


@dataclass(frozen=True)
class Shape:
    """
    One kind of host: its control groups, mounts and files, and the limit to be found.
    """

    name: str
    groups: str
    mounts: str
    files: dict[str, str]
    limit: int | None
    detail: str


SHAPES = (
    Shape(
        "v2, own group",
        "0::/app.slice/web.service\n",
        V2_MOUNT,
        {"sys/fs/cgroup/app.slice/web.service/memory.max": f"{512 * MIB}\n"},
        512 * MIB,
        "/sys/fs/cgroup/app.slice/web.service/memory.max",
    ),
    Shape(
        "v2, container with its own view",
        "0::/\n",
        V2_MOUNT,
        {"sys/fs/cgroup/memory.max": f"{256 * MIB}\n"},
        256 * MIB,
        "/sys/fs/cgroup/memory.max",
    ),
    Shape(
        "v2, container without its own view",
        "0::/docker/abc\n",
        "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
        {"sys/fs/cgroup/memory.max": f"{256 * MIB}\n"},
        256 * MIB,
        "/sys/fs/cgroup/memory.max",
    ),
    Shape(
        "v2, nested, the nearest is the smallest",
        "0::/a/b\n",
        V2_MOUNT,
        {
            "sys/fs/cgroup/a/memory.max": f"{2 * GIB}\n",
            "sys/fs/cgroup/a/b/memory.max": f"{1 * GIB}\n",
        },
        GIB,
        "/sys/fs/cgroup/a/b/memory.max",
    ),
    Shape(
        "v2, nested, an ancestor is the smallest",
        "0::/a/b/c\n",
        V2_MOUNT,
        {
            "sys/fs/cgroup/a/memory.max": f"{1 * GIB}\n",
            "sys/fs/cgroup/a/b/memory.max": "max\n",
            "sys/fs/cgroup/a/b/c/memory.max": f"{2 * GIB}\n",
        },
        GIB,
        "/sys/fs/cgroup/a/memory.max",
    ),
    Shape(
        "v2, only an ancestor has the controller",
        "0::/kubepods/pod1/c1\n",
        V2_MOUNT,
        {
            "sys/fs/cgroup/kubepods/pod1/memory.max": f"{768 * MIB}\n",
            "sys/fs/cgroup/kubepods/pod1/c1/cgroup.procs": "1\n",
        },
        768 * MIB,
        "/sys/fs/cgroup/kubepods/pod1/memory.max",
    ),
    Shape(
        "v2, unlimited",
        "0::/a\n",
        V2_MOUNT,
        {"sys/fs/cgroup/a/memory.max": "max\n"},
        None,
        "control groups without a limit",
    ),
    Shape(
        "v2, soft limits and protections are no limits",
        "0::/a\n",
        V2_MOUNT,
        {
            "sys/fs/cgroup/a/memory.max": "max\n",
            "sys/fs/cgroup/a/memory.high": f"{MIB}\n",
            "sys/fs/cgroup/a/memory.low": f"{MIB}\n",
        },
        None,
        "control groups without a limit",
    ),
    Shape(
        "v2, the group was removed or moved out of sight",
        "0::/gone (deleted)\n",
        V2_MOUNT,
        {"sys/fs/cgroup/memory.max": f"{300 * MIB}\n"},
        300 * MIB,
        "/sys/fs/cgroup/memory.max",
    ),
    Shape(
        "v2, moved to a neighbour of its view",
        "0::/../neighbour\n",
        V2_MOUNT,
        {"sys/fs/cgroup/memory.max": f"{300 * MIB}\n"},
        300 * MIB,
        "/sys/fs/cgroup/memory.max",
    ),
    Shape(
        "v2, the mount shows only another group",
        "0::/docker/abc\n",
        "30 23 0:26 /docker/abcdef /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
        {"sys/fs/cgroup/memory.max": f"{300 * MIB}\n"},
        300 * MIB,
        "/sys/fs/cgroup/memory.max",
    ),
    Shape(
        "v2, mounted twice, one view shows more ancestors",
        "0::/pod/c\n",
        "30 23 0:26 /pod/c /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
        "31 23 0:26 / /host/cgroup ro - cgroup2 cgroup rw\n",
        {
            "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
            "host/cgroup/pod/memory.max": f"{1 * GIB}\n",
            "host/cgroup/pod/c/memory.max": f"{2 * GIB}\n",
        },
        GIB,
        "/host/cgroup/pod/memory.max",
    ),
    Shape(
        "v2, a mount point and a group with blanks and colons",
        "0::/a:b c\n",
        r"30 23 0:26 / /my\040cgroup rw - cgroup2 cgroup2 rw" + "\n",
        {"my cgroup/a:b c/memory.max": f"{400 * MIB}\n"},
        400 * MIB,
        "/my cgroup/a:b c/memory.max",
    ),
    Shape(
        "v1, own group",
        "4:memory:/web\n1:cpu:/web\n",
        CPU_MOUNT + V1_MOUNT,
        {
            "sys/fs/cgroup/memory/web/memory.limit_in_bytes": f"{512 * MIB}\n",
            "sys/fs/cgroup/memory/web/memory.stat": (
                f"cache 0\nhierarchical_memory_limit {512 * MIB}\n"
            ),
        },
        512 * MIB,
        "/sys/fs/cgroup/memory/web/memory.stat",
    ),
    Shape(
        "v1, an ancestor outside of the container limits",
        "4:cpu,memory:/docker/abc\n",
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1,
            "sys/fs/cgroup/memory/memory.stat": (
                f"hierarchical_memory_limit {GIB}\nhierarchical_memsw_limit 5\n"
            ),
        },
        GIB,
        "/sys/fs/cgroup/memory/memory.stat",
    ),
    Shape(
        "v1, without hierarchy the ancestor's limit is not ours",
        "4:memory:/a/b\n",
        V1_MOUNT,
        {
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{MIB}\n",
            "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/a/b/memory.stat": (
                f"hierarchical_memory_limit {GIB}\n"
            ),
        },
        GIB,
        "/sys/fs/cgroup/memory/a/b/memory.stat",
    ),
    Shape(
        "v1, no memory.stat, an ancestor limits",
        "4:memory:/a/b\n",
        V1_MOUNT,
        {
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": NO_LIMIT_V1,
        },
        GIB,
        "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
    ),
    Shape(
        "v1, unlimited, pages of 64 KiB",
        "4:memory:/a\n",
        V1_MOUNT,
        {
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854710272\n",
            "sys/fs/cgroup/memory/a/memory.stat": (
                "hierarchical_memory_limit 9223372036854710272\n"
            ),
        },
        None,
        "control groups without a limit",
    ),
    Shape(
        "hybrid, memory belongs to v1",
        "4:memory:/web\n0::/web\n",
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" + V1_MOUNT,
        {
            "sys/fs/cgroup/unified/web/cgroup.procs": "1\n",
            "sys/fs/cgroup/memory/web/memory.limit_in_bytes": f"{128 * MIB}\n",
        },
        128 * MIB,
        "/sys/fs/cgroup/memory/web/memory.limit_in_bytes",
    ),
    Shape(
        "hybrid, memory belongs to v2",
        "1:name=systemd:/web\n0::/web\n",
        "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        {"sys/fs/cgroup/unified/web/memory.max": f"{128 * MIB}\n"},
        128 * MIB,
        "/sys/fs/cgroup/unified/web/memory.max",
    ),
    Shape(
        "control groups that are not mounted",
        "0::/a\n",
        "22 27 0:21 / /proc rw - proc proc rw\n",
        {},
        None,
        "control groups without a limit",
    ),
    Shape(
        "files with nonsense",
        "0::/a\nrubbish\n:\n\n",
        "rubbish\n - \n1 2 3 - cgroup2\n" + V2_MOUNT,
        {"sys/fs/cgroup/a/memory.max": "lots\n", "sys/fs/cgroup/memory.max": "0\n"},
        None,
        "control groups without a limit",
    ),
)


def unlimited() -> int | None:
    """
    What RLIMIT_AS is mostly.
    """
    return None


def write(root: Path, files: dict[str, str]) -> None:
    """
    Puts files below *root*.
    """
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def tree(root: Path, groups: str, mounts: str, files: dict[str, str]) -> LimitProbe:
    """
    A probe of a host made of files, with 16 GiB of memory.
    """
    proc = {
        "proc/self/cgroup": groups,
        "proc/self/mountinfo": mounts,
        "proc/meminfo": MEMINFO,
    }
    write(root, proc | files)
    return LimitProbe(str(root), address_space=unlimited)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_limit_of_a_host_is_found(shape: Shape, tmp_path: Path) -> None:
    """
    The smallest limit that the kernel enforces, and the file in which it stands.
    """
    probe = tree(tmp_path, shape.groups, shape.mounts, shape.files)
    source = "none" if shape.limit is None else "cgroup"
    expected = LimitReading(shape.limit, source, shape.detail)  # type: ignore[arg-type]
    assert expected == probe.cgroup()
    host = LimitReading(16 * GIB, "host", "MemTotal")
    assert (host if shape.limit is None else expected) == probe.limit("auto")


def test_without_control_groups_there_is_no_limit_of_theirs(tmp_path: Path) -> None:
    """
    A system without /proc says so instead of raising.
    """
    probe = LimitProbe(str(tmp_path), address_space=unlimited)
    assert LimitReading(None, "none", "no control group") == probe.cgroup()


def test_a_limit_that_changes_is_seen_at_the_next_reading(tmp_path: Path) -> None:
    """
    A container can be resized in place (P23).
    """
    place = "sys/fs/cgroup/a/memory.max"
    probe = tree(tmp_path, "0::/a\n", V2_MOUNT, {place: f"{GIB}\n"})
    assert GIB == probe.cgroup().limit_bytes
    write(tmp_path, {place: f"{2 * GIB}\n"})
    assert 2 * GIB == probe.cgroup().limit_bytes
    write(tmp_path, {place: "max\n"})
    assert probe.cgroup().limit_bytes is None


def test_a_process_that_is_moved_gets_the_limit_of_its_new_group(
    tmp_path: Path,
) -> None:
    """
    Places are remembered only as long as the process stays where it is.
    """
    files = {
        "sys/fs/cgroup/a/memory.max": f"{GIB}\n",
        "sys/fs/cgroup/b/memory.max": f"{2 * GIB}\n",
    }
    probe = tree(tmp_path, "0::/a\n", V2_MOUNT, files)
    assert GIB == probe.cgroup().limit_bytes
    write(tmp_path, {"proc/self/cgroup": "0::/b\n"})
    assert 2 * GIB == probe.cgroup().limit_bytes


@pytest.mark.parametrize(
    ("cgroup", "rlimit", "configured", "expected"),
    [
        (GIB, 2 * GIB, 3 * GIB, (GIB, "cgroup")),
        (2 * GIB, GIB, 3 * GIB, (GIB, "rlimit")),
        (3 * GIB, 2 * GIB, GIB, (GIB, "config")),
        (None, None, "auto", (16 * GIB, "host")),
        (64 * GIB, None, "auto", (16 * GIB, "host")),
        (None, None, 64 * GIB, (16 * GIB, "host")),
        (GIB, GIB, GIB, (GIB, "cgroup")),
        (None, GIB, GIB, (GIB, "rlimit")),
        (GIB, GIB, None, (None, "none")),
    ],
)
def test_the_smallest_limit_counts(
    tmp_path: Path,
    cgroup: int | None,
    rlimit: int | None,
    configured: int | str | None,
    expected: tuple[int | None, str],
) -> None:
    """
    A configured size never lifts what the system enforces; None wants no limit at all.
    """
    size = "max" if cgroup is None else str(cgroup)
    tree(tmp_path, "0::/a\n", V2_MOUNT, {"sys/fs/cgroup/a/memory.max": size})
    probe = LimitProbe(str(tmp_path), address_space=lambda: rlimit)
    found = probe.limit(configured)  # type: ignore[arg-type]
    assert expected == (found.limit_bytes, found.source)
    assert found.detail


def test_the_hosts_memory_is_known_without_meminfo(tmp_path: Path) -> None:
    """
    The C library knows it too, and the reading says where it is from.
    """
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    probe = LimitProbe(str(tmp_path), address_space=unlimited)
    assert LimitReading(pages, "host", "SC_PHYS_PAGES") == probe.host()


def test_a_host_that_tells_nothing_gives_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Then the reading says everything that was tried.
    """
    monkeypatch.setattr(os, "sysconf", lambda name: -1)
    found = LimitProbe(str(tmp_path), address_space=unlimited).limit()
    assert (None, "none") == (found.limit_bytes, found.source)
    assert "no control group; RLIMIT_AS is unlimited; the host" in found.detail


def test_this_machine_has_a_limit() -> None:
    """
    Real files: at most the host's memory, and the same by every way in.
    """
    found = memory_limit()
    host = LimitProbe().host().limit_bytes
    assert found.limit_bytes is not None
    assert host is not None
    assert MIB < found.limit_bytes <= host
    assert (found.limit_bytes, found.source) == effective_limit("auto")
    assert (16 * MIB, "config") == effective_limit(16 * MIB)


def test_a_real_limit_of_the_address_space_counts(run_python: RunPython) -> None:
    """
    A process under RLIMIT_AS finds it, and a change of it.
    """
    code = """
import resource
from memguard._probes.cgroup import LimitProbe
probe = LimitProbe()
for size in (900 << 20, 800 << 20):
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
    found = probe.limit()
    print(found.limit_bytes >> 20, found.source, found.detail)
"""
    done = run_python(code)
    assert ("900 rlimit RLIMIT_AS\n800 rlimit RLIMIT_AS\n", "") == (
        done.stdout,
        done.stderr,
    )
