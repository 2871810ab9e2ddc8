"""
Which names may become attributes: those that come from the code, and not too many.

A name that looks like somebody's id would make a series for each user, and show the
id to whoever reads the metrics. Such names, and names beyond the bound, are counted
together under one.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ("OTHER", "Names")

#: What everything beyond the bounds is counted under.
OTHER: Final = "other"
_TYPES: Final = 50
_NAMES: Final = 500
_LONGEST: Final = 120
# Long numbers, long runs of hexadecimal digits (also those of a UUID), addresses.
_IDS: Final = re.compile(
    r"\d{6,} | \b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b | @", re.VERBOSE | re.IGNORECASE
)


class Names:
    """
    Hands out bounded names; the first that come keep theirs.
    """

    __slots__ = ("_names", "_types")

    def __init__(self) -> None:
        self._types: set[str] = set()
        self._names: set[tuple[str, str]] = set()

    def bounded(self, kind: str, name: str) -> tuple[str, str]:
        """
        The type and the name to count this under.
        """
        if kind not in self._types:
            if len(self._types) >= _TYPES or _is_id(kind):
                return OTHER, OTHER
            self._types.add(kind)
        if not name:
            return kind, name
        if (kind, name) not in self._names:
            if len(self._names) >= _NAMES or _is_id(name):
                return kind, OTHER
            self._names.add((kind, name))
        return kind, name


def _is_id(text: str) -> bool:
    return len(text) > _LONGEST or _IDS.search(text) is not None
