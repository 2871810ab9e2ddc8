"""
Single bytes and pointers of the interpreter's own memory, through ctypes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

__all__ = ("memory_readers",)

_Read = Callable[[int], int]


@cache
def memory_readers() -> tuple[_Read, _Read] | None:
    """
    What reads the byte, and the pointer, at an address; None where the layout of
    objects is not the one known: CPython 3.10 to 3.13, 64 bits, with the GIL.

    Reading an address that is none ends the process.
    """
    known = sys.implementation.name == "cpython" and sys.version_info < (3, 14)
    if not known or "t" in sys.abiflags or sys.maxsize < 1 << 32:
        return None
    try:
        from ctypes import c_uint8, c_void_p
    except ImportError:
        return None
    byte, pointer = c_uint8.from_address, c_void_p.from_address
    return (lambda at: byte(at).value), (lambda at: pointer(at).value or 0)
