"""
One pass over the tree: what lives, how old it is, and what caches say of themselves.

Runs in the thread of a metric reader, which may hold locks of its own. So it takes no
lock of the tree, and calls nothing of the application.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from memguard._records import changed, record
from memguard._telemetry.adopted import adopted_cache, is_adopted, note_adopted
from memguard._telemetry.names import Names
from memguard._telemetry.observation import CacheRow, FigureRow, ResourceRow

if TYPE_CHECKING:
    from memguard._registry import Registry, Tally
    from memguard._tree import Branch, Node

__all__ = ("Census", "take_census")


#: What is taken from the `info()` of which kind.
_TOLD: Final[dict[str, tuple[str, ...]]] = {
    "limiter": (
        "in_flight",
        "max_in_flight",
        "bytes",
        "max_bytes",
        "waiting",
        "granted",
        "timeouts",
        "waited_s",
    ),
    "sink": (
        "records",
        "refused",
        "lost",
        "bytes",
        "buffered_bytes",
        "rotations",
        "failures",
    ),
    "log_handler": (),
    "sessions": (),
    "container": ("entries", "max_entries", "bytes", "max_bytes"),
}


# Members of the budget that are looked at: those with the largest allowances.
_SHARES: Final = 500


@record
class Census:
    """
    The rows of what lives and lived, and the bytes of the records behind them.
    """

    resources: tuple[ResourceRow, ...]
    caches: tuple[CacheRow, ...]
    figures: tuple[FigureRow, ...]
    own_bytes: int
    budget_limit: int | None = None
    shares: tuple[FigureRow, ...] = ()


def take_census(root: Branch, names: Names) -> Census:
    """
    Count what *root* owns: one look at each node, and one at each kind and name.
    """
    registry = root.registry
    now = registry.clock.monotonic()
    oldest: dict[Tally | None, float] = {}
    limits: dict[tuple[str, str], int] = {}
    caches: dict[str, CacheRow] = {}
    figures: dict[tuple[str, str], FigureRow] = {}
    own_bytes = 0
    for node in root.walk():
        own_bytes += sys.getsizeof(node)
        if node.born < oldest.get(node.tally, now):
            oldest[node.tally] = node.born
        if node.owner is root:
            _note_container(node, names, limits, caches)
            if is_adopted(node):
                note_adopted(node, names, figures)
            elif node.kind in _TOLD:
                _note_figures(node, names, figures)
    rows: dict[tuple[str, str], ResourceRow] = {}
    for kind, name, tally in _tallies(registry):
        created, live, released = tally.counts()
        key = names.bounded(kind, name)
        age = max(0.0, now - oldest.get(tally, now)) if live else None
        row = ResourceRow(*key, live, created, released, age, limits.pop(key, None))
        first = rows.get(key)
        rows[key] = row if first is None else _together(first, row)
    for key, limit in limits.items():  # bounded, and nothing of it was made yet
        rows[key] = ResourceRow(*key, 0, 0, {}, None, limit)
    return Census(
        tuple(rows.values()),
        tuple(caches.values()),
        tuple(figures.values()),
        own_bytes,
        *_shares(registry.budget, names),
    )


def _shares(budget: Any, names: Names) -> tuple[int | None, tuple[FigureRow, ...]]:
    """
    The budget's limit, and what members of each name have; nothing before its use.
    """
    if budget is None or not budget.is_used:
        return None, ()
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for share in budget.shares(_SHARES):
        row = rows.setdefault(names.bounded(share.kind, share.name), {})
        row["allowance"] = row.get("allowance", 0) + (share.allowance or 0)
        row["held"] = row.get("held", 0) + share.held
        row["price"] = max(row.get("price", 0.0), share.price)
        row.setdefault("squeezed", 0)
    for key, squeezed in dict(budget.squeezed).items():
        row = rows.setdefault(names.bounded(*key), {})
        row["squeezed"] = row.get("squeezed", 0) + squeezed
    return budget.limit, tuple(FigureRow(*key, row) for key, row in rows.items())


def _tallies(registry: Registry) -> Iterator[tuple[str, str, Tally]]:
    # A list of keys is filled in one step; a list of items allocates on the way, and a
    # collection then may run a destructor that changes the dictionary.
    for kind in list(registry.tallies):
        tallies = registry.tallies[kind]
        for name in list(tallies):
            yield kind, name, tallies[name]


def _together(first: ResourceRow, second: ResourceRow) -> ResourceRow:
    """
    Two rows that are counted under one name.
    """
    ages = [age for age in (first.oldest_s, second.oldest_s) if age is not None]
    return changed(
        first,
        live=first.live + second.live,
        created=first.created + second.created,
        released=_sums(first.released, second.released),
        oldest_s=max(ages, default=None),
    )


def _sums(first: Any, second: Any) -> dict[str, Any]:
    sums = dict(first)
    for key, many in second.items():
        sums[key] = sums.get(key, 0) + many
    return sums


def _note_container(
    node: Node,
    names: Names,
    limits: dict[tuple[str, str], int],
    caches: dict[str, CacheRow],
) -> None:
    """
    What the guard's own containers say of their bounds and their content.

    Containers of scopes come and go: a counter that goes with them would fall, so
    they are counted among the resources only.
    """
    found: Any = node
    if node.kind == "sessions":
        bounds = (found.spec.get("max_live"), found.spec.get("max_sessions"))
        known = [bound for bound in bounds if isinstance(bound, int)]
        if known:
            limits[names.bounded("session", node.label)] = min(known)
    elif node.kind == "cache":
        row = adopted_cache(node, names) or _cache_row(node, names)
        if row is not None:
            first = caches.get(row.name)
            caches[row.name] = row if first is None else _caches_together(first, row)


def _cache_row(node: Any, names: Names) -> CacheRow | None:
    """
    What a cache tells, less what went for a newer value: that is no eviction.
    """
    if is_adopted(node):
        return None  # not measured so far
    name = names.bounded("cache", node.label)[1]
    info = node.info()
    evictions = {
        reason: many for reason, many in info.causes.items() if reason != "replaced"
    }
    return CacheRow(
        name=name,
        entries=info.entries,
        max_entries=info.max_entries,
        bytes_held=info.bytes,
        max_bytes=info.max_bytes,
        hits=info.hits,
        misses=info.misses,
        evictions=evictions,
    )


def _caches_together(first: CacheRow, second: CacheRow) -> CacheRow:
    """
    Two caches that are counted under one name; their bounds would mean nothing.
    """
    return CacheRow(
        name=first.name,
        entries=first.entries + second.entries,
        max_entries=None,
        bytes_held=(first.bytes_held or 0) + (second.bytes_held or 0),
        max_bytes=None,
        hits=_sum(first.hits, second.hits),
        misses=_sum(first.misses, second.misses),
        evictions=_sums(first.evictions, second.evictions),
    )


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _note_figures(
    node: Node, names: Names, figures: dict[tuple[str, str], FigureRow]
) -> None:
    """
    What limiters, sinks, log handlers and sessions tell; those under one name are
    summed up.
    """
    found: Any = node
    if node.kind == "log_handler":
        told = found.handler.counts()
    elif node.kind == "sessions":
        told = found.figures()
    else:
        info = found.info()
        values = {field: getattr(info, field) for field in _TOLD[node.kind]}
        told = {field: one for field, one in values.items() if one is not None}
    key = names.bounded(node.kind, node.label)
    first = figures.get(key)
    if first is not None:
        told = _sums(first.figures, told)
    figures[key] = FigureRow(*key, told)
