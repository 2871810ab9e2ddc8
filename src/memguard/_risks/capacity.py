"""
Capacity planning: sessions x what each of them may hold, against the memory limit.
"""

from __future__ import annotations

from itertools import islice
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from memguard._risks.entries import cache_entry_bytes, ring_entry_bytes
from memguard._risks.measure import entry_bytes, newest, own_bytes
from memguard._risks.reading import mro_of
from memguard._settings.units import format_size

if TYPE_CHECKING:
    from memguard._risks.registered import Group
    from memguard._risks.scene import Scene

__all__ = ("judge_sessions",)

_SAMPLED: Final = 16
_POINT: Final = 8
# Parts of the memory limit that sessions may take before it is worth a word.
_SHARES: Final = ((1.0, 3), (0.5, 2), (0.25, 1))


def judge_sessions(scene: Scene, group: Group) -> None:
    """
    Put containers of sessions on the list, with the bytes of all of them, each full.
    """
    for sessions in group.nodes:
        scene.pace.step()
        _judge(scene, sessions, group)


def _judge(scene: Scene, sessions: Any, group: Group) -> None:
    spec = sessions.spec
    # Not `stats`, which counts the pinned one by one, and asks the store.
    table = sessions.core.table
    scene.trend(f"tree: sessions {sessions.path}", len(table.slots))
    if scene.only_counts:
        return
    most = spec["max_sessions"]
    if spec["max_live"] is not None:
        most = min(most, spec["max_live"])
    full, parts, ratio = _full(scene, sessions, table)
    limit = scene.memory_limit
    cap = spec["max_bytes"]
    total = None if full is None else most * full
    capped = None if cap is None or ratio is None else round(cap * ratio)
    is_capped = capped is not None and total is not None and capped < total
    if is_capped:
        total = capped
    points = 0
    reason = f"at most {most:,} are live ({table.live:,} now), the others sleep"
    fix = ""
    if spec["ttl"] is None and spec["max_age"] is None:
        points = 2
        reason += "; with neither ttl nor max_age no session is ever forgotten"
        fix = "give them a ttl, after which an unused session is forgotten"
    if full is None:
        reason += "; none is live that could be measured"
    else:
        reason += f"; a full one holds {format_size(full)} ({'; '.join(parts)})"
    if is_capped and cap is not None:
        reason += f"; max_bytes={format_size(cap)} bounds their encodings"
    if total is None and cap is not None:
        total = cap
    if total is not None and limit:
        share = total / limit
        large = next((grade for part, grade in _SHARES if share > part), 0)
        reason += (
            f"; all of them take {format_size(total)}, {share:.0%} of the memory limit"
            f" of {format_size(limit)}"
        )
        if large:
            points = max(points, large)
            fitting = max(1, limit // (2 * max(1, full or 1)))
            fix = (
                f"max_live={fitting} keeps them within half of the limit; or lower the"
                " caps of what a session owns, or set max_bytes"
            )
    scene.add(
        "session-capacity" if points else "capped-sessions",
        "sessions",
        sessions.label,
        grade=points,
        reason=reason,
        fix=fix,
        entries=most,
        entry_bytes=full,
        capped=True,
        unit="live sessions",
        site=group.site,
        nbytes=total,
    )


def _full(
    scene: Scene, sessions: Any, table: Any
) -> tuple[int | None, list[str], float | None]:
    """
    The bytes of one session with everything at its cap, what they are made of, and how
    much more a session takes in memory than its encoding.
    """
    children = sessions._children
    if not children:
        stats = sessions.stats()
        if not stats.hibernated or not stats.hibernated_bytes:
            return None, [], None
        # Nobody is awake: what a record holds is the least that a session does.
        size = stats.hibernated_bytes // stats.hibernated
        return size, [f"a record: {format_size(size)}"], 1.0
    # The newest: as a rule those that are in use.
    try:
        some = list(islice(reversed(children), _SAMPLED))
    except RuntimeError:  # they come and go at this very moment
        some = list(children)[-_SAMPLED:]
    bytes_of: dict[str, list[int]] = {}
    held = []
    for session in some:
        scene.pace.step()
        now, at_caps = _one(scene, session)
        held.append(now)
        for part, size in at_caps.items():
            bytes_of.setdefault(part, []).append(size)
    means = {part: sum(sizes) / len(some) for part, sizes in bytes_of.items()}
    full = round(sum(means.values()))
    shown = sorted(means.items(), key=lambda one: -one[1])[:4]
    parts = [f"{part}: {format_size(size)}" for part, size in shown]
    encoded = table.live_bytes / table.live if table.live else 0
    ratio = max(1.0, fmean(held) / encoded) if encoded else None
    return full, parts, ratio


def _one(scene: Scene, session: Any) -> tuple[int, dict[str, int]]:
    """
    What a session holds now, and its parts when each of them is full.
    """
    data: Any = getattr(session, "data", None)
    own = own_bytes(session)
    if any(base is dict for base in mro_of(type(data))):
        count = dict.__len__(data)
        own += own_bytes(data) + count * (entry_bytes(newest(data)) or 0)
    now = own
    parts = {"data": own}
    for child in list(session._children or ()):
        one = _child(child)
        scene.pace.step()
        if one is None:
            now += own_bytes(child)
            parts["data"] += own_bytes(child)
        else:
            held, full, part = one
            now += held
            parts[part] = parts.get(part, 0) + full
    return now, parts


def _child(child: Any) -> tuple[int, int, str] | None:
    """
    What a container of a session holds now and at its cap, and how it is called.
    """
    if child.kind == "ring":
        size = ring_entry_bytes(child)
        held = len(child._entries) * (size or 0)
        return (
            held,
            _at_cap(child.max_entries, child.max_bytes, size, held),
            _called(child, child.max_entries, size),
        )
    if child.kind == "series":
        full = child.max_points * _POINT
        return child.memory_bytes(), full, f"series {child.label}"
    if child.kind == "cache":
        size = cache_entry_bytes(child)
        held = len(child._engine.table) * (size or 0)
        return (
            held,
            _at_cap(child._max_entries, child._max_bytes, size, held),
            _called(child, child._max_entries, size),
        )
    return None


def _at_cap(entries: int | None, cap: int | None, size: int | None, held: int) -> int:
    known = [cap] if cap is not None else []
    if entries is not None and size is not None:
        known.append(entries * size)
    return max(held, min(known, default=held))


def _called(child: Any, entries: int | None, size: int | None) -> str:
    if entries is None or size is None:
        return f"{child.kind} {child.label}"
    return f"{child.kind} {child.label} {entries:,} x {format_size(size)}"
