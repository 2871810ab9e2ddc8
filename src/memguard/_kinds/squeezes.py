"""
Telling that members of the budget give bytes to others: at most once a minute a name.
"""

from __future__ import annotations

import logging
from typing import Final
from weakref import ref

from memguard._events import Squeezed
from memguard._registry import Registry

__all__ = ("SqueezeNotice",)

_LOG: Final = logging.getLogger("memguard")
_EVERY_S: Final = 60.0


class SqueezeNotice:
    """
    When the squeezes of each name were last told. As many names as the caller bounds.

    A heuristic without a lock: of two threads that tell at once, both may.
    """

    __slots__ = ("_next_at", "_registry")

    def __init__(self, registry: Registry) -> None:
        self._registry = ref(registry)
        self._next_at: dict[tuple[str, str], float] = {}

    def add(self, kind: str, name: str, total: int) -> None:
        """
        Tell the *total* of that name if the minute is over. Calls log handlers and
        event hooks, so no lock may be held.
        """
        registry = self._registry()
        if registry is None:
            return
        now = registry.clock.monotonic()
        if now < self._next_at.get((kind, name), now):
            return
        self._next_at[kind, name] = now + _EVERY_S
        _LOG.debug(
            "memguard: %s %r has evicted %d bytes for others under the managed limit",
            kind,
            name,
            total,
        )
        registry.events.emit(Squeezed(kind, name, total))
