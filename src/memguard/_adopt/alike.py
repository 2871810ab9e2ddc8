"""
Listeners that are the same function made again and again: the mark of a leak.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from memguard._kinds.closers import identity

__all__ = ("most_alike",)


def most_alike(functions: Iterable[Any]) -> int:
    """
    How many of *functions* have the same code, at most.
    """
    codes = Counter([identity(_code(one)) for one in functions])
    return max(codes.values(), default=0)


def _code(function: Any) -> Any:
    """
    What is the same of closures and methods that were made again; else *function*.
    """
    code = getattr(function, "__code__", None)
    if code is None:
        inner = getattr(function, "func", function)  # of functools.partial
        code = getattr(inner, "__code__", inner)
    return code
