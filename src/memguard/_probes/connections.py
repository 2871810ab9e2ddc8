"""
The network connections of a process, by kind and state.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Final

from memguard._probes.procfs import read_text

__all__ = ("connections",)

# The kernel's numbers of the states of TCP; what is not named is on its way out.
_STATES: Final = {"01": "established", "0A": "listening", "02": "opening"}
_ENDING: Final = "closing"
# Held by nobody any more: the other side has closed and the application has not.
_LEFT: Final = {"08": "close_wait"}
_TABLES: Final = ("tcp", "tcp6", "udp", "udp6", "unix")


def connections(
    inodes: Iterable[int | None], root: str = "/", process: str = "self"
) -> dict[str, int] | None:
    """
    How many of the sockets *inodes* are what: "tcp established", "udp", "unix", ...

    "other" are sockets of which the tables tell nothing (netlink, another name space).
    None where there is no table. Reads the tables of the process's whole network, a
    line for each socket of it.
    """
    wanted = {inode for inode in inodes if inode is not None}
    if not wanted:
        return {}
    found: dict[str, int] = {}
    tables = 0
    for table in _TABLES:
        text = read_text(os.path.join(root, "proc", process, "net", table))
        if text is None:
            continue
        tables += 1
        for inode, what in _rows(table, text):
            if inode in wanted:
                wanted.discard(inode)
                found[what] = found.get(what, 0) + 1
    if not tables:
        return None
    if wanted:
        found["other"] = len(wanted)
    return dict(sorted(found.items()))


def _rows(table: str, text: str) -> Iterator[tuple[int, str]]:
    is_unix = table == "unix"
    kind = table.removesuffix("6")
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            inode = int(fields[6 if is_unix else 9])
            state = fields[3].upper()
        except (IndexError, ValueError):
            continue
        if kind == "tcp":
            told = _STATES.get(state) or _LEFT.get(state) or _ENDING
            yield inode, f"tcp {told}"
        else:
            yield inode, kind
