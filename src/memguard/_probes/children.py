"""
The child processes of this process, those included that wait to be reaped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from memguard._probes.procfs import Stat, parse_stat, read_text
from memguard._records import record

__all__ = ("Child", "children")


@record
class Child:
    """
    One child process; `state` is the kernel's letter, Z for a zombie.

    `start_time` is in seconds since boot: with the id it tells a process from a later
    one of the same id.
    """

    pid: int
    state: str
    comm: str
    start_time: float

    @property
    def zombie(self) -> bool:
        """
        True when it has ended and nobody has waited for it.
        """
        return self.state == "Z"


def children(root: str = "/", process: str = "self") -> dict[int, Child] | None:
    """
    The direct children by process id; None where the system does not tell.

    Of this process, or of the one whose number *process* is.

    A child that ends or starts meanwhile may be in it or not.
    """
    proc = os.path.join(root, "proc")
    me = parse_stat(read_text(os.path.join(proc, process, "stat")))
    if me is None:
        return None
    listed = _listed(proc, process)
    if listed is None:
        found = (stat for stat in _all(proc) if stat.parent == me.pid)
    else:
        read = (parse_stat(read_text(f"{proc}/{pid}/stat")) for pid in listed)
        found = (stat for stat in read if stat is not None)
    return {
        one.pid: Child(one.pid, one.state, one.name, one.started_s) for one in found
    }


def _listed(proc: str, process: str) -> list[int] | None:
    """
    What the kernel lists for each thread; None where it was built without that.
    """
    tasks = os.path.join(proc, process, "task")
    try:
        numbers = os.listdir(tasks)
    except OSError:
        return None
    texts = [read_text(os.path.join(tasks, number, "children")) for number in numbers]
    known = [text for text in texts if text is not None]
    if not known:
        return None
    return [int(pid) for text in known for pid in text.split()]


def _all(proc: str) -> Iterator[Stat]:
    for name in os.listdir(proc):
        if name.isdecimal():
            stat = parse_stat(read_text(f"{proc}/{name}/stat"))
            if stat is not None:
                yield stat
