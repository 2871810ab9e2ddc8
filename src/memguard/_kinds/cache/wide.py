"""
A mapping for very many keys that never stops the process to grow.

A dict of a million keys is copied at once when it grows: tens of milliseconds in which
no other thread runs. This one is many small dicts, and when they are full it makes more
of them and moves a few keys with each change, as Redis does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

__all__ = ("MOST", "Wide")

#: A dict of at most so many keys grows in about a millisecond.
MOST: Final = 40_000
# Keys that move with each change while there is something to move.
_STEP: Final = 8
# So many times more dicts with each growth.
_TIMES: Final = 8

_GONE: Final[Any] = object()


class Wide:
    """
    Keys whose hash and comparison run no code of users, as any dict holds them.

    Reading needs no lock, yet may miss a key that is being moved at this moment: who
    must not looks again with the lock held. Changes need the lock.
    """

    __slots__ = ("_count", "_dicts", "_full", "_mask", "_moving", "_old", "_old_mask")

    def __init__(self, start: dict[Any, Any]) -> None:
        self._old: list[dict[Any, Any]] = [start]
        self._old_mask = 0
        self._count = len(start)
        self._begin(_TIMES)

    def _begin(self, dicts: int) -> None:
        self._dicts: list[dict[Any, Any]] = [{} for _ in range(dicts)]
        self._mask = dicts - 1
        self._moving = len(self._old) - 1
        # Hashes are not spread evenly: some are fuller than the mean.
        self._full = dicts * MOST * 3 // 4

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: object) -> bool:
        return self.get(key, _GONE) is not _GONE

    def get(self, key: Any, default: Any = None) -> Any:
        """
        The value of *key*.
        """
        # Masks are worked out from the lists, which may be others at any moment.
        hashed = _spread(key)
        dicts = self._dicts
        value = dicts[hashed & len(dicts) - 1].get(key, _GONE)
        if value is _GONE:
            old = self._old
            if not old:
                return default
            return old[hashed & len(old) - 1].get(key, default)
        return value

    def __getitem__(self, key: Any) -> Any:
        value = self.get(key, _GONE)
        if value is _GONE:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        hashed = _spread(key)
        old = self._old
        if old:
            last = old[hashed & self._old_mask]
            if key in last:
                last[key] = value
                return
            self._move()
        home = self._dicts[hashed & self._mask]
        before = len(home)
        home[key] = value
        if len(home) != before:
            self._count += 1
            if self._count > self._full and not self._old:
                self._old, self._old_mask = self._dicts, self._mask
                self._begin(len(self._old) * _TIMES)

    def pop(self, key: Any, default: Any = None) -> Any:
        """
        Take *key* out; its value, or *default*.
        """
        hashed = _spread(key)
        value = self._dicts[hashed & self._mask].pop(key, _GONE)
        if value is _GONE and self._old:
            value = self._old[hashed & self._old_mask].pop(key, _GONE)
        if value is _GONE:
            return default
        self._count -= 1
        if self._old:
            self._move()
        return value

    def __delitem__(self, key: Any) -> None:
        if self.pop(key, _GONE) is _GONE:
            raise KeyError(key)

    def _move(self) -> None:
        """
        A few keys from the old dicts into their new ones.
        """
        old, dicts, mask = self._old, self._dicts, self._mask
        source = old[self._moving]
        for _ in range(_STEP):
            while not source:
                if not self._moving:
                    self._old = []
                    return
                self._moving -= 1
                source = old[self._moving]
            key, value = source.popitem()
            dicts[_spread(key) & mask][key] = value

    def mend(self) -> None:
        """
        Move and count all that is left, after an exception in the middle of a change.
        """
        old, self._old = self._old, []
        self._mask = len(self._dicts) - 1
        self._full = len(self._dicts) * MOST * 3 // 4
        for source in old:
            for key, value in list(source.items()):
                self._dicts[_spread(key) & self._mask].setdefault(key, value)
        self._count = sum(map(len, self._dicts))

    def parts(self) -> list[dict[Any, Any]]:
        """
        The dicts that it consists of; for who takes it apart.
        """
        return [*self._old, *self._dicts]

    def __iter__(self) -> Iterator[Any]:
        return chain(*self._old, *self._dicts)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """
        Keys with values.
        """
        return chain.from_iterable(one.items() for one in (*self._old, *self._dicts))


def _spread(key: object) -> int:
    """
    An address for *key*: hashes of numbers are the numbers themselves.
    """
    hashed = hash(key)
    return hashed ^ (hashed >> 16)
