"""
Open files, memory maps, and temporary files and directories.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import Any

from memguard._adopt.loaded import is_a, loaded_types
from memguard.typing import Adapter, Measured

__all__ = ("ADAPTERS",)


class File(Adapter):
    """
    An open file of any kind: its bytes on disk, or in memory where it is only there.

    Closing it writes what it has buffered. The standard streams of the process are only
    flushed: who closes those silences everybody.
    """

    kind = "file"
    module = "io"
    cannot = (
        "a file grows by what is written to it, which nobody can refuse from outside;"
        " write records through memguard.sink, which rotates and bounds its files"
    )

    def types(self) -> tuple[type, ...]:
        return loaded_types("_io:_IOBase", "tempfile:_TemporaryFileWrapper")

    def measure(self, obj: Any) -> Measured:
        if obj.closed:
            return Measured(entries=0, bytes=0)
        if is_a(obj, "_io:BytesIO", "_io:StringIO"):
            # Not by its buffer: nobody could write to it meanwhile.
            return Measured(entries=1, bytes=sys.getsizeof(obj))
        return Measured(entries=1, details={"disk_bytes": _on_disk(obj)})

    def weigh(self, obj: Any) -> int | None:
        return self.measure(obj).bytes

    def close(self, obj: Any) -> None:
        if _is_standard(obj):
            obj.flush()
        else:
            obj.close()

    def is_open(self, obj: Any) -> bool:
        return not obj.closed and not _is_standard(obj)


class MemoryMap(Adapter):
    """
    A `mmap.mmap`: its bytes, which count as memory as far as they were touched.
    """

    kind = "mmap"
    module = "mmap"
    cannot = (
        "a memory map has the size it was made with; its resize() moves it under"
        " whoever reads it"
    )

    def types(self) -> tuple[type, ...]:
        return loaded_types("mmap:mmap")

    def measure(self, obj: Any) -> Measured:
        if obj.closed:
            return Measured(entries=0, bytes=0)
        return Measured(entries=1, bytes=len(obj))

    def close(self, obj: Any) -> None:
        obj.close()

    def is_open(self, obj: Any) -> bool:
        return not obj.closed


class TemporaryDirectory(Adapter):
    """
    A `tempfile.TemporaryDirectory`: removed with all that is in it.
    """

    kind = "tempfile"
    module = "tempfile"
    cannot = (
        "what is written into a directory cannot be bounded from outside; a quota of"
        " the file system can"
    )

    def types(self) -> tuple[type, ...]:
        return loaded_types("tempfile:TemporaryDirectory")

    def measure(self, obj: Any) -> Measured:
        return Measured(entries=int(self.is_open(obj)))

    def close(self, obj: Any) -> None:
        obj.cleanup()

    def is_open(self, obj: Any) -> bool:
        return os.path.isdir(obj.name)


def _is_standard(file: Any) -> bool:
    names = ("stdin", "stdout", "stderr")
    return any(
        file is getattr(sys, name) or file is getattr(sys, f"__{name}__")
        for name in names
    )


def _on_disk(file: Any) -> int | None:
    """
    The size of a regular file; None for a pipe, a terminal, or none of the kernel's.
    """
    try:
        found = os.fstat(file.fileno())
    except (OSError, ValueError, AttributeError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


ADAPTERS = (File(), MemoryMap(), TemporaryDirectory())
