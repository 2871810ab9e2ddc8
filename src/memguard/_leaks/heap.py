"""
Whose the blocks of the C library's heap are: Python's or another library's.

Both ask the same `malloc`. But Python counts the blocks it asks for, and the heap its
bytes and the blocks that have mappings of their own; mostly that is enough. Pure.
"""

from __future__ import annotations

from typing import Final

from memguard._leaks.parts import Parts
from memguard._records import record

__all__ = ("Split", "split_of")

# Larger blocks of ordinary Python code (tables of dicts, lists) are about this large.
_ORDINARY_BYTES: Final = 2 << 10
_LARGEST_ORDINARY: Final = 4 << 10
# Blocks that Python passes on to the C library are larger than this.
_SMALLEST_LARGE: Final = 512
# A table that holds so many new objects has at most so many bytes for each of them: a
# dictionary that has just grown.
_TABLE_BYTES: Final = 104
# What other code makes meanwhile, and a share that decides nothing.
_FEW: Final = 4
_SMALL_SHARE: Final = 0.1


@record
class Split:
    """
    Bytes of the C library's heap by who asked for them; `either` nobody can tell.
    """

    python: int
    native: int
    either: int
    is_sure: bool


def split_of(parts: Parts, ordinary: float, *, alone: bool) -> Split:
    """
    Divide what the heap has given out. *ordinary* is how many larger blocks Python
    would make with so many small ones, judging by what it has; *alone*: nothing grew.
    """
    used = parts.used
    if used is None:
        return Split(0, 0, 0, is_sure=True)
    if parts.large is None:
        return Split(0, 0, used, is_sure=False)
    heap = used - parts.mapped
    mapped, large = _split_mapped(parts, heap, ordinary)
    rest, is_sure = _split_heap(heap, large, ordinary, alone=alone)
    python, either = mapped.python + rest, mapped.either
    if parts.mapped > parts.whole * _SMALL_SHARE:
        is_sure = is_sure and mapped.is_sure
    else:
        # A table of Python's rather: it is Python that makes many blocks here.
        python, either = python + either, 0
    return Split(python, used - python - either, either, is_sure=is_sure)


def _split_mapped(parts: Parts, heap: int, ordinary: float) -> tuple[Split, int]:
    """
    Blocks so large that each has a mapping of its own: whose are they?

    The second result is the number of Python's larger blocks that are none of them.
    """
    count, large, size = parts.mapped_count, parts.large or 0, parts.mapped
    if size <= 0 or count <= 0:
        return Split(0, size, 0, is_sure=True), large
    # That many blocks of Python, neither less nor, other code aside, many more.
    matches = ordinary <= count and large - ordinary <= 2 * count + _FEW
    fits_elsewhere = heap >= large * _SMALLEST_LARGE
    if large < count / 2 or matches or not fits_elsewhere:
        known = max(0, min(count, large))
        python = size * known // count
        return Split(python, size - python, 0, is_sure=True), large - known
    if size <= _TABLE_BYTES * parts.blocks:
        # Very likely the tables that hold as many new objects as there are.
        return Split(size, 0, 0, is_sure=False), large
    return Split(0, 0, size, is_sure=False), large


def _split_heap(
    heap: int, large: int, ordinary: float, *, alone: bool
) -> tuple[int, bool]:
    """
    How many bytes of the heap are Python's, by the number of its larger blocks.
    """
    if heap <= 0 or large <= 0:
        return (heap, True) if heap <= 0 and large < 0 else (0, True)
    if heap <= large * _LARGEST_ORDINARY:
        return heap, True
    if not alone and large > _FEW * (ordinary + _FEW):
        return heap, heap <= large * 16 * _LARGEST_ORDINARY
    # No more of them than come with the small ones: of the usual size, and the rest
    # is somebody else's.
    return min(heap, large * _ORDINARY_BYTES), large <= _FEW
