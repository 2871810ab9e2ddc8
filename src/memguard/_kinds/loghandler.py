"""
A logging handler that keeps the newest records in memory, as text.

Formatting calls code of the application, so it is done before the lock is taken; that
one is held for a few steps on a deque and a few numbers.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final

from memguard._forks import tell_after_fork
from memguard._kinds.caps import byte_cap, count_cap
from memguard._kinds.logentry import LogEntry, LogInfo
from memguard._registry import OTHER
from memguard.typing import Size

__all__ = ("BoundedLogHandler", "LogEntry", "LogInfo")

#: What is kept of one record, in characters: the beginning of its message, and the end
#: of its traceback, where the error stands.
_MESSAGE: Final = 4096
_TRACEBACK: Final = 8192
_FRAMES: Final = 40
_LEVELS: Final = 50  # counted apart


class BoundedLogHandler(logging.Handler):
    """
    Keeps the newest log records up to *max_entries* and *max_bytes*, as text.

    Nothing that was logged is kept alive: no arguments, no exception, no frame. Without
    a formatter the message alone is kept, with one what that makes of the record. Works
    alone; `guard.log_handler` makes one that is owned. Thread-safe.
    """

    def __init__(
        self,
        *,
        max_entries: int | None = 1000,
        max_bytes: Size | None = "1MiB",
        level: int | str = logging.NOTSET,
    ) -> None:
        self.max_entries = count_cap(max_entries, "max_entries")
        self.max_bytes = byte_cap(max_bytes, "max_bytes")
        if self.max_entries is None and self.max_bytes is None:
            msg = "a log handler would have no cap; give it max_entries or max_bytes"
            raise ValueError(msg)
        super().__init__(level)
        #: Measures the log directory: its bytes, and those that came; for `info`.
        self.measure: Callable[[], tuple[int, int] | None] = _nothing
        self._ended = False
        self._after_fork_in_child()
        tell_after_fork(self)

    def _after_fork_in_child(self) -> None:
        """
        Begin empty, with a lock of its own: another thread may have held the other.
        """
        self._own_lock = threading.Lock()
        self._holder = 0
        self._later: deque[tuple[LogEntry, int]] = deque()
        self._entries: deque[tuple[LogEntry, int]] = deque()
        self._bytes = 0
        self._handled = 0
        self._dropped = 0
        self._counts: dict[str, int] = {}

    # -- as logging wants it -----------------------------------------------------------

    def createLock(self) -> None:  # noqa: N802 - its name in logging
        """
        None: the one logging would hold is held while the message is formatted.
        """
        self.lock = None

    def handle(self, record: logging.LogRecord) -> Any:
        """
        Keep *record* unless a filter refuses it.
        """
        found: Any = self.filter(record)
        if isinstance(found, logging.LogRecord):  # 3.12: a filter may replace it
            record = found
        if found:
            self.emit(record)
        return found

    def emit(self, record: logging.LogRecord) -> None:
        """
        Keep *record* as text. Never raises; what cannot be formatted is said so.
        """
        if self._ended:
            return
        try:
            message, exception = self._texts(record)
        except Exception as error:
            self.handleError(record)
            message = f"(formatting it raised {type(error).__qualname__})"
            exception = None
        entry = LogEntry(
            record.created,
            record.levelname,
            record.levelno,
            record.name,
            f"{record.filename}:{record.lineno}",
            message,
            exception,
        )
        size = _ENTRY_BYTES + sum(map(sys.getsizeof, (entry.where, message, exception)))
        if self._holder == get_ident():  # logged by a destructor that interrupted us
            self._later.append((entry, size))
            return
        self._locked(self._add, entry, size)

    def _texts(self, record: logging.LogRecord) -> tuple[str, str | None]:
        if self.formatter is not None:
            return self.format(record)[: _MESSAGE + _TRACEBACK], None
        # `str`, because a message may be of a class of its own.
        message = str(record.getMessage())[:_MESSAGE]
        error = record.exc_info
        if not error or error[1] is None:
            return message, None
        from traceback import format_exception

        text = "".join(format_exception(*error, limit=-_FRAMES))
        return message, text[-_TRACEBACK:]

    def close(self) -> None:
        """
        Take nothing more, and forget what was kept. Leaves all loggers.
        """
        if self._ended:
            return
        self._ended = True
        manager = logging.root.manager
        for logger in (logging.root, *list(manager.loggerDict.values())):
            if isinstance(logger, logging.Logger) and self in logger.handlers:
                logger.removeHandler(self)
        self.clear()
        super().close()

    # -- for users ---------------------------------------------------------------------

    def recent(self, n: int, level: int | str = logging.NOTSET) -> list[LogEntry]:
        """
        The newest *n* entries of at least *level*, oldest of them first.
        """
        most = count_cap(n, "n", least=0) or 0
        least = _level(level)
        found: list[LogEntry] = []
        for entry, _ in reversed(self._look()):
            if len(found) >= most:
                break
            if entry.levelno >= least:
                found.append(entry)
        return found[::-1]

    def counts(self) -> dict[str, int]:
        """
        How many were handled of each level, those that are gone included.
        """
        return dict(self._counts)

    def clear(self) -> None:
        """
        Forget what was kept; the counters go on.
        """
        if self._holder != get_ident():
            self._locked(self._empty)

    def info(self) -> LogInfo:
        """
        The figures of this moment; looks at the log directory, if there is one.
        """
        measured = self.measure()
        size, growth = (None, None) if measured is None else measured
        return LogInfo(
            entries=len(self._entries),
            bytes=self._bytes,
            handled=self._handled,
            dropped=self._dropped,
            max_entries=self.max_entries,
            max_bytes=self.max_bytes,
            directory_bytes=size,
            directory_growth=growth,
        )

    def memory_bytes(self) -> int:
        """
        Bytes of the entries.
        """
        return self._bytes

    # -- under the lock ----------------------------------------------------------------

    def _locked(self, step: Callable[..., Any], *arguments: Any) -> Any:
        with self._own_lock:
            self._holder = get_ident()
            try:
                result = step(*arguments)
                while self._later:
                    self._add(*self._later.popleft())
            finally:
                self._holder = 0
        return result

    def _add(self, entry: LogEntry, size: int) -> None:
        self._handled += 1
        level = entry.level
        if level not in self._counts and len(self._counts) >= _LEVELS:
            level = OTHER
        self._counts[level] = self._counts.get(level, 0) + 1
        self._entries.append((entry, size))
        self._bytes += size
        # Texts and numbers: destroying them runs nobody's code.
        while self._is_over():
            _, least = self._entries.popleft()
            self._bytes -= least
            self._dropped += 1

    def _is_over(self) -> bool:
        many, limit = self.max_entries, self.max_bytes
        return (many is not None and len(self._entries) > many) or (
            limit is not None and self._bytes > limit
        )

    def _look(self) -> list[tuple[LogEntry, int]]:
        if self._holder == get_ident():
            return []
        return list(self._locked(self._entries.copy))

    def _empty(self) -> None:
        self._entries = deque()
        self._bytes = 0


_ENTRY_BYTES: Final = (
    sys.getsizeof(LogEntry(0.0, "", 0, "", "", "", None))
    + sys.getsizeof((None, None))
    + sys.getsizeof(1 << 30)
    + sys.getsizeof(1.0)
)


def _nothing() -> None:
    return None


def _level(level: int | str) -> int:
    """
    The number of a level, which may be given by its name.
    """
    number = logging.getLevelName(level) if isinstance(level, str) else level
    if type(number) is not int:
        msg = f"level must be a number or the name of a level of logging, not {level!r}"
        raise ValueError(msg)
    return number
