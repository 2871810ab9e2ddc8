"""
The rules for memguard's own containers: capped is safe, unless the cap is too large.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from memguard._risks.containers import grown
from memguard._risks.entries import cache_entry_bytes, ring_entry_bytes
from memguard._risks.measure import entry_bytes, newest
from memguard._risks.registered import OTHER
from memguard._settings.units import format_size

if TYPE_CHECKING:
    from memguard._risks.registered import Group
    from memguard._risks.scene import Scene

__all__ = (
    "judge_cache",
    "judge_limiter",
    "judge_log_handler",
    "judge_pool",
    "judge_ring",
    "judge_series",
    "judge_sink",
)

_POINT: Final = 8  # bytes of one point of a series
_SHARES: Final = ((0.5, 3), (0.25, 2), (0.1, 1))
_LASTING: Final = ("guard", "sessions", "")


def _share_points(total: int | None, limit: int | None) -> int:
    """
    How bad it is that something may take *total* of *limit* bytes.
    """
    if total is None or not limit:
        return 0
    for share, points in _SHARES:
        if total > share * limit:
            return points
    return 0


def _of_limit(total: int, limit: int) -> str:
    return f"{total / limit:.0%} of the memory limit of {format_size(limit)}"


def _mean(nodes: list[Any], measure: Callable[[Any], int | None]) -> int | None:
    found = [one for one in map(measure, nodes) if one is not None]
    return round(fmean(found)) if found else None


def full_bytes(entries: int | None, size: int | None, cap: int | None) -> int | None:
    """
    The bytes of one full container: by its entries, and by its cap of bytes.
    """
    by_entries = None if entries is None or size is None else entries * size
    known = [one for one in (by_entries, cap) if one is not None]
    return min(known, default=None)


def judge_ring(scene: Scene, group: Group) -> None:
    ring: Any = group.nodes[0]
    size = _mean(group.nodes, ring_entry_bytes)
    _judge_capped(
        scene, group, ring.max_entries, size, ring.max_bytes, code="ring-over-limit"
    )


def judge_series(scene: Scene, group: Group) -> None:
    series: Any = group.nodes[0]
    _judge_capped(
        scene,
        group,
        series.max_points,
        _POINT,
        None,
        code="series-over-limit",
        unit="points",
    )


def _judge_capped(
    scene: Scene,
    group: Group,
    entries: int | None,
    size: int | None,
    cap: int | None,
    *,
    code: str,
    unit: str = "entries",
) -> None:
    trend = scene.trend(group.where, group.instances)
    if scene.only_counts:
        return
    full = full_bytes(entries, size, cap)
    if entries is None and cap is not None:
        entries = None if not size else max(1, cap // size)
    total = None if full is None else full * group.instances
    points = _share_points(total, scene.memory_limit)
    caps = [] if entries is None else [f"{entries:,} {unit}"]
    if cap is not None:
        caps.append(format_size(cap))
    reason = f"capped at {' and '.join(caps)}"
    if points and total is not None:
        reason += (
            f", yet {group.instances:,} full ones take"
            f" {_of_limit(total, scene.memory_limit or 1)}"
        )
    if group.owner_kind == "guard" and trend.growing and group.label == OTHER:
        points = max(points, 2)
        reason += f"; {grown(trend).replace('entries', 'names')}"
    scene.add(
        code if points else f"capped-{group.kind}",
        group.kind,
        group.name,
        grade=points,
        reason=reason,
        fix="lower its caps, or let its owners end earlier" if points else "",
        entries=entries,
        entry_bytes=size,
        instances=group.instances,
        capped=True,
        unit=unit,
        many=_owners(group),
        site=group.site,
        nbytes=total,
    )


def _owners(group: Group) -> str:
    return "instances" if group.owner_kind in _LASTING else f"{group.owner_kind}s"


def judge_cache(scene: Scene, group: Group) -> None:
    cache: Any = group.nodes[0]
    size = _mean(group.nodes, cache_entry_bytes)
    trend = scene.trend(group.where, group.instances)
    if scene.only_counts:
        return
    entries, cap = cache._max_entries, cache._max_bytes
    if callable(cache.spec.get("weigher")):
        cap = None  # its unit is the weigher's
    full = full_bytes(entries, size, cap)
    total = None if full is None else full * group.instances
    limit = scene.managed_limit
    points = 0
    shown = [] if entries is None else [f"{entries:,} entries"]
    if cap is not None:
        shown.append(format_size(cap))
    reason = f"capped at {' and '.join(shown)}" if shown else "capped by its weigher"
    if total is not None and limit and total > limit:
        points = 2
        reason += (
            f", yet full it would take {format_size(total)}, more than the"
            f" {format_size(limit)} that all caches share: the budget will evict from"
            " it, and from others for it"
        )
    if trend.growing and group.label == OTHER:
        points = max(points, 2)
        reason += f"; {grown(trend).replace('entries', 'names')}"
    scene.add(
        "cache-over-budget" if points else "capped-cache",
        "cache",
        group.name,
        grade=points,
        reason=reason,
        fix=(
            f"give it max_bytes, or max_entries={max(1, (limit or 0) // (2 * size)):,}"
            if points and size
            else ""
        ),
        entries=entries
        if entries is not None or not size or cap is None
        else cap // size,
        entry_bytes=size,
        instances=group.instances,
        capped=True,
        many=_owners(group),
        site=group.site,
        nbytes=total,
    )


def judge_pool(scene: Scene, group: Group) -> None:
    pool: Any = group.nodes[0]
    if scene.only_counts:
        return
    members = pool._members
    some = [one.value for one in islice(list(members.idle), 8)]
    scene.add(
        "capped-pool",
        "pool",
        group.name,
        grade=0,
        reason=f"at most {members.max_size:,} members",
        entries=members.max_size,
        entry_bytes=entry_bytes(some),
        capped=True,
        unit="members",
        instances=group.instances,
        site=group.site,
    )


def judge_limiter(scene: Scene, group: Group) -> None:
    spec: Any = group.nodes[0].spec  # type: ignore[attr-defined]
    if scene.only_counts:
        return
    most, cap = spec.get("max_in_flight"), spec.get("max_bytes")
    told = "" if cap is None else f" and {format_size(cap)}"
    scene.add(
        "capped-limiter",
        "limiter",
        group.name,
        grade=0,
        reason=f"at most {most} in flight{told}",
        entries=most,
        capped=True,
        unit="in flight",
        instances=group.instances,
        site=group.site,
        nbytes=cap,
    )


def judge_sink(scene: Scene, group: Group) -> None:
    spec: Any = group.nodes[0].spec  # type: ignore[attr-defined]
    if scene.only_counts:
        return
    buffer, rotate, keep = (
        spec.get(name) for name in ("buffer_bytes", "rotate_bytes", "keep")
    )
    scene.add(
        "capped-sink",
        "sink",
        group.name,
        grade=0,
        reason=f"its buffer is capped at {format_size(buffer)}, its files at"
        f" {format_size((keep + 1) * rotate)} on disk",
        instances=group.instances,
        site=group.site,
        nbytes=buffer * group.instances,
    )


def judge_log_handler(scene: Scene, group: Group) -> None:
    handler: Any = group.nodes[0].handler  # type: ignore[attr-defined]
    if scene.only_counts:
        return
    size = entry_bytes([one[0] for one in newest(handler._entries)])
    _judge_capped(
        scene,
        group,
        handler.max_entries,
        size,
        handler.max_bytes,
        code="log-over-limit",
        unit="lines",
    )
