"""
Exit codes.
"""

from __future__ import annotations

from typing import Final

__all__ = ("FINDING", "INTERRUPTED", "OK", "UNREADABLE", "USAGE")

OK: Final = 0
FINDING: Final = 1
USAGE: Final = 2
#: The process that was named is not there, or does not let itself be read.
UNREADABLE: Final = 3
#: What shells report for a program that Ctrl-C ended.
INTERRUPTED: Final = 130
