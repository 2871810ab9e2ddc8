"""
Creation sites: where in the application something was made.

One frame costs about 0.2 µs and is always taken (unless the level is `off`);
the whole stack is taken for one registration in 128 (`sampled`, the sampling
rate of Netty's leak detector) or for each (`full`). A site keeps a code object
alive, never a frame and so never a local variable.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from types import CodeType, FrameType
from typing import Final

__all__ = ("Site", "Sites", "call_site")

_PACKAGE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
_STACK_DEPTH: Final = 12
_SAMPLE_MASK: Final = 127


class Site:
    """
    A place in the code, resolved to a line only when somebody reads it.
    """

    __slots__ = ("_code", "_lasti", "_stack")

    def __init__(
        self, code: CodeType, lasti: int, stack: tuple[tuple[CodeType, int], ...] = ()
    ) -> None:
        self._code = code
        self._lasti = lasti
        self._stack = stack

    @property
    def filename(self) -> str:
        return self._code.co_filename

    @property
    def line(self) -> int:
        return _line(self._code, self._lasti)

    @property
    def stack(self) -> tuple[str, ...]:
        """
        The callers, innermost first; empty unless this one was sampled.
        """
        return tuple(_place(code, lasti) for code, lasti in self._stack)

    def __str__(self) -> str:
        return _place(self._code, self._lasti)


class Sites:
    """
    Takes creation sites at one level: off, sampled or full.
    """

    __slots__ = ("_next", "level")

    def __init__(self, level: str = "sampled") -> None:
        self.level = level
        self._next = count(1).__next__

    def here(self, depth: int = 2) -> Site | None:
        """
        The nearest caller outside memguard, or None when the level is off.

        *depth* is how many frames are memguard's for certain: a hint for speed.
        """
        level = self.level
        if level == "off":
            return None
        frame: FrameType | None = sys._getframe(depth)
        while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
            frame = frame.f_back
        if frame is None:
            return None
        if level == "full" or not self._next() & _SAMPLE_MASK:
            return Site(frame.f_code, frame.f_lasti, _callers(frame))
        return Site(frame.f_code, frame.f_lasti)


def call_site(site: Site | None) -> str:
    """
    The text for reports: `file:line in function`, or `unknown`.
    """
    return "unknown" if site is None else str(site)


def _callers(frame: FrameType) -> tuple[tuple[CodeType, int], ...]:
    found: list[tuple[CodeType, int]] = []
    at: FrameType | None = frame
    while at is not None and len(found) < _STACK_DEPTH:
        found.append((at.f_code, at.f_lasti))
        at = at.f_back
    return tuple(found)


def _line(code: CodeType, lasti: int) -> int:
    for start, end, line in code.co_lines():
        if start <= lasti < end and line is not None:
            return line
    return code.co_firstlineno


def _place(code: CodeType, lasti: int) -> str:
    name = getattr(code, "co_qualname", code.co_name)  # co_qualname is 3.11+
    return f"{_relative(code.co_filename)}:{_line(code, lasti)} in {name}"


def _relative(filename: str) -> str:
    """
    The path below the entry of sys.path it was found in, else as it is.
    """
    best = ""
    for entry in sys.path:
        prefix = os.path.join(os.path.abspath(entry), "")
        if filename.startswith(prefix) and len(prefix) > len(best):
            best = prefix
    return filename[len(best) :]


def error_site(error: BaseException) -> str:
    """
    Where *error* was raised, as `file:line in function`; empty if nobody knows.
    """
    at = error.__traceback__
    if at is None:
        return ""
    while at.tb_next is not None:
        at = at.tb_next
    return _place(at.tb_frame.f_code, at.tb_lasti)


def frames_text(frame: FrameType | None, limit: int = 20) -> str:
    """
    The stack below *frame*, innermost first, one place a line and no values.
    """
    lines: list[str] = []
    while frame is not None and len(lines) < limit:
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            lines.append(_place(frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return "\n".join(lines)


def place_of(code: CodeType) -> str:
    """
    Where *code* begins, as `file:line in function`.
    """
    name = getattr(code, "co_qualname", code.co_name)
    return f"{_relative(code.co_filename)}:{code.co_firstlineno} in {name}"
