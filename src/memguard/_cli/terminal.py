"""
Text for a terminal: colour where it is welcome, JSON where it is asked for.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

__all__ = ("coloured", "print_json", "print_problem", "print_table")

_CODES: Final = {"red": "31", "yellow": "33", "green": "32", "dim": "2", "bold": "1"}


def coloured(text: str, colour: str, stream: TextIO | None = None) -> str:
    """
    The text in *colour*, if *stream* (stdout) is a terminal that wants colours.

    NO_COLOR (https://no-color.org) and TERM=dumb turn them off.
    """
    target = sys.stdout if stream is None else stream
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if wanted and target.isatty():
        return f"\033[{_CODES[colour]}m{text}\033[0m"
    return text


def print_json(value: Any) -> None:
    """
    One JSON document, indented, in the order in which it was built.
    """
    print(json.dumps(value, indent=2))


def print_problem(text: str, colour: str = "red") -> None:
    """
    One line on stderr, after the name of the program.
    """
    print(f"memguard: {coloured(text, colour, sys.stderr)}", file=sys.stderr)


def print_table(rows: Iterable[Sequence[str]], colours: Sequence[str | None]) -> None:
    """
    Columns of equal width; the last one is as long as it likes.
    """
    lines = [tuple(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    widths[-1] = 0
    for line in lines:
        cells = [
            padded if colour is None else coloured(padded, colour)
            for cell, width, colour in zip(line, widths, colours, strict=True)
            for padded in (cell.ljust(width),)
        ]
        print("  ".join(cells).rstrip())
