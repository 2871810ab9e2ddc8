"""
The tree: nodes that have an owner and an end, and branches that own nodes.

A node closes exactly once: whoever moves it to CLOSING under the registry's lock
owns the close. Does not know phases' order, budgets or drivers; a leaf closes
itself here, a whole branch is closed by `_lifecycle`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

from memguard._phases import (
    CLOSED,
    CLOSING,
    DRAINING,
    OPEN,
    PLAIN,
    Ending,
    Outcome,
    Phase,
    State,
)
from memguard._registry import Registry, Tally
from memguard._sites import Site, call_site
from memguard.errors import ScopeClosed, SpecConflict

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ("Branch", "Node", "conflict", "current", "effective_phase")

#: The innermost scope that was entered in this context.
current: ContextVar[Branch | None] = ContextVar("memguard_scope", default=None)


class Node:
    """
    Something with an owner, a name, a state and an end.

    Subclasses implement `_release`, which frees what they hold and runs exactly
    once, with no lock held; it may return an awaitable. They may set `drains` and
    implement `_drain` (finish what is in hand, before the close), and set `forces`
    and implement `_force` (end at once, whatever happens; must not wait).
    """

    __slots__ = (
        "__weakref__",
        "born",
        "declared",
        "ending",
        "name",
        "owner",
        "registry",
        "seq",
        "site",
        "state",
        "tally",
    )

    kind: ClassVar[str] = "node"
    drains: ClassVar[bool] = False
    forces: ClassVar[bool] = False
    # True where closing has to await something: then a loop that runs in this thread
    # must be left free.
    awaits: bool = False

    # What the shutdown plan reads; a node that lets callers choose overrides them
    # with slots.
    phase: Phase = Phase.WORK
    timeout: float | None = None  # seconds; None is the default of the plan
    affinity: str = "any"
    uses: tuple[Any, ...] = ()

    def __init__(self, owner: Branch, name: str | None) -> None:
        self.owner: Branch | None = owner
        self.registry: Registry = owner.registry
        self.name = name
        self.state: int = OPEN
        self.site: Site | None = None
        self.ending: Ending | None = None
        self.seq = 0
        self.born = 0.0
        self.tally: Tally | None = None
        # Made on a guard that was not started: shutdown disarms it, start arms it.
        self.declared = False

    # -- joining and leaving the tree ------------------------------------------------

    def attach(self) -> Self:
        """
        Enter the owner; raises ScopeClosed when it takes nothing any more.
        """
        registry = self.registry
        if registry.collected:
            registry.settle_collected()
        with registry.lock:
            self._join()
        return self

    def _join(self) -> None:
        registry = self.registry
        owner = self.owner
        if owner is None:
            raise ScopeClosed(self._ended_text())
        if self.site is None:
            self.site = registry.sites.here(3)
        self.seq = registry.next_seq()
        self.born = registry.clock.monotonic()
        owner.take(self)

    def claim(self) -> bool:
        """
        True for exactly one caller: the one who may now close the node.
        """
        with self.registry.lock:
            if self.state >= CLOSING:
                return False
            self.state = CLOSING
        return True

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Record how the claimed close ended, and leave the tree.
        """
        registry = self.registry
        with registry.lock:
            self.state = CLOSED
            self.ending = ending
            owner = self.owner
            self.owner = None
            if owner is not None and self.seq:
                owner.drop(self, ending)

    # -- closing -----------------------------------------------------------------------

    def close(self) -> None:
        """
        End this leaf now. Closing twice does nothing; a foreign fork's leaf is left.

        What `_release` raises reaches the caller, after the leaf has left the tree.
        """
        if self.registry.detached or not self.claim():
            return
        try:
            self._release()
        except BaseException as error:
            self.settle(Ending(Outcome.UNCLOSABLE, type(error).__qualname__))
            raise
        self.settle()

    def _release(self) -> Any:
        """
        Free what the node holds.
        """

    def _drain(self) -> Any:
        """
        Finish what is in hand; only called where `drains` is set.
        """

    def _force(self) -> None:
        """
        End at once; only called where `forces` is set.
        """

    def _arm(self) -> None:
        """
        Begin to work: called without a lock, when the guard starts or is running.
        """

    def _disarm(self) -> Any:
        """
        Stop, and let go of what came since `_arm`; a declared node is armed again.
        """

    def _after_fork(self, registry: Registry) -> None:
        """
        Become part of the child's fresh registry: new locks, nothing of the parent.
        """
        self.registry = registry

    # -- reading -----------------------------------------------------------------------

    def memory_bytes(self) -> int | None:
        """
        Bytes held now, or None where nobody knows.
        """
        return None

    def collected_unclosed(self) -> bool:
        """
        Called after the object behind the node was collected; True if a fault.
        """
        return False

    @property
    def label(self) -> str:
        """
        The name for people.
        """
        return self.name or "(unnamed)"

    @property
    def closed(self) -> bool:
        return self.state == CLOSED

    @property
    def path(self) -> str:
        """
        Names from the root down, joined by `/`.
        """
        owner = self.owner
        return self.label if owner is None else f"{owner.path}/{self.label}"

    def _ended_text(self) -> str:
        state = State(self.state).name.lower()
        whole = "" if not self.registry.detached else " inherited through a fork and is"
        return (
            f"{self.kind} {self.label!r}{whole or ' is'} {state}, so it takes nothing"
            " new; make things in a scope that is open"
        )

    def __repr__(self) -> str:
        state = State(self.state).name.lower()
        return f"<{type(self).__name__} {self.label!r} {state}>"


class Branch(Node):
    """
    A node that owns nodes.

    An empty branch is not in the tree: it enters its owner when it first owns
    something. Children are kept in the order in which they came.
    """

    __slots__ = ("_children", "_named")

    kind: ClassVar[str] = "scope"

    def __init__(self, owner: Branch, name: str | None) -> None:
        super().__init__(owner, name)
        self._children: dict[Node, None] | None = None
        self._named: dict[tuple[str, str], Node] | None = None

    def take(self, node: Node) -> None:
        """
        Own *node*. The caller holds the registry's lock.
        """
        registry = self.registry
        if self.state > DRAINING or registry.detached:
            raise ScopeClosed(self._ended_text())
        children = self._children
        if children is None:
            self._enter_tree()
            children = self._children = {}
        children[node] = None
        node.tally = tally = registry.tally(node.kind, node.name or "")
        tally.created += 1
        tally.live += 1

    def drop(self, node: Node, ending: Ending) -> None:
        """
        Own *node* no longer. The caller holds the registry's lock.
        """
        if self._children is not None and self._children.pop(node, self) is not self:
            if node.tally is not None:
                node.tally.ended(ending)
            named = self._named
            if named:
                key = (node.kind, node.name or "")
                if named.get(key) is node:
                    del named[key]

    def _enter_tree(self) -> None:
        # Not for the root, nor for one that entered before and was emptied since.
        if not self.seq and self.owner is not None:
            self._join()

    # -- names -------------------------------------------------------------------------

    def find(self, kind: str, name: str) -> Node | None:
        """
        The live child of that kind and name.
        """
        named = self._named
        return None if named is None else named.get((kind, name))

    def name_child(self, node: Node) -> Node | None:
        """
        Attach *node* under its name; return the live one that had the name first.

        When there is one, *node* is not attached.
        """
        assert node.name is not None
        with self.registry.lock:
            if self._named is None:
                self._named = {}
            key = (node.kind, node.name)
            first = self._named.get(key)
            if first is not None:
                return first
            node._join()
            self._named[key] = node
        return None

    def replace_child(self, node: Node) -> None:
        """
        Attach *node* under its name and close the one that had the name.
        """
        assert node.name is not None
        with self.registry.lock:
            node._join()
            if self._named is None:
                self._named = {}
            old = self._named.get((node.kind, node.name))
            self._named[node.kind, node.name] = node
        if old is not None:
            old.close()

    # -- reading -----------------------------------------------------------------------

    def children(self) -> tuple[Node, ...]:
        """
        What this branch owns now, oldest first.
        """
        with self.registry.lock:
            return tuple(self._children or ())

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
