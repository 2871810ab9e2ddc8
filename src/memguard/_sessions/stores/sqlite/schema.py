"""
The tables of the file.

What is claimed stands in a small table of its own: claiming and giving back then write
one small page instead of the one that the record is in, ids that nobody has heard of
can be claimed, and everything an owner has is let go of in one cheap statement. A row
of `claims` exists only together with that of its owner: who ends an owner takes both
away in one transaction, which is what fences it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memguard.errors import StoreFailed

if TYPE_CHECKING:
    import sqlite3

__all__ = ("APPLICATION", "SCHEMA", "prepare")

#: Marks the file as ours: "mgss".
APPLICATION: Final = 0x6D677373
#: Of the tables, counted up when they change.
SCHEMA: Final = 1

_TABLES: Final = (
    "CREATE TABLE spaces (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # Ends are seconds of the wall clock.
    (
        "CREATE TABLE owners (space INTEGER NOT NULL, owner TEXT NOT NULL,"
        " expires_at REAL NOT NULL, PRIMARY KEY (space, owner)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE claims (space INTEGER NOT NULL, id TEXT NOT NULL,"
        " owner TEXT NOT NULL, PRIMARY KEY (space, id)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE wants (space INTEGER NOT NULL, id TEXT NOT NULL,"
        " owner TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (space, id, owner))"
        " WITHOUT ROWID"
    ),
    # `size` counts the record and its pages, `paged` the pages alone. The record comes
    # last: what stands before it is read without it.
    (
        "CREATE TABLE sessions (number INTEGER PRIMARY KEY, space INTEGER NOT NULL,"
        " version INTEGER NOT NULL, expires_at REAL, size INTEGER NOT NULL,"
        " paged INTEGER NOT NULL DEFAULT 0, id TEXT NOT NULL, record BLOB NOT NULL,"
        " UNIQUE (space, id))"
    ),
    # With the size in it, sessions are counted and weighed without being touched.
    "CREATE INDEX sessions_end ON sessions (space, expires_at, size)",
    # `session` is its number, or less than 0 and that of a broken record.
    (
        "CREATE TABLE pages (session INTEGER NOT NULL, name TEXT NOT NULL,"
        " number INTEGER NOT NULL, page BLOB NOT NULL, UNIQUE (session, name, number))"
    ),
    (
        "CREATE TABLE broken (number INTEGER PRIMARY KEY AUTOINCREMENT,"
        " space INTEGER NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,"
        " at REAL NOT NULL, record BLOB NOT NULL)"
    ),
)


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """
    Make the tables where there are none. StoreFailed for a file that is not ours.
    """
    for begin in ("BEGIN", "BEGIN IMMEDIATE"):
        connection.execute(begin)
        try:
            version = _version_of(connection, path)
            if version == 0 and begin == "BEGIN IMMEDIATE":  # nobody was quicker
                for table in _TABLES:
                    connection.execute(table)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if version == SCHEMA:
            return


def _version_of(connection: sqlite3.Connection, path: str) -> int:
    application = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()[0][0]
    if application == 0 and version == 0 and tables == 0:
        return 0
    if application != APPLICATION:
        msg = (
            f"the file {path!r} is the database of another program, and was left"
            " alone. Give the store of sessions another path"
        )
        raise StoreFailed(msg)
    if version != SCHEMA:
        msg = (
            f"the store of sessions {path!r} has tables of version {version}; this"
            f" memguard knows version {SCHEMA}. Update memguard in all processes that"
            " share the file, or give the store another path"
        )
        raise StoreFailed(msg)
    return version


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchall()[0][0])
