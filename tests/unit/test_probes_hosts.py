"""
Hosts of all shapes, as trees of files: the limit each must give, and what is used.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from memguard._probes.cgroup import LimitProbe
from memguard._probes.process import ProcessView
from memguard._probes.usage import Pressure, group_usage, system_memory

HOSTS = Path(__file__).parents[1] / "fixtures" / "hosts"
NAMES = sorted(path.name for path in HOSTS.iterdir())
MIB = 1 << 20


def expected_of(name: str) -> dict[str, Any]:
    """
    What stands beside the tree: the limit, where it is found, and what is used.
    """
    found: dict[str, Any] = json.loads((HOSTS / name / "expected.json").read_text())
    return found


def test_there_are_enough_shapes() -> None:
    """
    At least the twelve of the promise, each with a sentence that says what it is.
    """
    assert len(NAMES) >= 12
    assert all(expected_of(name)["about"] for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_right_limit(name: str) -> None:
    """
    The size, who sets it, and the file in which it stands.
    """
    expected = expected_of(name)
    found = ProcessView(root=str(HOSTS / name)).limit()
    assert (expected["limit"], expected["source"], expected["detail"]) == (
        found.limit_bytes,
        found.source,
        found.detail,
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_the_group_uses_is_without_page_cache(name: str) -> None:
    """
    Of the group that limits, which need not be the process's own.
    """
    expected = expected_of(name)["usage"]
    root = str(HOSTS / name)
    found = group_usage(LimitProbe(root), root)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert expected == {key: getattr(found, key) for key in expected}


def test_a_limit_that_is_changed_counts_at_the_next_look(tmp_path: Path) -> None:
    """
    With the same probe: a container can be resized in place.
    """
    later = expected_of("v2-resized")["later"]
    root = tmp_path / "host"
    shutil.copytree(HOSTS / "v2-resized", root)
    view = ProcessView(root=str(root))
    before = view.limit().limit_bytes
    (root / later["file"]).write_text(later["text"])
    assert (256 * MIB, later["limit"]) == (before, view.limit().limit_bytes)
    group = view.group()
    assert group is not None
    assert later["limit"] == group.limit


def test_the_ratio_is_of_the_working_set() -> None:
    """
    Page cache fills up every group in the end; that is no pressure.
    """
    group = ProcessView(root=str(HOSTS / "v2-own-group")).group()
    assert group is not None
    assert pytest.approx(260 / 512) == group.ratio
    assert 40 * MIB == group.inactive_file


def test_pressure_is_told_by_group_and_by_host() -> None:
    """
    As shares of time; version 1 tells none for a group.
    """
    root = str(HOSTS / "v2-own-group")
    group = group_usage(LimitProbe(root), root)
    assert group is not None
    assert Pressure(0.125, 0.005, 0.04, 0.002, 1.5, "cgroup") == group.pressure
    system = system_memory(root)
    assert system is not None
    assert Pressure(0.0125, 0.005, 0.0075, 0.002, 2.5, "host") == system.pressure
    old = ProcessView(root=str(HOSTS / "v1-own-group")).group()
    assert old is not None
    assert old.pressure is None


def test_the_memory_of_the_host() -> None:
    """
    Total, available, swap; None without /proc.
    """
    found = system_memory(str(HOSTS / "v2-own-group"))
    assert found is not None
    assert (16 << 30, 8 << 30) == (found.total, found.available)
    assert (2097148 * 1024,) * 2 == (found.swap_total, found.swap_free)


@pytest.mark.parametrize(
    "text", ["", "rubbish\n", "some avg10=x\n", "full avg10=0.00 total=1\n"]
)
def test_a_pressure_file_of_another_form_tells_nothing(
    text: str, tmp_path: Path
) -> None:
    """
    None, never a guess.
    """
    (tmp_path / "proc/pressure").mkdir(parents=True)
    (tmp_path / "proc/pressure/memory").write_text(text)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\n")
    found = system_memory(str(tmp_path))
    assert found is not None
    assert found.pressure is None
    assert found.available is None
