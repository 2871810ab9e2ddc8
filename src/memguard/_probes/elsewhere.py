"""
The same figures where there is no /proc, by psutil, if that is installed.
"""

from __future__ import annotations

from typing import Any

from memguard._probes.procfs import Stat
from memguard._probes.usage import SystemMemory

__all__ = ("installed", "memory", "stat", "system")


def installed() -> Any:
    """
    The module psutil, or None. Imported at the first call.
    """
    try:
        import psutil
    except ImportError:
        return None
    return psutil


def memory(pid: int | None) -> tuple[int, int] | None:
    """
    Resident and virtual bytes of a process; None where nobody tells.
    """
    psutil = installed()
    if psutil is None:
        return None
    try:
        info = psutil.Process(pid).memory_info()
    except (psutil.Error, OSError):
        return None
    return info.rss, info.vms


def stat(pid: int | None) -> Stat | None:
    """
    Name, state, parent and threads; `started_s` is in seconds since 1970 here.
    """
    psutil = installed()
    if psutil is None:
        return None
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            state = "Z" if process.status() == psutil.STATUS_ZOMBIE else "S"
            return Stat(
                pid=process.pid,
                name=process.name(),
                state=state,
                parent=process.ppid(),
                threads=process.num_threads(),
                started_s=process.create_time(),
            )
    except (psutil.Error, OSError):
        return None


def system() -> SystemMemory | None:
    """
    The memory of the host.
    """
    psutil = installed()
    if psutil is None:
        return None
    found, swap = psutil.virtual_memory(), psutil.swap_memory()
    return SystemMemory(found.total, found.available, swap.total, swap.free, None)
