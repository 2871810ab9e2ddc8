"""
The figures of a sample in one row, so that two can be subtracted. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memguard._records import fields_of, record

if TYPE_CHECKING:
    from memguard._probes.sample import Sample

__all__ = ("Parts", "growth", "parts_of")


@record
class Parts:
    """
    The figures that are compared: those of a sample, or the growth between two.

    None where an allocator does not tell.
    """

    whole: int
    shared: int | None
    data: int | None
    used: int | None
    free: int
    heap: int
    mapped: int
    mapped_count: int
    arenas: int | None
    small: int
    blocks: int
    large: int | None


def parts_of(sample: Sample) -> Parts:
    pages, native, small = sample.pages, sample.malloc, sample.pymalloc
    return Parts(
        whole=pages.rss + (pages.swap or 0),
        shared=pages.shared,
        data=pages.data,
        used=native.used,
        free=native.free or 0,
        heap=native.heap or 0,
        mapped=native.mapped or 0,
        mapped_count=native.mapped_count or 0,
        arenas=small.arenas,
        small=small.used or 0,
        blocks=small.blocks or 0,
        large=small.large,
    )


def growth(now: Parts, before: Parts) -> Parts:
    def grown(name: str) -> Any:
        late, early = getattr(now, name), getattr(before, name)
        return None if late is None or early is None else late - early

    return Parts(*(grown(name) for name in fields_of(Parts)))
