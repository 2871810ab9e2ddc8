"""
What a guard reports, in a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memguard._events import Event
    from memguard._tree import Branch

__all__ = ("capture_events",)


@contextmanager
def capture_events(guard: Branch) -> Iterator[list[Event]]:
    """
    Collect what the guard reports inside the block, in a list.
    """
    events: list[Event] = []
    unsubscribe = guard.registry.events.subscribe(events.append)
    try:
        yield events
    finally:
        unsubscribe()
