"""
Types of foreign libraries, found where they are and never imported.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ("is_a", "loaded_types")


def loaded_types(*places: str) -> tuple[type, ...]:
    """
    The types at *places*, such as "redis.client:Redis", as far as they are loaded.

    A class that a version of the library does not have is left out, as is one that is
    known under two names.
    """
    found = []
    for place in places:
        module, _, name = place.partition(":")
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and kind not in found:
            found.append(kind)
    return tuple(found)


def is_a(obj: Any, *places: str) -> bool:
    """
    True for an instance of one of the types at *places*.
    """
    return isinstance(obj, loaded_types(*places))
