"""
The options of a store in SQLite, and its spaces.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from memguard._sessions.stores.sqlite.database import Database
from memguard._sessions.stores.sqlite.space import SqliteSpace
from memguard._settings import format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from memguard.typing import Clock, Duration, Size

__all__ = ("SqliteStore",)

_LEVELS: Final = ("normal", "full")
_LEAST_QUOTA: Final = 1 << 20
_LEAST_LEASE_S: Final = 1.0


class SqliteStore:
    """
    Sessions in one file, for all containers of all processes of one machine.

    With *synchronous* "normal" what was saved survives a SIGKILL, and the file any
    loss of power; with "full" what was saved survives that too. The file is at most
    *quota* large, to which its log (`-wal`) adds some 20 MiB. Where the disk has less
    than 64 MiB left (a quarter of a small one), no new session is saved, and those
    that there are can still be used. The file, and the
    directory if it is made here, are for this user alone. It must lie on a disk of
    this machine: file systems of a network do not share a write-ahead log.

    *lease* is how long a process that falls silent keeps its sessions; one that has
    died loses them at once. *patience* is how long one waits for a session that
    another process has.

    Nothing is touched before it is used. *on_trouble* is called with a text when a file
    that was no database has been moved aside, with no lock held.
    """

    persistent = True
    awaits = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["normal", "full"] = "normal",
        quota: Size = "1GiB",
        lease: Duration = "15s",
        patience: Duration = "10s",
        on_trouble: Callable[[str], object] | None = None,
    ) -> None:
        if synchronous not in _LEVELS:
            msg = f'synchronous must be "normal" or "full", not {synchronous!r}'
            raise ValueError(msg)
        size = parse_size(quota, what="quota")
        if size < _LEAST_QUOTA:
            msg = f"quota must be at least {format_size(_LEAST_QUOTA)}, not {quota!r}"
            raise ValueError(msg)
        self.lease_s = parse_duration(lease, what="lease")
        if self.lease_s < _LEAST_LEASE_S:
            msg = f"lease must be at least {_LEAST_LEASE_S:g} s, not {lease!r}"
            raise ValueError(msg)
        self.patience_s = parse_duration(patience, what="patience")
        if on_trouble is not None and not callable(on_trouble):
            msg = (
                "on_trouble must be a function of one text, not"
                f" {type(on_trouble).__qualname__}"
            )
            raise TypeError(msg)
        self.path = _checked(path)
        self._database = Database(self.path, synchronous, size, on_trouble)

    def space(self, name: str, clock: Clock) -> SqliteSpace:
        """
        The part of the file for the container *name*.

        Makes directory and file if need be, and opens nothing yet. Raises StoreFailed
        where they cannot be used.
        """
        self._database.check()
        return SqliteSpace(self._database, name, clock)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r}>"


def _checked(path: str | os.PathLike[str]) -> str:
    found = os.fspath(path)
    if not isinstance(found, str) or not found.strip() or "\0" in found:
        msg = "path must be the path of a file, as a text or a pathlib.Path"
        raise TypeError(msg)
    if found.startswith(":memory:") or found.endswith(os.sep):
        msg = f'path must be a file such as "state/sessions.db", not {found!r}'
        raise ValueError(msg)
    return os.path.abspath(found)
