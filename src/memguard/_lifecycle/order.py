"""
In which order a part of the tree is closed. Pure: reads nodes, changes nothing.

Order: effective phase, users before what they use, deeper before shallower, newest
first. Neighbours in the order that do not wait for each other share a wave.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from memguard._phases import Ending, Phase
from memguard._tree import Branch, Node, effective_phase

__all__ = ("Entry", "closing_order")


@dataclass(slots=True, eq=False)
class Entry:
    """
    One node to close: where it stands in the order, and how it went.

    `after` are the entries that must have ended before this one starts: what it
    owns and what uses it.
    """

    node: Node
    phase: Phase
    depth: int
    label: str
    wave: int = 0
    after: list[Entry] = field(default_factory=list)
    # Filled while it is carried out:
    ending: Ending | None = None
    bytes_held: int | None = None
    _unended: list[None] = field(default_factory=lambda: [None])

    @property
    def done(self) -> bool:
        return self.ending is not None

    def finish(self, ending: Ending) -> bool:
        """
        Record the ending; False when the entry had one already.

        A close that hangs may return after it was abandoned: the first one counts.
        """
        try:
            self._unended.pop()  # atomic: exactly one caller gets the element
        except IndexError:
            return False
        self.ending = ending
        return True


def closing_order(roots: Iterable[Node]) -> list[Entry]:
    """
    Everything at and below *roots*, in the order in which it is to be closed.
    """
    entries = _collect(roots)
    by_node = {entry.node: entry for entry in entries}
    _link(entries, by_node)
    # Newest first is the order of equals; it is the one a stack would give.
    entries.sort(key=_rank)
    ordered = _users_first(entries)
    _waves(ordered)
    return ordered


def _rank(entry: Entry) -> tuple[int, int, int]:
    return (entry.phase.rank, -entry.depth, -entry.node.seq)


def _collect(roots: Iterable[Node]) -> list[Entry]:
    entries: list[Entry] = []
    ahead = [(root, effective_phase(root), 0) for root in roots]
    while ahead:
        node, phase, depth = ahead.pop()
        entries.append(Entry(node, phase, depth, node.label))
        if isinstance(node, Branch):
            for child in node.children():
                own = child.phase
                earlier = own if own.rank < phase.rank else phase
                ahead.append((child, earlier, depth + 1))
    return entries


def _link(entries: list[Entry], by_node: dict[Node, Entry]) -> None:
    for entry in entries:
        node = entry.node
        owner = node.owner
        if owner is not None and owner in by_node:
            by_node[owner].after.append(entry)
        for used in node.uses:
            if used in by_node:
                by_node[used].after.append(entry)


def _users_first(entries: list[Entry]) -> list[Entry]:
    """
    A stable topological order: each entry behind all that must end before it.
    """
    ordered: list[Entry] = []
    placed: set[int] = set()
    for first in entries:
        # An explicit stack, for chains of `uses` are as deep as users make them.
        ahead = [first]
        while ahead:
            entry = ahead[-1]
            if id(entry) in placed:
                ahead.pop()
                continue
            before = [one for one in entry.after if id(one) not in placed]
            if before:
                before.sort(key=_rank, reverse=True)
                ahead.extend(before)
                continue
            placed.add(id(entry))
            ordered.append(entry)
            ahead.pop()
    return ordered


def _waves(ordered: list[Entry]) -> None:
    """
    Number the waves: neighbours in the order of which none waits for another.
    """
    wave = 0
    before: Entry | None = None
    for entry in ordered:
        if before is not None and (
            entry.phase is not before.phase
            or entry.depth != before.depth
            or any(one.wave == wave for one in entry.after)
        ):
            wave += 1
        entry.wave = wave
        before = entry
