"""
Scopes: named parts of the program's life, which end and take along what they own.

This is the block: entering, leaving, being waited for. How a scope closes stands in
`_closing`. An empty scope costs about a microsecond and leaves no trace.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from memguard._closing import Closing
from memguard._kinds.closers import running_loop
from memguard._lifecycle.inline import end_inline
from memguard._phases import CLOSED, DRAINING, OPEN, PLAIN, Ending
from memguard._tree import Branch, current
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ("Scope",)

_new = object.__new__
_set = current.set
_reset = current.reset
# What a scope has instead of a token that was begun without entering it.
_BEGUN: Final = object()


class Scope(Closing):
    """
    A named part of the program's life: a request, a job, a connection.

    Use it with `with` or `async with`; it is then the current scope of the block.
    Leaving closes everything it owns: deeper before shallower, users before what
    they use, newest first. Closing twice does nothing. Registering on a closed scope
    raises ScopeClosed.
    """

    __slots__ = ("_left", "_token", "work")

    # Made where it is used, never before the start of its guard.
    declared = False

    def __init__(self, owner: Branch, name: str, work: bool = False) -> None:
        # Written out instead of calling super().__init__: nearly every request does
        # this. The slots that are missing here are set when it enters the tree.
        if owner.state > DRAINING:
            raise ScopeClosed(owner._ended_text())
        self.owner = owner
        self.registry = registry = owner.registry
        self.name = registry.count_work(name) if work else name
        self.state = OPEN
        self.ending = None
        self.seq = 0
        self._claim = True
        self._children = None
        self._named = None
        self._mixed = False
        self._token: Any = None  # a Token[Branch | None], or _BEGUN
        self._left: threading.Event | None = None
        self.work = work

    def scope(self, name: str, *, work: bool = True) -> Scope:
        """
        A child scope. With *work* it is a unit of work and counted under its name.

        Names are templates ("GET /users/<id>"), never ids: after 200 different ones
        the rest is counted as `other`. `work=False` is for long connections, whose
        messages are the units.
        """
        if self.state > DRAINING:
            raise ScopeClosed(self._ended_text())
        registry = self.registry
        try:
            if work:
                registry.work[name]()
            else:
                name = checked_name(name)
        except (KeyError, TypeError):
            # New, or nothing that could be a name: only then is it looked at.
            name = registry.count_work(checked_name(name))
        # As `Scope(self, name, work)`, of which the call alone would cost a tenth.
        child = _new(Scope)
        child.owner = self
        child.registry = registry
        child.name = name
        child.state = OPEN
        child.ending = None
        child.seq = 0
        child._claim = True
        child._children = None
        child._named = None
        child._mixed = False
        child._token = None
        child._left = None
        child.work = work
        return child

    # -- entering and leaving ----------------------------------------------------------

    def __enter__(self) -> Self:
        if self._token is not None or self.state > OPEN:
            raise self._not_enterable()
        self._token = _set(self)
        self.registry.in_hand.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        token = self._token
        self._token = None
        try:
            _reset(token)
        except (ValueError, TypeError):
            self._left_elsewhere()
        self.registry.in_hand.discard(self)
        # As `_end_empty`, written out: the way of most requests.
        if self._children is None:
            self.state = CLOSED
            if self._children is None:
                self.owner = None
                return
            self.state = OPEN
        self._leave()

    def _leave(self) -> None:
        """
        The block is over: close what it owns, then say so to whoever waits for it.
        """
        try:
            if not (self._mixed and self._is_mixed()):
                if self._begin_to_end():
                    self._end(end_inline(self))
            elif running_loop() is not None and self._awaits():
                # Raising from here would hide the block's own exception, so a task
                # of the loop does the closing.
                self.registry.background(running_loop(), self.aclose())
            else:
                self._close()
        finally:
            if self._left is not None:
                self._left.set()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        token = self._token
        self._token = None
        try:
            _reset(token)
        except (ValueError, TypeError):
            self._left_elsewhere()
        self.registry.in_hand.discard(self)
        try:
            await self.aclose()
        finally:
            if self._left is not None:
                self._left.set()

    def _left_elsewhere(self) -> None:
        """
        Left in another context than it was entered in, or never entered.

        A generator finished by somebody else, a task that took over: there is
        nothing to restore here.
        """
        if current.get() is self:
            current.set(None)

    def _not_enterable(self) -> ScopeClosed:
        if self.state > OPEN:
            return ScopeClosed(self._ended_text())
        return ScopeClosed(
            f"scope {self.label!r} was entered already and not left; make a new scope"
            " for each `with` block"
        )

    # -- for integrations --------------------------------------------------------------

    def begin(self) -> None:
        """
        The work begins; making the scope the current one is the caller's matter.

        For requests whose parts run in several contexts.
        """
        if self._token is not None or self.state > OPEN:
            raise self._not_enterable()
        self._token = _BEGUN
        self.registry.in_hand.add(self)

    def finish(self) -> None:
        """
        The work that `begin` began is over: leave the scope.
        """
        self._token = None
        self.registry.in_hand.discard(self)
        if self._children is not None or not self._end_empty():
            self._leave()

    def count_as(self, name: str) -> None:
        """
        Take *name* and count as a unit of work under it.

        For those who learn the template of a route while it is served.
        """
        self.name = self.registry.count_work(name)

    # -- draining ----------------------------------------------------------------------

    def enter_tree(self) -> None:
        """
        Have the shutdown that begins see this unit of work, though it owns nothing.
        """
        if self.work and self._token is not None and self._children is None:
            try:
                self._enter_tree()
            except ScopeClosed:
                return  # it was left this very moment

    @property
    def in_hand(self) -> bool:  # type: ignore[override]
        """
        True while the block of a unit of work still runs somewhere.
        """
        return self.work and self._token is not None and not self._is_here()

    @property
    def drains(self) -> bool:  # type: ignore[override]
        """
        True while there is something to wait for before the close.
        """
        return self.in_hand

    def _drain(self) -> Any:
        self._left = left = threading.Event()
        if self._token is not None:
            # The driver gives up on this at the end of the phase's share; the wait
            # itself is bounded by the longest share there can be.
            left.wait(self.registry.drain_s)

    def _is_here(self) -> bool:
        """
        True when the caller stands inside this very scope: it cannot wait for it.
        """
        at: Branch | None = current.get()
        while at is not None:
            if at is self:
                return True
            at = at.owner
        return False

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Leave the tree; whoever waits for the block to be left need not any longer.
        """
        super().settle(ending)
        if self._left is not None:
            self._left.set()


def checked_name(name: str) -> str:
    """
    The name of a scope, if it is one; raises ValueError.
    """
    if isinstance(name, str) and name:
        return str.__str__(name)
    msg = (
        f"the name of a scope must be a non-empty text, not a {type(name).__qualname__}"
    )
    raise ValueError(msg)
