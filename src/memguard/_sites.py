"""
Creation sites: where in the application something was made.

One frame costs about 0.2 µs and is always taken (unless the level is `off`);
the whole stack is taken for one registration in 128 (`sampled`, the sampling
rate of Netty's leak detector) or for each (`full`). A site keeps a code object
alive, never a frame and so never a local variable. Until somebody reads it, it is
a bare pair of code and offset, which costs a third of an object.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from types import CodeType, FrameType
from typing import Final, TypeAlias

__all__ = ("RawSite", "Site", "Sites", "call_site", "outside")

_PACKAGE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
_SHOWN_KEPT: Final = 1024
_shown: dict[str, str] = {}
_STACK_DEPTH: Final = 12
_SAMPLE_MASK: Final = 127

#: Files that are known not to be memguard's: looking one up costs a tenth of
#: comparing its path. Never more than a few thousand.
outside: Final[set[str]] = set()
_OUTSIDE_KEPT: Final = 4096


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


#: A site as it is stored: made into a Site when it is read.
RawSite: TypeAlias = Site | tuple[CodeType, int] | None


class Sites:
    """
    Takes creation sites at one level: off, sampled or full.
    """

    __slots__ = ("_level", "_next", "mask")

    def __init__(self, level: str = "sampled") -> None:
        self._next = count(1).__next__
        self.level = level

    @property
    def level(self) -> str:
        """
        How much is taken.
        """
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        self._level = level
        #: A caller with a number of which no bit is in the mask has to `take`; any
        #: other may store the pair of code and offset itself.
        self.mask = _SAMPLE_MASK if level == "sampled" else 0

    def here(self, depth: int = 2) -> RawSite:
        """
        The nearest caller outside memguard, or None when the level is off.

        *depth* is how many frames are memguard's for certain: a hint for speed.
        """
        return self.take(sys._getframe(depth), self._next())

    def take(self, frame: FrameType | None, number: int) -> RawSite:
        """
        The site of the first frame from *frame* outwards that is not memguard's.
        """
        level = self._level
        if level == "off":
            return None
        while frame is not None:
            filename = frame.f_code.co_filename
            if filename in outside:
                break
            if not filename.startswith(_PACKAGE):
                if len(outside) >= _OUTSIDE_KEPT:
                    outside.clear()
                outside.add(filename)
                break
            frame = frame.f_back
        if frame is None:
            return None
        if level == "full" or not number & _SAMPLE_MASK:
            return Site(frame.f_code, frame.f_lasti, _callers(frame))
        return (frame.f_code, frame.f_lasti)


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
    return f"{shown_file(code.co_filename)}:{_line(code, lasti)} in {name}"


def shown_file(filename: str) -> str:
    """
    The path below the entry of sys.path it was found in, else as it is.

    Remembered, because the stacks of a hundred hanging closes name the same few files.
    """
    known = _shown.get(filename)
    if known is not None:
        return known
    best = ""
    for entry in sys.path:
        prefix = os.path.join(os.path.abspath(entry), "")
        if filename.startswith(prefix) and len(prefix) > len(best):
            best = prefix
    if len(_shown) >= _SHOWN_KEPT:
        _shown.clear()
    shown = _shown[filename] = filename[len(best) :]
    return shown


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
    return f"{shown_file(code.co_filename)}:{code.co_firstlineno} in {name}"
