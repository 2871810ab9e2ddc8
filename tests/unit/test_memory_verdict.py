"""
The verdict on memory, on made-up samples: the decision alone.
"""

from __future__ import annotations

from typing import Any

import pytest

from memguard._leaks.memory import MemoryVerdict, memory_verdict
from memguard._probes.allocators import MallocReading, PymallocReading
from memguard._probes.process import PagesReading
from memguard._probes.sample import Sample
from memguard._records import changed

MIB = 1 << 20
START = Sample(
    pages=PagesReading(60 * MIB, 200 * MIB, 10 * MIB, 60 * MIB, 0, "statm"),
    malloc=MallocReading(15 * MIB, MIB, 12 * MIB, 4 * MIB, 4, "mallinfo2"),
    pymalloc=PymallocReading(30 * MIB, 29 * MIB, 300_000, 6_000, "pymalloc"),
    taken_s=0.0,
)


def grown(**growth: int) -> Sample:
    """
    A later sample, in which each named figure is larger by so much.
    """
    parts = {"pages": START.pages, "malloc": START.malloc, "pymalloc": START.pymalloc}
    for name, more in growth.items():
        part, _, field = name.partition("_")
        old = getattr(parts[part], field)
        parts[part] = changed(parts[part], **{field: old + more})
    return changed(START, **parts)


def judge(**growth: int) -> MemoryVerdict:
    """
    The verdict on that growth.
    """
    return memory_verdict(grown(**growth), START)


@pytest.mark.parametrize(
    ("expected", "growth"),
    [
        ("stable", {}),
        ("stable", {"pages_rss": -20 * MIB}),
        ("stable", {"pages_rss": MIB - 1}),
        (
            "python",
            {
                "pages_rss": 40 * MIB,
                "pymalloc_arenas": 40 * MIB,
                "pymalloc_used": 39 * MIB,
                "pymalloc_blocks": 400_000,
            },
        ),
        (
            "pymalloc-retained",
            {"pages_rss": 40 * MIB, "pymalloc_arenas": 40 * MIB, "pymalloc_used": MIB},
        ),
        ("malloc-retained", {"pages_rss": 40 * MIB, "malloc_free": 40 * MIB}),
        ("native", {"pages_rss": 40 * MIB, "malloc_used": 40 * MIB}),
        # Blocks of 45 KB, when Python made only what comes with its small objects.
        (
            "native",
            {
                "pages_rss": 42 * MIB,
                "malloc_used": 40 * MIB,
                "pymalloc_arenas": 2 * MIB,
                "pymalloc_used": 2 * MIB,
                "pymalloc_blocks": 40_000,
                "pymalloc_large": 900,
            },
        ),
        (
            "python",
            {
                "pages_rss": 40 * MIB,
                "malloc_used": 40 * MIB,
                "pymalloc_large": 900,
            },
        ),
        ("mmap", {"pages_rss": 40 * MIB, "pages_shared": 40 * MIB}),
        ("mmap", {"pages_rss": 40 * MIB, "pages_data": 40 * MIB}),
        ("cannot-tell", {"pages_rss": 40 * MIB}),
        # Swapped out while it grew.
        ("native", {"pages_swap": 40 * MIB, "malloc_used": 40 * MIB}),
    ],
)
def test_each_growth_has_its_word(expected: str, growth: dict[str, int]) -> None:
    """
    By what grew with it.
    """
    assert expected == judge(**growth).verdict


@pytest.mark.parametrize(
    ("large", "expected"),
    [(0, "native"), (5, "native"), (38, "python"), (60, "python")],
)
def test_blocks_with_mappings_are_told_by_their_number(
    large: int, expected: str
) -> None:
    """
    Forty blocks of 1 MiB are Python's when Python made about forty.
    """
    found = judge(
        pages_rss=40 * MIB,
        malloc_used=40 * MIB,
        malloc_mapped=40 * MIB,
        malloc_mapped_count=40,
        pages_data=40 * MIB,
        pymalloc_large=large,
    )
    assert expected == found.verdict


def test_what_may_be_both_is_not_guessed() -> None:
    """
    Two thousand blocks of Python and forty mapped ones: nobody knows whose these are.
    """
    found = judge(
        pages_rss=50 * MIB,
        malloc_used=44 * MIB,
        malloc_mapped=40 * MIB,
        malloc_mapped_count=40,
        pymalloc_arenas=6 * MIB,
        pymalloc_used=6 * MIB,
        pymalloc_blocks=60_000,
        pymalloc_large=2_000,
    )
    assert ("cannot-tell", "low") == (found.verdict, found.confidence)
    assert "may be Python's or another library's" in found.reason
    assert pytest.approx(0.2, abs=0.01) == found.explained_ratio


def test_a_table_of_many_new_objects_is_pythons() -> None:
    """
    A dictionary of a million numbers has a mapping of its own, of 40 bytes a number.
    """
    found = judge(
        pages_rss=70 * MIB,
        malloc_used=40 * MIB,
        malloc_mapped=40 * MIB,
        malloc_mapped_count=1,
        pymalloc_arenas=30 * MIB,
        pymalloc_used=30 * MIB,
        pymalloc_blocks=1_000_000,
        pymalloc_large=1,
    )
    assert ("python", 70 * MIB, 0) == (
        found.verdict,
        found.explained_bytes,
        found.unexplained_bytes,
    )


def test_kept_memory_that_is_not_resident_explains_nothing() -> None:
    """
    Free pages that were given back are free, but are not in the growth.
    """
    found = judge(pages_rss=10 * MIB, malloc_free=100 * MIB)
    assert 10 * MIB == found.causes["malloc-retained"] == found.explained_bytes


def test_memory_that_was_never_touched_is_no_growth() -> None:
    """
    A large array of zeros is given out and not resident.
    """
    found = judge(malloc_used=400 * MIB, malloc_mapped=400 * MIB, malloc_mapped_count=1)
    assert "stable" == found.verdict


def test_without_the_c_librarys_figures_only_the_rest_is_told() -> None:
    """
    On musl: objects and mapped files are named, everything else cannot be.
    """
    unknown = MallocReading(None, None, None, None, None, "none here")
    before = changed(START, malloc=unknown)

    def judged(**growth: int) -> MemoryVerdict:
        return memory_verdict(changed(grown(**growth), malloc=unknown), before)

    objects = {"pymalloc_arenas": 40 * MIB, "pymalloc_used": 40 * MIB}
    assert "python" == judged(pages_rss=40 * MIB, **objects).verdict
    assert "mmap" == judged(pages_rss=40 * MIB, pages_shared=40 * MIB).verdict
    found = judged(pages_rss=40 * MIB, pages_data=40 * MIB)
    assert "cannot-tell" == found.verdict
    assert "the C library's allocator does not tell" in found.reason


def test_one_sample_alone_says_what_memory_is_used_for() -> None:
    """
    Mapped libraries are not the verdict on a process; confidence is never high.
    """
    found = memory_verdict(START)
    assert ("python", "medium", False) == (
        found.verdict,
        found.confidence,
        found.is_growth,
    )
    assert 60 * MIB == found.bytes == found.explained_bytes + found.unexplained_bytes
    libraries = changed(START.pages, rss=100 * MIB, shared=50 * MIB)
    assert "python" == memory_verdict(changed(START, pages=libraries)).verdict


def test_growth_of_several_kinds_is_less_sure() -> None:
    """
    The largest is the verdict, and all are told.
    """
    found = judge(
        pages_rss=50 * MIB,
        malloc_used=30 * MIB,
        pages_shared=20 * MIB,
    )
    assert ("native", "medium") == (found.verdict, found.confidence)
    causes: dict[str, Any] = found.to_dict()["causes"]
    assert (30 * MIB, 20 * MIB) == (causes["native"], causes["mmap"])
    assert "native: 30.0 MiB of 50.0 MiB of its growth are" in str(found)
