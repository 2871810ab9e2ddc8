"""
How large the file may get: up to its quota, and less where the disk has not the space.

On a disk without any space SQLite cannot even note that a session is given back, for
each transaction is written to the log first, and to write a record anew takes a page or
two before the old ones are free. So the file stops growing while there is room for
that: then nothing new is saved, and what there is can still be used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from memguard._settings import format_size

if TYPE_CHECKING:
    import sqlite3

__all__ = ("Room",)

# What is left alone of a disk, and its share of a small one. A quarter of it is for the
# log, as much for what that is carried over to, and as much for records written anew.
_RESERVE_BYTES: Final = 64 << 20
_RESERVE_SHARE: Final = 4
_USES: Final = 4
# The share of a quota for records written anew.
_SPARE_SHARE: Final = 16
# Pages of the log that are carried over into the file at once. More of them are
# written twice less often; fewer make a start after a crash faster.
_CHECKPOINT_PAGES: Final = 4000
_LEAST_CHECKPOINT_PAGES: Final = 16


class Room:
    """
    The limits of one file.

    `pages` is how many it may have, as far as is known, and `most` how many where
    records that it has are written anew.
    """

    __slots__ = ("_free", "_path", "_quota", "_reserve", "most", "pages")

    def __init__(self, path: str, quota: int) -> None:
        self._path = path
        self._quota = quota
        self._free = 0
        self._reserve = _RESERVE_BYTES
        self.pages = 0
        self.most = 0

    def begin(self, connection: sqlite3.Connection) -> None:
        """
        Limit file and log of a new connection.
        """
        disk = os.statvfs(self._path)
        total = disk.f_blocks * disk.f_frsize
        self._reserve = min(_RESERVE_BYTES, total // _RESERVE_SHARE)
        page = _pragma(connection, "page_size")
        pages = max(_LEAST_CHECKPOINT_PAGES, self._reserve // _USES // page)
        _pragma(connection, f"wal_autocheckpoint = {min(_CHECKPOINT_PAGES, pages)}")
        _pragma(connection, f"journal_size_limit = {self._reserve}")
        self.measure(connection)

    def measure(self, connection: sqlite3.Connection) -> bool:
        """
        Look at the disk again; True where there is more room than was known.
        """
        disk = os.statvfs(self._path)
        page = _pragma(connection, "page_size")
        pages = _pragma(connection, "page_count")
        # What was committed and is in the log alone needs its place in the file yet.
        ahead = max(0, pages * page - os.stat(self._path).st_size)
        self._free = disk.f_bavail * disk.f_frsize
        grows = max(0, self._free - self._reserve - ahead) // page
        before = self.pages
        quota, spare = self._quota // page, self._reserve // _USES // page
        self.pages = min(quota - quota // _SPARE_SHARE, pages + grows)
        self.most = min(quota, pages + grows + spare)
        self.limit(connection, self.pages)
        return self.pages > before

    def limit(self, connection: sqlite3.Connection, pages: int) -> None:
        """
        Let the file have so many pages, or as many as it has.
        """
        _pragma(connection, f"max_page_count = {max(1, pages)}")

    def text(self, connection: sqlite3.Connection) -> str:
        """
        Why there is none, and what to do.
        """
        quota = self._quota // _pragma(connection, "page_size")
        if self.pages >= quota - quota // _SPARE_SHARE:
            return (
                f"has reached its quota of {format_size(self._quota)}. Raise `quota`,"
                " or let sessions end sooner (ttl)"
            )
        return (
            f"is full: its disk has {format_size(self._free)} left, and"
            f" {format_size(self._reserve)} are kept for the sessions that there are."
            " Make room; see `df`"
        )


def _pragma(connection: sqlite3.Connection, setting: str) -> int:
    rows = connection.execute(f"PRAGMA {setting}").fetchall()
    return int(rows[0][0]) if rows else 0
