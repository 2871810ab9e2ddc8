"""
A file of whole lines that is rotated by its size. All of a sink's input and output.

One `os.write` appends a batch of whole lines. A process that is killed in the middle
of it may leave half a line at the end; whoever opens the file next ends that. The file
is locked while it is written, and found again when somebody else has rotated it, so
that several processes may share one path.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from stat import S_ISREG
from typing import Final

from memguard._clock import SystemClock

__all__ = ("LineFile",)

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
_LOCK_S: Final = 5.0
_FIRST_NAP_S: Final = 0.0001
_LONGEST_NAP_S: Final = 0.005
_CHUNK: Final = 1 << 16
_BATCH: Final = 1 << 18
# A last line without its end is read, to see whether it is whole, up to this size.
_READABLE: Final = 1 << 20


class LineFile:
    """
    Lines on disk: `path`, before it `path.1`, up to `path.<keep>`. Not thread-safe.

    No file gets larger than *rotate_bytes*. New ones are for their owner alone (0600).
    """

    __slots__ = (
        "_keep",
        "_rotate_bytes",
        "_size",
        "descriptor",
        "path",
        "rotations",
        "torn",
    )

    def __init__(self, path: str, rotate_bytes: int, keep: int) -> None:
        self.path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        #: Of the file, -1 while it is closed.
        self.descriptor = -1
        self._size = 0
        self.rotations = 0
        self.torn = 0  # lines that somebody had left unfinished

    def append(self, lines: Sequence[bytes]) -> tuple[int, BaseException | None]:
        """
        Append *lines*, none longer than a file may be: how many were, and why no more.

        Raises nothing, interrupts included: what was written is not to be told twice.
        """
        done = 0
        try:
            with self._locked():
                while done < len(lines):
                    done += self._append_some(lines, done)
        except _Partial as partial:
            return done + partial.lines, partial.error
        except BaseException as error:
            return done, error
        return done, None

    def _append_some(self, lines: Sequence[bytes], first: int) -> int:
        """
        As many as fit into this file, after a rotation if that is none.
        """
        room = self._rotate_bytes - self._size
        last, length = first, 0
        while last < len(lines) and length + len(lines[last]) <= room:
            length += len(lines[last])
            last += 1
            if length >= _BATCH:  # they are joined: memory may be short just now
                break
        if last == first:
            self._rotate()
            return 0
        self._write(b"".join(lines[first:last]))
        return last - first

    def _write(self, batch: bytes) -> None:
        written = 0
        try:
            while written < len(batch):
                written += os.write(self.descriptor, memoryview(batch)[written:])
        except BaseException as error:
            # A full disk may have taken half a line: what is there ends with a line.
            whole = batch.rfind(b"\n", 0, written) + 1
            self._size += whole
            try:
                os.ftruncate(self.descriptor, self._size)
            except OSError:
                pass  # then the size is not what we think, and the next one looks
            raise _Partial(batch.count(b"\n", 0, whole), error) from None
        self._size += len(batch)

    def close(self) -> None:
        """
        Close the file; appending opens it again.
        """
        fd, self.descriptor = self.descriptor, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()  # of a sink that was dropped with its guard, which nobody closed

    def forget(self) -> None:
        """
        In a forked child: the file is opened again, so that its lock is the child's.
        """
        self.close()
        self.rotations = self.torn = 0

    # -- the right file, and for us alone ----------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock()
        try:
            yield
        finally:
            if self.descriptor >= 0:
                _flock(self.descriptor, wait=None)

    def _lock(self) -> None:
        """
        Have the file open and locked that has the path now.
        """
        until = SystemClock.monotonic() + _LOCK_S
        while True:
            if self.descriptor < 0:
                self._open()
            _flock(self.descriptor, wait=until)
            found = os.fstat(self.descriptor)
            if _same(self.path, found):
                break
            self.close()  # rotated or removed by somebody else
            if SystemClock.monotonic() > until:
                msg = f"{self.path} is replaced all the time"
                raise OSError(msg)
        if found.st_size != self._size:  # just opened, or others write to it as well
            self._size = found.st_size
            self._end_torn_line()

    def _open(self) -> None:
        fd = os.open(self.path, _FLAGS, 0o600)
        if not S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            msg = f"{self.path} is not a regular file"
            raise OSError(msg)
        self.descriptor = fd
        self._size = 0

    def _rotate(self) -> None:
        for number in count(self._keep + 1):  # of a time when more were kept
            if not _remove(f"{self.path}.{number}"):
                break
        if not self._keep:
            _remove(self.path)
        for number in range(self._keep, 0, -1):
            older = f"{self.path}.{number}"
            newer = self.path if number == 1 else f"{self.path}.{number - 1}"
            try:
                os.replace(newer, older)
            except FileNotFoundError:
                continue  # there were not so many yet
        self.close()  # unlocks the old one: who waits for it sees that it has moved
        self.rotations += 1
        self._lock()

    # -- what a crash has left ---------------------------------------------------------

    def _end_torn_line(self) -> None:
        """
        Give the last line its end if it is whole JSON, else cut it off.
        """
        if not self._size or os.pread(self.descriptor, 1, self._size - 1) == b"\n":
            return
        self.torn += 1
        start = self._start_of_last_line()
        if self._size - start > _READABLE or self._is_whole(start):
            self._size += os.write(self.descriptor, b"\n")
        else:
            os.ftruncate(self.descriptor, start)
            self._size = start

    def _start_of_last_line(self) -> int:
        end = self._size
        while end:
            begin = max(0, end - _CHUNK)
            found = os.pread(self.descriptor, end - begin, begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            end = begin
        return 0

    def _is_whole(self, start: int) -> bool:
        from json import loads

        line = os.pread(self.descriptor, self._size - start, start)
        try:
            loads(line)
        except (ValueError, RecursionError):
            return False
        # Half a number is a number.
        return not line[-1:].isdigit()


class _Partial(Exception):
    """
    So many lines were written, and then this happened.
    """

    def __init__(self, lines: int, error: BaseException) -> None:
        self.lines = lines
        self.error = error


def _same(path: str, found: os.stat_result) -> bool:
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return False
    return (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino)


def _remove(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _flock(fd: int, *, wait: float | None) -> None:
    """
    Lock *fd* against other processes until *wait* (monotonic time); None: unlock.
    """
    try:
        import fcntl
    except ImportError:  # another system: one process a file, as the page says
        return
    if wait is None:
        fcntl.flock(fd, fcntl.LOCK_UN)
        return
    pause, nap = threading.Event(), _FIRST_NAP_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if SystemClock.monotonic() > wait:
                raise
            pause.wait(nap)
            nap = min(2 * nap, _LONGEST_NAP_S)
        else:
            return
