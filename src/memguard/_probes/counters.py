"""
Counters of the kernel that only rise: page faults, and switches between tasks.
"""

from __future__ import annotations

import os
from typing import Final

from memguard._probes.procfs import read_text
from memguard._records import record

__all__ = ("Counters", "counters")

# Beyond, reading a file for each thread takes longer than its answer is worth.
_MOST_THREADS: Final = 1_000
_VOLUNTARY: Final = "voluntary_ctxt_switches"


@record
class Counters:
    """
    Since the process started: faults without and with a read from disk, switches of
    its threads that waited and of those that were made to wait. None: not told.

    Those of threads that have ended are in the figures of `getrusage` alone.
    """

    minor_faults: int | None
    major_faults: int | None
    voluntary_switches: int | None
    involuntary_switches: int | None
    source: str


def counters(root: str = "/", process: str = "self") -> Counters:
    """
    Of this process by `getrusage`, of another one from its files in /proc.
    """
    if process == "self" and root == "/":
        try:
            import resource
        except ImportError:
            return Counters(None, None, None, None, "unavailable")
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Counters(
            used.ru_minflt, used.ru_majflt, used.ru_nvcsw, used.ru_nivcsw, "getrusage"
        )
    directory = os.path.join(root, "proc", process)
    fields = (read_text(f"{directory}/stat") or "").rpartition(")")[2].split()
    try:
        minor, major = int(fields[7]), int(fields[9])
    except (IndexError, ValueError):
        return Counters(None, None, None, None, "unavailable")
    return Counters(minor, major, *_switches(directory), "stat")


def _switches(directory: str) -> tuple[int | None, int | None]:
    try:
        threads = os.listdir(f"{directory}/task")
    except OSError:
        return None, None
    if len(threads) > _MOST_THREADS:
        return None, None
    sums = {_VOLUNTARY: 0, f"non{_VOLUNTARY}": 0}
    for thread in threads:
        text = read_text(f"{directory}/task/{thread}/status") or ""
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name in sums and value.strip().isdecimal():
                sums[name] += int(value)
    return sums[_VOLUNTARY], sums[f"non{_VOLUNTARY}"]
