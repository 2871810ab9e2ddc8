"""
The options of a cache, checked at the door.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from memguard._kinds.caps import byte_cap, count_cap, lifetime
from memguard._records import fields_of, record
from memguard._settings import parse_size

__all__ = ("KEEP", "Listener", "Options", "Weigher", "checked")

Weigher: TypeAlias = Callable[[Any, Any], int] | Literal["exact"] | None
Listener: TypeAlias = Callable[[Any, Any, str], object] | None

#: Stands for a cap that is to stay as it is.
KEEP: Final[Any] = object()
# Without any cap a cache would be what memguard is against.
_DEFAULT_ENTRIES: Final = 1000


@record
class Options:
    """
    The options of a cache in one spelling: numbers, bytes and seconds.
    """

    max_entries: int | None
    max_bytes: int | None
    ttl: float | None
    idle: float | None
    jitter: float
    strict: bool
    weigher: Weigher
    on_evict: Listener
    priority: int
    floor_bytes: int
    on_limit: str

    @property
    def spec(self) -> dict[str, object]:
        """
        Every option by its name; functions by their code, for a lambda is made anew
        each time somebody asks for the cache.
        """
        return {name: _code_of(getattr(self, name)) for name in fields_of(Options)}


def checked(
    *,
    max_entries: Any = None,
    max_bytes: Any = None,
    ttl: Any = None,
    idle: Any = None,
    jitter: Any = 0.0,
    strict: Any = False,
    weigher: Any = None,
    on_evict: Any = None,
    priority: Any = 0,
    floor_bytes: Any = 0,
    on_limit: Any = "evict",
) -> Options:
    """
    The options, or ValueError or TypeError for what cannot be.
    """
    if on_evict is not None and not callable(on_evict):
        msg = (
            "on_evict must be a function of key, value and cause, not a"
            f" {type(on_evict).__qualname__}"
        )
        raise TypeError(msg)
    if weigher is not None and weigher != "exact" and not callable(weigher):
        msg = (
            "weigher must be a function of key and value that returns bytes, or"
            f' "exact", not a {type(weigher).__qualname__}'
        )
        raise TypeError(msg)
    if type(priority) is not int:
        msg = f"priority must be a whole number, not {priority!r}"
        raise ValueError(msg)
    if on_limit not in ("evict", "raise"):
        msg = f'on_limit must be "evict" or "raise", not {on_limit!r}'
        raise ValueError(msg)
    if type(jitter) not in (int, float) or not 0 <= jitter < 1:
        msg = (
            "jitter must be a fraction of the ttl, from 0 to less than 1, not"
            f" {jitter!r}"
        )
        raise ValueError(msg)
    entries = count_cap(max_entries, "max_entries")
    limit = byte_cap(max_bytes, "max_bytes")
    floor = parse_size(floor_bytes, what="floor_bytes")
    if limit is not None and floor > limit:
        msg = f"floor_bytes ({floor}) must not be above max_bytes ({limit})"
        raise ValueError(msg)
    if entries is None and limit is None:
        entries = _DEFAULT_ENTRIES
    return Options(
        max_entries=entries,
        max_bytes=limit,
        ttl=lifetime(ttl, "ttl"),
        idle=lifetime(idle, "idle"),
        jitter=float(jitter),
        strict=bool(strict),
        weigher=weigher,
        on_evict=on_evict,
        priority=priority,
        floor_bytes=floor,
        on_limit=on_limit,
    )


def _code_of(option: Any) -> Any:
    return getattr(option, "__code__", option)
