"""
Counting by key, for rings: a bounded number of keys, from many threads, with no lock.
"""

from __future__ import annotations

import sys
from itertools import count
from typing import Any, Final

from memguard._registry import OTHER
from memguard._tally import reading

__all__ = ("KeyCounts", "checked_key")

_KEYS: Final = 100  # counted apart; further ones are counted as `other`
_TYPES: Final = 1000  # whose counter is found at once


class KeyCounts:
    """
    How often each key was counted; without a key the name of the value's type is it.

    `known` finds a counter by key or by identity of a type: for who is in a hurry.
    """

    __slots__ = ("_kept", "_names", "known")

    def __init__(self, counts: dict[str, int] | None = None) -> None:
        self._names = {key: count(many) for key, many in (counts or {}).items()}
        self.known: dict[int | str, count[int]] = {}
        # Types in `known`: an identity is only good for as long as its type lives.
        self._kept: list[type] = []

    def find(self, value: Any, key: Any) -> count[int]:
        """
        The counter for *value* under *key*. Raises TypeError for a key that is no text.
        """
        if key is not None:
            name = checked_key(key)
            counter = self._counter(name)
            if name in self._names:
                self.known[name] = counter
            return counter
        kind = type(value)
        counter = self._counter(kind.__name__)
        # Only of types that live as long as their module does: no other is kept alive.
        home = sys.modules.get(kind.__module__)
        if getattr(home, kind.__qualname__, None) is kind and len(self._kept) < _TYPES:
            self._kept.append(kind)
            self.known[id(kind)] = counter
        return counter

    def _counter(self, name: str) -> count[int]:
        names = self._names
        if name not in names and len(names) >= _KEYS:
            name = OTHER
        return names.setdefault(name, count())

    def plain(self) -> dict[str, int]:
        """
        The number for each key, in the order in which they came.
        """
        return {name: reading(counter) for name, counter in list(self._names.items())}


def checked_key(key: Any) -> str:
    """
    *key* as a plain text. Raises TypeError for anything else.
    """
    if not isinstance(key, str):
        msg = f"the key of an entry must be a text, not a {type(key).__name__}"
        raise TypeError(msg)
    # A plain text, so that looking it up runs no code of a subclass.
    return str.__str__(key)
