"""
What the two allocators hold, on the interpreter that runs and in made-up tables.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from memguard._probes import allocators
from memguard._probes.allocators import PymallocReading, malloc, parse_stats, pymalloc
from memguard._probes.process import ProcessView
from memguard._probes.sample import sample

if TYPE_CHECKING:
    from conftest import RunPython

MIB = 1 << 20
TABLE = """Small block threshold = 512, in 32 size classes.

class   size   num pools   blocks in use  avail blocks
-----   ----   ---------   -------------  ------------
    0     16           1              64           957
    1     32           2             541           479

# arenas allocated total           =                    2
# arenas allocated current         =                    2
2 arenas * 1048576 bytes/arena     =            2,097,152

# bytes in allocated blocks        =            1,050,048
# bytes in available blocks        =              364,896
Total                              =            2,097,152

# bytes lost to arena map root     =              262,144
Total                              =              655,360
"""


def test_the_table_is_read() -> None:
    """
    Arenas, bytes and blocks in use; larger blocks are the rest of all.
    """
    expected = PymallocReading(2 * MIB, 1_050_048, 605, 95, "pymalloc")
    assert expected == parse_stats(TABLE, 700)


@pytest.mark.parametrize(
    "text", ["", "heap stats: peak total\n", TABLE.replace("in allocated", "in")]
)
def test_another_table_tells_nothing(text: str) -> None:
    """
    Unknown is None and says why; it is never zero.
    """
    found = parse_stats(text, 700)
    assert (None, None, None, None) == (
        found.arenas,
        found.used,
        found.blocks,
        found.large,
    )
    assert "not in use" in found.source


def test_small_and_large_objects_are_told_apart() -> None:
    """
    Exact to some blocks: 5,000 of 100 bytes, then 3,000 of 2,000 bytes.
    """
    start = pymalloc()
    small = [bytes(100) for _ in range(5_000)]
    middle = pymalloc()
    large = [bytes(2_000) for _ in range(3_000)]
    end = pymalloc()
    assert start.used is not None
    assert middle.used is not None
    assert None not in (start.large, middle.large, end.large)
    assert start.arenas is not None
    assert start.arenas % MIB == 0
    # A list of 5,000 is one large block more.
    assert pytest.approx(5_000 * 144, rel=0.05) == middle.used - start.used
    assert abs((middle.large or 0) - (start.large or 0)) < 20
    assert abs((end.large or 0) - (middle.large or 0) - 3_000) < 20
    del small, large


def test_blocks_of_the_c_library_are_counted(run_python: RunPython) -> None:
    """
    Given out, with a mapping of their own, freed and kept.
    """
    code = """
from memguard._probes.allocators import malloc
malloc()
a = malloc()
kept = [bytes(2_000) for _ in range(20_000)]
b = malloc()
del kept[:-1]
c = malloc()
big = bytearray(64 << 20)
d = malloc()
print(a.source, round((b.used - a.used) / 1e6), round((c.free - b.free) / 1e6),
      (d.mapped - c.mapped) >> 20, d.mapped_count - c.mapped_count)
"""
    done = run_python(code)
    assert ("mallinfo2 41 41 64 1\n", "") == (done.stdout, done.stderr)


def test_without_pymalloc_it_says_so(run_python: RunPython) -> None:
    """
    PYTHONMALLOC=malloc: the C library alone tells.
    """
    code = """
from memguard._probes.allocators import malloc, pymalloc
print(pymalloc().arenas, pymalloc().source, malloc().used > 0)
"""
    done = run_python(code, env={"PYTHONMALLOC": "malloc"})
    assert ("None pymalloc is not in use True\n", "") == (done.stdout, done.stderr)


def test_another_interpreter_or_library_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What cannot be asked is None, with the reason.
    """
    allocators._debug_stats.cache_clear()
    allocators._mallinfo.cache_clear()
    try:
        monkeypatch.setattr(sys, "abiflags", "t")
        monkeypatch.setattr(allocators, "_OTHERS", {"malloc": "jemalloc"})
        assert "free-threaded" in pymalloc().source
        assert (None, True) == (malloc().used, "jemalloc" in malloc().source)
    finally:
        allocators._debug_stats.cache_clear()
        allocators._mallinfo.cache_clear()


def test_a_sample_has_all_of_it() -> None:
    """
    Pages and both allocators at one moment, as plain figures too.
    """
    found = sample(ProcessView(), 12.5)
    assert found is not None
    assert 12.5 == found.taken_s
    pages, native, small = found.pages, found.malloc, found.pymalloc
    assert None not in (pages.own, native.used, small.arenas)
    assert (small.arenas or 0) <= pages.virtual
    assert {"pages", "malloc", "pymalloc"} == found.to_dict().keys()
    assert pages.rss == found.to_dict()["pages"]["rss"]
