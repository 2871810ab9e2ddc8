"""
Any process of the same user, seen from outside; without a number, this one.

Reads files alone: the process is not stopped, not traced, and does not notice. What
may not be read is None. Nothing stays open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from memguard._probes import elsewhere
from memguard._probes.cgroup import Configured, LimitProbe
from memguard._probes.children import Child, children
from memguard._probes.connections import connections
from memguard._probes.counters import Counters, counters
from memguard._probes.descriptors import Descriptor, count, descriptors
from memguard._probes.mappings import Mappings, Rollup, mappings, rollup
from memguard._probes.procfs import Stat, parse_stat, read_text, seconds_since_boot
from memguard._probes.readings import Count, LimitReading
from memguard._probes.usage import GroupUsage, SystemMemory, group_usage, system_memory
from memguard._records import record

__all__ = ("PagesReading", "ProcessView")


@record
class PagesReading:
    """
    The pages of a process, in bytes.

    `shared` of `rss` are of files or of shared memory; the rest is the process's own.
    `data` is the address space it may write to and shares with nobody, resident or
    not. `swap` is what of its own pages is on disk.
    """

    rss: int
    virtual: int
    shared: int | None
    data: int | None
    swap: int | None
    source: str

    @property
    def own(self) -> int | None:
        """
        Resident bytes that are neither of files nor shared.
        """
        return None if self.shared is None else self.rss - self.shared


class ProcessView:
    """
    The process *pid* as /proc below *root* shows it, or psutil where there is none.

    Each method reads anew. Safe on all threads; of this process, also after a fork.
    """

    __slots__ = ("_boottime", "_limits", "_page", "_root", "pid", "process")

    def __init__(
        self,
        pid: int | None = None,
        root: str = "/",
        *,
        boottime: Callable[[], float | None] = seconds_since_boot,
    ) -> None:
        self.pid = pid
        self.process = "self" if pid is None else str(pid)
        self._root = root
        self._boottime = boottime
        self._limits = LimitProbe(root, process=self.process)
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

    @property
    def has_proc(self) -> bool:
        """
        True where /proc tells about processes.
        """
        return os.path.exists(os.path.join(self._root, "proc/self/stat"))

    @property
    def is_self(self) -> bool:
        """
        True where the process is the one that asks.
        """
        return self.pid is None or (self._root == "/" and self.pid == os.getpid())

    def pages(self) -> PagesReading | None:
        """
        Memory of now, from statm; swap from status.
        """
        fields = (self._read("statm") or "").split()
        try:
            virtual, rss, shared = (int(field) * self._page for field in fields[:3])
            data = int(fields[5]) * self._page
        except (IndexError, ValueError):
            return self._pages_elsewhere()
        if not virtual:
            return None  # a zombie, or a thread of the kernel
        return PagesReading(rss, virtual, shared, data, self.swap(), "statm")

    def _pages_elsewhere(self) -> PagesReading | None:
        found = None if self.has_proc else elsewhere.memory(self.pid)
        return (
            None if found is None else PagesReading(*found, None, None, None, "psutil")
        )

    def swap(self) -> int | None:
        """
        Bytes of its own pages that are on disk.
        """
        text = self._read("status") or ""
        _, found, rest = text.partition("\nVmSwap:")
        number = rest.partition("kB")[0].strip()
        return int(number) * 1024 if found and number.isdecimal() else None

    def stat(self) -> Stat | None:
        """
        Name, state, parent, threads, start.
        """
        found = parse_stat(self._read("stat"))
        if found is None and not self.has_proc:
            return elsewhere.stat(self.pid)
        return found

    def uptime(self, stat: Stat | None, wall_s: float) -> float | None:
        """
        Seconds since the process started, suspended time included.

        *wall_s* are the seconds since 1970, which psutil counts in.
        """
        if stat is None:
            return None
        now = self._boottime() if self.has_proc else wall_s
        return None if now is None else max(0.0, now - stat.started_s)

    def descriptors(self) -> dict[int, Descriptor] | None:
        """
        Open descriptors with their types, those of probes left out.
        """
        return descriptors(self._root, self.process)

    def descriptors_count(self) -> Count:
        """
        How many are open, also where nobody tells what they are.
        """
        return count(self._root, self.process)

    def descriptors_limit(self) -> int | None:
        """
        How many may be open; None where nobody tells or there is no limit.
        """
        for line in (self._read("limits") or "").splitlines():
            _, found, rest = line.partition("Max open files")
            if found:
                number = rest.split()[0]
                return int(number) if number.isdecimal() else None
        return None

    def connections(self, found: dict[int, Descriptor] | None) -> dict[str, int] | None:
        """
        What the sockets among the descriptors are.
        """
        if found is None:
            return None
        sockets = [one.inode for one in found.values() if one.type == "socket"]
        return connections(sockets, self._root, self.process)

    def children(self) -> dict[int, Child] | None:
        """
        Child processes by id, zombies included.
        """
        return children(self._root, self.process)

    def counters(self) -> Counters:
        """
        Page faults and switches since the start.
        """
        return counters(self._root, "self" if self.is_self else self.process)

    def mappings(self) -> Mappings | None:
        """
        Mapped regions: how many, and the largest.
        """
        return mappings(self._root, self.process)

    def rollup(self) -> Rollup | None:
        """
        Sums over all pages; a millisecond for each 100 MB.
        """
        return rollup(self._root, self.process)

    def limit(self, configured: Configured = "auto") -> LimitReading:
        """
        What the process may use.
        """
        return self._limits.limit(configured)

    def group(self) -> GroupUsage | None:
        """
        What the control group uses that limits it.
        """
        return group_usage(self._limits, self._root)

    def system(self) -> SystemMemory | None:
        """
        The memory of the host.
        """
        return system_memory(self._root) or elsewhere.system()

    def exists(self) -> bool:
        """
        False where there is no such process (any more), or it has only to be reaped.
        """
        stat = self.stat()
        return stat is not None and stat.state not in ("Z", "X", "x")

    def unreadable(self) -> str:
        """
        Why a file of the process cannot be read.
        """
        if not self.has_proc:
            return f"there is no /proc on {sys.platform}"
        try:
            with open(self._path("maps"), "rb") as file:
                file.read(1)
        except OSError as error:
            return f"{error.strerror or error}, as /proc says".lower()
        return "the system does not tell"

    def _path(self, name: str) -> str:
        return os.path.join(self._root, "proc", self.process, name)

    def _read(self, name: str) -> str | None:
        return read_text(self._path(name))
