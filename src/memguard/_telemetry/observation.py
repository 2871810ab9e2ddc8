"""
What is observed at one moment: plain numbers and names, frozen.

The readers of the table see nothing else. No record refers to anything of the
application, so that a kept observation keeps nothing alive.
"""

from __future__ import annotations

from collections.abc import Mapping

from memguard._health import MemorySample
from memguard._records import record

__all__ = ("CacheRow", "FigureRow", "Observed", "ResourceRow")


@record
class ResourceRow:
    """
    The counters of one kind and name; `oldest_s` is None when none lives.
    """

    kind: str
    name: str
    live: int
    created: int
    released: Mapping[str, int]
    oldest_s: float | None = None
    limit: int | None = None


@record
class CacheRow:
    """
    The counters of one cache. None where it has no such limit, does not weigh, or was
    adopted and does not count.
    """

    name: str
    entries: int
    max_entries: int | None
    bytes_held: int | None
    max_bytes: int | None
    hits: int | None
    misses: int | None
    evictions: Mapping[str, int]


@record
class FigureRow:
    """
    What a limiter, a sink or a log handler tells of itself: plain figures by name.
    """

    kind: str
    name: str
    figures: Mapping[str, float]


@record
class Observed:
    """
    Everything the metrics of one interval are made from; None where nobody knows.

    `cpu_s` and `dropped` are memguard's own: CPU seconds spent on this, and how
    often a figure could not be had.
    """

    memory: MemorySample | None = None
    descriptors: int | None = None
    threads: int | None = None
    uptime_s: float | None = None
    collector: tuple[Mapping[str, int], ...] = ()
    resources: tuple[ResourceRow, ...] = ()
    caches: tuple[CacheRow, ...] = ()
    figures: tuple[FigureRow, ...] = ()
    budget_limit: int | None = None
    shares: tuple[FigureRow, ...] = ()
    own_bytes: int | None = None
    cpu_s: float = 0.0
    dropped: int = 0
