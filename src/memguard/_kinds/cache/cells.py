"""
What a cache holds for an entry, and the table of the fast path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

__all__ = ("GONE", "Cell", "Front", "value_of")

#: Stands for an entry that is not there.
GONE: Final[Any] = object()


class Cell:
    """
    A value with what has to be known of it: when it ends, and what it weighs.

    `until` is a monotonic time, moved on by uses where there is an `idle` time, or
    NEVER; `expires` the time it cannot be moved beyond. `used` may be set by readers.
    """

    __slots__ = ("due", "expires", "until", "used", "value", "weight")

    def __init__(self, value: Any, weight: int, expires: float, until: float) -> None:
        self.value = value
        self.weight = weight
        self.expires = expires
        self.until = until
        self.used = False
        # The place in the queues of a cache that is bound by bytes.
        self.due = 0.0


def value_of(held: Any) -> Any:
    """
    The user's value in what a table holds.
    """
    return held.value if type(held) is Cell else held


class Front(dict[Any, Any]):
    """
    Values that are found without Python code; `__missing__` is asked for all others.
    """

    # A slot of this name is what the lookup finds: one class serves all caches.
    __slots__ = ("__missing__",)
    if TYPE_CHECKING:
        __missing__: Any
