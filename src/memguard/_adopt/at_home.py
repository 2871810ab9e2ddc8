"""
Where an adopted object belongs: its event loop, its threads, and closing it there.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from memguard._kinds.closers import running_loop
from memguard._sites import frames_text
from memguard.errors import WouldBlockLoop

if TYPE_CHECKING:
    from memguard._adopt.adopted import Adopted

__all__ = ("close_at_home", "home_of", "release_at_home", "stack_of")

# Waiting for a loop in another thread is bounded.
_WAIT_S: Final = 30.0


def close_at_home(node: Adopted) -> bool:
    """
    Close *node* in its loop; False where it may be closed right here.

    Waits for the loop of another thread, 30 s at most. Raises WouldBlockLoop where
    the close would have to be awaited in this thread's running loop, or would hold it.
    """
    home = None if node.loop is None else node.loop()
    here = running_loop()
    if here is not None and (node.awaits or node.adapter.waits):
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


async def release_at_home(node: Adopted) -> None:
    """
    Release *node*, which is claimed: in this loop, or beside it where that waits.
    """
    if node.adapter.waits:
        import asyncio

        await asyncio.to_thread(node._release)
        return
    result = node._release()
    if result is not None and hasattr(result, "__await__"):
        await result


def home_of(node: Adopted) -> ref[Any] | None:
    """
    The loop *node* is bound to: the one its object names, else that of its adoption.
    """
    adapter = node.adapter
    obj = node.target() if adapter.affinity == "loop" else None
    found = None
    if obj is not None:
        try:
            found = adapter.loop_of(obj)
        except Exception as error:  # a half-built or half-closed object may raise
            node.failed("finding the loop", error)
    return node.home if found is None else ref(found)


def stack_of(node: Adopted) -> str:
    """
    Where the threads of its object stand, innermost first; places, no values.
    """
    obj = node.target()
    if obj is None:
        return ""
    frames = sys._current_frames()
    texts = (frames_text(frames.get(one)) for one in node.adapter.threads_of(obj))
    return "\n".join(filter(None, texts))
