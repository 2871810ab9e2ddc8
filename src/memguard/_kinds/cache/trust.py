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

from memguard._kinds.cache.cells import GONE

__all__ = ("FLAT", "StandIn", "equal_in", "is_trusted", "key_of")

#: Exact types that are trusted as they are, and hold no other keys.
FLAT: Final = frozenset({str, int, bytes, float, bool, complex, type(None)})
_PATHS: Final = ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
# Trusted as well, where a program has imported them. By module, then by name.
_STANDARD: Final = {
    # Not datetime and time: their zones are written in Python, by anybody.
    "datetime": ("date", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "fractions": ("Fraction",),
    "ipaddress": ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network"),
    # Equal to the numbers that they stand for.
    "numpy": (
        *("int8", "int16", "int32", "int64", "longlong", "float32", "float64"),
        *("uint8", "uint16", "uint32", "uint64", "ulonglong"),
    ),
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,  # Python 3.13
    "uuid": ("UUID",),
}
# Nested deeper than this, a tuple is not worth a look.
_DEPTH: Final = 4
# What makes a subclass as harmless as its base.
_SLOTS: Final = tuple((kind.__hash__, kind.__eq__) for kind in (str, int, bytes, float))
_OWN: Final[set[int]] = set()


class StandIn:
    """
    Stands in the tables for one key that is not trusted. Compared by identity.
    """

    __slots__ = ("hashed", "key")

    def __init__(self, key: Any, hashed: int) -> None:
        self.key = key
        self.hashed = hashed


class _Probe:
    """
    Finds the key of a table that a key that is not trusted is equal to.
    """

    __slots__ = ("found", "hashed", "key")

    def __init__(self, key: Any, hashed: int) -> None:
        self.key = key
        self.hashed = hashed
        self.found: Any = GONE

    def __hash__(self) -> int:
        return self.hashed

    def __eq__(self, other: object) -> bool:
        if type(other) is not StandIn and self.key == other:
            self.found = other
            return True
        return False


def equal_in(table: Any, key: Any, hashed: int) -> Any:
    """
    The trusted key in *table* that *key* is equal to, or GONE. Runs code of *key*.
    """
    probe = _Probe(key, hashed)
    return probe.found if probe in table else GONE


def key_of(inner: Any) -> Any:
    """
    The user's key of what stands for it in the tables.
    """
    return inner.key if type(inner) is StandIn else inner


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
    home = kind.__module__
    names = _STANDARD.get(home) if type(home) is str else None
    if names is not None and kind.__name__ in names:
        module = sys.modules.get(home)
        return getattr(module, kind.__name__, None) is kind
    hashes, equals = kind.__hash__, kind.__eq__
    if any(hashes is one and equals is other for one, other in _SLOTS):
        return True
    if hashes is tuple.__hash__ and equals is tuple.__eq__:
        return depth > 0 and all(
            is_trusted(one, depth - 1) for one in tuple.__iter__(key)
        )
    enum = sys.modules.get("enum")
    # Members live as long as their class; their hash is that of their name.
    return (
        enum is not None
        and issubclass(type(kind), enum.EnumMeta)
        and (
            hashes is enum.Enum.__hash__
            and (equals is object.__eq__ or equals in (str.__eq__, int.__eq__))
        )
    )
