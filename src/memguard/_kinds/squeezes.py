"""
Telling that members of the budget give bytes to others: at most once a minute a name.
"""

from __future__ import annotations

import logging
from typing import Final
from weakref import ref

from memguard._events import Squeezed
from memguard._kinds.ledger import Seat
from memguard._registry import OTHER, Registry

__all__ = ("SqueezeNotice",)

_LOG: Final = logging.getLogger("memguard")
_EVERY_S: Final = 60.0
_NAMES: Final = 100


class SqueezeNotice:
    """
    The bytes that members of each name gave, and when that was last told.

    A heuristic without a lock: of two threads that tell at once, both may.
    """

    __slots__ = ("_bytes", "_next_at", "_registry")

    def __init__(self, registry: Registry) -> None:
        self._registry = ref(registry)
        self._bytes: dict[tuple[str, str], int] = {}
        self._next_at: dict[tuple[str, str], float] = {}

    def add(self, seat: Seat, nbytes: int) -> None:
        """
        Count, and tell if the minute is over. Calls log handlers and event hooks, so
        no lock may be held.
        """
        registry = self._registry()
        if registry is None:
            return
        member = seat.member
        name = getattr(member, "kind", "member"), member.label
        if name not in self._bytes and len(self._bytes) >= _NAMES:
            name = name[0], OTHER
        total = self._bytes.get(name, 0) + nbytes
        self._bytes[name] = total
        now = registry.clock.monotonic()
        if now < self._next_at.get(name, now):
            return
        self._next_at[name] = now + _EVERY_S
        _LOG.debug(
            "memguard: %s %r gave %d bytes so far to others under the managed limit",
            *name,
            total,
        )
        registry.events.emit(Squeezed(*name, total))
