"""
The caps of containers, checked at the door.
"""

from __future__ import annotations

from memguard._settings import parse_duration, parse_size
from memguard.typing import Duration, Size

__all__ = ("byte_cap", "count_cap", "lifetime")


def count_cap(value: int | None, what: str, *, least: int = 1) -> int | None:
    """
    A number of things, or None for no limit.
    """
    if value is None:
        return None
    if type(value) is not int or value < least:
        msg = (
            f"{what} must be a whole number of at least {least}, or None for no limit,"
            f" not {value!r}"
        )
        raise ValueError(msg)
    return value


def byte_cap(value: Size | None, what: str) -> int | None:
    """
    A number of bytes, or None for no limit.
    """
    if value is None:
        return None
    size = parse_size(value, what=what)
    if size == 0:
        msg = f"{what} must be more than 0 bytes, or None for no limit, not {value!r}"
        raise ValueError(msg)
    return size


def lifetime(value: Duration | None, what: str) -> float | None:
    """
    A time in seconds, or None for no limit.
    """
    if value is None:
        return None
    seconds = parse_duration(value, what=what)
    if seconds == 0:
        msg = f"{what} must be more than 0 seconds, or None for no limit, not {value!r}"
        raise ValueError(msg)
    return seconds
