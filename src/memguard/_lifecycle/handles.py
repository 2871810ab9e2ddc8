"""
New descriptors, each with its verdict: what the loop, a server, libuv or a helper of
multiprocessing keeps is the host's, what a Python object holds is the application's,
and what nobody can be found for is unattributed.

Cheap explanations come first; the heap is walked only for what none of them explains.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from memguard._lifecycle.attribution import (
    HOST,
    LEAKED,
    UNATTRIBUTED,
    is_server,
    loaded,
    origin_of_file,
    origin_of_type,
)
from memguard._lifecycle.holders import Reader
from memguard._lifecycle.inventory import Inventory, local_address
from memguard._lifecycle.origins import origins
from memguard._lifecycle.ownership import RUNNERS, descriptors_of_hosts, is_loop
from memguard._lifecycle.report import Finding
from memguard._probes.descriptors import Descriptor
from memguard._sites import call_site

if TYPE_CHECKING:
    from memguard._lifecycle.ownership import Owned

__all__ = ("Heap", "handles")

# libuv keeps one descriptor in reserve, for the day when there is no other left.
_RESERVE: Final = "/dev/null"
_DELETED: Final = " (deleted)"
# What SQLite opens beside a database.
_COMPANIONS: Final = ("-wal", "-shm", "-journal")
_SHOWN: Final = {"FileIO": "file object", "socket": "socket object"}


class Holder:
    """
    Who holds a descriptor: the name of its type, and its identity if it is a socket.
    """

    __slots__ = ("by_host", "identity", "name")

    def __init__(self, name: str, identity: int, *, by_host: bool) -> None:
        self.name = name
        self.identity = identity
        self.by_host = by_host


class Heap:
    """
    The holders of *wanted* descriptors, found in one walk over all objects.
    """

    def __init__(self, wanted: set[int]) -> None:
        self.holders: dict[int, Holder] = {}
        if wanted:
            self._walk(wanted)

    def _walk(self, wanted: set[int]) -> None:
        reader = Reader()
        roles: dict[type, str] = {}
        runners: list[Any] = []
        loops: list[Any] = []
        for obj in gc.get_objects():
            kind = type(obj)
            role = roles.get(kind)
            if role is None:
                role = roles[kind] = _role(kind, reader)
            if not role:
                continue
            if role == "holder":
                for fd in wanted.intersection(reader.descriptors(obj)):
                    identity = id(obj) if reader.is_socket(kind) else 0
                    holder = Holder(kind.__qualname__, identity, by_host=False)
                    self.holders.setdefault(fd, holder)
            else:
                (loops if role == "loop" else runners).append(obj)
        for loop in loops:
            # That a loop is never closed shows in what it leaves open itself.
            for fd in wanted.intersection(kept_by_loop(loop, reader)):
                self.holders[fd] = Holder(
                    type(loop).__qualname__, 0, by_host=loop.is_running()
                )
        for fd in wanted & descriptors_of_hosts(runners, reader):
            self.holders.setdefault(fd, Holder("server", 0, by_host=True))
            self.holders[fd].by_host = True


def _role(kind: type, reader: Reader) -> str:
    if issubclass(kind, type):
        return ""
    if origin_of_type(kind) in RUNNERS:
        return "runner"
    if is_loop(kind):
        return "loop"
    return "holder" if reader.holds(kind) else ""


def kept_by_loop(loop: Any, reader: Reader) -> set[int]:
    """
    The selector of an event loop, and the sockets it wakes itself up with.
    """
    found: set[int] = set()
    parts = [*gc.get_referents(loop), *getattr(loop, "__dict__", {}).values()]
    for part in parts:
        found.update(reader.descriptors(part))
    return found


def handles(
    now: Inventory, baseline: Inventory, owned: Owned, loop: Any
) -> Iterator[Finding]:
    """
    Descriptors that are new since the baseline and that nobody owns.
    """
    if "descriptors" in baseline.unseen:
        return
    new = {
        fd: one
        for fd, one in now.fds.items()
        if fd not in owned.fds
        and not _same(one, baseline.fds.get(fd))
        and not (one.type == "file" and _database(one) in owned.paths)
    }
    kept = set(_kept_by_host(new, baseline, loop))
    heap = Heap({fd for fd in new if fd not in kept})
    kept.update(_of_libuv(new.values(), heap) if now.libuv else ())
    for fd, one in new.items():
        yield from _handle(one, heap.holders.get(fd), kept=fd in kept)


def _handle(one: Descriptor, holder: Holder | None, *, kept: bool) -> Iterator[Finding]:
    kind = "socket" if one.type == "socket" else "fd"
    site = None
    verdict = UNATTRIBUTED
    if holder is not None:
        verdict = HOST if holder.by_host else LEAKED
        if kind == "socket":
            site = origins.made_at("socket", holder.identity)
    elif one.of_kernel:
        return  # the probes keep such files open on purpose
    if one.type == "file":
        site = origins.made_at("file", _database(one))
        if site is not None and verdict is UNATTRIBUTED:
            # Opened by Python code, of which no object is left, or never was.
            verdict = HOST if is_server(origin_of_file(site.filename)) else LEAKED
    if kept:
        verdict = HOST
    held = "" if holder is None else f"held by a {_SHOWN.get(holder.name, holder.name)}"
    shown = "" if one.target_class in (kind, one.type) else one.target_class
    detail = ", ".join(filter(None, (shown, held)))
    yield Finding(
        kind, f"{one.type} {one.fd}", verdict, detail, call_site(site), one.target
    )


def _same(one: Descriptor, before: Descriptor | None) -> bool:
    return before is not None and (before.type, before.target) == (
        one.type,
        one.target,
    )


def _database(one: Descriptor) -> str:
    """
    The path of a file; of a database, where SQLite opened it beside one.
    """
    path = one.target.removesuffix(_DELETED)
    for suffix in _COMPANIONS:
        path = path.removesuffix(suffix)
    return path


# -- what the host keeps ---------------------------------------------------------------


def _kept_by_host(
    new: dict[int, Descriptor], baseline: Inventory, loop: Any
) -> Iterator[int]:
    yield from _helper_fds()
    yield from _input_of_child()
    if loop is not None:
        yield from kept_by_loop(loop, Reader())
    asyncio = loaded("asyncio")
    for fd, one in new.items():
        if one.type == "socket":
            if baseline.doors and local_address(fd) in baseline.doors:
                yield fd  # accepted at a door that was open before
        elif one.target == "anon_inode:[pidfd]" and asyncio is not None:
            yield fd  # how asyncio waits for a child, which is a finding itself


def _input_of_child() -> Iterator[int]:
    """
    A child of multiprocessing gets the null device as its input, after its fork hooks.
    """
    process = loaded("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        try:
            yield sys.stdin.fileno()
        except (AttributeError, OSError, ValueError):
            return  # it has none, or one of another kind


def _helper_fds() -> Iterator[int]:
    """
    The pipes to the processes that multiprocessing keeps for itself.
    """
    for module, attribute, field in (
        ("multiprocessing.resource_tracker", "_resource_tracker", "_fd"),
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_alive_fd"),
    ):
        fd = getattr(getattr(loaded(module), attribute, None), field, None)
        if isinstance(fd, int):
            yield fd


def _of_libuv(new: Iterable[Descriptor], heap: Heap) -> Iterator[int]:
    """
    What libuv opens for itself, behind which there is no Python object.
    """
    raw = [one for one in new if one.fd not in heap.holders]
    reserve = [one.fd for one in raw if one.target == _RESERVE]
    yield from reserve[:1]
    for one in raw:
        if one.type in ("epoll", "eventfd") or one.target == "anon_inode:[io_uring]":
            yield one.fd
    pipes: dict[str, list[int]] = {}
    for one in raw:
        if one.type == "pipe":
            pipes.setdefault(one.target, []).append(one.fd)
    for ends in pipes.values():
        if len(ends) == 2 and _is_libuv_pipe(ends):
            yield from ends


def _is_libuv_pipe(ends: list[int]) -> bool:
    """
    A loop's pipe does not block; that of all loops holds one byte, which is its lock.
    """
    import fcntl
    import termios

    try:
        if not any(map(os.get_blocking, ends)):
            return True
        waiting = bytearray(4)
        fcntl.ioctl(ends[0], termios.FIONREAD, waiting)
    except OSError:
        return False  # closed meanwhile
    return int.from_bytes(waiting, "little") == 1
