"""
Sinks: records as lines of JSON in files that are rotated.

The buffer is changed under the container's lock, the file under one of its own, which
is held while the disk is written. Longer than 300 lines because the ways of a record,
in a thread and on a loop, belong side by side.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from errno import errorcode
from functools import partial
from threading import get_ident
from typing import Any, ClassVar, Final, TypeVar

from memguard._kinds.caps import byte_cap, count_cap, lifetime
from memguard._kinds.closers import running_loop
from memguard._kinds.container import NEVER, Container
from memguard._kinds.linefile import LineFile
from memguard._kinds.lines import encoded
from memguard._phases import Phase
from memguard._records import record as frozen
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.errors import SinkFull, WouldBlockLoop
from memguard.typing import JSON, Duration, Size

__all__ = ("Sink", "SinkInfo")

#: One batch: what is buffered is written when there is so much of it.
_BATCH: Final = 1 << 16
# How long somebody waits for another thread that writes to the disk.
_PATIENCE_S: Final = 5.0

# Who writes takes what comes meanwhile so often, and then leaves it to others.
_PASSES: Final = 16

_REFUSED: Final = "its buffer is full, so the record was refused"
_WAITS: Final = "its records wait in the buffer"

_N = TypeVar("_N")

_KEPT: Final = 0
_DUE: Final = 1  # kept, and there is enough for a batch
_FULL: Final = 2  # not kept


@frozen
class SinkInfo:
    """
    Figures of a sink at one moment.

    `records` and `bytes` were handed to the operating system, `buffered` and
    `buffered_bytes` wait for it. `refused` counts records that raised an error in
    `write`, `failures` attempts to write that the disk refused, `lost` records that
    were still buffered when the sink ended without one that succeeded. `torn` are last
    lines that a crash had left unfinished.
    """

    records: int
    bytes: int
    buffered: int
    buffered_bytes: int
    rotations: int
    refused: int
    failures: int
    lost: int
    torn: int


class Sink(Container):
    """
    Appends records to a file of JSON lines, which is rotated. Thread-safe.

    `path` becomes `path.1` before it would be larger than *rotate_bytes*, and so on up
    to *keep* of them: the whole is never larger than `(keep + 1) * rotate_bytes`. The
    files are for their owner alone (0600) and contain whole lines, whenever the process
    is killed: half a line that a crash has left is ended when the file is next opened.
    Several processes may write to one path.

    Once the guard runs, records are buffered, up to *buffer_bytes*, for at most
    *flush_every*; before, each is written at once. What the operating system has taken
    survives a SIGKILL, not a loss of power.
    """

    __slots__ = (
        "_buffer",
        "_buffer_bytes",
        "_buffered",
        "_bytes",
        "_failures",
        "_file",
        "_file_lock",
        "_flushing",
        "_lost",
        "_most",
        "_records",
        "_refused",
        "_why",
        "_writer",
        "filename",
        "flush_every",
        "rotate_bytes",
        "spec",
    )

    kind: ClassVar[str] = "sink"
    phase = Phase.CLIENTS

    def __init__(
        self,
        owner: Branch,
        path: str | os.PathLike[str],
        *,
        rotate_bytes: Size = "64MiB",
        keep: int = 5,
        buffer_bytes: Size = "1MiB",
        flush_every: Duration = "1s",
    ) -> None:
        self.filename = filename = _checked_path(path)
        super().__init__(owner, filename)
        self.rotate_bytes = _needed(byte_cap, rotate_bytes, "rotate_bytes")
        self._most = _needed(byte_cap, buffer_bytes, "buffer_bytes")
        self.flush_every = _needed(lifetime, flush_every, "flush_every")
        keep = _needed(partial(count_cap, least=0), keep, "keep")
        self._file = LineFile(filename, self.rotate_bytes, keep)
        self.registry.files.add(os.path.realpath(filename))
        #: What has to be the same where the same path is asked for again.
        self.spec: dict[str, object] = {
            "rotate_bytes": self.rotate_bytes,
            "keep": keep,
            "buffer_bytes": self._most,
            "flush_every": self.flush_every,
        }
        self._forget()

    def _forget(self) -> None:
        self._file_lock = threading.Lock()
        self._writer = 0  # the thread that has it
        self._buffer: list[bytes] = []
        # Of the buffer, and of what is being written.
        self._buffered = 0
        self._buffer_bytes = 0
        self._flushing = False  # somebody has been asked to write a batch
        self._records = 0
        self._bytes = 0
        self._refused = 0
        self._failures = 0
        self._lost = 0
        self._why = ""  # the last failure

    # -- for users ---------------------------------------------------------------------

    def write(self, record: JSON) -> None:
        """
        Append *record*. When this returns, it is in the buffer or in the file.

        Raises TypeError or ValueError for what is not JSON or is larger than a whole
        file, SinkFull when the buffer is full and the disk takes nothing, ScopeClosed.
        Inside a running loop it never waits: then a full buffer is WouldBlockLoop.
        """
        line = self._line(record)
        if self._is_inside():
            # A destructor in the middle of the sink's own work.
            self._put_off(lambda: self._keep(line))
            return
        if self._writer == get_ident():
            self._keep(line)
            return
        outcome = self._locked(self._take, line)
        if outcome == _KEPT:
            return
        looping = running_loop() is not None
        for step in self._steps(line, outcome):
            if looping and step == _FULL:
                self._count_refused()
                verb = f"writing to sink {self.label!r}, whose buffer is full,"
                raise WouldBlockLoop(verb, "`await sink.awrite(record)`")
            if looping and self._armed:
                self._write_soon()
            else:
                self._write_out(0.0 if looping else _PATIENCE_S)

    async def awrite(self, record: JSON) -> None:
        """
        As `write`, without ever blocking the loop: the disk is a worker thread's.
        """
        import asyncio

        line = self._line(record)
        outcome = self._locked(self._take, line)
        for step in self._steps(line, outcome):
            if step == _DUE and self._armed:
                self._write_soon()
            else:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(None, self._write_out, _PATIENCE_S)

    def flush(self) -> None:
        """
        Hand what is buffered to the operating system. Raises SinkFull if it fails.
        """
        if running_loop() is not None:
            verb = f"flushing sink {self.label!r}"
            raise WouldBlockLoop(verb, "`await sink.aflush()`")
        self._flush()

    async def aflush(self) -> None:
        """
        As `flush`, on a worker thread.
        """
        import asyncio

        await asyncio.get_running_loop().run_in_executor(None, self._flush)

    def info(self) -> SinkInfo:
        """
        The figures of this moment.
        """
        return SinkInfo(
            records=self._records,
            bytes=self._bytes,
            buffered=self._buffered,
            buffered_bytes=self._buffer_bytes,
            rotations=self._file.rotations,
            refused=self._refused,
            failures=self._failures,
            lost=self._lost,
            torn=self._file.torn,
        )

    def memory_bytes(self) -> int:
        """
        Bytes of the lines that are buffered.
        """
        return self._buffer_bytes

    # -- into the buffer ---------------------------------------------------------------

    def _line(self, record: Any) -> bytes:
        try:
            line = encoded(record, self.label)
        except (TypeError, ValueError):
            self._count_refused()
            raise
        if len(line) > self.rotate_bytes:
            self._count_refused()
            msg = (
                f"a record of {len(line)} bytes does not fit into sink {self.label!r},"
                f" whose files have at most {self.rotate_bytes}; raise rotate_bytes, or"
                " split it"
            )
            raise ValueError(msg)
        return line

    def _steps(self, line: bytes, outcome: int) -> Generator[int, None, None]:
        """
        What has to happen until *line* is kept; at each step the buffer is written.
        """
        if outcome == _FULL:
            yield _FULL
            outcome = self._locked(self._take, line)
        if outcome == _FULL:
            self._count_refused()
            raise self._full(_REFUSED)
        if outcome == _DUE:
            yield _DUE

    def _take(self, line: bytes) -> int:
        self._refuse_if_closed()
        held = self._buffer_bytes
        if held and held + len(line) > self._most:
            return _FULL
        self._buffer.append(line)
        self._buffered += 1
        self._buffer_bytes += len(line)
        if not self._armed:
            return _DUE
        self._set_alarm()
        return _DUE if self._buffer_bytes >= min(_BATCH, self._most // 2) else _KEPT

    def _keep(self, line: bytes) -> None:
        if self._locked(self._take, line) == _FULL:
            self._count_refused()

    def _count_refused(self) -> None:
        if not self._is_inside() and not self.registry.detached:
            self._locked(self._add_refused)

    def _add_refused(self) -> None:
        self._refused += 1

    def _full(self, what: str) -> SinkFull:
        why = self._why or "the disk does not keep up"
        return SinkFull(
            f"sink {self.label!r} cannot write ({why}), and {what}; make room on the"
            " disk, or write less"
        )

    # -- from the buffer to the disk ---------------------------------------------------

    def _write_soon(self) -> None:
        """
        Have a worker write what is buffered.
        """
        if not self._flushing:
            self._flushing = True
            self.registry.scheduler.submit(self._write_batch)

    def _write_batch(self) -> None:
        self._flushing = False
        if not self.registry.detached and not self._write_out(_PATIENCE_S):
            self._failed("flush", self._full(_WAITS))

    def _write_out(self, patience: float) -> bool:
        """
        Write what is buffered; wait at most *patience* seconds for who writes already.

        False where something stays in the buffer.
        """
        for _ in range(_PASSES):
            if not self._file_lock.acquire(timeout=patience):
                return False
            try:
                self._writer = get_ident()
                well = self._write_all()
            finally:
                self._writer = 0
                self._file_lock.release()
            # Who came meanwhile, and did not wait for us, relies on this look.
            if not (well and self._buffer):
                return well
        return True

    def _write_all(self) -> bool:
        lines = self._locked(self._take_all)
        if not lines:
            return True
        done, error = self._file.append(lines)
        self._locked(self._account, lines, done, error)
        if error is not None and not isinstance(error, (OSError, MemoryError)):
            raise error
        return error is None

    def _take_all(self) -> list[bytes]:
        lines, self._buffer = self._buffer, []
        return lines

    def _account(
        self, lines: list[bytes], done: int, error: BaseException | None
    ) -> None:
        size = sum(len(line) for line in lines[:done])
        self._records += done
        self._bytes += size
        self._buffered -= done
        self._buffer_bytes -= size
        self._buffer[:0] = lines[done:]
        self._why = ""
        if error is not None:
            self._failures += 1
            self._why = _reason(error)
            self._set_alarm()

    def _flush(self) -> None:
        if not self._write_out(_PATIENCE_S):
            raise self._full(_WAITS)

    def _set_alarm(self) -> None:
        if self._armed and self._alarm_at == NEVER:
            self._wake_at(self.registry.clock.monotonic() + self.flush_every)

    def _tidy(self) -> None:
        if self._buffer:
            self._write_batch()

    # -- ending ------------------------------------------------------------------------

    @property
    def drains(self) -> bool:  # type: ignore[override]
        """
        True while something is buffered.
        """
        return bool(self._buffered)

    def _drain(self) -> None:
        """
        Write what is buffered; what fails is tried once more by the close.
        """
        self._write_out(_PATIENCE_S)

    def _disarm(self) -> None:
        self._rest()
        try:
            well = self._write_out(_PATIENCE_S)
        finally:
            if self._file_lock.acquire(timeout=_PATIENCE_S):
                try:
                    self._file.close()
                finally:
                    self._file_lock.release()
        if not well:
            lost = self._locked(self._lose)
            what = f"{lost} records of its buffer are lost"
            raise self._full(what)

    def _lose(self) -> int:
        lost = len(self._buffer)
        self._lost += lost
        self._buffered -= lost
        self._buffer_bytes -= sum(len(line) for line in self._take_all())
        return lost

    def _release(self) -> None:
        self._disarm()

    # -- forks -------------------------------------------------------------------------

    def _after_fork(self, registry: Registry) -> None:
        """
        The child has a buffer of its own: the parent writes what was in it.
        """
        super()._after_fork(registry)
        self._file.forget()
        self._forget()


def _checked_path(path: Any) -> str:
    """
    The absolute path; its folder has to be there, and it must not be one itself.
    """
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str) or not name:
        msg = f"a sink takes the path of a file, not a {type(path).__qualname__}"
        raise TypeError(msg)
    full = os.path.abspath(name)
    folder = os.path.dirname(full)
    if not os.path.isdir(folder):
        msg = f"the folder of sink {full!r} is not there; make it before the sink"
        raise FileNotFoundError(msg)
    if os.path.isdir(full):
        msg = f"the path of sink {full!r} is a folder; name a file in it"
        raise IsADirectoryError(msg)
    if not os.access(full if os.path.exists(full) else folder, os.W_OK):
        msg = f"sink {full!r} cannot be written by this user; mind its permissions"
        raise PermissionError(msg)
    return full


def _needed(check: Callable[[Any, str], _N | None], value: Any, what: str) -> _N:
    checked = check(value, what)
    if checked is None:
        msg = f"{what} of a sink must not be None: a sink is bounded"
        raise ValueError(msg)
    return checked


def _reason(error: BaseException) -> str:
    """
    The name of what went wrong, and the system's own words for it, without the path.
    """
    number = getattr(error, "errno", None)
    if not number:
        return type(error).__qualname__
    return f"{errorcode.get(number, number)}: {os.strerror(number)}"
