"""
In which order a part of the tree is closed. Pure: reads nodes, changes nothing.

Order: effective phase, users before what they use, deeper before shallower, newest
first. A branch with work in hand is drained before anything of its phase is closed:
what it owns is what its work needs. Neighbours in the order that do not wait for each
other share a wave.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from memguard._phases import Ending, Phase
from memguard._tree import Branch, Node, effective_phase

__all__ = ("Entry", "by_lane", "closing_order")


class Entry:
    """
    One node to close: where it stands in the order, and how it went.

    `after` are the entries that must have ended before this one starts: what it
    owns, what uses it, and the drain of its owner. An entry that does not `close`
    is the drain of a branch, and belongs to the entry that closes it.
    """

    __slots__ = (
        "_unended",
        "after",
        "bytes_held",
        "closes",
        "depth",
        "drain",
        "ending",
        "key",
        "label",
        "node",
        "phase",
        "rank",
        "stack",
        "trouble",
        "wave",
    )

    def __init__(
        self, node: Node, phase: Phase, depth: int, *, closes: bool = True
    ) -> None:
        self.node = node
        self.phase = phase
        self.depth = depth
        self.label = node.label
        self.closes = closes
        #: What is drained in a phase comes before what is closed in it.
        self.rank = 2 * phase.rank + closes
        # Newest first is the order of equals; it is the one a stack would give.
        self.key = (self.rank, -depth, -node.seq)
        self.wave = 0
        self.after: list[Entry] | tuple[Entry, ...] = ()
        self.drain: Entry | None = None
        # Filled while it is carried out:
        self.ending: Ending | None = None
        self.bytes_held: int | None = None
        #: What went wrong before the close, and where something hung.
        self.trouble = ""
        self.stack = ""
        self._unended = True

    @property
    def done(self) -> bool:
        return self.ending is not None

    def finish(self, ending: Ending) -> bool:
        """
        Record the ending; False when the entry had one already.

        A close that hangs may return after it was abandoned: the first one counts.
        """
        try:
            del self._unended  # one step: of two threads one gets the error
        except AttributeError:
            return False
        self.ending = ending
        return True

    def wait_for(self, entry: Entry) -> None:
        """
        Note that *entry* must have ended before this one starts.
        """
        if isinstance(self.after, tuple):
            self.after = []
        self.after.append(entry)


_key = attrgetter("key")


def closing_order(roots: Iterable[Node]) -> list[Entry]:
    """
    Everything at and below *roots*, in the order in which it is to be closed.
    """
    entries = _collect(roots)
    entries.sort(key=_key)
    using = [entry for entry in entries if entry.closes and entry.node.uses]
    if using:
        _link_uses(using, {one.node: one for one in entries if one.closes})
        entries = _users_first(entries)
    _waves(entries)
    return entries


def _collect(roots: Iterable[Node]) -> list[Entry]:
    entries: list[Entry] = []
    # Each with the entry of its owner and the drains of all owners.
    ahead: list[tuple[Node, Phase, int, Entry | None, tuple[Entry, ...]]] = [
        (root, effective_phase(root), 0, None, ()) for root in roots
    ]
    while ahead:
        node, phase, depth, owner, drains = ahead.pop()
        entry = Entry(node, phase, depth)
        entries.append(entry)
        if owner is not None:
            owner.wait_for(entry)
        for drain in drains:
            # What closes in an earlier phase does not wait for the drain in its own.
            if drain.rank < entry.rank:
                entry.wait_for(drain)
        if isinstance(node, Branch):
            if node.in_hand:
                entry.drain = drain = Entry(node, phase, depth, closes=False)
                entries.append(drain)
                entry.wait_for(drain)
                drains = (*drains, drain)
            for child in node.children():
                own = child.phase
                earlier = own if own.rank < phase.rank else phase
                ahead.append((child, earlier, depth + 1, entry, drains))
    return entries


def _link_uses(using: list[Entry], by_node: dict[Node, Entry]) -> None:
    for entry in using:
        for used in entry.node.uses:
            found = by_node.get(used)
            if found is not None:
                found.wait_for(entry)


def _users_first(entries: list[Entry]) -> list[Entry]:
    """
    A stable topological order: each entry behind all that must end before it.
    """
    ordered: list[Entry] = []
    seen: set[Entry] = set()
    for first in entries:
        # An explicit stack, for chains of `uses` are as deep as users make them.
        ahead = [(first, False)]
        while ahead:
            entry, ready = ahead.pop()
            if ready:
                ordered.append(entry)
            elif entry not in seen:
                # Seen before it is placed: a ring, which registration refuses, would
                # end here all the same.
                seen.add(entry)
                ahead.append((entry, True))
                before = sorted(entry.after, key=_key, reverse=True)
                ahead.extend((one, False) for one in before)
    return ordered


def _waves(ordered: list[Entry]) -> None:
    """
    Number the waves: neighbours in the order of which none waits for another.
    """
    wave = 0
    before: Entry | None = None
    for entry in ordered:
        if before is not None and (
            entry.rank != before.rank
            or entry.depth != before.depth
            or any(one.wave == wave for one in entry.after)
        ):
            wave += 1
        entry.wave = wave
        before = entry


def by_lane(ordered: Iterable[Entry]) -> list[Entry]:
    """
    The order, with the lanes of each wave together: fewer changes of driver.
    """
    waves: dict[int, dict[str, list[Entry]]] = {}
    for entry in ordered:
        lanes = waves.setdefault(entry.wave, {})
        lanes.setdefault(entry.node.affinity, []).append(entry)
    return [
        entry
        for lanes in waves.values()
        for entries in lanes.values()
        for entry in entries
    ]
