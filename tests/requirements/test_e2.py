"""
The regions of a process are counted, and the largest are named.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import memguard

MIB = 1 << 20


def test_regions_are_counted_and_the_largest_are_named(tmp_path: Path) -> None:
    """
    A file by its path, memory without a file as "anon"; forty regions as forty more.
    """
    guard = memguard.Guard()
    before = guard.footprint().mappings
    path = tmp_path / "index.bin"
    with path.open("wb+") as file:
        file.truncate(300 * MIB)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        # Not next to one another, or the kernel makes one of them.
        protections = (mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE)
        small = [
            mmap.mmap(-1, MIB, flags=flags, prot=protections[number % 2])
            for number in range(80)
        ]
        large = mmap.mmap(file.fileno(), 300 * MIB)
        after = guard.footprint().mappings
        for one in (large, *small):
            one.close()
    assert before is not None
    assert after is not None
    assert abs(after.writable - before.writable - 41) <= 5
    found = {group.name: group for group in after.largest}
    assert (300 * MIB, 1, 1) == (
        found[str(path)].bytes,
        found[str(path)].count,
        found[str(path)].writable,
    )
    assert found["anon"].bytes >= 80 * MIB
    assert found["anon"].largest >= MIB
