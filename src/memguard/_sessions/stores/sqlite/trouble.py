"""
What a failure of SQLite means for who runs the service: the file, its state, the cure.
"""

from __future__ import annotations

from typing import Final

from memguard.errors import StoreFailed

__all__ = ("BROKEN", "FULL", "LOCKED", "NoRoom", "failure", "kind_of", "other_failure")

LOCKED: Final = "locked"
FULL: Final = "full"
BROKEN: Final = "broken"
_READ_ONLY: Final = "read-only"
_CLOSED: Final = "closed to us"
_DISK: Final = "disk"

# Parts of SQLite's own texts; error codes come with exceptions only from 3.11 on.
_KINDS: Final = (
    ("locked", LOCKED),
    ("locking protocol", LOCKED),
    ("is full", FULL),
    ("not a database", BROKEN),
    ("malformed", BROKEN),
    ("readonly", _READ_ONLY),
    ("unable to open", _CLOSED),
    ("disk I/O error", _DISK),
)

_CURES: Final = {
    LOCKED: (
        "is locked: something else has kept it from being written for {wait:g} s. Look"
        " for a shell, a backup or a stopped process that has it open"
    ),
    BROKEN: (
        "is damaged: SQLite finds no sense in a part of it. Stop the service and run"
        " `sqlite3 FILE .recover` to save what can be read, or move the file away (with"
        " those that end in -wal and -shm) and a new one is begun; look at the disk"
    ),
    _READ_ONLY: (
        "cannot be written: the file or its directory is read-only. Mount it writable"
        " or give this user the right to write, or set another state_dir"
    ),
    _CLOSED: (
        "cannot be opened by this user. Let the directory belong to the user of the"
        " service and be writable, or set another state_dir"
    ),
    _DISK: (
        "could not be read or written: the operating system refused (no space, a"
        " limit of file sizes, or a failing disk). Look at `df`, `ulimit -f` and the"
        " kernel's log"
    ),
}


class NoRoom(Exception):
    """
    Raised where what is new does not fit, though SQLite would take it.
    """

    def __init__(self) -> None:
        super().__init__("the file is full")


def kind_of(error: BaseException) -> str | None:
    """
    Which of the known troubles an error of SQLite is.
    """
    text = str(error)
    return next((kind for part, kind in _KINDS if part in text), None)


def failure(
    error: BaseException, path: str, *, wait_s: float, full: str
) -> StoreFailed:
    """
    The error to raise for what SQLite said. Contains nothing of any session.

    *full* is what to say where there is no room.
    """
    kind = kind_of(error)
    if kind == FULL:
        state = full
    elif kind is None:
        state = f"failed ({type(error).__qualname__}). Look at the file and its disk"
    else:
        state = _CURES[kind].format(wait=wait_s)
    return StoreFailed(f"the store of sessions {path!r} {state}")


def other_failure(error: BaseException, path: str) -> StoreFailed | None:
    """
    What to raise for what SQLite did not say; None for the error itself.
    """
    if isinstance(error, UnicodeEncodeError):
        # Its own text contains the id.
        msg = (
            f"the store of sessions {path!r} takes no id that is not valid"
            " Unicode (half of a surrogate pair). Decode bytes with another error"
            " handler"
        )
        return StoreFailed(msg)
    if isinstance(error, OSError):
        msg = (
            f"the store of sessions {path!r} could not be opened or repaired:"
            f" {error.strerror}. Look at its directory and disk"
        )
        return StoreFailed(msg)
    return None
