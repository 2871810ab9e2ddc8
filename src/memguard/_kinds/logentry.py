"""
What a log handler tells: one entry, and its figures.
"""

from __future__ import annotations

from typing import Any

from memguard._records import record

__all__ = ("LogEntry", "LogInfo")


@record
class LogEntry:
    """
    One log record as text. `time` is in seconds since 1970, `where` is file and line.

    `exception` is the traceback, or None without one. Long texts are cut.
    """

    time: float
    level: str
    levelno: int
    logger: str
    where: str
    message: str
    exception: str | None

    def to_dict(self) -> dict[str, Any]:
        """
        The same for JSON.
        """
        return {
            "time": self.time,
            "level": self.level,
            "logger": self.logger,
            "where": self.where,
            "message": self.message,
            "exception": self.exception,
        }


@record
class LogInfo:
    """
    Figures of a log handler at one moment; `dropped` had to make room.

    `directory_bytes` is the size of the log directory, and `directory_growth` what came
    since the handler was made; None without one, or where it cannot be read. Beyond
    10,000 files they are a lower bound.
    """

    entries: int
    bytes: int
    handled: int
    dropped: int
    max_entries: int | None
    max_bytes: int | None
    directory_bytes: int | None
    directory_growth: int | None
