"""
How a branch comes to own what somebody else made: objects and context managers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from sys import _getframe
from typing import TYPE_CHECKING, Any, TypeVar

from memguard._kinds.context import Entered
from memguard._kinds.options import configure
from memguard._kinds.references import find_resource
from memguard._kinds.resource import Resource
from memguard._kinds.watched import Watched
from memguard._leaves import Leaves
from memguard._phases import DRAINING, Phase
from memguard._sites import outside
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from memguard.typing import Duration, Size

__all__ = ("Registering",)

_T = TypeVar("_T")


class Registering(Leaves):
    """
    A branch that registers objects, enters context managers and watches objects.
    """

    __slots__ = ()

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
        timeout: Duration | None = None,
        memory: Size | Callable[[_T], int] | None = None,
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
        # The hot path of memguard, so `attach`, `_join` and `take` are written out.
        registry = self.registry
        if self.state > DRAINING or registry.detached:
            raise ScopeClosed(self._ended_text())
        if registry.collected:
            registry.settle_collected()
        resource = Resource(self, obj, name, keep)
        info = resource.info
        plain = info.plain
        if close is not None and close is not info.close:
            resource.close_with(close)
            plain = resource.plain
        if (
            not plain
            or kind is not None
            or phase is not None
            or timeout is not None
            or memory is not None
            or affinity is not None
            or uses
        ):
            configure(
                resource,
                kind=kind,
                uses=uses,
                phase=phase,
                timeout=timeout,
                memory=memory,
                affinity=affinity,
            )
            plain = resource.plain
        frame = _getframe(1)
        code = frame.f_code
        if resource.seq & registry.sites.mask and code.co_filename in outside:
            resource._site = code  # type: ignore[assignment]  # see its `site`
            resource._lasti = frame.f_lasti
        else:
            resource._site = registry.sites.take(frame, resource.seq)
        children = self._children
        if children is None:
            site: Any = resource._site
            children = self._enter_tree(
                (code, resource._lasti) if site is code else site
            )
        if not plain:
            self._mixed = True
        kind = kind or info.kind
        tally = None if name else registry.unnamed.get(kind)
        resource.tally = tally = tally or registry.tally(kind, name or "")
        tally.made()
        resource.born = registry.now()
        if keep:
            resource.note_kept()
        children[resource] = None
        if self.state > DRAINING:
            self._refuse(resource, children)
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
