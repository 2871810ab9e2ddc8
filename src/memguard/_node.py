"""
Nodes: what has an owner, a name, a state and an end.

A node closes exactly once: its claim can be taken by one caller, who then closes it.
No lock is needed for that, nor for entering and leaving the tree: each step is one
operation that the interpreter does not interrupt, and whoever adds something looks
afterwards whether the door was closed meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from memguard._phases import (
    CLOSED,
    CLOSING,
    OPEN,
    PLAIN,
    Ending,
    Outcome,
    Phase,
    State,
)
from memguard._registry import Registry, Tally
from memguard._sites import RawSite, Site
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from typing_extensions import Self

    from memguard._tree import Branch

__all__ = ("COLLECTED", "Gone", "Node")

#: How the life of an object ends that nobody closed.
COLLECTED = Ending(Outcome.UNCLOSABLE, "collected before it was closed")


class Gone(Exception):
    """
    Raised by `_release` where the object to be closed was collected before.
    """


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
        "_claim",
        "_site",
        "born",
        "declared",
        "ending",
        "name",
        "owner",
        "registry",
        "seq",
        "state",
        "tally",
    )

    kind: ClassVar[str] = "node"
    # True for leaves that a scope may end one after the other, newest first, in any
    # thread and without waiting: no drain, no `uses`, no affinity, nothing awaited,
    # and no phase before that of their scope.
    plain: ClassVar[bool] = False
    drains: ClassVar[bool] = False
    forces: ClassVar[bool] = False
    # True where closing has to await something: then a loop that runs in this thread
    # must be left free.
    awaits: bool = False
    # True where it has to be closed by the very task that made it, if that is possible.
    same_task: ClassVar[bool] = False

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
        self.ending: Ending | None = None
        self.seq = 0
        self.born = 0.0
        self.tally: Tally | None = None
        # Made on a guard that was not started: shutdown disarms it, start arms it.
        self.declared = False
        self._site: RawSite = None
        # There until somebody claims the close.
        self._claim = True

    # -- joining and leaving the tree ------------------------------------------------

    def attach(self) -> Self:
        """
        Enter the owner; raises ScopeClosed when it takes nothing any more.
        """
        registry = self.registry
        if registry.collected:
            registry.settle_collected()
        self._join()
        return self

    def _join(self) -> None:
        registry = self.registry
        owner = self.owner
        if owner is None:
            raise ScopeClosed(self._ended_text())
        try:
            site = self._site
        except AttributeError:  # not set before it is needed: see `Scope`
            site = None
        if site is None:
            self._site = registry.sites.here(3)
        self.seq = registry.next_seq()
        self.born = registry.now()
        owner.take(self)

    def claim(self) -> bool:
        """
        True for exactly one caller: the one who may now close the node.
        """
        if self.state >= CLOSING:
            return False
        try:
            # Emptying a slot either succeeds or raises, in one step: of two threads
            # one gets the error. It costs a third of a lock.
            del self._claim
        except AttributeError:
            return False
        self.state = CLOSING
        return True

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Record how the claimed close ended, and leave the tree.
        """
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
        except Gone:
            self.registry.tell_collected(self)
            self.settle(COLLECTED)
            return
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

    @property
    def site(self) -> Site | None:
        """
        Where it was made; None where the level is off.
        """
        raw: RawSite = getattr(self, "_site", None)
        return Site(*raw) if isinstance(raw, tuple) else raw

    @site.setter
    def site(self, site: RawSite) -> None:
        self._site = site

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
