"""
Emptying a tuple, which Python itself cannot.

By the interpreter's own documented calls, and only where nobody but the caller refers
to the tuple: the interpreter checks that itself. Needs the global interpreter lock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ("TupleTools", "tuple_tools")

#: Hides a tuple, by its address, from the collector; and empties one of its places.
TupleTools: TypeAlias = tuple[Callable[[int], object], Callable[[int, int, None], int]]


def tuple_tools() -> TupleTools | None:
    """
    Hide and empty, both of which take the address of a tuple; None where that cannot
    be: not CPython, no lock, or no ctypes.

    Hide it first: a tuple with an empty place may be seen by nobody. The second one
    raises SystemError for a tuple that anybody else refers to.
    """
    if sys.implementation.name != "cpython" or not _has_lock():
        return None
    try:
        import ctypes

        # With the interpreter's lock held, and its errors raised.
        library = ctypes.PyDLL(None)
        hide: Any = library["PyObject_GC_UnTrack"]
        empty: Any = library["PyTuple_SetItem"]
    except (ImportError, AttributeError, OSError):
        return None
    hide.argtypes = (ctypes.c_void_p,)
    hide.restype = None
    empty.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)
    empty.restype = ctypes.c_int
    return hide, empty


def _has_lock() -> bool:
    is_enabled = getattr(sys, "_is_gil_enabled", None)
    return is_enabled is None or bool(is_enabled())
