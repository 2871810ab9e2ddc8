"""
Registered objects: made by somebody else, closed by memguard.

A resource refers to its object weakly unless it was told to keep it. An object
that is collected before its resource was closed is a ResourceWarning.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any
from weakref import ref

from memguard._kinds.closers import (
    checked_close,
    identity,
    info_of,
    is_coroutine,
    known,
)
from memguard._kinds.references import (
    NOTHING,
    Kept,
    Ref,
    not_referenceable,
    on_collect,
)
from memguard._kinds.watched import expect_end
from memguard._phases import CLOSED, CLOSING, OPEN, PLAIN, Ending, Phase
from memguard._sites import RawSite, Site, call_site
from memguard._tree import COLLECTED, Branch, Gone, Node

if TYPE_CHECKING:
    from memguard._kinds.options import Options

__all__ = ("Resource",)


class Resource(Node):
    """
    One registered object, with the way to close it.

    `_close` is None (there is nothing to close), a method's name, or a callable that
    takes the object. Options beyond what the type says are validated in `options`.
    """

    __slots__ = ("_close", "_lasti", "_target", "info", "options")

    # A resource is registered where it is, never declared.
    declared = False

    def __init__(
        self, owner: Branch, obj: Any, name: str | None = None, keep: bool = False
    ) -> None:
        # Written out instead of calling super().__init__: registering is a hot path.
        # Site, tally and birth are set when the registration is known to succeed.
        self.owner = owner
        self.registry = registry = owner.registry
        self.name = name
        self.state = OPEN
        self.ending = None
        self.seq = registry.next_seq()
        self._claim = True
        self.info = info = known.get(identity(type(obj))) or info_of(obj)
        self._close: str | Callable[[Any], Any] | None = info.close
        self.options: Options | None = None
        self._lasti: int
        self._target: Callable[[], Any]
        if keep:
            if obj is None:
                raise not_referenceable(obj)
            self._target = Kept(obj)
        else:
            try:
                self._target = reference = Ref(obj, on_collect)
            except TypeError:
                raise not_referenceable(obj) from None
            reference.resource = self

    # -- what the type says, unless the caller said otherwise --------------------------

    @property
    def kind(self) -> str:  # type: ignore[override]
        """
        What it is counted as.
        """
        options = self.options
        return self.info.kind if options is None else options.kind

    @property
    def plain(self) -> bool:  # type: ignore[override]
        """
        True where nothing is special about the close.
        """
        special = self.info if self.options is None else self.options
        return special.plain and (self._close is self.info.close or not self.awaits)

    @property
    def phase(self) -> Phase:  # type: ignore[override]
        """
        The phase asked for, else the one of the type.
        """
        options = self.options
        return self.info.phase if options is None else options.phase

    @property
    def affinity(self) -> str:  # type: ignore[override]
        """
        Where the close may run: any, thread or loop.
        """
        options = self.options
        return self.info.affinity if options is None else options.affinity

    @property
    def timeout(self) -> float | None:  # type: ignore[override]
        """
        Seconds for the close, None for the default.
        """
        return None if self.options is None else self.options.timeout

    @property
    def uses(self) -> tuple[Node, ...]:  # type: ignore[override]
        """
        What it needs until its own close.
        """
        return () if self.options is None else self.options.uses

    @property
    def loop(self) -> ref[Any] | None:
        """
        The loop of its registration, for what is bound to it.
        """
        return None if self.options is None else self.options.loop

    def close_with(self, close: str | Callable[..., Any]) -> None:
        """
        Close the object in this way; raises where that cannot be.
        """
        self._close = checked_close(self._target(), close)

    # -- life ----------------------------------------------------------------------

    def target(self) -> Any:
        """
        The object, or None when it is gone. Do not keep what this returns.
        """
        return self._target()

    def _join(self) -> None:
        Node._join(self)
        self.note_kept()

    def note_kept(self) -> None:
        """
        Make a kept object findable; weakly referenced ones are so by themselves.
        """
        target = self._target
        if type(target) is Kept:
            self.registry.objects[id(target())] = self

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Leave the tree and let go of the object.
        """
        self.state = CLOSED
        self.ending = ending
        owner = self.owner
        if owner is not None:
            self.owner = None
            children = owner._children
            if ending is not PLAIN or children is None or owner._named:
                owner.drop(self, ending)
            elif children.pop(self, owner) is not owner:
                # As `drop`, written out: what every scope does with what it owns.
                self.tally.closed_one()  # type: ignore[union-attr]
        target = self._target
        if type(target) is Kept:
            self.registry.forget(id(target()), self)
        self._target = NOTHING
        self._close = None

    def _release(self) -> Any:
        how = self._close
        obj = self._target()
        if how is None:
            # Nothing can be closed: all that can be asked of it is to be gone.
            expect_end(self, obj, "registered; its type has no close, and it lives on")
            return None
        if obj is None:
            raise Gone
        if type(how) is str:
            return getattr(obj, how)()
        return how(obj)  # type: ignore[operator]

    @property
    def forces(self) -> bool:  # type: ignore[override]
        """
        True where the type has a way out that does not wait.
        """
        return self.info.force is not None

    @property
    def awaits(self) -> bool:  # type: ignore[override]
        """
        True where the close is a coroutine function.
        """
        how = self._close
        if type(how) is str:
            how = getattr(type(self._target()), how, None)
        return is_coroutine(how)

    def _force(self) -> None:
        obj = self._target()
        if obj is not None and self.info.force is not None:
            self.info.force(obj)

    def collected_unclosed(self) -> bool:
        """
        Settle after the object's death; a fault unless there was nothing to close.
        """
        # Without a tally it never came into a tree: its registration was refused.
        came = getattr(self, "tally", None) is not None
        if not came or self.state >= CLOSING or not self.claim():
            return False
        fault = self._close is not None
        self.settle(COLLECTED)
        return fault

    def is_open(self) -> bool:
        """
        For the audit: the object lives and does not say that it is closed.
        """
        obj = self._target()
        if obj is None:
            return False
        closed = self.info.closed
        try:
            return closed is None or not closed(obj)
        except Exception as error:  # a half-built or half-closed object may raise
            self.registry.failures.record("closed-check", error, call_site(self.site))
            return True

    # -- reading ---------------------------------------------------------------------

    @property
    def site(self) -> Site | None:
        """
        Where it was registered; None where the level is off.
        """
        raw: Any = getattr(self, "_site", None)
        if isinstance(raw, CodeType):
            return Site(raw, self._lasti)
        return Site(*raw) if isinstance(raw, tuple) else raw

    @site.setter
    def site(self, site: RawSite) -> None:
        self._site = site

    def memory_bytes(self) -> int | None:
        """
        What the caller declared, else what the object itself says, else None.
        """
        memory = None if self.options is None else self.options.memory
        if isinstance(memory, int):
            return memory
        obj = self._target()
        if obj is None:
            return None
        if memory is not None:
            return int(memory(obj))
        return int(obj.memory_bytes()) if self.info.tells_memory else None

    @property
    def label(self) -> str:
        """
        The name, else the type of the object.
        """
        if self.name:
            return self.name
        return self.info.type_name
