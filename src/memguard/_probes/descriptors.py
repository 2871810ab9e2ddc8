"""
The open descriptors of this process, each with its type.

Listing reads one link for each descriptor (about 4 µs): 10,000 take 40 ms, so that
nothing may list on a hot path (P19). `count` is the light form.
"""

from __future__ import annotations

import os
from typing import Final, Literal, TypeAlias

from memguard._probes.procfs import held
from memguard._probes.readings import Count
from memguard._records import field, record

__all__ = ("Descriptor", "DescriptorType", "count", "descriptors")

DescriptorType: TypeAlias = Literal[
    "file", "socket", "pipe", "pty", "eventfd", "epoll", "anon", "memfd", "other"
]

_DELETED: Final = " (deleted)"
_ANONYMOUS: Final[dict[str, DescriptorType]] = {
    "eventfd": "eventfd",
    "eventpoll": "epoll",
}
_TERMINALS: Final = ("/dev/pts/", "/dev/ptmx", "/dev/tty", "/dev/console")
# Below /dev, but files.
_FILES_IN_DEV: Final = ("/dev/shm/", "/dev/mqueue/")  # noqa: S108 - only compared
# What stands after the last point may be a name, unless it is one of these.
_SUFFIXES: Final = frozenset(
    {
        "conf",
        "csv",
        "db",
        "json",
        "jsonl",
        "lock",
        "log",
        "pid",
        "py",
        "shm",
        "so",
        "sock",
        "sqlite",
        "sqlite3",
        "tmp",
        "txt",
        "wal",
    }
)
# From this version on the size of the directory is the number of descriptors.
_COUNTS_ITSELF: Final = (6, 2)


@record
class Descriptor:
    """
    One open descriptor.

    `target_class` is what reports may show: a path is cut down to its first directory
    and a known suffix ("/var/.../*.log"), because names may belong to users. `target`
    is the whole, to compare with; `inode` is None where only the path is known.
    """

    fd: int
    type: DescriptorType
    target_class: str
    inode: int | None
    target: str = field(repr=False)

    @property
    def of_kernel(self) -> bool:
        """
        True for files of the kernel's own file systems, which probes keep open.
        """
        return self.target.startswith(("/proc/", "/sys/"))

    @property
    def deleted(self) -> bool:
        """
        True for a file that is open and has no name any more.
        """
        return self.type == "file" and self.target.endswith(_DELETED)


def descriptors(root: str = "/", process: str = "self") -> dict[int, Descriptor] | None:
    """
    All open descriptors by number, without those that probes hold themselves.

    Of this process, or of the one whose number *process* is. None where the system
    does not tell, or does not tell us. What is opened or closed meanwhile may be in
    it or not.
    """
    directory = os.path.join(root, "proc", process, "fd")
    try:
        names = os.listdir(directory)
    except OSError:
        return None
    ours = held if process == "self" else frozenset()
    found = {}
    for name in names:
        try:
            target = os.readlink(f"{directory}/{name}")
        except PermissionError:
            return None  # another user's, or one that was made unreadable
        except OSError:
            continue  # closed meanwhile; so is the descriptor of the listing itself
        number = int(name)
        if number in ours and target.endswith("/statm"):
            continue
        found[number] = describe(number, target)
    return found


def count(root: str = "/", process: str = "self") -> Count:
    """
    How many descriptors are open: some microseconds on Linux 6.2 and later, elsewhere
    a listing without the links.
    """
    directory = os.path.join(root, "proc", process, "fd")
    try:
        if root == "/" and _release() >= _COUNTS_ITSELF:
            size = os.stat(directory).st_size
            if size > 0:
                return Count(size, "stat")
        # One of them is the listing's own.
        own = root == "/" and process == "self"
        return Count(len(os.listdir(directory)) - own, "listing")
    except OSError:
        return Count(None, "unavailable")


def describe(number: int, target: str) -> Descriptor:
    """
    What a link of /proc/self/fd says about its descriptor. Pure.
    """
    if target.startswith("/"):
        kind, shown = _of_path(target)
        return Descriptor(number, kind, shown, None, target)
    name, _, rest = target.partition(":")
    label = rest.strip("[]")
    if name == "anon_inode":
        kind = _ANONYMOUS.get(label, "anon")
        return Descriptor(number, kind, label, None, target)
    inode = int(label) if label.isascii() and label.isdecimal() else None
    kind = "socket" if name == "socket" else "pipe" if name == "pipe" else "other"
    return Descriptor(number, kind, name, inode, target)


def _of_path(target: str) -> tuple[DescriptorType, str]:
    if target.startswith("/memfd:"):
        return "memfd", "memfd"
    if target.startswith(_TERMINALS):
        return "pty", "terminal"
    if target.startswith("/dev/") and not target.startswith(_FILES_IN_DEV):
        return "other", target
    path = target.removesuffix(_DELETED)
    directories, _, name = path.rpartition("/")
    top, *deeper = directories.split("/")[1:] or [""]
    suffix = name.rpartition(".")[2]
    shown = f"*.{suffix}" if suffix in _SUFFIXES and suffix != name else "*"
    parts = ["", *([top] if top else []), *(["..."] if deeper else []), shown]
    return "file", "/".join(parts) + target[len(path) :]


def _release() -> tuple[int, ...]:
    """
    The version of the kernel, as far as it is numbers: (6, 2).
    """
    parts = os.uname().release.split(".")[:2]
    return tuple(int(part) for part in parts if part.isdecimal())
