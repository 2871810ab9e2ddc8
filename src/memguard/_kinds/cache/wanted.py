"""
A value that is wanted and missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ("Wanted", "is_some")


class Wanted:
    """
    A value that is missing, and how to make it.

    `patience` is how long to wait for somebody else who makes it, in seconds.
    """

    __slots__ = ("compute", "hashed", "key", "patience", "store")

    def __init__(
        self,
        key: Any,
        hashed: int,
        compute: Callable[[], Any],
        store: Callable[[Any], bool],
        patience: float,
    ) -> None:
        self.key = key
        self.hashed = hashed
        self.compute = compute
        self.store = store
        self.patience = patience


def is_some(value: Any) -> bool:
    """
    Which results are stored unless somebody says otherwise.
    """
    return value is not None
