"""
Where the file lies: its directory and who may read it, and moving aside what is broken.

The file itself is never opened here once it exists: closing any descriptor of a file
takes away all locks that this process has on it, those of SQLite included.
"""

from __future__ import annotations

import os
import stat
from errno import EACCES
from typing import Final

from memguard.errors import StoreFailed

__all__ = ("Place",)

# Files that were moved aside, at most.
_MOST_ASIDE: Final = 3
_BESIDE: Final = ("-wal", "-shm")


class Place:
    """
    The path of a store, whose file and directory are for their owner alone.
    """

    __slots__ = ("directory", "path")

    def __init__(self, path: str) -> None:
        # Absolute: a process may change its directory, and a relative path ends in
        # one that there is not.
        self.path = os.path.abspath(path)
        self.directory = os.path.dirname(self.path)

    def prepare(self, *, private: bool = False) -> None:
        """
        Make directory (0700) and file (0600) where they are not there.

        A directory that exists is left as it is, and refused where other users could
        put files into it; with *private* where it is not this user's alone. The rights
        of a file that exists are taken from others. Raises StoreFailed.
        """
        try:
            self._make_directory()
            self._check_directory(private)
            self._check_right(self.directory)
            self._make_file()
            self._check_file()
            self._check_right(self.path)
        except StoreFailed:
            raise
        except OSError as error:
            msg = (
                f"the store of sessions {self.path!r} cannot be made:"
                f" {error.strerror}. Let the directory belong to the user of the"
                " service and be writable, or set another state_dir"
            )
            raise StoreFailed(msg) from error

    def identity(self) -> tuple[int, int] | None:
        """
        Which file lies there now; None without one.
        """
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def move_aside(self) -> str:
        """
        Give what lies there another name, which is returned, and begin a new file.

        Where there are enough of those names, the oldest gives way. Nobody else may do
        it at the same time.
        """
        names = [f"{self.path}.broken-{n}" for n in range(1, _MOST_ASIDE + 1)]
        free = [name for name in names if not os.path.lexists(name)]
        name = free[0] if free else min(names, key=_written)
        # The log first: a new file would take it for its own. Then at no moment is
        # there no file.
        for end in _BESIDE:
            try:
                os.replace(self.path + end, name + end)
            except FileNotFoundError:
                _remove(name + end)
        _remove(name)
        os.link(self.path, name)
        new = f"{self.path}.new"
        _remove(new)
        os.mknod(new, 0o600 | stat.S_IFREG)
        os.replace(new, self.path)
        return name

    def _make_directory(self) -> None:
        missing = []
        directory = self.directory
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        for made in reversed(missing):
            try:
                os.mkdir(made, 0o700)
            except FileExistsError:
                continue  # somebody was quicker

    def _check_directory(self, private: bool) -> None:
        found = os.stat(self.directory)
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            msg = (
                f"the store of sessions {self.path!r} would lie in a directory that"
                " every user may write to. Take that right away (chmod o-w) or"
                " choose a directory of the service's own"
            )
            raise StoreFailed(msg)

        if private and (
            found.st_uid != os.geteuid()
            or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        ):
            msg = (
                f"the store of sessions {self.path!r} would lie in a directory that"
                " other users own or may write to. Let it belong to the user of the"
                " service alone (chown, chmod 0700), or set state_dir"
            )
            raise StoreFailed(msg)

    def _make_file(self) -> None:
        # Without a descriptor: by the time it is closed, another thread may have the
        # file open and locked.
        try:
            os.mknod(self.path, 0o600 | stat.S_IFREG)
        except FileExistsError:
            return

    def _check_file(self) -> None:
        found = os.lstat(self.path)
        if stat.S_ISLNK(found.st_mode):
            found = os.stat(self.path)
        if not stat.S_ISREG(found.st_mode):
            state = "is no regular file. Give the store another path"
        elif found.st_uid != os.geteuid():
            state = (
                "belongs to another user. Let each user have a state_dir of its own,"
                " or give the file to the user of the service (chown)"
            )
        else:
            if found.st_mode & 0o077:
                for end in ("", *_BESIDE):
                    try:
                        os.chmod(self.path + end, 0o600)
                    except FileNotFoundError:
                        continue
            return
        msg = f"the store of sessions {self.path!r} {state}"
        raise StoreFailed(msg)

    def _check_right(self, path: str) -> None:
        # SQLite would open what it can read, and fail at the first session.
        if not os.access(path, os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))


def _written(path: str) -> float:
    return os.lstat(path).st_mtime


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except FileNotFoundError:
        pass
