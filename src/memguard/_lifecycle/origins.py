"""
Where things were made that nobody registered, from the interpreter's audit events.

CPython announces what it opens and starts: files, sockets, threads, programs, temporary
files, databases. The places of the most recent ones are kept, as numbers, paths and
code, never the things. Audit hooks cannot be removed: one is added for the whole
process when the first guard starts, and it does nothing while no guard runs.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Protocol, TypeAlias
from weakref import ref

from memguard._lifecycle.attribution import is_stdlib_file, origin_of_file
from memguard._sites import Site

__all__ = ("Hearing", "Origins", "origins")

_KEPT: Final = 1024
_DEPTH: Final = 48
# What the kernel keeps of a program's name, and memguard with it.
_COMM: Final = 15
_APPLICATION, _LIBRARY, _SKIPPED, _END = range(4)

_Key: TypeAlias = "tuple[str, str | int]"
_Args: TypeAlias = "tuple[Any, ...]"


class Hearing(Protocol):
    """
    Wants to hear of temporary paths, and where they are made.
    """

    def note(self, path: str, site: Site | None) -> None:
        """
        Called inside somebody's call of `tempfile`; must be short and never raise.
        """


class Origins:
    """
    The places of the process. There is one, for there is one hook.
    """

    def __init__(self) -> None:
        self._hearing: tuple[ref[Any], ...] = ()
        self._hooked = False
        #: The type of an error that kept a place from being noted.
        self.trouble: str | None = None
        # Two generations instead of a queue: what is old is dropped a thousand at a
        # time, and no entry is deleted while another thread looks at it.
        self._recent: dict[_Key, Site | None] = {}
        self._older: dict[_Key, Site | None] = {}
        # Databases by the identity of their connection, and those about to be
        # connected to, by thread.
        self._databases: dict[int, str] = {}
        self._connecting: dict[int, str] = {}

    def hear(self, who: Hearing) -> None:
        """
        Tell *who* what is made from now on. Holds it weakly.
        """
        others = self._others(who)
        if not others:
            self._recent, self._older, self.trouble = {}, {}, None
            self._databases, self._connecting = {}, {}
        self._hearing = (*others, ref(who))
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(_hook(self))

    def unhear(self, who: Hearing) -> None:
        """
        Tell *who* no more. Places stay known until somebody wants to hear again.
        """
        self._hearing = self._others(who)

    def made_at(self, what: str, key: str | int) -> Site | None:
        """
        Where a file (by path), a program (by name), a socket or a thread (by identity)
        was made.
        """
        found = self._recent.get((what, key))
        return self._older.get((what, key)) if found is None else found

    def database_of(self, connection: int) -> str | None:
        """
        The path that the database connection of that identity was made with.
        """
        return self._databases.get(connection)

    def _others(self, who: Hearing) -> tuple[ref[Any], ...]:
        return tuple(one for one in self._hearing if one() not in (None, who))

    # -- what is heard -----------------------------------------------------------------

    def heard(self, event: str, args: _Args) -> None:
        """
        Note one event, if anybody wants to hear.
        """
        if self._hearing:
            try:
                _NOTES[event](self, args)
            except Exception as error:  # whoever opens a file must not see it
                self.trouble = type(error).__qualname__

    def _temporary(self, args: _Args) -> None:
        path = _path(args[0])
        if path is not None:
            site = _caller()
            for one in self._hearing:
                who = one()
                if who is not None:
                    who.note(path, site)

    def _file(self, args: _Args) -> None:
        path = _path(args[0])
        # Modules are opened by the import system, which closes them.
        if path is not None and not path.endswith((".py", ".pyc")):
            self._keep(("file", path))

    def _socket(self, args: _Args) -> None:
        self._keep(("socket", id(args[0])))

    def _thread(self, args: _Args) -> None:
        thread = getattr(args[0], "__self__", None)
        if isinstance(thread, threading.Thread):
            self._keep(("thread", id(thread)))

    def _program(self, args: _Args) -> None:
        path = _path(args[0])
        if path is not None:
            self._keep_one(("program", os.path.basename(path)[:_COMM]))

    def _fork(self, _: _Args) -> None:
        self._keep_one(("program", ""))

    def _connect(self, args: _Args) -> None:
        path = _path(args[0])
        if path is not None:
            path = os.path.realpath(path.removeprefix("file:").partition("?")[0])
            self._connecting[threading.get_ident()] = path
            self._keep(("file", path))

    def _connected(self, args: _Args) -> None:
        path = self._connecting.pop(threading.get_ident(), None)
        if path is not None:
            if len(self._databases) >= _KEPT:
                self._databases = {}
            self._databases[id(args[0])] = path

    def _keep(self, key: _Key) -> None:
        if len(self._recent) >= _KEPT:
            self._recent, self._older = {}, self._recent
        self._recent[key] = _caller()

    def _keep_one(self, key: _Key) -> None:
        """
        As `_keep`, but things of one name from several places are from none.
        """
        before = self.made_at(*key)
        self._keep(key)
        site = self._recent.get(key)
        if before is not None and str(before) != str(site):
            self._recent[key] = None


_NOTES: Final[dict[str, Callable[[Origins, _Args], None]]] = {
    "tempfile.mkstemp": Origins._temporary,
    "tempfile.mkdtemp": Origins._temporary,
    "open": Origins._file,
    "socket.__new__": Origins._socket,
    "_thread.start_new_thread": Origins._thread,
    "_thread.start_joinable_thread": Origins._thread,
    "subprocess.Popen": Origins._program,
    "os.posix_spawn": Origins._program,
    "os.fork": Origins._fork,
    "os.forkpty": Origins._fork,
    "sqlite3.connect": Origins._connect,
    "sqlite3.connect/handle": Origins._connected,
}

#: The one and only.
origins: Final = Origins()


def _hook(listening: Origins) -> Callable[[str, _Args], None]:
    """
    What is called for every audit event of the process.

    A function, because a bound method costs three times as much: CPython looks for an
    attribute on the hook before each call. And `sys._getframe`, with which each
    registration finds its place, is an event.
    """

    def hook(event: str, args: _Args) -> None:
        if event in _NOTES:
            listening.heard(event, args)

    return hook


def _path(given: Any) -> str | None:
    """
    An absolute path, or None for a descriptor and for what only user code can tell.
    """
    if type(given) is bytes or type(given).__module__.startswith("pathlib"):
        given = os.fsdecode(given)
    if type(given) is not str or not given:
        return None
    return given if given.startswith(("/", "file:")) else os.path.abspath(given)


def _caller() -> Site | None:
    """
    The nearest frame of the application, else of a library, else None.

    What the frames of an event loop stand on is whoever runs the loop, who made
    nothing of what the loop makes.
    """
    frame: FrameType | None = sys._getframe(3)
    library: Site | None = None
    for _ in range(_DEPTH):
        if frame is None:
            break
        code = frame.f_code
        rank = _rank(code.co_filename)
        if rank == _APPLICATION:
            return Site(code, frame.f_lasti)
        if rank == _END:
            break
        if rank == _LIBRARY and library is None:
            library = Site(code, frame.f_lasti)
        frame = frame.f_back
    return library


_ranks: Final[dict[str, int]] = {}


def _rank(filename: str) -> int:
    rank = _ranks.get(filename)
    if rank is None:
        if len(_ranks) >= _KEPT:
            _ranks.clear()
        rank = _ranks[filename] = _look_up(filename)
    return rank


def _look_up(filename: str) -> int:
    package = origin_of_file(filename)
    if package == "uvloop":
        return _END
    if package == "asyncio" and filename.endswith(("base_events.py", "runners.py")):
        return _END
    if package == "memguard" or is_stdlib_file(filename):
        return _SKIPPED
    return _LIBRARY if package else _APPLICATION
