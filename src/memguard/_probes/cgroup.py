"""
How much memory the process may use: control groups, resource limits, the host.

Control groups of version 2, version 1 and of both at once are resolved through
/proc/self/cgroup and /proc/self/mountinfo, and the smallest limit on the way up to
the mount point counts, because a limit on an ancestor kills just as well. Limits may
change while the process runs, so they are read anew each time; only the places are
remembered, until the process is moved to another group.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeAlias

from memguard._probes.procfs import read_text
from memguard._probes.readings import LimitReading, LimitSource
from memguard._records import record

__all__ = ("Configured", "LimitProbe", "Place", "effective_limit", "memory_limit")

#: What the setting `memory_limit` may be.
Configured: TypeAlias = int | Literal["auto"] | None

# "No limit" in version 1 is the largest number of whole pages; an exbibyte is beyond
# every machine and below every such number.
_NO_LIMIT: Final = 1 << 60


@record
class _Mount:
    """
    One mounted hierarchy: the group at its root, and where it is mounted.
    """

    root: str
    point: str
    version: Literal[1, 2]


@record
class Place:
    """
    The directory of the process's group, and that of the mount above which nobody sees.
    """

    directory: str
    top: str
    version: Literal[1, 2]

    def upwards(self) -> Iterator[str]:
        """
        The directory, and those above it that are visible.
        """
        directory = self.directory
        yield directory
        while directory not in (self.top, os.path.dirname(directory)):
            directory = os.path.dirname(directory)
            yield directory


class LimitProbe:
    """
    The limits of this process, below *root*, or of the one whose number *process* is.

    *address_space* says what RLIMIT_AS allows, None for no limit.
    """

    __slots__ = ("_address_space", "_groups", "_places", "_process", "_root")

    def __init__(
        self,
        root: str = "/",
        *,
        process: str = "self",
        address_space: Callable[[], int | None] | None = None,
    ) -> None:
        self._root = root
        self._process = process
        self._address_space = address_space or self._allowed
        self._groups: str | None = None
        self._places: tuple[Place, ...] = ()

    def cgroup(self) -> LimitReading:
        """
        The smallest limit of the process's control groups and their ancestors.

        Source "none" where there is no such limit or nobody can tell. Soft limits and
        protections (memory.high, memory.low) are no limits.
        """
        places = self.places()
        if places is None:
            return LimitReading(None, "none", "no control group")
        best = LimitReading(None, "none", "control groups without a limit")
        for place in places:
            read = self._limits_v2 if place.version == 2 else self._limits_v1
            for size, path in read(place):
                if 0 < size < (best.limit_bytes or _NO_LIMIT):
                    best = LimitReading(size, "cgroup", path)
        return best

    def places(self) -> tuple[Place, ...] | None:
        """
        The directories of the process's control groups; None where it is in none.
        """
        groups = self._read(f"proc/{self._process}/cgroup")
        if groups is None:
            return None
        if groups != self._groups:
            # Our own view: it is with our eyes that the files are looked for.
            mounts = self._read("proc/self/mountinfo") or ""
            self._places = tuple(_places(groups, mounts))
            self._groups = groups
        return self._places

    def rlimit(self) -> LimitReading:
        """
        The limit of the address space, which also counts what is not resident (P21).
        """
        size = self._address_space()
        if size is None or size >= _NO_LIMIT:
            return LimitReading(None, "none", "RLIMIT_AS is unlimited")
        return LimitReading(size, "rlimit", "RLIMIT_AS")

    def host(self) -> LimitReading:
        """
        The memory of the host.
        """
        for line in (self._read("proc/meminfo") or "").splitlines():
            name, _, value = line.partition(":")
            if name == "MemTotal" and (size := _number(value.partition("kB")[0])):
                return LimitReading(size * 1024, "host", "MemTotal")
        try:
            pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            pages = page = -1
        if pages <= 0 or page <= 0:
            return LimitReading(None, "none", "the host's memory is unknown")
        return LimitReading(pages * page, "host", "SC_PHYS_PAGES")

    def limit(self, configured: Configured = "auto") -> LimitReading:
        """
        What counts: the smallest of control groups, RLIMIT_AS, *configured* and host.

        A configured size never lifts a limit of the operating system. *configured*
        None means that no limit is wanted: then there is none.
        """
        if configured is None:
            return LimitReading(None, "none", "memory_limit is none")
        found = [self.cgroup(), self.rlimit()]
        if configured != "auto":
            found.append(LimitReading(configured, "config", "memory_limit"))
        found.append(self.host())
        known = [one for one in found if one.limit_bytes is not None]
        if not known:
            return LimitReading(None, "none", "; ".join(one.detail for one in found))
        # min() keeps the first of equals: what the system enforces goes before wishes.
        return min(known, key=_size_of)

    # -- reading -----------------------------------------------------------------------

    def _allowed(self) -> int | None:
        if self._process == "self" and self._root == "/":
            return _address_space()
        for line in (self._read(f"proc/{self._process}/limits") or "").splitlines():
            name, _, rest = line.partition("address space")
            if name == "Max " and rest:
                return _number(rest.split()[0])
        return None

    def _limits_v2(self, place: Place) -> Iterator[tuple[int, str]]:
        for directory in place.upwards():
            path = os.path.join(directory, "memory.max")
            size = _number(self._read(path))  # "max" is no number
            if size is not None:
                yield size, path

    def _limits_v1(self, place: Place) -> Iterator[tuple[int, str]]:
        # The kernel's own minimum over those ancestors that count: they do not where
        # use_hierarchy is off, and it also knows those outside of the container.
        path = os.path.join(place.directory, "memory.stat")
        hierarchical = None
        for line in (self._read(path) or "").splitlines():
            name, _, value = line.partition(" ")
            if name == "hierarchical_memory_limit":
                hierarchical = _number(value)
        if hierarchical is not None:
            yield hierarchical, path
        for directory in place.upwards():
            path = os.path.join(directory, "memory.limit_in_bytes")
            size = _number(self._read(path))
            if size is not None:
                yield size, path
            if hierarchical is not None:
                break

    def _read(self, path: str) -> str | None:
        return read_text(os.path.join(self._root, path.lstrip("/")))


def memory_limit(root: str = "/") -> LimitReading:
    """
    What the operating system allows: control groups, RLIMIT_AS, host; the smallest.
    """
    return LimitProbe(root).limit("auto")


def effective_limit(
    configured: Configured, root: str = "/"
) -> tuple[int | None, LimitSource]:
    """
    What counts in the end, and who says so.
    """
    reading = LimitProbe(root).limit(configured)
    return reading.limit_bytes, reading.source


# -- pure ------------------------------------------------------------------------------


def _places(groups: str, mountinfo: str) -> Iterator[Place]:
    """
    The directories of the process's groups that are visible here.
    """
    mounts = list(_memory_mounts(mountinfo))
    for version, path in _memory_groups(groups):
        same = [mount for mount in mounts if mount.version == version]
        found = [place for mount in same if (place := _place(path, mount))]
        # A group that no mount shows: the process was moved, or its view was made by
        # hand. The mount point is then the best guess, and in a container it is the
        # container's own group.
        yield from found or [Place(one.point, one.point, version) for one in same]


def _memory_groups(groups: str) -> Iterator[tuple[Literal[1, 2], str]]:
    for line in groups.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield 2, path
        elif "memory" in controllers.split(","):
            yield 1, path


def _memory_mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        head, separator, tail = line.partition(" - ")
        left, right = head.split(" "), tail.split(" ")
        if not separator or len(left) < 5:
            continue
        root, point = _unescaped(left[3]), _unescaped(left[4])
        if right[0] == "cgroup2":
            yield _Mount(root, point, 2)
        elif right[0] == "cgroup" and "memory" in right[-1].split(","):
            yield _Mount(root, point, 1)


def _place(path: str, mount: _Mount) -> Place | None:
    """
    The group *path* in the file system; None when it does not lie below the mount.
    """
    root = mount.root.rstrip("/")
    inside = path == root or path.startswith(root + "/")
    relative = path[len(root) :].strip("/")
    if not inside or ".." in relative.split("/"):
        return None
    directory = os.path.join(mount.point, relative) if relative else mount.point
    return Place(directory, mount.point, mount.version)


def _unescaped(text: str) -> str:
    """
    A path of mountinfo, where a blank, tab, newline or backslash is in octal.
    """
    head, *rest = text.split("\\")
    return head + "".join(
        chr(int(part[:3], 8)) + part[3:]
        if part[:3].isdecimal() and len(part) >= 3
        else "\\" + part
        for part in rest
    )


def _number(text: str | None) -> int | None:
    text = "" if text is None else text.strip()
    return int(text) if text.isascii() and text.isdecimal() else None


def _size_of(reading: LimitReading) -> int:
    return _NO_LIMIT if reading.limit_bytes is None else reading.limit_bytes


def _address_space() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft
