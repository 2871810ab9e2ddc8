"""
One fork hook for the whole process.

`os.register_at_fork` cannot be undone, so it is called once, and the hook looks at
weak sets: an object that is gone needs nothing, and none is kept alive.
"""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakSet

__all__ = ("ForkAware", "ForkWary", "tell_after_fork", "tell_around_forks")


class ForkAware(Protocol):
    """
    Something that has to renew itself in a forked child.
    """

    def _after_fork_in_child(self) -> None: ...


class ForkWary(ForkAware, Protocol):
    """
    Something that must not be in use while the process forks.
    """

    def _before_fork(self) -> None: ...

    def _after_fork_in_parent(self) -> None: ...


class _Hook:
    """
    Who is told, those of the process before the guards.
    """

    def __init__(self) -> None:
        self.wary: WeakSet[ForkWary] = WeakSet()
        self.first: WeakSet[ForkAware] = WeakSet()
        self.then: WeakSet[ForkAware] = WeakSet()
        self._registered = False

    def register(self) -> None:
        if not self._registered and hasattr(os, "register_at_fork"):
            self._registered = True
            os.register_at_fork(
                before=self._before,
                after_in_parent=self._after_in_parent,
                after_in_child=self._after_in_child,
            )

    def _before(self) -> None:
        for one in tuple(self.wary):
            one._before_fork()

    def _after_in_parent(self) -> None:
        for one in tuple(self.wary):
            one._after_fork_in_parent()

    def _after_in_child(self) -> None:
        # No logging and no lock of the parent here: a thread that does not exist in
        # the child may have held them.
        for one in (*self.wary, *self.first, *self.then):
            one._after_fork_in_child()


_hook: Final = _Hook()


def tell_after_fork(one: ForkAware, *, first: bool = False) -> None:
    """
    Call `_after_fork_in_child` of *one*, while it lives, in every forked child.

    What is told *first* opens descriptors that a guard's new baseline has to contain.
    """
    (_hook.first if first else _hook.then).add(one)
    _hook.register()


def tell_around_forks(one: ForkWary) -> None:
    """
    Call `_before_fork` of *one*, while it lives, and then what its side is called for.
    """
    _hook.wary.add(one)
    _hook.register()
