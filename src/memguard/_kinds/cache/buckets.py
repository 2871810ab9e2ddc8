"""
Things by key, in a table that runs no code of the keys.

A key's `__hash__` and `__eq__` may be written in Python: they may take locks and may
use the very cache. So the table is keyed by the hash, a number, and whoever looks for
a key compares outside of any lock. Who then changes the table under the lock checks
that the bucket is still the one it compared in, and else compares anew.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

__all__ = ("Buckets", "Keyed", "matching")


class Keyed(Protocol):
    """
    What can be found by its key.
    """

    key: Any
    hashed: int


_T = TypeVar("_T", bound=Keyed)


class Buckets(Generic[_T]):
    """
    Tuples of things with the same hash. A tuple is replaced, never changed.

    `at` needs no lock; changes need one.
    """

    __slots__ = ("table",)

    def __init__(self) -> None:
        self.table: dict[int, tuple[_T, ...]] = {}

    def at(self, hashed: int) -> tuple[_T, ...]:
        """
        What has this hash; the same object until that changes.
        """
        return self.table.get(hashed, ())

    def add(self, thing: _T) -> None:
        """
        Add *thing*, whose key is not in here.
        """
        self.table[thing.hashed] = (*self.at(thing.hashed), thing)

    def add_first(self, thing: _T) -> bool:
        """
        Add *thing* if there is nothing with its hash. Needs no lock.
        """
        bucket = (thing,)
        return self.table.setdefault(thing.hashed, bucket) is bucket

    def remove(self, thing: _T) -> bool:
        """
        Take *thing* out; False if it was not in here.
        """
        bucket = self.at(thing.hashed)
        rest = tuple(one for one in bucket if one is not thing)
        if len(rest) == len(bucket):
            return False
        if rest:
            self.table[thing.hashed] = rest
        else:
            del self.table[thing.hashed]
        return True

    def things(self) -> list[_T]:
        """
        Everything in here.
        """
        return [one for bucket in list(self.table.values()) for one in bucket]


def matching(bucket: tuple[_T, ...], key: Any) -> _T | None:
    """
    What has this very key, or an equal one. May run the keys' `__eq__`: no lock held.
    """
    for thing in bucket:
        if thing.key is key or thing.key == key:
            return thing
    return None
