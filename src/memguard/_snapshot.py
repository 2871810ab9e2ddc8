"""
What a guard owns at one moment: frozen, for people and for metrics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from memguard._kinds.budget import BudgetSnapshot
from memguard._phases import State
from memguard._records import record
from memguard._sites import Site, call_site
from memguard._tally import Tally
from memguard._tree import Branch, Node

__all__ = ("GuardSnapshot", "KindSnapshot", "NodeSnapshot", "snapshot_of")


@record
class KindSnapshot:
    """
    The counters of one kind and name since the start of the process.

    `released` counts by outcome. `oldest_s` is the age of the oldest live one.
    """

    kind: str
    name: str
    live: int
    created: int
    released: dict[str, int]
    oldest_s: float


@record
class NodeSnapshot:
    """
    One live node: where it stands in the tree, since when, and who made it.
    """

    kind: str
    name: str
    path: str
    phase: str
    age_s: float
    bytes_held: int | None
    _site: Site | None = None

    @property
    def site(self) -> str:
        return call_site(self._site)


@record
class GuardSnapshot:
    """
    Everything a guard owns. Taking it costs some microseconds a node.
    """

    guard: str
    state: str
    uptime_s: float
    kinds: tuple[KindSnapshot, ...]
    nodes: tuple[NodeSnapshot, ...]
    work: dict[str, int]
    background_failures: int
    budget: BudgetSnapshot | None = None

    def count(self, kind: str) -> int:
        """
        How many of *kind* live now.
        """
        return sum(one.live for one in self.kinds if one.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        return {
            "guard": self.guard,
            "state": self.state,
            "uptime": round(self.uptime_s, 3),
            "kinds": [
                {
                    "kind": one.kind,
                    "name": one.name,
                    "live": one.live,
                    "created": one.created,
                    "released": dict(one.released),
                    "oldest": round(one.oldest_s, 3),
                }
                for one in self.kinds
            ],
            "work": dict(self.work),
            "background_failures": self.background_failures,
            "budget": None if self.budget is None else self.budget.to_dict(),
        }


def kinds_of(root: Branch) -> tuple[KindSnapshot, ...]:
    """
    The counters alone: one pass over the live nodes, nothing foreign is called.
    """
    registry = root.registry
    now = registry.clock.monotonic()
    # By tally and not by name: names beyond the bound share one.
    oldest: dict[int, float] = {}
    for node in root.walk():
        key = id(node.tally)
        if node.born < oldest.get(key, now):
            oldest[key] = node.born
    return tuple(
        _kind(kind, name, tally, now - oldest.get(id(tally), now))
        for kind, names in list(registry.tallies.items())
        for name, tally in list(names.items())
    )


def _kind(kind: str, name: str, tally: Tally, oldest_s: float) -> KindSnapshot:
    created, live, released = tally.counts()
    return KindSnapshot(kind, name, live, created, released, max(0.0, oldest_s))


def snapshot_of(root: Any) -> GuardSnapshot:
    """
    The whole picture; asks each node for its bytes, with no lock held.
    """
    registry = root.registry
    now = registry.clock.monotonic()
    return GuardSnapshot(
        guard=root.label,
        state=State(root.state).name.lower(),
        uptime_s=0.0 if root.started_at is None else now - root.started_at,
        kinds=kinds_of(root),
        nodes=tuple(_nodes(root.walk(), now)),
        work=registry.units_of_work(),
        background_failures=registry.failures.total,
        budget=registry.budget.snapshot(),
    )


def _nodes(nodes: Iterable[Node], now: float) -> Iterable[NodeSnapshot]:
    for node in nodes:
        yield NodeSnapshot(
            kind=node.kind,
            name=node.label,
            path=node.path,
            phase=str(node.phase),
            age_s=max(0.0, now - node.born),
            bytes_held=bytes_of(node),
            _site=node.site,
        )


def bytes_of(node: Node) -> int | None:
    """
    The bytes a node says it holds; a failing answer is recorded, and is None.
    """
    try:
        return node.memory_bytes()
    except Exception as error:  # an application's memory_bytes may do anything
        node.registry.failures.record("memory_bytes", error, call_site(node.site))
        return None
