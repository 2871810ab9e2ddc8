"""
Which sessions several processes have wanted of late. Pure: takes times, keeps ids.
"""

from __future__ import annotations

from typing import Final

__all__ = ("Contested",)

# For so long a session counts as wanted by others, seconds.
_WHILE_S: Final = 60.0
_MOST: Final = 10_000


class Contested:
    """
    Sessions that this process had to wait for, or gave up because another one waited.

    Both of them know then that it goes back and forth, and give it back whenever a
    block is left: the next one need not wait until somebody looks. At most 10,000 ids
    are kept, the latest ones. Not thread-safe: the caller holds the table's lock.
    """

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def note(self, id: str, now: float) -> None:
        """
        It was wanted by two at once, now.
        """
        until = self._until
        until.pop(id, None)
        until[id] = now + _WHILE_S
        while until:
            # The first one was noted first, so it is over first.
            first = next(iter(until))
            if len(until) <= _MOST and until[first] > now:
                break
            del until[first]

    def has(self, id: str, now: float) -> bool:
        """
        True where that was less than a minute ago.
        """
        found = self._until.get(id)
        if found is None:
            return False
        if found <= now:
            del self._until[id]
            return False
        return True
