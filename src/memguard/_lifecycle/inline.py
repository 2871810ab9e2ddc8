"""
Closing a small part of the tree in place, without deadlines, as an ExitStack would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from memguard._lifecycle.batch import Batch
from memguard._lifecycle.perform import end_children, harder
from memguard._lifecycle.waiting import (
    InThread,
    Patiently,
    perform_in_thread,
    perform_on_loop,
)

if TYPE_CHECKING:
    from memguard._lifecycle.order import Entry
    from memguard._tree import Branch, Node

__all__ = ("aend_inline", "arun_inline", "end_inline", "run_inline")

_IN_THREAD = InThread()
_block = _IN_THREAD.block


def run_inline(ordered: list[Entry], now: Callable[[], float]) -> BaseException | None:
    """
    Close *ordered* here and now, one after the other.

    Returns a KeyboardInterrupt or a SystemExit, for the caller to raise when all is
    done.
    """
    batch = Batch(deque(), "any", planned=False)
    for entry in ordered:
        perform_in_thread(entry, batch, now, _IN_THREAD)
    return batch.interrupt


async def arun_inline(
    ordered: list[Entry], now: Callable[[], float]
) -> BaseException | None:
    """
    Close *ordered* on the running loop, one after the other, in this task.

    A cancellation meanwhile is returned, like a KeyboardInterrupt.
    """
    batch = Batch(deque(), "loop", planned=False)
    waiting = Patiently()
    for entry in ordered:
        await perform_on_loop(entry, batch, now, waiting)
    return batch.interrupt or waiting.cancelled


def end_inline(branch: Branch) -> BaseException | None:
    """
    Close the leaves of *branch*, newest first; for branches that own nothing else.
    """
    return end_children(branch, _block)


async def aend_inline(branch: Branch) -> BaseException | None:
    """
    As `end_inline`; what turns out to be awaitable is awaited when all is closed.
    """
    left: list[tuple[Node, Awaitable[Any]]] = []

    def later(node: Node, awaitable: Awaitable[Any]) -> bool:
        left.append((node, awaitable))
        return False

    interrupt = end_children(branch, later)
    if not left:
        return interrupt
    waiting = Patiently()
    for node, awaitable in left:
        try:
            await waiting.result(node, awaitable)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                interrupt = error
            node.settle(harder(node, node.label, "", error))
        else:
            node.settle()
    return interrupt or waiting.cancelled
