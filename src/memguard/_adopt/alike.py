"""
Listeners that are the same function made again and again: the mark of a leak.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

__all__ = ("most_alike",)


def most_alike(functions: Iterable[Any]) -> int:
    """
    How many of *functions* have the same code, at most.
    """
    codes = Counter(id(_code(one)) for one in functions)
    return max(codes.values(), default=0)


def _code(function: Any) -> Any:
    inner = getattr(function, "func", function)  # functools.partial
    return getattr(inner, "__code__", inner)
