"""
What is mapped into a process: how many regions, and which are the largest.

The list of 300 regions takes half a millisecond; sums over pages (`rollup`) take one
for each 100 MB. Only for somebody who asks.
"""

from __future__ import annotations

import os
from typing import Final

from memguard._probes.procfs import read_text
from memguard._records import record

__all__ = ("MappingGroup", "Mappings", "Rollup", "mappings", "rollup")

_LARGEST: Final = 10
_FIELDS: Final = 6


@record
class MappingGroup:
    """
    All regions with one backing: a file's path, "heap", "stack", "anon" or a name that
    the kernel gives. Sizes are address space in bytes, resident or not.
    """

    name: str
    bytes: int
    count: int
    writable: int
    largest: int


@record
class Mappings:
    """
    How many regions are mapped, how many of them may be written to, and the backings
    with the most address space. What is only reserved (no access) counts in `count`.
    """

    count: int
    writable: int
    writable_bytes: int
    largest: tuple[MappingGroup, ...]


@record
class Rollup:
    """
    Sums over all pages of a process, in bytes; `pss` shares out what several map.
    """

    rss: int
    pss: int
    pss_anonymous: int | None
    pss_file: int | None
    pss_shared: int | None
    anonymous: int
    huge: int
    swap: int


def mappings(
    root: str = "/", process: str = "self", *, largest: int = _LARGEST
) -> Mappings | None:
    """
    The regions of a process; None where they may not be read.
    """
    text = read_text(os.path.join(root, "proc", process, "maps"))
    # A kernel thread has no regions; nobody else is without any.
    return None if text is None else parse_maps(text, largest=largest)


def rollup(root: str = "/", process: str = "self") -> Rollup | None:
    """
    The sums of smaps_rollup; None where they may not be read. Walks all page tables.
    """
    text = read_text(os.path.join(root, "proc", process, "smaps_rollup"))
    return None if text is None else parse_rollup(text)


def parse_maps(text: str, *, largest: int = _LARGEST) -> Mappings:
    """
    Read a list of regions. Pure.
    """
    groups: dict[str, list[int]] = {}
    count = writable = writable_bytes = 0
    for line in text.splitlines():
        fields = line.split(None, _FIELDS - 1)
        start, dash, end = fields[0].partition("-") if fields else ("", "", "")
        if not dash or len(fields) < _FIELDS - 1:
            continue
        count += 1
        size = int(end, 16) - int(start, 16)
        rights = fields[1]
        if rights.startswith("---"):
            continue
        writes = "w" in rights
        if writes:
            writable += 1
            writable_bytes += size
        row = groups.setdefault(_backing(fields), [0, 0, 0, 0])
        row[0] += size
        row[1] += 1
        row[2] += writes
        row[3] = max(row[3], size)
    found = [MappingGroup(_printable(name), *row) for name, row in groups.items()]
    found.sort(key=_by_size)
    return Mappings(count, writable, writable_bytes, tuple(found[:largest]))


def _backing(fields: list[str]) -> str:
    name = fields[5].rstrip() if len(fields) == _FIELDS else ""
    if not name or name.startswith("[anon"):
        return "anon"
    if name.startswith("[stack"):
        return "stack"
    return name.strip("[]") if name.startswith("[") else name


def _printable(name: str) -> str:
    # A path need not be text.
    return name.encode("utf-8", "backslashreplace").decode()


def _by_size(group: MappingGroup) -> tuple[int, str]:
    return -group.bytes, group.name


def parse_rollup(text: str) -> Rollup | None:
    """
    Read the sums; None when the main ones are missing. Pure.
    """
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        number = value.partition("kB")[0].strip()
        if number.isdecimal():
            found[name] = int(number) * 1024
    if "Rss" not in found or "Pss" not in found:
        return None
    return Rollup(
        rss=found["Rss"],
        pss=found["Pss"],
        pss_anonymous=found.get("Pss_Anon"),
        pss_file=found.get("Pss_File"),
        pss_shared=found.get("Pss_Shmem"),
        anonymous=found.get("Anonymous", 0),
        huge=found.get("AnonHugePages", 0),
        swap=found.get("Swap", 0),
    )
