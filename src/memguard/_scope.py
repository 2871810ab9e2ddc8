"""
Scopes: nodes that own nodes, with a factory for every kind of leaf.

A scope closes what it owns, in the order of `_lifecycle.order`, in the thread or on
the loop that closes it. An empty scope costs about a microsecond and leaves no trace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from memguard._kinds.closers import running_loop
from memguard._kinds.context import Entered
from memguard._kinds.resource import Resource, find_resource
from memguard._kinds.watched import Watched
from memguard._leaves import Leaves
from memguard._lifecycle.drivers import arun_inline, run_inline
from memguard._lifecycle.order import closing_order
from memguard._phases import CLOSED, DRAINING, OPEN, PLAIN, Ending, Phase
from memguard._tree import Branch, current
from memguard.errors import ScopeClosed, WouldBlockLoop

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ("Scope",)

_T = TypeVar("_T")
_set = current.set
_reset = current.reset


class Scope(Leaves):
    """
    A named part of the program's life: a request, a job, a connection.

    Use it with `with` or `async with`; it is then the current scope of the block.
    Leaving closes everything it owns: deeper before shallower, users before what
    they use, newest first. Closing twice does nothing. Registering on a closed scope
    raises ScopeClosed.
    """

    __slots__ = ("_left", "_token", "work")

    def __init__(self, owner: Branch, name: str, *, work: bool = False) -> None:
        # Written out instead of calling super().__init__: this is the hot path of
        # every request, and two calls would cost a third of its budget.
        if owner.state > DRAINING:
            raise ScopeClosed(owner._ended_text())
        self.owner = owner
        self.registry = registry = owner.registry
        if work:
            counter = registry.work.get(name)
            if counter is None:
                name, counter = registry.work_counter(name)
            next(counter)
        self.name = name
        self.state = OPEN
        self.site = None
        self.ending = None
        self.seq = 0
        self.born = 0.0
        self.declared = False
        self.tally = None
        self._children = None
        self._named = None
        self._token: Token[Branch | None] | None = None
        self._left: threading.Event | None = None
        self.work = work

    # -- entering and leaving ----------------------------------------------------------

    def __enter__(self) -> Self:
        if self._token is not None or self.state > OPEN:
            raise self._not_enterable()
        self._token = _set(self)
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
            _reset(token)  # type: ignore[arg-type]
        except (ValueError, TypeError):
            self._left_elsewhere()
        if self._children is None:
            # As `_end_empty`, written out: the way of most requests.
            with self.registry.lock:
                if self._children is None:
                    self.state = CLOSED
                    self.owner = None
                    return
        if self._left is not None:
            self._left.set()
        if running_loop() is not None and self._awaits():
            self._hand_over()
            return
        self._close()

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
            _reset(token)  # type: ignore[arg-type]
        except (ValueError, TypeError):
            self._left_elsewhere()
        if self._left is not None:
            self._left.set()
        await self.aclose()

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

    def count_as(self, name: str) -> None:
        """
        Take *name* and count as a unit of work under it.

        For integrations, which learn the template of a route while it is served.
        """
        registry = self.registry
        counter = registry.work.get(name)
        if counter is None:
            name, counter = registry.work_counter(name)
        next(counter)
        self.name = name

    # -- closing -----------------------------------------------------------------------

    def close(self) -> None:
        """
        Close everything this scope owns, then the scope.

        Raises WouldBlockLoop, and closes nothing, when something has to be awaited
        and an event loop runs in this thread. What fails to close is reported to the
        guard (logged once a site); the rest closes all the same.
        """
        if self._children is None and self._end_empty():
            return
        if running_loop() is not None and self._awaits():
            verb = f"closing scope {self.label!r}"
            raise WouldBlockLoop(verb, "`await scope.aclose()` or `async with`")
        self._close()

    async def aclose(self) -> None:
        """
        Close everything this scope owns, awaiting what has to be awaited.

        A cancellation meanwhile is delivered after everything was closed.
        """
        if self._children is None and self._end_empty():
            return
        if self._stop_intake():
            ordered = closing_order([self])
            closing = arun_inline(ordered, self.registry.clock.monotonic)
            if not any(entry.node.awaits or entry.node.drains for entry in ordered):
                await closing
                return
            await _shielded(closing)

    def _close(self) -> None:
        if self._stop_intake():
            run_inline(closing_order([self]), self.registry.clock.monotonic)

    def _stop_intake(self) -> bool:
        """
        True for the one caller who closes this scope.
        """
        registry = self.registry
        with registry.lock:
            if registry.detached:
                # Inherited through a fork: what it owns belongs to the parent.
                self.state = CLOSED
                self._children = self._named = self.owner = None
                return False
            if self.state >= DRAINING:
                return False
            self.state = DRAINING
            return True

    def _end_empty(self) -> bool:
        """
        End at once if nothing was ever owned.
        """
        with self.registry.lock:
            if self._children is not None:
                return False
            self.state = CLOSED
            self.owner = None
        return True

    def _awaits(self) -> bool:
        return any(node.awaits or node.drains for node in self.walk())

    def _hand_over(self) -> None:
        """
        A `with` block inside a loop owns something that must be awaited.

        Raising from `__exit__` would hide the block's own exception, so a task of
        the loop does the closing.
        """
        self.registry.background(running_loop(), self.aclose())

    @property
    def drains(self) -> bool:  # type: ignore[override]
        """
        True while the block of a unit of work still runs somewhere.
        """
        return self.work and self._token is not None and not self._is_here()

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

    def _release(self) -> None:
        # What was registered between the snapshot of the plan and now.
        for child in reversed(self.children()):
            if isinstance(child, Scope):
                child._close()
            else:
                child.close()

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Leave the tree, and drop children and parent.
        """
        super().settle(ending)
        self._children = None
        self._named = None

    # -- leaves ------------------------------------------------------------------------

    def scope(self, name: str, *, work: bool = True) -> Scope:
        """
        A child scope. With *work* it is a unit of work and counted under its name.

        Names are templates ("GET /users/<id>"), never ids: after 200 different ones
        the rest is counted as `other`. `work=False` is for long connections, whose
        messages are the units.
        """
        if type(name) is not str or not name:
            msg = f"the name of a scope must be a non-empty text, not {name!r}"
            raise ValueError(msg)
        return Scope(self, name, work=work)

    def register(
        self,
        obj: _T,
        *,
        kind: str | None = None,
        name: str | None = None,
        close: str | Callable[[_T], Any] | None = None,
        keep: bool = False,
        uses: Sequence[Any] = (),
        phase: Phase | str | None = None,
        timeout: float | str | None = None,
        memory: int | str | Callable[[_T], int] | None = None,
        affinity: str | None = None,
    ) -> _T:
        """
        Own *obj*, which somebody else made, and return it.

        It is referenced weakly unless *keep*: an object collected before it was
        closed is a MemguardResourceWarning with its creation site. *close* is a
        method's name or a callable that takes the object; without it the type
        decides. *uses* are registered objects it needs until its own close. *phase*
        defaults by type, *timeout* is 1 s, *memory* a size or a function of the
        object, *affinity* where the close may run: any, thread or loop of now.

        Raises TypeError for what cannot be weakly referenced, ValueError for a bad
        option, OrderError for an order that cannot be, ScopeClosed.
        """
        resource = Resource(self, obj, name=name, keep=keep)
        resource.site = self.registry.sites.here()
        if (
            close is not None
            or kind is not None
            or phase is not None
            or timeout is not None
            or memory is not None
            or affinity is not None
            or uses
        ):
            resource.configure(
                kind=kind,
                close=close,
                uses=uses,
                phase=phase,
                timeout=timeout,
                memory=memory,
                affinity=affinity,
            )
        resource.attach()
        return obj

    def release(self, obj: object) -> bool:
        """
        Forget *obj*, because its user closed it; False when it was not registered.
        """
        node = find_resource(self.registry, obj)
        if node is None or not node.claim():
            return False
        node.settle()
        return True

    def watch(self, obj: object, reason: str) -> None:
        """
        Expect *obj* to be gone once this scope has ended; the audit names it if not.
        """
        Watched(self, obj, reason).attach()

    def enter(self, manager: AbstractContextManager[_T]) -> _T:
        """
        Enter *manager* now, leave it when the scope closes. As ExitStack does.
        """
        node = Entered(self, manager, is_async=False)
        value = manager.__enter__()
        return self._hold(node, value)

    async def aenter(self, manager: AbstractAsyncContextManager[_T]) -> _T:
        """
        Enter the asynchronous *manager* now, leave it when the scope closes.
        """
        node = Entered(self, manager, is_async=True)
        value = await manager.__aenter__()
        try:
            return self._hold(node, value)
        except ScopeClosed:
            await manager.__aexit__(None, None, None)
            raise

    def _hold(self, node: Entered, value: _T) -> _T:
        try:
            node.attach()
        except ScopeClosed:
            if not node.awaits:
                node._release()
            raise
        return value


async def _shielded(closing: Coroutine[Any, Any, None]) -> None:
    """
    Finish *closing* even if this task is cancelled; then let the cancel through.
    """
    import asyncio

    task = asyncio.ensure_future(closing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        # Each close is bounded by the caller's own patience: one more wait, and a
        # second cancellation ends it.
        await asyncio.wait([task], timeout=_CANCELLED_S)
        raise


_CANCELLED_S = 30.0
