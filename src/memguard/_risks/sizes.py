"""
What is large, in entries and in bytes.
"""

from __future__ import annotations

from typing import Final

__all__ = ("HUGE", "LARGE")

_MIB: Final = 1 << 20
#: Entries and bytes from which something is large, and very large.
LARGE: Final = 1_000, _MIB
HUGE: Final = 10_000, 8 * _MIB
