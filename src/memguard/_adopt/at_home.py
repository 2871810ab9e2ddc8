"""
Closing where an adopted object belongs: in its own event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memguard._kinds.closers import running_loop
from memguard.errors import WouldBlockLoop

if TYPE_CHECKING:
    from memguard._adopt.adopted import Adopted

__all__ = ("close_at_home",)

# Waiting for a loop in another thread is bounded.
_WAIT_S: Final = 30.0


def close_at_home(node: Adopted) -> bool:
    """
    Close *node* in its loop; False where it may be closed right here.

    Waits for the loop of another thread, 30 s at most. Raises WouldBlockLoop where
    the close would have to be awaited in this thread's running loop.
    """
    home = None if node.loop is None else node.loop()
    here = running_loop()
    if node.awaits and here is not None:
        verb = "close()"
        raise WouldBlockLoop(verb, "await handle.aclose()")
    if home is not None and home is not here and home.is_running():
        import asyncio

        future = asyncio.run_coroutine_threadsafe(node.aclose(), home)
        future.result(_WAIT_S)
    elif node.awaits:
        import asyncio

        asyncio.run(node.aclose())
    else:
        return False
    return True
