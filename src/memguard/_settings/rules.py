"""
What must hold between two settings. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memguard._settings.table import Field

__all__ = ("conflicts",)

# (the smaller, the larger, may they be equal, what it is for)
_ORDERS = (
    ("warning", "critical", False, "levels rise in this order"),
    ("critical", "emergency", False, "levels rise in this order"),
    ("warning", "emergency", False, "levels rise in this order"),
    (
        "shutdown_timeout",
        "grace",
        False,
        "what is not closed by then is killed by the supervisor",
    ),
    ("managed_limit", "memory_limit", True, "the whole is more than its part"),
    ("tick", "leak_window_time", True, "a window holds at least one reading"),
)


def conflicts(
    table: Mapping[str, Field], values: Mapping[str, Any], origins: Mapping[str, str]
) -> list[str]:
    """
    One text for each pair that does not fit. Fields missing in *values* are skipped.
    """
    found: list[str] = []
    blamed: set[str] = set()
    for low, high, equal, reason in _ORDERS:
        small, large = values.get(low), values.get(high)
        if not isinstance(small, (int, float)) or not isinstance(large, (int, float)):
            continue
        if small < large or (equal and small == large):
            continue
        if {low, high} <= blamed:
            continue  # warning > critical > emergency: said already
        blamed |= {low, high}
        compare = "at most" if equal else "below"
        found.append(
            f"{low} ({table[low].text(small)}, {origins[low]}) must be {compare}"
            f" {high} ({table[high].text(large)}, {origins[high]}): {reason}; lower"
            f" {low} or raise {high}"
        )
    return found
