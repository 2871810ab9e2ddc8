"""
Files that a process leaves behind: spilled below a directory, or open and deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from memguard._probes.descriptors import Descriptor, descriptors
from memguard._probes.readings import DirectoryReading
from memguard._records import record

__all__ = ("FileEntry", "deleted_files", "directory_size", "temp_entries")

_LIMIT: Final = 10_000


@record
class FileEntry:
    """
    One file below a directory: its path relative to that, its size in bytes.
    """

    path: str
    bytes: int


def temp_entries(
    directory: str, prefix: str = "", *, limit: int = _LIMIT
) -> list[FileEntry] | None:
    """
    The files below *directory* whose names begin with *prefix*, sorted by path.

    At most *limit* of them. Follows no symbolic link. A directory that does not exist
    holds nothing; None where it cannot be read.
    """
    found: list[FileEntry] = []
    try:
        for entry, path in _walk(directory, ""):
            if len(found) == limit:
                break
            if entry.name.startswith(prefix):
                found.append(FileEntry(path, _size(entry)))
    except FileNotFoundError:
        return []
    except OSError:
        return None
    return sorted(found, key=_by_path)


def directory_size(directory: str, *, limit: int = _LIMIT) -> DirectoryReading | None:
    """
    The bytes of the files below *directory*; looks at no more than *limit* of them.

    Follows no symbolic link. A directory that does not exist holds nothing; None where
    it cannot be read.
    """
    total = files = 0
    try:
        for entry, _ in _walk(directory, ""):
            if files == limit:
                return DirectoryReading(total, files, whole=False)
            files += 1
            total += _size(entry)
    except FileNotFoundError:
        # Never there, or a folder of it was removed meanwhile.
        return DirectoryReading(total, files, whole=not files)
    except OSError:
        return None
    return DirectoryReading(total, files, whole=True)


def deleted_files(root: str = "/") -> list[Descriptor] | None:
    """
    Open files without a name, which no listing of a directory shows.

    They hold disk space until they are closed. None where the system does not tell.
    """
    found = descriptors(root)
    if found is None:
        return None
    return [one for one in found.values() if one.deleted]


def _walk(directory: str, below: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    with os.scandir(os.path.join(directory, below)) as entries:
        for entry in entries:
            path = os.path.join(below, entry.name)
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(directory, path)
            else:
                yield entry, path


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0  # deleted meanwhile


def _by_path(entry: FileEntry) -> str:
    return entry.path
