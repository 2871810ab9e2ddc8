"""
What a setting may be: one function a kind of value, and the makers of such functions.

Each takes the value as somebody wrote it (a Python object, or the text of an
environment variable) and the name to blame, and returns the value memguard works
with, or raises ValueError with a text that names the thing, the value and the cure.
Every parser accepts its own result again. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any, TypeAlias

from memguard._settings.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    shown,
)

__all__ = (
    "Parser",
    "choice",
    "count",
    "duration",
    "either",
    "flag",
    "names",
    "path",
    "ratio",
    "signal_names",
    "size",
)

#: (value, name to blame) -> the value memguard works with
Parser: TypeAlias = Callable[[Any, str], Any]

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


def size(minimum: int = 1) -> Parser:
    """
    Bytes, at least *minimum*.
    """

    def parse(value: Any, what: str) -> int:
        found = parse_size(value, what=what)
        if found < minimum:
            msg = f"{what} must be at least {format_size(minimum)}, not {shown(value)}"
            raise ValueError(msg)
        return found

    return parse


def duration(minimum: float, maximum: float | None = None) -> Parser:
    """
    Seconds between *minimum* and *maximum*, both included.
    """

    def parse(value: Any, what: str) -> float:
        found = parse_duration(value, what=what)
        if found < minimum:
            least = format_duration(minimum)
            msg = f"{what} must be at least {least}, not {shown(value)}"
            raise ValueError(msg)
        if maximum is not None and found > maximum:
            most = format_duration(maximum)
            msg = f"{what} must be at most {most}, not {shown(value)}"
            raise ValueError(msg)
        return found

    return parse


def ratio(value: Any, what: str) -> float:
    """
    A share above 0 and up to 1, also written as "70%".
    """
    refusal = ValueError(
        f'{what} must be a share above 0 and up to 1 such as 0.7 or "70%",'
        f" not {shown(value)}"
    )
    if isinstance(value, bool) or not (
        isinstance(value, str) or hasattr(value, "__float__")
    ):
        raise refusal
    number, divisor = value, 1.0
    if isinstance(value, str) and value.strip().endswith("%"):
        number, divisor = value.strip()[:-1], 100.0
    try:
        found = float(number) / divisor
    except (ValueError, OverflowError):
        raise refusal from None
    if not 0.0 < found <= 1.0 or math.isnan(found):
        raise refusal
    return found


def count(minimum: int) -> Parser:
    """
    A whole number, at least *minimum*.
    """

    def parse(value: Any, what: str) -> int:
        found: Any = None
        text = value.strip() if isinstance(value, str) else ""
        if text.isascii() and text.isdecimal() and len(text) < 20:
            found = int(text)
        elif not isinstance(value, (bool, str)) and hasattr(value, "__index__"):
            found = value.__index__()
        if found is None or found < minimum:
            msg = (
                f"{what} must be a whole number of at least {minimum},"
                f" not {shown(value)}"
            )
            raise ValueError(msg)
        return int(found)

    return parse


def flag(value: Any, what: str) -> bool:
    """
    True or False, as a text 1, true, yes, on and 0, false, no, off.
    """
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    msg = f"{what} must be true or false (yes, no, on, off, 1, 0), not {shown(value)}"
    raise ValueError(msg)


def choice(*words: str) -> Parser:
    """
    One of *words*, in any case.
    """

    def parse(value: Any, what: str) -> str:
        word = value.strip().lower() if isinstance(value, str) else None
        if word not in words:
            known = ", ".join(words[:-1]) + f" or {words[-1]}"
            msg = f"{what} must be {known}, not {shown(value)}"
            raise ValueError(msg)
        return str(word)

    return parse


def names(value: Any, what: str) -> tuple[str, ...]:
    """
    Texts, from a sequence or from one text with commas; an empty one means none.
    """
    parts: Any = value
    if isinstance(value, str):
        parts = value.split(",") if value.strip() else ()
    if not isinstance(parts, Iterable) or isinstance(parts, (bytes, bytearray, dict)):
        msg = (
            f'{what} must be names such as ["a", "b"], or one text "a,b",'
            f" not {shown(value)}"
        )
        raise ValueError(msg)  # noqa: TRY004 - every refusal is a ValueError
    found = []
    for part in parts:
        if not isinstance(part, str) or not part.strip():
            msg = f"{what} holds {shown(part)}, which is not a name; leave it out"
            raise ValueError(msg)
        found.append(part.strip())
    return tuple(found)


def signal_names(value: Any, what: str) -> tuple[str, ...]:
    """
    Names of signals that a process can answer, such as SIGTERM.
    """
    import signal

    found = names(value, what)
    for name in found:
        known = getattr(signal, name, None) if name.startswith("SIG") else None
        if not isinstance(known, signal.Signals) or name in ("SIGKILL", "SIGSTOP"):
            msg = (
                f"{what} names {shown(name)}, which no process can answer; use names"
                ' such as ["SIGTERM", "SIGINT"]'
            )
            raise ValueError(msg)
    return found


def path(kind: str, example: str) -> Parser:
    """
    The path of a *kind* of file, as it is written; nobody looks whether it exists.
    """

    def parse(value: Any, what: str) -> str:
        found = value.__fspath__() if isinstance(value, PathLike) else value
        if not isinstance(found, str) or not found.strip() or "\0" in found:
            msg = (
                f'{what} must be the path of a {kind} such as "{example}",'
                f" not {shown(value)}"
            )
            raise ValueError(msg)
        return found

    return parse


def either(parser: Parser, **words: str | None) -> Parser:
    """
    What *parser* accepts, or one of *words*, each given with what it means.
    """

    def parse(value: Any, what: str) -> Any:
        if value is None and None in words.values():
            return None
        word = value.strip().lower() if isinstance(value, str) else ""
        if word in words:
            return words[word]
        try:
            return parser(value, what)
        except ValueError as error:
            possible = " and ".join(f'"{one}"' for one in words)
            msg = f"{error}; possible too: {possible}"
            raise ValueError(msg) from None

    return parse
