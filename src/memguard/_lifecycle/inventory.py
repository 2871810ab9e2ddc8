"""
What the process holds at one moment, and how two moments differ.

Reads through `_probes` and the interpreter's own tables, keeps only numbers, names
and weak references, and judges what is new with `attribution`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from memguard._lifecycle.attribution import (
    HOST,
    LEAKED,
    UNATTRIBUTED,
    code_of,
    frames_in_memguard,
    holders_of,
    is_stdlib,
    loaded,
    made_by,
)
from memguard._lifecycle.report import Finding
from memguard._probes.children import children
from memguard._probes.descriptors import Descriptor, descriptors
from memguard._probes.threads import native_threads
from memguard._registry import live_registries
from memguard._sites import place_of

if TYPE_CHECKING:
    from memguard._lifecycle.audit import Owned

__all__ = ("Inventory", "take_inventory")

_OWN_THREADS: Final = "memguard"
# Kernel objects that event loops and servers open for themselves.
_LOOP_TYPES: Final = ("epoll", "eventfd", "anon")
# libuv keeps one descriptor in reserve, for the day when there is no other left.
_RESERVE: Final = "/dev/null"
_POOLS: Final = ("asyncio_", "AnyIO worker thread")


class Inventory:
    """
    Descriptors, threads, children, tasks, timers and listeners at one moment.
    """

    def __init__(self, loop: Any) -> None:
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
        self.fds = fds or {}
        self.native = native or {}
        self.children = pids or {}
        self.threads: WeakSet[threading.Thread] = WeakSet(threading.enumerate())
        self.idents = {thread.ident for thread in self.threads}
        self.tasks: WeakSet[Any] = WeakSet(_tasks(loop))
        self.timers: WeakSet[Any] = WeakSet(_timers(loop))
        self.counts = {
            "fd": len(self.fds),
            "thread": len(self.native),
            "process": len(self.children),
            "task": len(self.tasks),
            "timer": len(self.timers),
        }
        self.listeners = {id(one): one.live("listener") for one in live_registries()}

    def beyond(self, baseline: Inventory, owned: Owned) -> Iterator[Finding]:
        """
        What is here and was not there, one finding each.
        """
        yield from _descriptors(self, baseline, owned)
        yield from _threads(self, baseline, owned)
        yield from _children(self, baseline, owned)
        for task in self.tasks:
            if task not in baseline.tasks and id(task) not in owned.identities:
                yield from _task(task)
        for handle in self.timers:
            if handle not in baseline.timers and id(handle) not in owned.identities:
                yield from _timer(handle)
        yield from _listeners(baseline)


def take_inventory(loop: Any) -> Inventory:
    """
    Look now. Costs about 3 µs a descriptor; not for hot paths.
    """
    return Inventory(loop)


# -- descriptors -------------------------------------------------------------------------


def _descriptors(
    now: Inventory, baseline: Inventory, owned: Owned
) -> Iterator[Finding]:
    new = {
        fd: one
        for fd, one in now.fds.items()
        if fd not in owned.fds and not _same(one, baseline.fds.get(fd))
    }
    if not new:
        return
    holders = _fd_objects(set(new))
    doors = _listening_ports(baseline.fds)
    for fd, one in new.items():
        if one.of_kernel:
            continue  # the probes keep such files open on purpose
        holder = holders.get(fd)
        verdict = LEAKED if holder is not None else UNATTRIBUTED
        if one.type in _LOOP_TYPES and holder is None:
            verdict = HOST if _loop_runs() else UNATTRIBUTED
        elif (one.type == "socket" and _accepted_by_host(fd, doors)) or (
            one.target == _RESERVE and holder is None and loaded("uvloop")
        ):
            verdict = HOST
        kind = "socket" if one.type == "socket" else "fd"
        what = "" if holder is None else f"held by a {holder}"
        yield Finding(kind, f"{one.type} {fd}", verdict, what or one.target_class)


def _same(one: Descriptor, before: Descriptor | None) -> bool:
    return before is not None and (before.type, before.target) == (
        one.type,
        one.target,
    )


def _fd_objects(wanted: set[int]) -> dict[int, str]:
    """
    The Python objects behind descriptors, by type. Walks the heap once.

    Only exact types of the standard library are asked, so no user code runs.
    """
    import gc
    import io
    import select
    import socket

    kinds: list[Any] = [io.FileIO, socket.socket]
    ssl = loaded("ssl")
    if ssl is not None:
        kinds.append(ssl.SSLSocket)
    for name in ("epoll", "poll", "kqueue"):
        if hasattr(select, name) and isinstance(getattr(select, name), type):
            kinds.append(getattr(select, name))
    found: dict[int, str] = {}
    for obj in gc.get_objects():
        kind = type(obj)
        if kind in kinds:
            try:
                fd = obj.fileno()
            except (OSError, ValueError):
                continue  # closed
            if fd in wanted:
                found[fd] = kind.__qualname__
    return found


def _listening_ports(fds: dict[int, Descriptor]) -> set[Any]:
    import socket

    ports: set[Any] = set()
    for fd, one in fds.items():
        if one.type != "socket":
            continue
        address = _local_address(fd, listening=True, socket=socket)
        if address is not None:
            ports.add(address)
    return ports


def _accepted_by_host(fd: int, doors: set[Any]) -> bool:
    import socket

    address = _local_address(fd, listening=False, socket=socket)
    return address is not None and address in doors


def _local_address(fd: int, *, listening: bool, socket: Any) -> Any:
    try:
        with socket.socket(fileno=_dup(fd)) as copy:
            if listening and not copy.getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN
            ):
                return None
            name = copy.getsockname()
    except OSError:
        return None  # closed meanwhile, or not a socket any more
    return name[1] if isinstance(name, tuple) else name or None


def _dup(fd: int) -> int:
    import os

    return os.dup(fd)


def _loop_runs() -> bool:
    return loaded("asyncio") is not None


# -- threads -----------------------------------------------------------------------------


def _threads(now: Inventory, baseline: Inventory, owned: Owned) -> Iterator[Finding]:
    known: set[int | None] = set()
    for thread in list(now.threads):
        known.add(thread.native_id)
        if (
            thread in baseline.threads
            or not thread.is_alive()
            or thread.name.startswith(_OWN_THREADS)
            or id(thread) in owned.identities
        ):
            continue
        yield _thread(thread)
    if loaded("uvloop") is not None:
        return  # libuv keeps threads of its own, which carry no name
    for tid, name in now.native.items():
        if tid not in baseline.native and tid not in known:
            yield Finding("thread", f"native {name}", UNATTRIBUTED, f"tid {tid}")


def _thread(thread: threading.Thread) -> Finding:
    kind = "timer" if isinstance(thread, threading.Timer) else "thread"
    target = getattr(thread, "function" if kind == "timer" else "_target", None)
    runs = type(thread).run if target is None else target
    code = code_of(runs)
    holders: tuple[str, ...] = ()
    if thread.name.startswith(_POOLS):
        verdict = HOST  # the loop's own executors end with the loop
    else:
        if is_stdlib(code):
            holders = _pool_holders(thread)
        verdict = made_by(code, holders)
    site = "unknown" if code is None else place_of(code)
    name = getattr(runs, "__qualname__", type(runs).__qualname__)
    return Finding(kind, thread.name, verdict, f"runs {name}", site)


def _pool_holders(thread: threading.Thread) -> tuple[str, ...]:
    """
    Who holds the executor behind a worker thread of concurrent.futures.
    """
    arguments = getattr(thread, "_args", ())
    if not arguments or not callable(arguments[0]):
        return ()
    executor = arguments[0]()
    return () if executor is None else holders_of(executor)


# -- children ----------------------------------------------------------------------------


def _children(now: Inventory, baseline: Inventory, owned: Owned) -> Iterator[Finding]:
    helpers = _helper_pids()
    for pid, child in now.children.items():
        if pid in baseline.children or pid in owned.pids:
            continue
        state = "zombie, nobody waited for it" if child.zombie else "running"
        verdict = HOST if pid in helpers else LEAKED
        yield Finding("process", child.comm, verdict, f"pid {pid}, {state}")


def _helper_pids() -> set[int]:
    """
    The processes multiprocessing keeps for itself.
    """
    pids: set[int] = set()
    for module, attribute, field in (
        ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
    ):
        keeper = getattr(loaded(module), attribute, None)
        pid = getattr(keeper, field, None)
        if isinstance(pid, int):
            pids.add(pid)
    return pids


# -- tasks and timers of the loop --------------------------------------------------------


def _tasks(loop: Any) -> list[Any]:
    asyncio = loaded("asyncio")
    if asyncio is None or loop is None or loop.is_closed():
        return []
    return [task for task in asyncio.all_tasks(loop) if not task.done()]


def _timers(loop: Any) -> list[Any]:
    """
    What asyncio's own loop has scheduled; other loops do not tell.
    """
    return [
        handle
        for handle in list(getattr(loop, "_scheduled", ()))
        if not handle.cancelled()
    ]


def _task(task: Any) -> Iterator[Finding]:
    asyncio = loaded("asyncio")
    if task.done() or task is asyncio.current_task(task.get_loop()):
        return
    if frames_in_memguard(task):
        return
    coro = task.get_coro()
    code = getattr(coro, "cr_code", None) or getattr(coro, "gi_code", None)
    verdict = made_by(code)
    name = getattr(coro, "__qualname__", type(coro).__qualname__)
    site = "unknown" if code is None else place_of(code)
    yield Finding("task", name, verdict, "still pending", site)


def _timer(handle: Any) -> Iterator[Finding]:
    callback = getattr(handle, "_callback", None)
    code = code_of(callback)
    if callback is None or is_stdlib(code):
        return  # a time-out of asyncio itself
    verdict = made_by(code)
    site = "unknown" if code is None else place_of(code)
    name = getattr(callback, "__qualname__", type(callback).__qualname__)
    yield Finding("timer", name, verdict, "scheduled on the event loop", site)


# -- listeners ---------------------------------------------------------------------------


def _listeners(baseline: Inventory) -> Iterator[Finding]:
    """
    Listeners on emitters of other guards, which this shutdown does not close.
    """
    for registry in live_registries():
        before = baseline.listeners.get(id(registry), 0)
        extra = registry.live("listener") - before
        if extra > 0 and not registry.detached:
            yield Finding("listener", f"{extra} listener(s)", LEAKED, "never taken off")
