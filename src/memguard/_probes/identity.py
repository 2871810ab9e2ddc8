"""
Which process this is, so that another one on this machine can tell whether it lives.

A process id alone is used again sooner or later; with the moment of its start, the
boot and the name space it is counted in, it is not.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from memguard._probes.procfs import parse_stat, read_text

if TYPE_CHECKING:
    from memguard._probes.procfs import Stat

__all__ = ("has_gone", "identity")

_UNKNOWN = "-"
_DEAD = frozenset({"Z", "X", "x"})


def identity(root: str = "/") -> str:
    """
    This process in a text without spaces: boot, name space, number, start.

    Parts that cannot be read are "-"; then nobody can tell that it has gone.
    """
    pid = os.getpid()
    stat = _stat(root, pid)
    started = _UNKNOWN if stat is None else f"{stat.started_s:.2f}"
    return f"{_here(root, os.getpid())}:{pid}:{started}"


def has_gone(other: str, root: str = "/") -> bool:
    """
    True where the process that *other* is the `identity` of has certainly ended.

    False for one that lives, and for one on another machine or in another container.
    """
    here, _, rest = other.rpartition(":")[0].rpartition(":")
    pid, started = rest, other.rpartition(":")[2]
    if here != _here(root, os.getpid()) or _UNKNOWN in (started, *here.split(":")):
        return False
    if not pid.isdigit():
        return False
    stat = _stat(root, int(pid))
    if stat is None:
        return not _exists(int(pid))
    return stat.state in _DEAD or f"{stat.started_s:.2f}" != started


@lru_cache(maxsize=8)
def _here(root: str, pid: int) -> str:  # noqa: ARG001 - a forked child asks anew
    # Cached: a process leaves neither its boot nor its name space.
    boot = (read_text(f"{root}proc/sys/kernel/random/boot_id") or _UNKNOWN).strip()
    try:
        space = str(os.stat(f"{root}proc/self/ns/pid").st_ino)
    except OSError:
        space = _UNKNOWN
    return f"{boot.partition('-')[0] or _UNKNOWN}:{space}"


def _stat(root: str, pid: int) -> Stat | None:
    if sys.platform != "linux":
        return None
    return parse_stat(read_text(f"{root}proc/{pid}/stat"))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
