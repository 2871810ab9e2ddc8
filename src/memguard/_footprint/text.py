"""
The footprint for people: one line for each thing, what is not known at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from memguard._settings import format_duration, format_size

if TYPE_CHECKING:
    from memguard._footprint.record import Footprint

__all__ = ("text_of",)

_WIDTH: Final = 13
_UNKNOWN: Final = "unknown"


def text_of(one: Footprint) -> str:
    """
    All lines of it.
    """
    lines = [f"{name:<{_WIDTH}} {value}" for name, value in _rows(one)]
    lines += [f"  {known}" for known in one.capabilities if known.state != "supported"]
    return "\n".join([f"footprint of {one.name} ({one.pid})", *lines])


def _rows(one: Footprint) -> Iterator[tuple[str, str]]:
    yield "memory", _memory(one)
    yield "virtual", _size(one.virtual)
    if one.swap:
        yield "swap", _size(one.swap)
    yield "limit", _limit(one)
    if one.group is not None:
        yield "control group", _group(one)
    yield "uptime", _UNKNOWN if one.uptime_s is None else _duration(one.uptime_s)
    yield "descriptors", _descriptors(one)
    yield "connections", _counts(one.connections)
    yield "children", _children(one)
    yield "threads", _number(one.threads)
    if one.log is not None:
        more = "" if one.log.whole else ", and more that were not counted"
        yield "logs", f"{_size(one.log.bytes)} in {one.log.files} files{more}"
    if one.active_sessions is not None:
        yield "sessions", str(one.active_sessions)
    if one.mappings is not None:
        yield "mappings", _mappings(one)
    yield "faults", _faults(one)
    yield "switches", _switches(one)
    if one.system is not None:
        available = _size(one.system.available)
        yield "host", f"{available} of {_size(one.system.total)} available"
    if one.verdict is not None:
        yield "verdict", str(one.verdict)


def _memory(one: Footprint) -> str:
    percent = one.memory_percent
    share = "" if percent is None else f" ({percent:.1f} % of the host's)"
    return f"{_size(one.rss)} resident{share}"


def _limit(one: Footprint) -> str:
    if one.limit.limit_bytes is None:
        return f"none ({one.limit.detail})"
    ratio = one.limit_ratio
    used = "" if ratio is None else f", {ratio:.1%} used"
    return f"{_size(one.limit.limit_bytes)} ({one.limit.source}){used}"


def _group(one: Footprint) -> str:
    group = one.group
    assert group is not None
    parts = [f"{_size(group.working_set)} used without page cache"]
    if group.oom_kills:
        parts.append(f"{group.oom_kills} killed for want of memory")
    if group.pressure is not None and group.pressure.some_10s > 0:
        parts.append(f"waiting for memory {group.pressure.some_10s:.1%} of the time")
    return ", ".join(parts)


def _descriptors(one: Footprint) -> str:
    if one.descriptors is None:
        return _UNKNOWN
    limit = "" if one.descriptors_limit is None else f" of {one.descriptors_limit}"
    found = one.open_descriptors
    return f"{found}{limit}: {_counts(one.descriptors)}" if found else f"0{limit}"


def _children(one: Footprint) -> str:
    zombies = f", {one.zombies} of them ended and not waited for" if one.zombies else ""
    return _number(one.children) + zombies


def _mappings(one: Footprint) -> str:
    found = one.mappings
    assert found is not None
    largest = ", ".join(
        f"{group.name} {_size(group.bytes)}" for group in found.largest[:3]
    )
    return f"{found.count}, {found.writable} writable; largest: {largest}"


def _faults(one: Footprint) -> str:
    told, rates = one.counters, one.rates
    text = f"{_number(told.minor_faults)} minor, {_number(told.major_faults)} major"
    if rates is None or rates.minor_faults is None:
        return text
    return (
        f"{text} ({rates.minor_faults:.1f} and {rates.major_faults or 0:.1f} a second)"
    )


def _switches(one: Footprint) -> str:
    told, rates = one.counters, one.rates
    text = (
        f"{_number(told.voluntary_switches)} voluntary,"
        f" {_number(told.involuntary_switches)} involuntary"
    )
    if rates is None or rates.voluntary_switches is None:
        return text
    forced = rates.involuntary_switches or 0
    return f"{text} ({rates.voluntary_switches:.1f} and {forced:.1f} a second)"


def _counts(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return _UNKNOWN
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "none"


def _number(value: int | None) -> str:
    return _UNKNOWN if value is None else str(value)


def _size(value: int | None) -> str:
    return _UNKNOWN if value is None else format_size(value)


def _duration(seconds: float) -> str:
    return format_duration(round(seconds, 1) if seconds < 60 else round(seconds))
