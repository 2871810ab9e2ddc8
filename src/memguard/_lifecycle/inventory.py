"""
What the process holds at one moment: numbers, names and weak references, no objects.

Reads through `_probes` and the interpreter's own tables; `comparison` says how two
moments differ.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary, ref

from memguard._lifecycle.attribution import loaded
from memguard._probes.children import children
from memguard._probes.descriptors import Descriptor, descriptors
from memguard._probes.threads import native_threads
from memguard._registry import Registry, live_registries

__all__ = ("Identities", "Inventory", "local_address", "tasks_of", "timers_of")


class Identities:
    """
    A set of objects by identity, held weakly: their `__eq__` and `__hash__` are theirs.
    """

    __slots__ = ("_refs",)

    def __init__(self, objects: Iterable[Any]) -> None:
        self._refs = {id(one): ref(one) for one in objects}

    def __contains__(self, obj: object) -> bool:
        found = self._refs.get(id(obj))
        return found is not None and found() is obj

    def __len__(self) -> int:
        return len(self._refs)


class Inventory:
    """
    Descriptors, threads, children, tasks, timers and listeners at one moment.

    Costs about 4 µs a descriptor; not for hot paths. *doors* looks at each socket as
    well, for the addresses that somebody listens at.
    """

    def __init__(self, loop: Any, *, doors: bool = False) -> None:
        fds, native, pids = descriptors(), native_threads(), children()
        #: What the system does not tell: it compares as nothing new, and is named.
        self.unseen = tuple(
            what
            for what, seen in (
                ("descriptors", fds),
                ("native threads", native),
                ("children", pids),
            )
            if seen is None
        )
        self.fds: dict[int, Descriptor] = fds or {}
        self.native = native or {}
        self.children = pids or {}
        self.threads = Identities(threading.enumerate())
        self.idents = frozenset(sys._current_frames())
        self.tasks = Identities(tasks_of(loop))
        self.timers = Identities(timers_of(loop))
        #: For each guard the number of its latest node, and how many listen.
        self.listeners: WeakKeyDictionary[Registry, tuple[int, int]] = (
            WeakKeyDictionary()
        )
        for one in live_registries():
            self.listeners[one] = (one.next_seq(), one.live("listener"))
        self.doors = _listening(self.fds) if doors else frozenset()
        #: Whether there may be a loop of libuv, which keeps descriptors of its own.
        self.libuv = loaded("uvloop") is not None
        self.counts = {
            "fd": len(self.fds),
            "thread": len(self.native or self.threads),
            "process": len(self.children),
            "task": len(self.tasks),
            "timer": len(self.timers),
        }


def tasks_of(loop: Any) -> list[Any]:
    """
    The tasks of *loop* that have not ended.
    """
    asyncio = loaded("asyncio")
    if asyncio is None or loop is None or loop.is_closed():
        return []
    return [task for task in asyncio.all_tasks(loop) if not task.done()]


def timers_of(loop: Any) -> list[Any]:
    """
    What asyncio's own loop has scheduled; other loops do not tell.
    """
    return [
        handle
        for handle in list(getattr(loop, "_scheduled", ()))
        if not handle.cancelled()
    ]


def _listening(fds: dict[int, Descriptor]) -> frozenset[Any]:
    addresses = (
        local_address(fd, listening=True)
        for fd, one in fds.items()
        if one.type == "socket"
    )
    return frozenset(address for address in addresses if address is not None)


def local_address(fd: int, *, listening: bool = False) -> Any:
    """
    The port or path a socket is bound to; None if it has none, or does not listen.
    """
    import os
    import socket

    try:
        number = os.dup(fd)
    except OSError:
        return None  # closed meanwhile, or no descriptor is left for a copy
    try:
        copy = socket.socket(fileno=number)
    except OSError:
        os.close(number)  # not a socket any more
        return None
    with copy:
        try:
            if listening and not copy.getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN
            ):
                return None
            name = copy.getsockname()
        except OSError:
            return None
    return name[1] if isinstance(name, tuple) else name or None
