"""
Steps that close a session or a connection, on the loop where that has to happen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memguard._kinds.closers import running_loop
from memguard._scope import Scope
from memguard._sessions.steps import Refusal, Steps, run, start, whole
from memguard.errors import WouldBlockLoop

if TYPE_CHECKING:
    from memguard._registry import Registry
    from memguard._tree import Node

__all__ = ("Apart", "Close", "dispose", "must_await")


class Close:
    """
    Close a session or a connection with everything on it.

    With *later* a loop that must not wait gets a task that closes it.
    """

    __slots__ = ("_later", "_scope")

    def __init__(self, scope: Scope, *, later: bool = False) -> None:
        self._scope = scope
        self._later = later

    def perform(self, refusal: Refusal) -> None:
        scope = self._scope
        here = running_loop()
        if here is None or not must_await(scope, here):
            scope._close()
        elif self._later:
            scope.registry.background(here, Scope.aclose(scope))
        else:
            raise WouldBlockLoop(*refusal)

    async def aperform(self) -> None:
        await Scope.aclose(self._scope)


class Apart:
    """
    Steps that nobody's cancellation may cut short: another session's, mostly.

    They raise nothing themselves. A synchronous caller inside a loop does not wait
    for them if they have to await something: *scope*, or hooks, as *awaits* says.
    """

    __slots__ = ("_awaits", "_registry", "_scope", "_steps")

    def __init__(
        self,
        registry: Registry,
        steps: Steps[None],
        scope: Scope | None,
        *,
        awaits: bool = False,
    ) -> None:
        self._registry = registry
        self._steps = steps
        self._scope = scope
        self._awaits = awaits

    def perform(self, refusal: Refusal) -> None:
        here = running_loop()
        if here is not None and (self._awaits or must_await(self._scope, here)):
            _ = start(self._registry, self._steps)
        else:
            run(self._steps, refusal)

    async def aperform(self) -> None:
        await whole(self._registry, self._steps)


def dispose(scope: Scope) -> None:
    """
    Close *scope* from wherever this is, without waiting for a loop.
    """
    Close(scope, later=True).perform(("closing a session", "`async with`"))


def must_await(scope: Scope | None, here: Any) -> bool:
    """
    True where the loop *here* would stand still while *scope* closes.
    """
    if scope is None:
        return False
    return any(
        node.awaits or node.drains or _loop_elsewhere(node, here)
        for node in scope.walk()
    )


def _loop_elsewhere(node: Node, here: Any) -> bool:
    if node.affinity != "loop":
        return False
    reference = getattr(node, "loop", None)
    loop = None if reference is None else reference()
    return loop is not None and loop is not here and loop.is_running()
