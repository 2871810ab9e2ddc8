"""
Tuples and frozen sets that are taken apart, though Python cannot empty them.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from memguard._probes.tuples import TupleTools, tuple_tools

__all__ = ("Fixed",)


class Fixed:
    """
    A tuple or a frozen set that is ours alone, and from which entries are taken.

    Where they cannot be taken out they are kept until its end: `_kept`.
    """

    __slots__ = ("_address", "_entries", "_kept", "_left", "_tools", "_value")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._left = len(value)
        self._kept: list[list[Any]] = []
        self._entries = iter(value) if type(value) is frozenset else None
        self._tools = None if self._entries is not None else _tools()
        self._address = id(value)
        del value
        if self._tools is not None:
            self._tools[0](self._address)

    def __bool__(self) -> bool:
        return self._left > 0

    def take(self, most: int) -> list[Any]:
        """
        Some entries, which nothing but the result refers to; or none yet.
        """
        tools, left = self._tools, self._left
        start = max(0, left - most)
        if tools is None:
            return self._keep(start)
        some = list(self._value[start:left])
        empty, address = tools[1], self._address
        for place in range(start, left):
            empty(address, place, None)
        self._left = start
        return some

    def _keep(self, start: int) -> list[Any]:
        if self._entries is None:
            self._kept.append(list(self._value[start : self._left]))
        else:
            self._kept.append(list(islice(self._entries, self._left - start)))
        self._left = start
        if start:
            return []
        # Its end: the iterator refers to it as well.
        self._entries = self._value = None
        return self._kept


_known_tools: list[TupleTools | None] = []


def _tools() -> TupleTools | None:
    if not _known_tools:
        _known_tools.append(tuple_tools())
    return _known_tools[0]
