"""
Stores that tell which pages of histories are written and read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memguard.errors import StoreFailed

__all__ = ("Watched", "Watching")


class Watched:
    """
    A space that notes which pages are written (name, number), deleted and read.
    """

    def __init__(self, space: Any) -> None:
        self._space = space
        self.written: list[tuple[str, int]] = []
        self.deleted: list[tuple[str, int]] = []
        self.fetched: list[tuple[str, int]] = []
        self.fault = False

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._space, verb)

    def put(self, owner: str, entries: Sequence[Any]) -> Any:
        if self.fault:
            msg = "no"
            raise StoreFailed(msg)
        for entry in entries:
            for key, page in entry.pages.items():
                (self.deleted if page is None else self.written).append(key)
        return self._space.put(owner, entries)

    def pages(self, id: str, name: str, numbers: Sequence[int]) -> Any:
        self.fetched += ((name, number) for number in numbers)
        return self._space.pages(id, name, numbers)

    def forget(self) -> None:
        """
        Begin to note anew.
        """
        self.written, self.deleted, self.fetched = [], [], []


class Watching:
    """
    A store whose one space is watched.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.space_of: Watched | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def space(self, name: str, clock: Any) -> Watched:
        """
        The watched one.
        """
        self.space_of = Watched(self._store.space(name, clock))
        return self.space_of
