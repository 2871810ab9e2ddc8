"""
What has an owner: things that hang on the tree, and things that belong to the host.

A live audit must report neither. Walks from owners to what they hold, boundedly and
without running user code; what it sees too much of it takes for owned, so that an
audit of a running process errs on the quiet side. The audit of a shutdown asks for
no owners: by then everything has to be gone.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from contextvars import Context
from typing import Any, Final

from memguard._lifecycle.attribution import loaded, origin_of_type
from memguard._lifecycle.holders import Reader, reach
from memguard._lifecycle.origins import origins
from memguard._registry import Registry
from memguard._tree import Branch, Node

__all__ = ("RUNNERS", "Owned", "descriptors_of_hosts", "is_loop")

# Visited, and never followed: they lead to everything else.
_ENDS: Final = frozenset(
    (
        "_asyncio.Future",
        "_asyncio.Task",
        "asyncio.events.AbstractEventLoop",
        "asyncio.events.Handle",
        "logging.Filterer",
        "logging.Manager",
        "uvloop.loop.Handle",
        "uvloop.loop.TimerHandle",
    )
)
#: Servers whose objects hold the sockets that they listen and answer on.
RUNNERS: Final = frozenset(
    (
        "daphne",
        "granian",
        "gunicorn",
        "hypercorn",
        "uvicorn",
        "uvicorn_worker",
        "watchfiles",
        "werkzeug",
    )
)
# What lies between a server and its sockets, besides the standard library.
_BETWEEN: Final = frozenset(("h11", "httptools", "uvloop", "websockets", "wsproto"))


class Owned:
    """
    Descriptors, process ids, paths and identities of what the tree owns.
    """

    def __init__(self) -> None:
        self.fds: set[int] = set()
        self.pids: set[int] = set()
        self.identities: set[int] = set()
        self.paths: set[str] = set()

    @classmethod
    def by(cls, guard: Branch, temporary: Iterable[str] = ()) -> Owned:
        """
        What *guard* owns now; of *temporary* paths those that an owner knows.
        """
        owned = cls()
        wanted = frozenset(temporary)
        reader = Reader()
        for obj in reach(owned._roots(guard), _may_follow):
            owned._take(obj, reader, wanted)
        return owned

    def _roots(self, guard: Branch) -> Iterator[Any]:
        for node in guard.walk():
            target = getattr(node, "target", None)
            if target is None:
                if not isinstance(node, Branch):
                    yield from gc.get_referents(node)
                continue
            obj = target()
            if type(obj) is int:
                # A number that somebody registered is a descriptor or a process.
                self.fds.add(obj)
                self.pids.add(obj)
            yield obj

    def _take(self, obj: Any, reader: Reader, wanted: frozenset[str]) -> None:
        kind = type(obj)
        self.identities.add(id(obj))
        if kind is str:
            if obj in wanted:
                self.paths.add(obj)
            return
        if kind.__name__ == "PosixPath" and str(obj) in wanted:
            self.paths.add(str(obj))
        self.fds.update(reader.descriptors(obj))
        pid = reader.process(obj)
        if pid is not None:
            self.pids.add(pid)
        path = origins.database_of(id(obj))
        if path is not None:
            self.paths.add(path)


def _may_follow(kind: type) -> bool:
    return not _is_end(kind)


def _is_end(kind: type) -> bool:
    return issubclass(kind, (Node, Registry, Context)) or any(
        f"{base.__module__}.{base.__qualname__}" in _ENDS for base in kind.__mro__
    )


# -- the host --------------------------------------------------------------------------


def descriptors_of_hosts(hosts: Iterable[Any], reader: Reader) -> set[int]:
    """
    The descriptors that servers hold: listening sockets and connections, with TLS,
    pools and transports in between; not those of the application they call.
    """
    found: set[int] = set()
    for obj in reach(hosts, _belongs_to_host):
        found.update(reader.descriptors(obj))
    return found


def _belongs_to_host(kind: type) -> bool:
    if _is_end(kind):
        return False
    package = origin_of_type(kind)
    return (
        package in RUNNERS or package in _BETWEEN or package in sys.stdlib_module_names
    )


def is_loop(kind: type) -> bool:
    """
    True for the classes of event loops; never imports asyncio.
    """
    events = loaded("asyncio.events")
    return events is not None and issubclass(kind, events.AbstractEventLoop)
