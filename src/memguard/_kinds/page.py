"""
Pages: a part of a history, with the way to the part before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, overload

from memguard._records import record

__all__ = ("Page",)

_T_co = TypeVar("_T_co", covariant=True)


@record
class Page(Sequence[_T_co], Generic[_T_co]):
    """
    Some consecutive entries, oldest first; `next` leads to the page of older ones.

    `next` is the cursor for `ring.page(page.next, n)`, and None where nothing older is
    left. A cursor stays good while entries come and go: it is a sequence number.
    """

    entries: tuple[_T_co, ...]
    next: int | None

    @overload
    def __getitem__(self, index: int) -> _T_co: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_T_co, ...]: ...
    def __getitem__(self, index: int | slice) -> _T_co | tuple[_T_co, ...]:
        return self.entries[index]

    def __len__(self) -> int:
        return len(self.entries)
