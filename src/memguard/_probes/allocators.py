"""
What the two allocators of the process hold: the C library's, and Python's own.

Both are asked through ctypes and tell exact figures. Their cost grows with what they
look at: Python's allocator with its pools (about 1.5 µs a MiB), the C library's with
its free pieces (some 10 ns each); so they are asked when somebody wants to know.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from memguard._records import record

__all__ = ("MallocReading", "PymallocReading", "malloc", "pymalloc")

_WRAPS: Final = 1 << 32
# A function of another allocator that takes the place of the C library's `malloc`.
_OTHERS: Final = {
    "mallctl": "jemalloc",
    "MallocExtension_ReleaseFreeMemory": "tcmalloc",
    "mi_version": "mimalloc",
}


@record
class MallocReading:
    """
    The C library's heap, in bytes. All None where it does not tell, `source` says why.

    `used` was given out and not freed, `free` was freed and kept for later, `heap` is
    what the system gave for both; `mapped` of `used` are blocks with `mapped_count`
    mappings of their own, which freeing gives back at once.
    """

    used: int | None
    free: int | None
    heap: int | None
    mapped: int | None
    mapped_count: int | None
    source: str
    degraded: bool = False


@record
class PymallocReading:
    """
    Python's allocator of small blocks (512 bytes at most). None where nobody can tell.

    `arenas` is what it has from the system, in bytes, `used` what of it is in blocks
    given out, `blocks` how many these are. `large` counts the larger blocks of Python's
    objects, which it passes on to the C library.
    """

    arenas: int | None
    used: int | None
    blocks: int | None
    large: int | None
    source: str


def malloc() -> MallocReading:
    """
    The figures of `mallinfo2`, or of `mallinfo` before glibc 2.33.

    Takes the locks of the C library's arenas one by one, with the interpreter's lock
    released; never call it in a signal handler.
    """
    return _mallinfo()()


def pymalloc() -> PymallocReading:
    """
    The figures of `sys._debugmallocstats`, without its detour over stderr.

    Holds the interpreter's lock: about 1.5 µs for each MiB of small objects, and as
    much again for the number of larger ones. Knows the current interpreter alone.
    """
    read = _debug_stats()
    if isinstance(read, str):
        return PymallocReading(None, None, None, None, read)
    text = read()
    blocks = sys.getallocatedblocks()
    return parse_stats(text, blocks)


def parse_stats(text: str, blocks: int) -> PymallocReading:
    """
    Read the table; *blocks* is the number of all that Python gave out. Pure.
    """
    arenas = used = quantum = None
    small = 0
    for line in text.splitlines():
        name, equals, value = line.rpartition("=")
        if equals:
            if "bytes/arena" in name:
                arenas = _figure(value)
            elif name.startswith("# bytes in allocated blocks"):
                used = _figure(value)
                break  # what follows are losses, and another sum
            continue
        fields = line.split()
        if len(fields) == 5 and fields[0].isdecimal():
            quantum = 1
            small += int(fields[3])
    if arenas is None or used is None or quantum is None:
        return PymallocReading(None, None, None, None, "pymalloc is not in use")
    return PymallocReading(arenas, used, small, max(0, blocks - small), "pymalloc")


def _figure(text: str) -> int | None:
    digits = text.strip().replace(",", "")
    return int(digits) if digits.isdecimal() else None


def _no_malloc(source: str) -> Callable[[], MallocReading]:
    unknown = MallocReading(None, None, None, None, None, source)
    return lambda: unknown


@cache
def _mallinfo() -> Callable[[], MallocReading]:
    try:
        import ctypes

        library = ctypes.CDLL(None)
    except (ImportError, OSError, TypeError):
        return _no_malloc("the C library cannot be called")
    for symbol, name in _OTHERS.items():
        if hasattr(library, symbol):
            return _no_malloc(f"{name} has taken the place of the C library's malloc")
    for name, number in (("mallinfo2", ctypes.c_size_t), ("mallinfo", ctypes.c_int)):
        call: Any = getattr(library, name, None)
        if call is not None:
            return _reader(call, name, number)
    return _no_malloc("this C library has no mallinfo2 (glibc has)")


def _reader(call: Any, name: str, number: Any) -> Callable[[], MallocReading]:
    import ctypes

    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keep"

    class Info(ctypes.Structure):
        _fields_ = tuple((field, number) for field in names.split())

    call.restype = Info
    call.argtypes = ()
    # The older one counts in 32 bits with a sign: right up to 4 GiB at least.
    narrow = name == "mallinfo"
    limit = _WRAPS if narrow else 1 << 64

    def read() -> MallocReading:
        info = call()
        mapped = info.hblkhd % limit
        return MallocReading(
            used=info.uordblks % limit + mapped,
            free=info.fordblks % limit,
            heap=info.arena % limit,
            mapped=mapped,
            mapped_count=info.hblks % limit,
            source=name,
            degraded=narrow,
        )

    return read


@cache
def _debug_stats() -> Callable[[], str] | str:
    """
    What reads the table as text, or why there is none.
    """
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} has another allocator"
    if "t" in sys.abiflags:
        return "free-threaded builds use mimalloc"
    try:
        import ctypes

        # With the interpreter's lock held: it looks at Python's heap.
        dump: Any = ctypes.PyDLL(None)["_PyObject_DebugMallocStats"]
        library: Any = ctypes.PyDLL(None)
        opened, closed, free = library.open_memstream, library.fclose, library.free
    except (ImportError, AttributeError, OSError, TypeError):
        return "this interpreter does not tell"
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    dump.argtypes = closed.argtypes = free.argtypes = (pointer,)
    free.restype = None
    opened.argtypes = (ctypes.POINTER(pointer), ctypes.POINTER(size))
    opened.restype = pointer

    def read() -> str:
        text, length = pointer(), size()
        stream = opened(ctypes.byref(text), ctypes.byref(length))
        if not stream:
            return ""
        dump(stream)
        closed(stream)
        try:
            return ctypes.string_at(text.value or 0, length.value).decode("ascii")
        finally:
            free(text)

    return read
