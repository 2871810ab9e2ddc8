"""
The tree: branches, which own nodes.

Does not know phases' order, budgets or drivers; a leaf closes itself, a whole branch
is closed by `_lifecycle`. Owning takes no lock. Whoever adds a child looks afterwards
whether the branch has ended meanwhile, and whoever ends a branch looks for children
after it has said so: one of the two sees the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, ClassVar

from memguard._node import COLLECTED, Gone, Node
from memguard._phases import CLOSED, DRAINING, PLAIN, Ending, Phase
from memguard._sites import RawSite, call_site
from memguard.errors import ScopeClosed, SpecConflict

__all__ = (
    "COLLECTED",
    "Branch",
    "Gone",
    "Node",
    "conflict",
    "current",
    "effective_phase",
)

#: The innermost scope that was entered in this context.
current: ContextVar[Branch | None] = ContextVar("memguard_scope", default=None)


class Branch(Node):
    """
    A node that owns nodes.

    An empty branch is not in the tree: it enters its owner when it first owns
    something. Children are kept in the order in which they came.
    """

    __slots__ = ("_children", "_mixed", "_named")

    kind: ClassVar[str] = "scope"
    # True while work goes on in it that needs what it owns: it is then drained before
    # any of that is closed, and not only before its own close.
    in_hand: bool = False

    def __init__(self, owner: Branch, name: str | None) -> None:
        super().__init__(owner, name)
        # A branch among them has its own children for a value: see `_enter_tree`.
        self._children: dict[Node, Any] | None = None
        self._named: dict[tuple[str, str], Node] | None = None
        # True once it has owned anything that is not `plain`.
        self._mixed = False

    def take(self, node: Node) -> None:
        """
        Own *node*; raises ScopeClosed when this branch has ended.
        """
        registry = self.registry
        if self.state > DRAINING or registry.detached:
            raise ScopeClosed(self._ended_text())
        children = self._children
        if children is None:
            children = self._enter_tree()
        if not node.plain:
            self._mixed = True
        node.tally = tally = registry.tally(node.kind, node.name or "")
        tally.made()
        children[node] = {} if isinstance(node, Branch) else None
        if self.state > DRAINING:
            self._refuse(node, children)

    def _refuse(self, node: Node, children: dict[Node, Any]) -> None:
        """
        This branch ended while *node* came in. Whoever has the claim closes it.
        """
        if node.claim():
            if children.pop(node, self) is not self and node.tally is not None:
                node.tally.ended(PLAIN)
            node.state = CLOSED
            node.owner = None
            raise ScopeClosed(self._ended_text())

    def drop(self, node: Node, ending: Ending) -> None:
        """
        Own *node* no longer.
        """
        children = self._children
        if children is None:
            self._drop_late(node, ending)
        elif children.pop(node, self) is not self:
            if node.tally is not None:
                node.tally.ended(ending)
            if self._named:
                self._drop_name(node)

    def _drop_late(self, node: Node, ending: Ending) -> None:
        """
        For a child whose close somebody else had in hand when this branch ended.
        """
        with self.registry.lock:
            tally, node.tally = node.tally, None
        if tally is not None:
            tally.ended(ending)

    def _drop_name(self, node: Node) -> None:
        key = (node.kind, node.name or "")
        with self.registry.lock:
            named = self._named
            if named is not None and named.get(key) is node:
                del named[key]

    def _enter_tree(self, site: RawSite = None) -> dict[Node, Any]:
        """
        For the first child: a place for it, and for this branch one in its owner.

        *site* is where the child was made, which is this branch's place as well.
        """
        owner = self.owner
        registry = self.registry
        if owner is None:  # the root
            with registry.lock:
                if self._children is None:
                    self._children = {}
                return self._children
        if owner.state > DRAINING or registry.detached:
            raise ScopeClosed(owner._ended_text())
        siblings = owner._children
        if siblings is None:
            siblings = owner._enter_tree(site)
        owner._mixed = True
        if not self.seq:
            self._site = site or registry.sites.here()
            self.born = registry.now()
            self.tally = registry.tally(self.kind, self.name or "")
            self.seq = registry.next_seq()
        # Two first children may come at the same time: the owner's dictionary holds
        # the one dictionary that both then find, and says who was first.
        mine: dict[Node, Any] = {}
        children: dict[Node, Any] = siblings.setdefault(self, mine)
        if children is mine:
            self.tally.made()  # type: ignore[union-attr]
        self._children = children
        if owner.state > DRAINING:
            owner._refuse(self, siblings)
        if self.state > DRAINING:
            # Left by somebody who saw nothing to close, and who may have forgotten
            # the owner already: the place in its dictionary is given up here.
            if siblings.pop(self, None) is not None and self.tally is not None:
                self.tally.ended(PLAIN)
            self.settle()
            raise ScopeClosed(self._ended_text())
        return children

    # -- names -------------------------------------------------------------------------

    def find(self, kind: str, name: str) -> Node | None:
        """
        The live child of that kind and name.
        """
        named = None if self._children is None else self._named
        return None if named is None else named.get((kind, name))

    def names(self, kind: str | None = None) -> int:
        """
        How many names are taken by live children, of one kind or of all.
        """
        named = None if self._children is None else self._named
        if named is None:
            return 0
        if kind is None:
            return len(named)
        return sum(1 for key in list(named) if key[0] == kind)

    def name_child(self, node: Node) -> Node | None:
        """
        Attach *node* under its name; return the live one that had the name first.

        When there is one, *node* is not attached.
        """
        assert node.name is not None
        key = (node.kind, node.name)
        with self.registry.lock:
            first = self.find(*key)
            if first is None:
                self._join_as(key, node)
        return first

    def replace_child(self, node: Node) -> None:
        """
        Attach *node* under its name and close the one that had the name.
        """
        assert node.name is not None
        key = (node.kind, node.name)
        with self.registry.lock:
            old = self.find(*key)
            self._join_as(key, node)
        if old is not None:
            old.close()

    def _join_as(self, key: tuple[str, str], node: Node) -> None:
        """
        Attach *node*; named first, so that its end, whenever it comes, finds the name.
        """
        if self._children is None:
            self._enter_tree()
        if self._named is None:
            self._named = {}
        named = self._named
        old = named.get(key)
        named[key] = node
        try:
            node._join()
        except BaseException:
            if old is None:
                del named[key]
            else:
                named[key] = old
            raise

    # -- reading -----------------------------------------------------------------------

    def children(self) -> list[Node]:
        """
        What this branch owns now, oldest first.
        """
        # A list: it is filled in one step, without allocating on the way, so no
        # collection can run a destructor that changes the dictionary meanwhile.
        return list(self._children or ())

    def walk(self) -> Iterator[Node]:
        """
        Everything below this branch, owners before what they own.
        """
        for child in self.children():
            yield child
            if isinstance(child, Branch):
                yield from child.walk()


def effective_phase(node: Node) -> Phase:
    """
    The earlier of a node's own phase and its owners': nothing outlives its owner.
    """
    phase = node.phase
    owner = node.owner
    while owner is not None:
        if owner.phase.rank < phase.rank:
            phase = owner.phase
        owner = owner.owner
    return phase


def conflict(first: Node, changed: str) -> SpecConflict:
    """
    The error for a name that is asked for again with another spec.
    """
    return SpecConflict(first.kind, first.label, changed, call_site(first.site))
