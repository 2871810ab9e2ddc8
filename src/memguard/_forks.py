"""
One fork hook for the whole process.

`os.register_at_fork` cannot be undone, so it is called once, and the hook looks at a
weak set: an object that is gone needs nothing, and none is kept alive.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ("ForkAware", "tell_after_fork")


class ForkAware(Protocol):
    """
    Something that has to renew itself in a forked child.
    """

    def _after_fork_in_child(self) -> None: ...


_aware: WeakSet[ForkAware] = WeakSet()
_registered = False


def tell_after_fork(one: ForkAware) -> None:
    """
    Call `_after_fork_in_child` of *one*, while it lives, in every forked child.
    """
    global _registered
    _aware.add(one)
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(after_in_child=_after_in_child)


def _after_in_child() -> None:
    # No logging and no lock of the parent here: a thread that does not exist in the
    # child may have held them.
    for one in tuple(_aware):
        one._after_fork_in_child()
