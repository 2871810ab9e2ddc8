"""
What the kernel says about this process: memory, age, number of threads.

Memory is read from a descriptor that stays open, which costs about 1 µs; opening the
file each time costs ten times as much. Everything takes the root of the file system,
so that tests can bring their own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Final

from memguard._probes.readings import Count, MemoryReading
from memguard._records import record

__all__ = (
    "ProcessProbe",
    "Stat",
    "held",
    "parse_stat",
    "read_text",
    "seconds_since_boot",
)

#: Descriptors that probes hold open in this process; no audit counts them.
held: Final[set[int]] = set()

_UNAVAILABLE: Final = MemoryReading(None, None, "unavailable", None)
_STATM_FIELDS: Final = 7
_ATTEMPTS: Final = 3
_TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def read_text(path: str) -> str | None:
    """
    The text of a small file of the kernel; None when it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "surrogateescape")
    except OSError:
        return None


@record
class Stat:
    """
    What one line of a stat file says; `started_s` is in seconds since boot.
    """

    pid: int
    name: str
    state: str
    parent: int
    threads: int
    started_s: float


def parse_stat(text: str | None) -> Stat | None:
    """
    Read a stat file; None for what is none. A name may hold spaces and parentheses.
    """
    if text is None:
        return None
    head, _, tail = text.rpartition(")")
    pid, _, name = head.partition("(")
    fields = tail.split()
    try:
        return Stat(
            pid=int(pid),
            name=name,
            state=fields[0],
            parent=int(fields[1]),
            threads=int(fields[17]),
            started_s=int(fields[19]) / _TICKS,
        )
    except (IndexError, ValueError):
        return None


@record
class _Open:
    """
    An open statm file, and what it is, to notice when somebody closed it.
    """

    pid: int
    number: int
    identity: tuple[int, int]


class ProcessProbe:
    """
    This process, below *root*/proc/self.

    Safe to use from all threads without a lock, and in a forked child, which gets a
    descriptor of its own. Reading after `close` opens again.
    """

    __slots__ = ("_boottime", "_open", "_page", "_self")

    def __init__(
        self,
        root: str = "/",
        *,
        page_size: int | None = None,
        boottime: Callable[[], float | None] | None = None,
    ) -> None:
        self._self = os.path.join(root, "proc/self")
        self._page = page_size or _page_size()
        self._boottime = boottime or seconds_since_boot
        # By process id: an inherited entry is the parent's file. Only single dict
        # operations, which are atomic, so that no lock can be inherited locked.
        self._open: dict[int, _Open] = {}

    @property
    def page_size(self) -> int:
        """
        Bytes of one page, the unit of the kernel's figures.
        """
        return self._page

    def memory(self) -> tuple[int, int] | None:
        """
        Resident and virtual bytes of now; None where the kernel does not tell.
        """
        for _ in range(_ATTEMPTS):
            opened = self._open.get(os.getpid()) or self._opened()
            if opened is None:
                return None
            try:
                fields = os.pread(opened.number, 256, 0).split()
                if len(fields) == _STATM_FIELDS:
                    return int(fields[1]) * self._page, int(fields[0]) * self._page
            except (OSError, ValueError):
                pass  # somebody closed the descriptor, or put another file there
            if self._open.get(opened.pid) is opened:
                self._forget(opened.pid)
        return None

    def reading(self) -> MemoryReading:
        """
        What `memory` tells, or the peak of the resident memory, marked as such.

        A peak never falls (P14): it must not be taken for what is used now.
        """
        found = self.memory()
        return _peak() if found is None else MemoryReading(*found, "statm")

    def _opened(self) -> _Open | None:
        pid = os.getpid()
        for other in tuple(self._open):
            if other != pid:
                self._forget(other)  # inherited through a fork: the parent's figures
        flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
        try:
            number = os.open(os.path.join(self._self, "statm"), flags)
        except OSError:
            return None
        held.add(number)
        new = _Open(pid, number, _identity(number))
        first = self._open.setdefault(pid, new)
        if first is not new:  # another thread was faster
            _close(new)
        return first

    def _forget(self, pid: int) -> None:
        found = self._open.pop(pid, None)
        if found is not None:
            _close(found)

    def close(self) -> None:
        """
        Give the descriptor back. Safe to call twice.
        """
        for pid in tuple(self._open):
            self._forget(pid)

    def __del__(self, _ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # An integer does not close itself. At the end of the process everything goes,
        # and the names this module uses may have gone already.
        if not _ending():
            self.close()

    def stat(self) -> Stat | None:
        """
        The process's own line; None where there is no /proc.
        """
        return parse_stat(read_text(os.path.join(self._self, "stat")))

    def threads_count(self) -> Count:
        """
        Threads of the process, those of C libraries included.
        """
        stat = self.stat()
        if stat is None:
            return Count(None, "unavailable")
        return Count(stat.threads, "stat")

    def start_time(self) -> float | None:
        """
        When the process started, in seconds since boot: with its id, its identity.
        """
        stat = self.stat()
        return None if stat is None else stat.started_s

    def uptime(self) -> float | None:
        """
        Seconds since the process started, suspended time included.

        Not from /proc/uptime, which in some containers counts from the container's
        start while processes count from the host's.
        """
        started, now = self.start_time(), self._boottime()
        if started is None or now is None:
            return None
        return max(0.0, now - started)


def _close(opened: _Open) -> None:
    """
    Close the descriptor, unless its number has become somebody else's.
    """
    held.discard(opened.number)
    try:
        if _identity(opened.number) == opened.identity:
            os.close(opened.number)
    except OSError:
        pass  # closed already, by somebody who closes everything


def _identity(number: int) -> tuple[int, int]:
    found = os.fstat(number)
    return found.st_dev, found.st_ino


def _page_size() -> int:
    return os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def seconds_since_boot() -> float | None:
    """
    Suspended time included, as the kernel counts; None where it does not tell.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return None if clock is None else time.clock_gettime(clock)


def _peak() -> MemoryReading:
    try:
        import resource
    except ImportError:
        return _UNAVAILABLE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return MemoryReading(peak * unit, None, "rusage-peak", None)
