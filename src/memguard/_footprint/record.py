"""
The record, as data and as text.
"""

from __future__ import annotations

from typing import Any, Literal

from memguard._footprint.text import text_of
from memguard._leaks.memory import MemoryVerdict
from memguard._probes.counters import Counters
from memguard._probes.mappings import Mappings, Rollup
from memguard._probes.readings import DirectoryReading, LimitReading
from memguard._probes.sample import Sample
from memguard._probes.usage import GroupUsage, SystemMemory
from memguard._records import fields_of, record

__all__ = ("Capability", "Footprint", "Rates")


@record
class Capability:
    """
    Whether one part of the footprint is known here; `because` says why not.
    """

    name: str
    state: Literal["supported", "degraded", "off"]
    because: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.state}: {self.because}"


@record
class Rates:
    """
    What happened in each second since an earlier footprint. None: nobody tells.
    """

    seconds: float
    rss: float | None
    minor_faults: float | None
    major_faults: float | None
    voluntary_switches: float | None
    involuntary_switches: float | None


@record
class Footprint:
    """
    What a process takes from the system. Sizes are bytes; None where nobody tells.

    `descriptors` counts the open ones by type ("unreadable" where only their number is
    told), `connections` sockets by kind and
    state, `children` child processes with `zombies` of them ended and not waited for.
    `memory_percent` is `rss` as a percentage of the host's memory, `limit` what the
    process may use. `group` is the control group whose limit counts, `sample` what
    the allocators of this process hold, `verdict` what its memory is used for, or,
    with an earlier footprint, what it grew for; `rates` are faults and switches a
    second since then. `rollup` is only there when it was asked for. `active_sessions`
    are those of the guard, `log` the files below a directory that was named.
    `sources` says where figures are from. All were read when `timestamp` says, but
    for a `rss` whose source is "rusage-peak": that is of some moment before.
    """

    pid: int
    name: str
    timestamp: str
    taken_s: float
    uptime_s: float | None
    rss: int | None
    virtual: int | None
    shared: int | None
    swap: int | None
    memory_percent: float | None
    limit: LimitReading
    descriptors: dict[str, int] | None
    descriptors_limit: int | None
    connections: dict[str, int] | None
    children: int | None
    zombies: int | None
    threads: int | None
    counters: Counters
    mappings: Mappings | None
    rollup: Rollup | None
    group: GroupUsage | None
    system: SystemMemory | None
    log: DirectoryReading | None
    active_sessions: int | None
    sample: Sample | None
    verdict: MemoryVerdict | None
    rates: Rates | None
    sources: dict[str, str]
    capabilities: tuple[Capability, ...]

    @property
    def open_descriptors(self) -> int | None:
        """
        How many descriptors are open, of all types.
        """
        return None if self.descriptors is None else sum(self.descriptors.values())

    @property
    def limit_ratio(self) -> float | None:
        """
        The share of the limit that is used: of the control group's, if that is what
        limits, its working set; else resident memory.
        """
        limit = self.limit.limit_bytes
        if not limit or self.sources.get("memory") == "rusage-peak":
            return None
        used = self.rss
        if self.limit.source == "cgroup" and self.group is not None:
            used = self.group.working_set
        elif self.limit.source == "rlimit":
            used = self.virtual  # that is what the limit of the address space is of
        return None if used is None else used / limit

    def to_dict(self) -> dict[str, Any]:
        """
        All of it as plain data, for JSON.
        """
        ratio = self.limit_ratio
        return {
            "schema": "memguard.footprint/1",
            "pid": self.pid,
            "name": self.name,
            "timestamp": self.timestamp,
            "uptime": _rounded(self.uptime_s),
            "memory": {
                "rss": self.rss,
                "virtual": self.virtual,
                "shared": self.shared,
                "swap": self.swap,
                "percent": _rounded(self.memory_percent),
                "limit": self.limit.limit_bytes,
                "limit_source": self.limit.source,
                "limit_detail": self.limit.detail,
                "limit_ratio": _rounded(ratio, 4),
            },
            "descriptors": {
                "open": self.open_descriptors,
                "limit": self.descriptors_limit,
                "by_type": _copied(self.descriptors),
            },
            "connections": _copied(self.connections),
            "children": self.children,
            "zombies": self.zombies,
            "threads": self.threads,
            "log_directory": _plain(self.log),
            "active_sessions": self.active_sessions,
            "system_memory": _plain(self.system),
            "cgroup": _plain(self.group),
            "mappings": _plain(self.mappings),
            "pages": _plain(self.rollup),
            "counters": _plain(self.counters),
            "rates": _plain(self.rates),
            "allocators": None if self.sample is None else self.sample.to_dict(),
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
            "sources": dict(self.sources),
            "capabilities": [_plain(one) for one in self.capabilities],
        }

    def __str__(self) -> str:
        return text_of(self)


def _rounded(number: float | None, digits: int = 3) -> float | None:
    return None if number is None else round(number, digits)


def _copied(counts: dict[str, int] | None) -> dict[str, int] | None:
    return None if counts is None else dict(counts)


def _plain(value: Any) -> Any:
    """
    Records and tuples of them as dictionaries and lists.
    """
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if hasattr(type(value), "__record__"):
        return {name: _plain(getattr(value, name)) for name in fields_of(type(value))}
    return value
