"""
Which keys may be hashed and compared with a lock held.

A key's `__hash__` and `__eq__` may be written in Python: they may take locks and may
use the very cache. So only keys of types whose hash and comparison are known to be
harmless go into the tables themselves; for any other a stand-in does, found by its hash
(a number) and by comparing outside of any lock.
"""

from __future__ import annotations

import sys
from typing import Any, Final

__all__ = ("FLAT", "StandIn", "is_trusted")

#: Exact types that are trusted as they are, and hold no other keys.
FLAT: Final = frozenset({str, int, bytes, float, bool, complex, type(None)})
# Trusted as well, where a program has imported them. By module, then by name.
_STANDARD: Final = {
    # Not datetime and time: their zones are written in Python, by anybody.
    "datetime": ("date", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "ipaddress": ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network"),
    "pathlib": ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"),
    "uuid": ("UUID",),
}
# Nested deeper than this, a tuple is not worth a look.
_DEPTH: Final = 4
# What makes a subclass as harmless as its base.
_SLOTS: Final = frozenset(
    (kind.__hash__, kind.__eq__) for kind in (str, int, bytes, float)
)
_OWN: Final[set[int]] = set()


class StandIn:
    """
    Stands in the tables for one key that is not trusted. Compared by identity.
    """

    __slots__ = ("hashed", "key")

    def __init__(self, key: Any, hashed: int) -> None:
        self.key = key
        self.hashed = hashed


def trust(kind: type) -> type:
    """
    Decorates a type of memguard's own whose instances are compared by identity.
    """
    _OWN.add(id(kind))
    return kind


def is_trusted(key: Any, depth: int = _DEPTH) -> bool:
    """
    True where hashing and comparing *key* runs no code of users. Runs none either.
    """
    kind = type(key)
    if kind in FLAT:
        return True
    if kind is tuple or kind is frozenset:
        return depth > 0 and all(is_trusted(one, depth - 1) for one in key)
    if id(kind) in _OWN:
        return True
    return _is_known(kind, key, depth)


def _is_known(kind: Any, key: Any, depth: int) -> bool:
    names = _STANDARD.get(kind.__module__)
    if names is not None and kind.__name__ in names:
        module = sys.modules.get(kind.__module__)
        return getattr(module, kind.__name__, None) is kind
    hashes, equals = kind.__hash__, kind.__eq__
    if (hashes, equals) in _SLOTS:
        return True
    if hashes is tuple.__hash__ and equals is tuple.__eq__:
        return depth > 0 and all(
            is_trusted(one, depth - 1) for one in tuple.__iter__(key)
        )
    enum = sys.modules.get("enum")
    # Members live as long as their class; their hash is that of their name.
    return (
        enum is not None
        and isinstance(kind, enum.EnumMeta)
        and (
            hashes is enum.Enum.__hash__
            and (equals is object.__eq__ or equals in (str.__eq__, int.__eq__))
        )
    )
