"""
Who holds descriptors and child processes: the Python objects behind the numbers.

Only objects of the standard library, of uvloop and of psutil are asked, in ways that
run no user code. What is found is told by type; nothing is kept but numbers and names.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Callable, Iterable, Iterator
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any, Final
from weakref import ref

from memguard._lifecycle.attribution import loaded

__all__ = ("Reader", "reach")

_LIMIT: Final = 200_000
_LARGEST: Final = 20_000
_CONTAINERS: Final = (dict, list, tuple, set, frozenset)
# Never followed: they lead everywhere, or nowhere.
_LEAVES: Final = (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
    bytes,
    float,
    int,
    ref,
    str,
    type,
)

_Fds = Callable[[Any], Iterable[Any]]


def _of_socket(obj: Any) -> Iterator[int]:
    # Past the methods of a subclass: those may be anybody's.
    yield loaded("_socket").socket.fileno(obj)


def _of_sink(file: Any) -> tuple[int, ...]:
    return (file.descriptor,)


def _of_file(obj: Any) -> Iterator[int]:
    yield io.FileIO.fileno(obj)


def _of_selector(obj: Any) -> Iterator[int]:
    yield obj._selector.fileno()


def _of_connection(obj: Any) -> Iterator[Any]:
    yield obj._handle


def _of_child(obj: Any) -> Iterator[Any]:
    yield getattr(obj, "sentinel", None)
    yield from getattr(getattr(obj, "finalizer", None), "_args", None) or ()


def _of_uv_server(obj: Any) -> Iterator[int]:
    for sock in obj.sockets:
        yield sock.fileno()


def _of_uv_transport(obj: Any) -> Iterator[int]:
    sock = obj.get_extra_info("socket")
    if sock is not None:
        yield sock.fileno()


_DESCRIPTORS: Final[dict[str, _Fds]] = {
    "_io.FileIO": _of_file,
    "_socket.socket": _of_socket,
    "memguard._kinds.linefile.LineFile": _of_sink,
    "multiprocessing.connection._ConnectionBase": _of_connection,
    "multiprocessing.popen_fork.Popen": _of_child,
    "selectors.EpollSelector": _of_selector,
    "uvloop.loop.Server": _of_uv_server,
    "uvloop.loop.UVBaseTransport": _of_uv_transport,
}
_PROCESSES: Final = {
    "asyncio.base_subprocess.BaseSubprocessTransport": "_pid",
    "asyncio.subprocess.Process": "pid",
    "multiprocessing.popen_fork.Popen": "pid",
    "psutil.Process": "_pid",
    "subprocess.Popen": "pid",
}


class Reader:
    """
    Reads descriptors and process ids off objects; remembers types while it lives.
    """

    def __init__(self) -> None:
        self._kinds: dict[type, tuple[_Fds | None, str | None]] = {}

    def holds(self, kind: type) -> bool:
        """
        True for a type whose objects have a descriptor or a process.
        """
        return self._known(kind) != (None, None)

    def is_socket(self, kind: type) -> bool:
        """
        True for `socket.socket` and what derives from it.
        """
        return self._known(kind)[0] is _of_socket

    def descriptors(self, obj: Any) -> tuple[int, ...]:
        """
        The open descriptors that *obj* itself holds.
        """
        read, _ = self._known(type(obj))
        if read is None:
            return ()
        try:
            return tuple(fd for fd in read(obj) if type(fd) is int and fd >= 0)
        except (OSError, ValueError, AttributeError, RuntimeError):
            return ()  # closed, or not made to the end

    def process(self, obj: Any) -> int | None:
        """
        The id of the child process that *obj* stands for.
        """
        _, name = self._known(type(obj))
        pid = None if name is None else vars(obj).get(name)
        return pid if type(pid) is int else None

    def _known(self, kind: type) -> tuple[_Fds | None, str | None]:
        known = self._kinds.get(kind)
        if known is None:
            fds = pid = None
            for base in kind.__mro__:
                name = f"{base.__module__}.{base.__qualname__}"
                fds = fds or _DESCRIPTORS.get(name)
                pid = pid or _PROCESSES.get(name)
            known = self._kinds[kind] = (fds, pid)
        return known


def reach(roots: Iterable[Any], through: Callable[[type], bool]) -> Iterator[Any]:
    """
    *roots* and what can be reached from them through objects of the allowed types.

    Bounded in all: 200,000 objects, and no container above 20,000 entries.
    """
    allowed: dict[type, bool] = {}
    seen: set[int] = set()
    held: list[Any] = []  # while the walk lasts, so that no identity is used twice
    waiting = list(roots)
    while waiting and len(seen) < _LIMIT:
        obj = waiting.pop()
        kind = type(obj)
        if id(obj) in seen:
            continue
        seen.add(id(obj))
        held.append(obj)
        yield obj
        follow = allowed.get(kind)
        if follow is None:
            follow = allowed[kind] = not issubclass(kind, _LEAVES) and through(kind)
        if follow and not (kind in _CONTAINERS and len(obj) > _LARGEST):
            waiting += gc.get_referents(obj)
