"""
Opening the file, and beginning a new one where what lies there is no database.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from memguard._clock import SystemClock, give_way
from memguard._sessions.stores.sqlite.schema import prepare
from memguard._sessions.stores.sqlite.trouble import BROKEN, LOCKED, kind_of
from memguard.errors import StoreFailed

if TYPE_CHECKING:
    import sqlite3

    from memguard._sessions.stores.sqlite.place import Place
    from memguard._sessions.stores.sqlite.room import Room

__all__ = ("WAIT_S", "open_file", "sqlite_module")

#: How long SQLite waits for the lock of another process.
WAIT_S: Final = 5.0
_NAP_S: Final = 0.005

#: RETURNING, and what else the statements use.
_OLDEST: Final = (3, 35)
_STATEMENTS: Final = 64
_CACHE_KIB: Final = 2000


def open_file(
    place: Place, *, synchronous: str, room: Room, tell: Callable[[str], object]
) -> sqlite3.Connection:
    """
    A connection to the file, which is made if need be. Raises StoreFailed.

    What is no database, or one without any sense, is moved aside, and *tell* told.
    """
    sqlite = sqlite_module()
    place.prepare()
    try:
        return _patiently(place, synchronous, room)
    except sqlite.DatabaseError as error:
        if kind_of(error) != BROKEN:
            raise
    with _alone(place):
        # Somebody may have been quicker.
        try:
            return _patiently(place, synchronous, room)
        except sqlite.DatabaseError as error:
            if kind_of(error) != BROKEN:
                raise
        name = place.move_aside()
        connection = _patiently(place, synchronous, room)
    tell(
        f"the store of sessions {place.path!r} was no readable database; it is now"
        f" {name!r}, and a new one was begun. Sessions that were in it are gone unless"
        " `sqlite3 FILE .recover` finds them; look at the disk"
    )
    return connection


def sqlite_module() -> Any:
    """
    The module, if it is there and new enough; else StoreFailed.
    """
    try:
        import sqlite3
    except ImportError as error:
        msg = (
            "sessions cannot be kept in SQLite: this Python was built without it."
            " Install a Python with the module sqlite3, or pass another store"
        )
        raise StoreFailed(msg) from error
    if sqlite3.sqlite_version_info < _OLDEST:
        msg = (
            f"sessions cannot be kept in SQLite {sqlite3.sqlite_version}: at least"
            f" {'.'.join(map(str, _OLDEST))} is needed. Use a Python that is linked to"
            " a newer one, or pass another store"
        )
        raise StoreFailed(msg)
    return sqlite3


def _patiently(place: Place, synchronous: str, room: Room) -> sqlite3.Connection:
    """
    Where several processes begin a log at once, SQLite does not wait by itself.
    """
    import sqlite3

    deadline = SystemClock.monotonic() + WAIT_S
    while True:
        try:
            return _connect(place, synchronous, room)
        except sqlite3.OperationalError as error:
            if kind_of(error) != LOCKED or SystemClock.monotonic() > deadline:
                raise
        give_way(_NAP_S)


def _connect(place: Place, synchronous: str, room: Room) -> sqlite3.Connection:
    import sqlite3

    connection = sqlite3.connect(
        _uri(place.path),
        uri=True,
        timeout=WAIT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS,
    )
    try:
        _configure(connection, place.path, synchronous, room)
        prepare(connection, place.path)
    except BaseException:
        connection.close()
        raise
    return connection


def _uri(path: str) -> str:
    """
    Opens the file as it is: SQLite would make one that others can read.
    """
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file:{quoted}?mode=rw"


def _configure(
    connection: sqlite3.Connection, path: str, synchronous: str, room: Room
) -> None:
    execute = connection.execute
    (mode,) = execute("PRAGMA journal_mode = WAL").fetchall()[0]
    if mode != "wal":
        msg = (
            f"the store of sessions {path!r} cannot have a write-ahead log where it"
            " lies. Put it on a local disk, or set another state_dir"
        )
        raise StoreFailed(msg)
    for setting in (
        f"synchronous = {synchronous}",
        f"cache_size = -{_CACHE_KIB}",
        # What was deleted is overwritten where that costs no page.
        "secure_delete = FAST",
        "temp_store = MEMORY",
        "cell_size_check = ON",
        "trusted_schema = OFF",
    ):
        execute(f"PRAGMA {setting}").fetchall()
    room.begin(connection)


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """
    Nobody else repairs this directory meanwhile. Waits for a bounded time.
    """
    import fcntl

    descriptor = os.open(place.directory, os.O_RDONLY)
    try:
        deadline = SystemClock.monotonic() + WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if SystemClock.monotonic() > deadline:
                    raise
                give_way(_NAP_S)
        yield
    finally:
        os.close(descriptor)
