"""
Health and memory, as records for endpoints and people.

The health record follows draft-inadarei-api-health-check (application/health+json),
with memguard's own fields beside it. Whether the process should live never depends on
memory here: `fail` is only said while the guard is shutting down.
"""

from __future__ import annotations

import sys
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from memguard._kinds.budget import BudgetSnapshot
from memguard._records import record

if TYPE_CHECKING:
    from memguard._root import Root

__all__ = ("Health", "Level", "MemorySample", "health_of", "sample_of")


# Members of the budget that the health record names.
_MEMBERS: Final = 10


class Level(IntEnum):
    """
    How near the memory limit a process is.
    """

    NORMAL = 0
    WARNING = 1
    CRITICAL = 2
    EMERGENCY = 3

    def __str__(self) -> str:
        return self.name.lower()


@record
class MemorySample:
    """
    Memory at one moment, in bytes; None where nobody knows.

    `rss` is resident memory and includes shared pages. `python_blocks` counts the
    blocks of Python's own allocator. `ratio` is rss / limit.
    """

    rss: int | None
    virtual: int | None
    limit: int | None
    limit_source: str
    source: str
    python_blocks: int
    ratio: float | None
    level: Level

    def to_dict(self) -> dict[str, Any]:
        return {
            "rss": self.rss,
            "virtual": self.virtual,
            "limit": self.limit,
            "limitSource": self.limit_source,
            "source": self.source,
            "pythonBlocks": self.python_blocks,
            "percent": None if self.ratio is None else round(self.ratio * 100, 1),
        }


@record
class Health:
    """
    What the health endpoint says. `status` is pass, warn or fail.
    """

    status: str
    output: str
    uptime: float
    memory: MemorySample
    active_sessions: int
    timestamp: str
    level: str
    budget: BudgetSnapshot | None = None

    @property
    def http_status(self) -> int:
        """
        200 as long as requests are welcome, 503 while the guard shuts down.
        """
        return 503 if self.status == "fail" else 200

    def to_dict(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "status": self.status,
            "uptime": round(self.uptime, 3),
            "memory": self.memory.to_dict(),
            "activeSessions": self.active_sessions,
            "timestamp": self.timestamp,
            "level": self.level,
            "checks": {
                "memory:utilization": [
                    {
                        "componentType": "system",
                        "observedValue": self.memory.ratio,
                        "observedUnit": "1",
                        "status": "pass" if self.level == "normal" else "warn",
                        "time": self.timestamp,
                    }
                ]
            },
        }
        if self.budget is not None:
            body["managed"] = self.budget.to_dict()
        if self.output:
            body["output"] = self.output
        return body


def level_of(ratio: float | None, settings: Any) -> Level:
    """
    The level of a ratio, by the thresholds of the settings alone.
    """
    if ratio is None:
        return Level.NORMAL
    if ratio >= settings.emergency:
        return Level.EMERGENCY
    if ratio >= settings.critical:
        return Level.CRITICAL
    return Level.WARNING if ratio >= settings.warning else Level.NORMAL


def sample_of(guard: Root) -> MemorySample:
    """
    One reading of the guard's probe, against the limit that holds for the process.
    """
    settings = guard.settings
    reading = guard.probe.memory()
    limit = guard.probe.limit(settings.memory_limit)
    bytes_limit = limit.limit_bytes
    ratio = None
    # A peak never falls: measured against a limit it would warn for ever.
    is_current = reading.source != "rusage-peak"
    if reading.rss is not None and bytes_limit and is_current:
        ratio = reading.rss / bytes_limit
    return MemorySample(
        rss=reading.rss,
        virtual=reading.virtual,
        limit=bytes_limit,
        limit_source=limit.source,
        source=reading.source,
        python_blocks=sys.getallocatedblocks(),
        ratio=ratio,
        level=level_of(ratio, settings),
    )


def health_of(guard: Root) -> Health:
    """
    The health of a guard now: one reading of memory and a few counters.
    """
    sample = sample_of(guard)
    draining = guard.control.draining
    status = "pass" if sample.level is Level.NORMAL else "warn"
    clock = guard.registry.clock
    started = guard.started_at
    budget = guard.registry.budget
    return Health(
        status="fail" if draining else status,
        output="shutting down" if draining else "",
        uptime=0.0 if started is None else clock.monotonic() - started,
        memory=sample,
        active_sessions=guard.registry.live("session"),
        timestamp=timestamp_of(clock.time()),
        level=str(sample.level),
        budget=budget.snapshot(_MEMBERS) if budget.is_used else None,
    )


def timestamp_of(seconds: float) -> str:
    """
    Seconds since 1970 as ISO 8601 in UTC, to the millisecond.
    """
    whole, thousandths = divmod(round(seconds * 1e6) // 1000, 1000)
    date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{date}.{thousandths:03d}+00:00"
