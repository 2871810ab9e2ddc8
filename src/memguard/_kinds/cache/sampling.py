"""
How often the fast path is used, which cannot count.
"""

from __future__ import annotations

from typing import Final

__all__ = ("COUNTED", "Sampler")

#: Uses of a cache that are counted one by one, before any takes the fast path.
COUNTED: Final = 10_000


class Sampler:
    """
    Estimates the uses by the fast path.
    """

    __slots__ = ("estimate", "is_open")

    def __init__(self) -> None:
        self.estimate = 0.0
        self.is_open = False
