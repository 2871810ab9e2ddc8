"""
The probe that a guard is given: the operating system, or what a test makes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from memguard._probes.cgroup import Configured, LimitProbe
from memguard._probes.children import Child, children
from memguard._probes.descriptors import Descriptor, count, descriptors
from memguard._probes.procfs import ProcessProbe
from memguard._probes.readings import Count, LimitReading, MemoryReading
from memguard._probes.threads import PythonThread, native_threads, python_threads

if TYPE_CHECKING:
    from memguard._probes.process import ProcessView
    from memguard._probes.sample import Sample

__all__ = ("MemoryProbe", "SystemProbe")


@runtime_checkable
class MemoryProbe(Protocol):
    """
    The least that a guard needs: how much memory is used.
    """

    def memory(self) -> MemoryReading:
        """
        What the process uses now. Cheap: called on every tick.
        """


class SystemProbe:
    """
    This process and its limits, as the operating system below *root* tells them.

    What cannot be told is None, never a guess. Safe on all threads and after a fork.
    """

    __slots__ = ("_limits", "_root", "_view", "process")

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._limits = LimitProbe(root)
        self.process = ProcessProbe(root)
        self._view: ProcessView | None = None

    def memory(self) -> MemoryReading:
        """
        Resident and virtual bytes of now; where the kernel does not tell, a peak.
        """
        return self.process.reading()

    def limit(self, configured: Configured = "auto") -> LimitReading:
        """
        What counts: control groups, RLIMIT_AS, *configured*, host; the smallest.
        """
        return self._limits.limit(configured)

    @property
    def view(self) -> ProcessView:
        """
        All that is only read when somebody asks; its code is loaded then.
        """
        if self._view is None:
            from memguard._probes.process import ProcessView

            self._view = ProcessView(root=self._root)
        return self._view

    def sample(self, now: float) -> Sample | None:
        """
        Pages and both allocators, *now* on the caller's clock; about 0.2 ms.
        """
        from memguard._probes.sample import sample

        return sample(self.view, now)

    def uptime(self) -> float | None:
        """
        Seconds since the process started.
        """
        return self.process.uptime()

    def threads_count(self) -> Count:
        """
        Threads of the process, those of C libraries included.
        """
        return self.process.threads_count()

    def descriptors_count(self) -> Count:
        """
        Open descriptors, those included that probes hold.
        """
        return count(self._root)

    def descriptors(self) -> dict[int, Descriptor] | None:
        """
        Open descriptors with their types; slow where there are thousands.
        """
        return descriptors(self._root)

    def native_threads(self) -> dict[int, str] | None:
        """
        The kernel's threads: id to name.
        """
        return native_threads(self._root)

    def python_threads(self) -> dict[int, PythonThread]:
        """
        Threads that run Python code, by ident.
        """
        return python_threads()

    def children(self) -> dict[int, Child] | None:
        """
        Child processes by id, zombies included.
        """
        return children(self._root)

    def close(self) -> None:
        """
        Give back the descriptor that stays open between readings.
        """
        self.process.close()
