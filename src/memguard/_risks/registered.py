"""
What a guard owns, put together by kind, owner, name and place of creation.

A thousand sessions with a ring each are one row with a thousand instances. The tree is
read in slices, and of a branch with very many children only the first and the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from memguard._sites import Site, call_site
from memguard._tree import Branch

if TYPE_CHECKING:
    from memguard._risks.scene import Scene
    from memguard._tree import Node

__all__ = ("OTHER", "Group", "read_tree")

_CHUNK: Final = 500  # children read in one step
_NODES: Final = 40_000  # that are read one by one
_LEAST: Final = 20  # of each branch
_COMPARED: Final = 500  # of a sample, for their kinds
_COMMON: Final = 0.05  # part of a sample from which on a kind stands for more
_GROUPS: Final = 10_000
_ROWS: Final = 50  # of one place; more are put together
_SAMPLED: Final = 12  # nodes of a group that are looked at
OTHER: Final = "(many names)"


class Group:
    """
    Nodes of one kind that were made at one place for one sort of owner.
    """

    __slots__ = ("count", "has_site", "kind", "label", "nodes", "owner", "owner_kind")

    def __init__(
        self, kind: str, label: str, owner: str, owner_kind: str, *, has_site: bool
    ) -> None:
        self.kind = kind
        self.label = label
        self.owner = owner
        self.owner_kind = owner_kind
        self.has_site = has_site
        self.count: float = 0
        self.nodes: list[Node] = []

    @property
    def site(self) -> str:
        """
        Where they were made, as `file:line in function`.
        """
        return call_site(self.nodes[0].site if self.has_site else None)

    @property
    def name(self) -> str:
        """
        For people: the owner's name, unless that is the guard, and their own.
        """
        return self.label if not self.owner else f"{self.owner}/{self.label}"

    @property
    def where(self) -> str:
        """
        The place of this group for what earlier looks have seen.
        """
        return f"tree: {self.kind} {self.owner_kind} {self.name} {self.site}"

    @property
    def instances(self) -> int:
        return round(self.count)


_Key: TypeAlias = "tuple[Any, ...]"


def read_tree(scene: Scene, guard: Any) -> list[Group]:
    """
    Everything that *guard* owns.
    """
    groups: dict[_Key, Group] = {}
    for node, weight in _nodes(scene, guard, 1.0, [_NODES]):
        scene.safely(_put, groups, guard, node, weight)
    places: dict[_Key, list[Group]] = {}
    for (kind, owner_kind, _, _, place), group in groups.items():
        places.setdefault((kind, owner_kind, place), []).append(group)
    return [one for rows in places.values() for one in _merged(rows)]


def _merged(rows: list[Group]) -> list[Group]:
    """
    The groups of one place; those of many owners, and of many names, become one.
    """
    if len(rows) <= _ROWS:
        return rows
    by_name: dict[str, list[Group]] = {}
    for one in rows:
        by_name.setdefault(one.label, []).append(one)
    if len(by_name) > _ROWS:
        return [_sum(rows, OTHER)]
    return [_sum(some, some[0].label) for some in by_name.values()]


def _sum(rows: list[Group], label: str) -> Group:
    first = rows[0]
    owner = first.owner if len({one.owner for one in rows}) == 1 else OTHER
    whole = Group(first.kind, label, owner, first.owner_kind, has_site=first.has_site)
    whole.count = sum(one.count for one in rows)
    step = -(-len(rows) // _SAMPLED)
    whole.nodes = [one.nodes[0] for one in rows[::step]]
    return whole


def _nodes(
    scene: Scene, branch: Branch, weight: float, left: list[int]
) -> Iterator[tuple[Node, float]]:
    """
    Everything below *branch*, with how many each one stands for.

    When *left* nodes were read, of each further branch only some are.
    """
    for child, each in _children(scene, branch, max(_LEAST, left[0] // 2)):
        left[0] -= 1
        yield child, weight * each
        if isinstance(child, Branch) and child._children:
            yield from _nodes(scene, child, weight * each, left)


def _children(scene: Scene, branch: Branch, most: int) -> Iterator[tuple[Node, float]]:
    children = branch._children
    if not children:
        return
    count = len(children)
    if count <= min(_CHUNK, most):
        for child in list(children):
            scene.pace.step()
            yield child, 1.0
        return
    if count <= most:
        found = _first(scene, children, count)
    else:
        half = most // 2
        found = [*_first(scene, children, half), *_last(children, half)]
    times = _times(found, count)
    for child in found:
        scene.pace.step()
        yield child, times.get(child.kind, 1.0)


def _times(found: list[Node], count: int) -> dict[str, float]:
    """
    How many of all *count* one of those that were *found* stands for, by kind.

    What is rare among them stands for itself: there may be one of it in the whole.
    """
    if count <= len(found) or not found:
        return {}
    step = -(-len(found) // _COMPARED)
    some = Counter(one.kind for one in found[::step])
    # As parts of all that were found.
    parts = {kind: n / sum(some.values()) for kind, n in some.items()}
    many = {kind: part for kind, part in parts.items() if part >= _COMMON}
    common = sum(many.values()) * len(found)
    each = max(1.0, (count - len(found) + common) / common)
    return dict.fromkeys(many, each)


def _first(scene: Scene, children: dict[Any, Any], most: int) -> list[Any]:
    """
    Children from the first one on; fewer where they change while they are read.
    """
    found: list[Any] = []
    steps = iter(children)
    try:
        while len(found) < most:
            some = list(islice(steps, min(_CHUNK, most - len(found))))
            if not some:
                break
            found.extend(some)
            scene.pace.step()
    except RuntimeError:
        # It changed. What was read stands for the rest.
        found = found or list(children)[:most]
    return found


def _last(children: dict[Any, Any], most: int) -> list[Any]:
    try:
        return list(islice(reversed(children), most))
    except RuntimeError:
        return []


def _put(groups: dict[_Key, Group], guard: Any, node: Node, weight: float) -> None:
    place = _place(node)
    kind = node.kind
    owner = node.owner
    owner_kind = "guard" if owner is guard or owner is None else owner.kind
    owner_name = "" if owner_kind == "guard" else _name_of(owner)
    label = _name_of(node)
    if len(groups) >= _GROUPS:
        owner_name = label = OTHER
    key = (kind, owner_kind, owner_name, label, place)
    group = groups.get(key)
    if group is None:
        group = groups[key] = Group(
            kind, label, owner_name, owner_kind, has_site=place is not None
        )
    group.count += weight
    if len(group.nodes) < _SAMPLED:
        group.nodes.append(node)


def _name_of(node: Any) -> str:
    """
    What a node is called; a session after its container, for its id is a user's.
    """
    label: str = (node.name or "") if node.kind == "session" else node.label
    return label


def _place(node: Any) -> Any:
    raw = getattr(node, "_site", None)
    if isinstance(raw, tuple):
        return id(raw[0]), raw[1]
    if isinstance(raw, Site):
        return id(raw._code), raw._lasti
    # What is registered keeps its site in two parts.
    return None if raw is None else (id(raw), getattr(node, "_lasti", 0))
