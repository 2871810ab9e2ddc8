"""
What probes return: numbers that carry their source.

None means that nobody can tell, which is never the same as zero or as an empty list.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from memguard._records import record

__all__ = (
    "Count",
    "DirectoryReading",
    "LimitReading",
    "LimitSource",
    "MemoryReading",
    "MemorySource",
)

#: statm: the kernel's figures of now. rusage-peak: the highest ever, for want of them.
MemorySource: TypeAlias = Literal["statm", "rusage-peak", "unavailable"]
LimitSource: TypeAlias = Literal["cgroup", "rlimit", "config", "host", "none"]


@record
class MemoryReading:
    """
    What the process uses, in bytes.

    `age_s` is 0 for a figure of now and None when nobody knows of when it is: a peak
    may be hours old.
    """

    rss: int | None
    virtual: int | None
    source: MemorySource
    age_s: float | None = 0.0


@record
class LimitReading:
    """
    What the process may use, in bytes; None without a limit.

    `detail` says where the figure stands: a file of the kernel or the name of a limit.
    """

    limit_bytes: int | None
    source: LimitSource
    detail: str = ""


@record
class Count:
    """
    A number of things, and the place it was read from.
    """

    value: int | None
    source: str


@record
class DirectoryReading:
    """
    The bytes of the files below a directory. Not `whole`: there are more than counted.
    """

    bytes: int
    files: int
    whole: bool
