"""
What a control group and the host use, and how much the system suffers from it.

Page cache that nobody uses is no used memory: the kernel takes it back before it kills
anybody. So a group's working set is what is charged to it without its inactive files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal

from memguard._probes.cgroup import LimitProbe, Place
from memguard._probes.procfs import read_text
from memguard._records import record

__all__ = ("GroupUsage", "Pressure", "SystemMemory", "group_usage", "system_memory")

_KIB: Final = 1024


@record
class Pressure:
    """
    The share of time, 0 to 1, in which some or all tasks waited for memory: over the
    last 10 s and 60 s. `stalled_s` are the seconds of waiting since the start.
    """

    some_10s: float
    some_60s: float
    full_10s: float
    full_60s: float
    stalled_s: float
    source: str


@record
class GroupUsage:
    """
    What the control group uses that limits the process, or its own without a limit.

    Bytes: `charged` is all of it, `working_set` without inactive files. `oom_kills`
    counts processes that were killed in it for want of memory. `directory` is where
    the kernel shows it.
    """

    charged: int | None
    working_set: int | None
    inactive_file: int | None
    swap: int | None
    limit: int | None
    oom_kills: int | None
    pressure: Pressure | None
    version: Literal[1, 2]
    directory: str

    @property
    def ratio(self) -> float | None:
        """
        The working set as a share of the limit.
        """
        if self.working_set is None or not self.limit:
            return None
        return self.working_set / self.limit


@record
class SystemMemory:
    """
    The memory of the host, in bytes; `available` is what can be had without swapping.
    """

    total: int
    available: int | None
    swap_total: int | None
    swap_free: int | None
    pressure: Pressure | None


def group_usage(limits: LimitProbe, root: str = "/") -> GroupUsage | None:
    """
    The usage of the group whose limit counts; None where no group tells any.
    """
    places = limits.places()
    if not places:
        return None
    limit = limits.cgroup()
    found = [usage for place in places if (usage := _usage(place, limit.detail, root))]
    if not found:
        return None
    best = found[0]
    for one in found[1:]:
        if one.limit is not None and (best.limit is None or one.limit < best.limit):
            best = one
    return best


def system_memory(root: str = "/") -> SystemMemory | None:
    """
    The host's memory and its pressure; None without /proc.
    """
    rows = {}
    for line in (read_text(os.path.join(root, "proc/meminfo")) or "").splitlines():
        name, _, value = line.partition(":")
        number = value.partition("kB")[0].strip()
        if number.isdecimal():
            rows[name] = int(number) * _KIB
    if "MemTotal" not in rows:
        return None
    return SystemMemory(
        total=rows["MemTotal"],
        available=rows.get("MemAvailable"),
        swap_total=rows.get("SwapTotal"),
        swap_free=rows.get("SwapFree"),
        pressure=_pressure(os.path.join(root, "proc/pressure/memory"), "host"),
    )


def _usage(place: Place, holder: str, root: str) -> GroupUsage | None:
    read = _version_2 if place.version == 2 else _version_1
    own = None
    for directory in place.upwards():
        inside = os.path.join(root, directory.lstrip("/"))
        usage = read(inside, directory)
        if usage is None or usage.charged is None:
            continue  # this group has no such controller: an ancestor counts for it
        # Where the limit stands is where it is exceeded.
        if os.path.dirname(holder) == directory:
            return usage
        own = own or usage
    return own


def _version_2(inside: str, directory: str) -> GroupUsage | None:
    charged = _number(inside, "memory.current")
    inactive = _rows(inside, "memory.stat").get("inactive_file")
    return GroupUsage(
        charged=charged,
        working_set=_without(charged, inactive),
        inactive_file=inactive,
        swap=_number(inside, "memory.swap.current"),
        limit=_number(inside, "memory.max"),
        oom_kills=_rows(inside, "memory.events").get("oom_kill"),
        pressure=_pressure(os.path.join(inside, "memory.pressure"), "cgroup"),
        version=2,
        directory=directory,
    )


def _version_1(inside: str, directory: str) -> GroupUsage | None:
    charged = _number(inside, "memory.usage_in_bytes")
    rows = _rows(inside, "memory.stat")
    # "total_" includes the groups below, as the usage does.
    inactive = rows.get("total_inactive_file", rows.get("inactive_file"))
    limits = [
        size
        for size in (
            _number(inside, "memory.limit_in_bytes"),
            rows.get("hierarchical_memory_limit"),
        )
        if size is not None and size < 1 << 60
    ]
    return GroupUsage(
        charged=charged,
        working_set=_without(charged, inactive),
        inactive_file=inactive,
        swap=rows.get("total_swap", rows.get("swap")),
        limit=min(limits, default=None),
        oom_kills=_rows(inside, "memory.oom_control").get("oom_kill"),
        pressure=None,
        version=1,
        directory=directory,
    )


def _without(charged: int | None, inactive: int | None) -> int | None:
    if charged is None or inactive is None:
        return charged
    return max(0, charged - inactive)


def _number(directory: str, name: str) -> int | None:
    text = (read_text(os.path.join(directory, name)) or "").strip()
    return int(text) if text.isascii() and text.isdecimal() else None


def _rows(directory: str, name: str) -> Mapping[str, int]:
    """
    A file of lines with a name and a number each.
    """
    found = {}
    for line in (read_text(os.path.join(directory, name)) or "").splitlines():
        key, _, value = line.partition(" ")
        if value.strip().isdecimal():
            found[key] = int(value)
    return found


def _pressure(path: str, source: str) -> Pressure | None:
    text = read_text(path)
    if text is None:
        return None
    found: dict[str, float] = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        for pair in pairs:
            name, _, value = pair.partition("=")
            try:
                found[kind + name] = float(value)
            except ValueError:
                return None
    if "someavg10" not in found:
        return None
    return Pressure(
        some_10s=found["someavg10"] / 100,
        some_60s=found.get("someavg60", 0.0) / 100,
        full_10s=found.get("fullavg10", 0.0) / 100,
        full_60s=found.get("fullavg60", 0.0) / 100,
        stalled_s=found.get("sometotal", 0.0) / 1e6,
        source=source,
    )
