"""
The rule for built-in containers that nobody caps: growth, size, and what code does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from memguard._risks.growth import Trend
from memguard._risks.measure import entry_bytes, newest, own_bytes
from memguard._risks.reading import attributes_of, qualname_of
from memguard._risks.shapes import BYTES, DEQUE, DICT, LIST, SET, Shape, base_length
from memguard._risks.sizes import LARGE
from memguard._settings.units import format_duration

if TYPE_CHECKING:
    from memguard._risks.scene import Place, Scene
    from memguard._risks.usage import Usage

__all__ = ("cap_of", "grown", "judge_container")

_LEAST_MEASURED: Final = 32
_FEW: Final = 6  # entries of a small one that are measured
_GREW_TO: Final = 100  # entries, which is worth a word whatever code does
# Of a library only what is very large or has grown by so much is anybody's business.
_LIBRARY_GREW: Final = 1_000
_LIBRARY_NOTED: Final = 64
_LIBRARY_LARGE: Final = 50_000
_CAP_NAMES: Final = frozenset(
    (
        "bound",
        "cap",
        "capacity",
        "limit",
        "max_count",
        "max_entries",
        "max_items",
        "max_keys",
        "max_len",
        "max_length",
        "max_size",
        "maxlen",
        "maxsize",
        "size_limit",
    )
)
# Fewer more than at the first look are no growth yet, unless it is large.
_GREW: Final = 5
_MAXLEN: Final = deque.__dict__["maxlen"].__get__

_FIXES: Final = {
    id(DICT): (
        "make it a cache with a cap, such as memguard.cache({name!r}, max_entries=...,"
        " ttl=...), or remove entries when their owner ends"
    ),
    id(LIST): (
        "make it a ring, such as memguard.ring({name!r}, max_entries=...), or write"
        " it away with memguard.sink(...)"
    ),
    id(SET): (
        "make it a cache with a cap, such as memguard.cache({name!r}, max_entries=...),"
        " or discard members when their owner ends"
    ),
    id(DEQUE): (
        "give it a maxlen, or make it a ring: memguard.ring({name!r}, max_entries=...)"
    ),
    id(BYTES): "empty it when it was used, or write it away with memguard.sink(...)",
}


def judge_container(scene: Scene, place: Place, obj: Any, shape: Shape) -> None:
    """
    Put a built-in container, or a subclass of one, on the list if it belongs there.
    """
    length = base_length(obj, shape)
    if place.library and length < _LIBRARY_NOTED:
        return
    trend = scene.trend(place.track, length)
    if scene.only_counts:
        return
    if place.library:
        _judge_library(scene, place, obj, shape, trend)
        return
    cap = cap_of(obj, shape)
    if cap is not None and cap >= length:
        _add_capped(scene, place, obj, shape, cap)
        return
    size = None
    if length >= _LEAST_MEASURED or (length and trend.growing):
        scene.pace.step()
        few = _FEW if length < LARGE[0] else None
        size = _entry_bytes(obj, shape, length, few)
        scene.pace.step()
    level = scene.size_level(length, None if size is None else size * length)
    usage = scene.codes.usage(place, obj, urgent=level > 0 or trend.growing)
    points = _points(shape, trend, level, usage)
    if points <= 0:
        return
    if length and size is None:
        size = _entry_bytes(obj, shape, length, _FEW)
    scene.add(
        "unbounded-container",
        _kind_of(obj, shape),
        place.name,
        grade=points,
        reason="; ".join(_reasons(place, shape, trend, level, usage)),
        fix=_FIXES[id(shape)].format(name=place.attr),
        entries=length,
        entry_bytes=size,
        unit="bytes" if shape is BYTES else "entries",
        site=scene.sources.site(place),
    )


def _points(shape: Shape, trend: Trend, level: int, usage: Usage) -> int:
    """
    How bad it is: by size, growth, and what code does. Pure.
    """
    points = level
    if trend.growing and (level or trend.now - trend.first >= _GREW):
        points += 2 if level else 1
    elif trend.steady and level:
        points -= 1
    points += shape is DEQUE
    points += usage.points(trend, level)
    if trend.growing and trend.now >= _GREW_TO and not usage.is_bounded:
        points = max(points, 1)
    return points


def _reasons(
    place: Place, shape: Shape, trend: Trend, level: int, usage: Usage
) -> Iterator[str]:
    if trend.growing:
        yield grown(trend)
        if place.owner in _HELD:
            yield _HELD[place.owner]
    elif level:
        held = _HELD.get(place.owner, "it lives as long as the process")
        yield f"it is large, and nothing is known that bounds it ({held})"
    if shape is DEQUE:
        yield "a deque without maxlen never drops anything"
    if told := usage.reason():
        yield told
    if level and trend.steady:
        ago = format_duration(trend.since_s)
        yield f"has not grown since the first look {ago} ago"


_HELD: Final = {
    "class": "all instances of the class share it, and it lives as long as the class",
    "closure": "a function's closure holds it, as long as the function lives",
    "default": "a default argument is made once and shared by all calls",
}


def _judge_library(
    scene: Scene, place: Place, obj: Any, shape: Shape, trend: Trend
) -> None:
    grew = trend.growing and trend.now - trend.first >= _LIBRARY_GREW
    size = None
    if grew or trend.now >= _LARGE_LOOKED:
        size = _entry_bytes(obj, shape, trend.now)
    held = (size or 0) * trend.now
    large = trend.now >= _LIBRARY_LARGE or held >= _LIBRARY_BYTES
    if not (grew or large) or (large and trend.steady):
        return
    cap = cap_of(obj, shape)
    if cap is not None and cap >= trend.now:
        return
    scene.add(
        "growing-in-library" if grew else "large-in-library",
        _kind_of(obj, shape),
        place.name,
        grade=1 + grew,
        reason=grown(trend) if grew else "it is large, and may belong there",
        fix="look for what is created again and again (clients, loggers, classes,"
        " names built from ids) and make it once; clear it by the library's own means",
        entries=trend.now,
        entry_bytes=size,
        unit="bytes" if shape is BYTES else "entries",
        library=True,
    )


_LARGE_LOOKED: Final = 10_000
_LIBRARY_BYTES: Final = 16 << 20


def _add_capped(scene: Scene, place: Place, obj: Any, shape: Shape, cap: int) -> None:
    length = base_length(obj, shape)
    size = _entry_bytes(obj, shape, length) if length else None
    scene.add(
        "capped-container",
        _kind_of(obj, shape),
        place.name,
        grade=0,
        reason=f"capped at {cap:,} entries",
        entries=cap,
        entry_bytes=size,
        capped=True,
    )


def _entry_bytes(
    obj: Any, shape: Shape, length: int, few: int | None = None
) -> int | None:
    """
    The mean bytes of an entry, with its place in the container itself.
    """
    if shape is BYTES:
        return 1
    size = entry_bytes(newest(obj) if few is None else newest(obj, few))
    return None if size is None else size + own_bytes(obj) // max(1, length)


def cap_of(obj: Any, shape: Shape) -> int | None:
    """
    The cap something says it has: a maxlen, or a whole number that is called so.
    """
    if shape is DEQUE:
        maxlen = _MAXLEN(obj)
        if maxlen is not None:
            return int(maxlen)
    return said_cap(attributes_of(obj))


def said_cap(own: dict[str, Any] | None) -> int | None:
    """
    The smallest attribute that is called as caps of entries mostly are.
    """
    found = None
    for name, value in list(own.items()) if own else ():
        if type(value) is not int or type(name) is not str or value <= 0:
            continue
        if name.strip("_").lower() in _CAP_NAMES:
            found = value if found is None else min(found, value)
    return found


def grown(trend: Trend) -> str:
    """
    The sentence about growth.
    """
    often = f", at each of {trend.rises} looks" if trend.rises > 1 else ""
    return (
        f"grew from {trend.first:,} to {trend.now:,} entries since the first look"
        f" {format_duration(trend.since_s)} ago{often}"
    )


def _kind_of(obj: Any, shape: Shape) -> str:
    kind = type(obj)
    return qualname_of(kind) or shape.kind
