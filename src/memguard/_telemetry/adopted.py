"""
What the metrics tell of adopted things: what the last round of the guard has seen.

Nothing foreign is looked at here, and nothing of memguard's adapters is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memguard._telemetry.names import Names
from memguard._telemetry.observation import CacheRow, FigureRow

if TYPE_CHECKING:
    from memguard._tree import Node

__all__ = ("adopted_cache", "is_adopted", "note_adopted")


def is_adopted(node: Node) -> bool:
    """
    True for the handle of something adopted.
    """
    return hasattr(node, "adapter")


def adopted_cache(node: Any, names: Names) -> CacheRow | None:
    """
    The row of an adopted cache; None for another one, and before it was measured.
    """
    seen = getattr(node, "seen", None)
    if seen is None or seen.measured.entries is None:
        return None
    measured, caps = seen.measured, node.caps
    return CacheRow(
        name=names.bounded("cache", seen.label)[1],
        entries=measured.entries,
        max_entries=caps.get("max_entries") or measured.limit,
        bytes_held=measured.bytes if seen.weight is None else seen.weight,
        max_bytes=caps.get("max_bytes") or measured.byte_limit,
        hits=measured.hits,
        misses=measured.misses,
        evictions={},
    )


def note_adopted(
    node: Any, names: Names, figures: dict[tuple[str, str], FigureRow]
) -> None:
    """
    Add the figures of an adopted container to those of the same name.
    """
    seen = node.seen
    if node.kind != "container" or seen is None or seen.measured.entries is None:
        return
    told = {
        "entries": seen.measured.entries,
        "max_entries": node.caps.get("max_entries") or seen.measured.limit,
        "bytes": seen.weight,
        "max_bytes": node.caps.get("max_bytes"),
    }
    key = names.bounded("container", seen.label)
    first = figures.get(key)
    sums = dict(first.figures) if first is not None else {}
    for field, value in told.items():
        if value is not None:
            sums[field] = sums.get(field, 0) + value
    figures[key] = FigureRow(*key, sums)
