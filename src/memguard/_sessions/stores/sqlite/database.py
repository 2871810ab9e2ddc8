"""
The one connection of a store in a process: opened when needed, one at a time.

It is closed before a fork and opened again afterwards, on both sides. A child that
inherited it could not even open another one: SQLite remembers what the process has
locked, and the child would take locks for its own that are the parent's.

Longer than 300 lines because turns, transactions, failures and forks all change the
same few fields, under the one lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from os import getpid, stat
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from memguard._forks import tell_around_forks
from memguard._sessions.stores.sqlite.opening import WAIT_S, open_file, sqlite_module
from memguard._sessions.stores.sqlite.place import Place
from memguard._sessions.stores.sqlite.room import Room
from memguard._sessions.stores.sqlite.trouble import (
    FULL,
    LOCKED,
    NoRoom,
    failure,
    kind_of,
    other_failure,
)
from memguard.errors import StoreFailed

if TYPE_CHECKING:
    import sqlite3

__all__ = ("Database", "Execute")

#: Runs one statement, on the connection's one cursor.
Execute: TypeAlias = "Callable[..., sqlite3.Cursor]"

_R = TypeVar("_R")
_Tell: TypeAlias = "Callable[[str], object]"

# How long a thread waits for the others of its process, each of which may wait for
# other processes.
_TURN_S: Final = 2 * WAIT_S

# Transactions after which the disk is looked at again.
_MEASURED_EVERY: Final = 256

# Connections that a child inherited all the same (from a fork that Python was not told
# of): neither used nor closed, for either would touch the parent's locks.
_inherited: Final[list[object]] = []


class Database:
    """
    One transaction at a time on a file; thread-safe. Its lock is held only for SQL.
    """

    def __init__(
        self, path: str, synchronous: str, quota: int, on_trouble: _Tell | None
    ) -> None:
        self.path = path
        self._place = Place(path)
        self._synchronous = synchronous
        self._room = Room(path, quota)
        #: True while there is only room for what is in the file already.
        self.is_tight = False
        self._count = 0
        self._on_trouble = on_trouble
        #: Counts the connections: what was learned on one means nothing to the next.
        self.opened = 0
        #: Counts what was noted as wanted here: SQLite tells of other connections only.
        self.noted = 0
        self._pid = getpid()
        self._forget()
        tell_around_forks(self)

    def _forget(self) -> None:
        # Re-entrant, because a destructor may come in the middle of a statement.
        self._lock = threading.RLock()
        self._busy = False
        self._forking = 0  # the thread that does
        self._connection: sqlite3.Connection | None = None
        self._cursor: Any = None
        self._execute: Execute = _nothing
        self._file: tuple[int, int] | None = None
        self._troubles: list[str] = []

    def check(self) -> None:
        """
        Raise StoreFailed where there can be no file; never waits for its lock.
        """
        sqlite_module()
        self._place.prepare()

    # -- transactions ------------------------------------------------------------------

    def write(self, work: Callable[..., _R], *args: Any) -> _R:
        """
        What *work* gives, done in one transaction that has the write lock first.
        """
        return self._run("BEGIN IMMEDIATE", work, args)

    def read(self, work: Callable[..., _R], *args: Any) -> _R:
        """
        What *work* gives, seen in one state of the file.
        """
        return self._run("BEGIN", work, args)

    def ask(self, work: Callable[..., _R], *args: Any) -> _R:
        """
        What *work* gives, which is one statement.
        """
        return self._run(None, work, args)

    def _run(self, begin: str | None, work: Callable[..., _R], args: Any) -> _R:
        self._take_turn()
        try:
            attempts = 0
            while True:
                attempts += 1
                try:
                    return self._once(begin, work, args)
                except BaseException as error:
                    failed = self._undo(error)
                    if failed is None:
                        raise
                    if attempts > 1 or not self._finds_room(error):
                        # What SQLite or Python say may contain an id or a record.
                        is_ours = kind_of(error) or isinstance(error, OSError)
                        raise failed from (error if is_ours else None)
        finally:
            if self.is_tight:
                self._relax()
            self._busy = False
            troubles = self._troubles
            if troubles:
                self._troubles = []
            self._lock.release()
            if troubles:
                self._tell(troubles)

    def _once(self, begin: str | None, work: Callable[..., _R], args: Any) -> _R:
        # As much as possible of what can fail comes before the lock of the file, for
        # which other processes wait.
        execute = self._ready()
        if begin is None:
            return work(execute, *args)
        self._count += 1
        if not self._count % _MEASURED_EVERY and self._connection is not None:
            self._room.measure(self._connection)
        execute(begin)
        found = work(execute, *args)
        execute("COMMIT")
        return found

    def executemany(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """
        One statement for many rows, inside of a transaction.
        """
        self._cursor.executemany(statement, rows)

    def close(self) -> None:
        """
        Close the connection, if there is one. The next verb opens another.
        """
        self._take_turn()
        try:
            self._close()
        finally:
            self._busy = False
            self._lock.release()

    # -- turns -------------------------------------------------------------------------

    def _take_turn(self) -> None:
        if self._pid != getpid():
            self._set_aside()
        if not self._lock.acquire(timeout=_TURN_S):
            msg = (
                f"the store of sessions {self.path!r} is busy: other threads have had"
                f" it for {_TURN_S:g} s. Look at the disk, and for another process that"
                " keeps it locked"
            )
            raise StoreFailed(msg)
        if self._busy:
            self._lock.release()
            msg = (
                f"the store of sessions {self.path!r} was used by a destructor while"
                " this thread is using it. Save sessions outside of __del__"
            )
            raise StoreFailed(msg)
        self._busy = True

    def _ready(self) -> Execute:
        """
        The connection, to the file that lies there now.
        """
        if self._connection is None:
            self._open()
            return self._execute
        try:
            found = stat(self.path)
        except OSError:
            self._lost("has been removed")
        else:
            if self._file != (found.st_dev, found.st_ino):
                self._lost("has been replaced by another one")
        return self._execute

    def _lost(self, how: str) -> None:
        self._close()
        msg = (
            f"the file of the store of sessions {self.path!r} {how} while it was in"
            " use, with all that was in it; it is opened anew by whatever comes next."
            " Stop the service before moving, restoring or clearing the file"
        )
        raise StoreFailed(msg)

    def _open(self) -> None:
        connection = open_file(
            self._place,
            synchronous=self._synchronous,
            room=self._room,
            tell=self._troubles.append,
        )
        self._connection = connection
        # One cursor for all: each statement resets the one before it.
        self._cursor = connection.cursor()
        self._execute = self._cursor.execute
        self._file = self._place.identity()
        self.opened += 1

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        self._cursor, self._execute, self._file = None, _nothing, None
        if connection is not None:
            connection.close()

    # -- failures ----------------------------------------------------------------------

    def _undo(self, error: BaseException) -> StoreFailed | None:
        """
        End the transaction; what to raise instead, None for the error itself.
        """
        if isinstance(error, StoreFailed):
            return None
        import sqlite3

        full = ""
        connection = self._connection
        if connection is not None:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if kind_of(error) == FULL:
                    full = self._room.text(connection)
            except sqlite3.Error as worse:
                error = worse if isinstance(error, sqlite3.Error) else error
                self._close()
        if not isinstance(error, (sqlite3.Error, NoRoom)):
            return other_failure(error, self.path)
        if kind_of(error) not in (FULL, LOCKED):
            self._close()  # whatever it was may be mended by the next verb
        return failure(error, self.path, wait_s=WAIT_S, full=full)

    def _finds_room(self, error: BaseException) -> bool:
        """
        Whether to try again: the disk has got some, or what is not new may fit.
        """
        connection = self._connection
        if connection is None or kind_of(error) != FULL:
            return False
        if not self._room.measure(connection):
            self.is_tight = True
            self._room.limit(connection, self._room.most)
        return True

    def _relax(self) -> None:
        self.is_tight = False
        if self._connection is not None:
            self._room.limit(self._connection, self._room.pages)

    def _tell(self, troubles: list[str]) -> None:
        if self._on_trouble is not None:
            for text in troubles:
                self._on_trouble(text)

    # -- forks -------------------------------------------------------------------------

    def _before_fork(self) -> None:
        if not self._lock.acquire(timeout=_TURN_S):
            return
        if self._busy:  # this thread is in the middle of a statement
            self._lock.release()
            return
        self._forking = get_ident()
        self._close()

    def _after_fork_in_parent(self) -> None:
        if self._forking == get_ident():
            self._forking = 0
            self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._set_aside()

    def _set_aside(self) -> None:
        if self._connection is not None:
            _inherited.append((self._connection, self._cursor))
        self._pid = getpid()
        self._forget()


def _nothing(*_: object) -> Any:
    msg = "the store of sessions is not open"
    raise StoreFailed(msg)
