"""
One entry, performed: drain, close, and what to do when that fails.

The only place where foreign clean-up code is called. No lock is held meanwhile.
Nothing raises out of here: every ending is recorded on the entry and on its node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from memguard._lifecycle.order import Entry
from memguard._lifecycle.plan import Batch
from memguard._phases import CLOSED, DRAINING, NEW, OPEN, Ending, Outcome
from memguard._sites import call_site, error_site
from memguard._tree import Node

__all__ = ("aperform", "finish", "perform")

# How to wait for an awaitable from a thread: given by the driver.
Waiter = Callable[[Node, Awaitable[Any]], Any]


class LoopGone(Exception):
    """
    Raised by a waiter when the loop that could run an awaitable is closed.
    """


def perform(batch: Batch, entry: Entry, now: Callable[[], float], wait: Waiter) -> None:
    """
    Close one entry in this thread; awaitables are handed to *wait*.
    """
    node = entry.node
    begun = now()
    try:
        for step in _steps(batch, entry):
            result = step()
            if result is not None and hasattr(result, "__await__"):
                wait(node, result)
    except LoopGone as gone:
        _harder(entry, str(gone), now() - begun)
    except BaseException as error:
        _interrupted(batch, error)
        _harder(entry, _told(error), now() - begun, error)
    else:
        _settled(batch, entry, now() - begun)


async def aperform(batch: Batch, entry: Entry, now: Callable[[], float]) -> None:
    """
    Close one entry on the running loop.
    """
    begun = now()
    try:
        for step in _steps(batch, entry):
            result = step()
            if result is not None and hasattr(result, "__await__"):
                await result
    except BaseException as error:
        if batch.disowned and type(error).__name__ == "CancelledError":
            raise  # the driver cancels what it has abandoned
        _interrupted(batch, error)
        _harder(entry, _told(error), now() - begun, error)
    else:
        _settled(batch, entry, now() - begun)


def _steps(batch: Batch, entry: Entry) -> Any:
    """
    What has to be called, one after the other; each may return an awaitable.
    """
    node = entry.node
    if batch.stage == "force":
        yield node._force
        return
    if batch.stage == "drain":
        entry.bytes_held = _bytes(node)
        if node.drains:
            if node.state == OPEN:
                node.state = DRAINING
            yield node._drain
        if batch.disowned:
            return  # the drain outlived its share; somebody else closes it
        batch.stage = "close"
    if node.declared:
        yield node._disarm
    elif node.claim():
        yield node._release


def _settled(batch: Batch, entry: Entry, seconds: float) -> None:
    if batch.disowned and batch.stage == "drain":
        return  # the drain outlived its share, and somebody else closes it
    ms = seconds * 1000
    if batch.stage == "force":
        finish(entry, Ending(Outcome.FORCED, "did not close in time", ms))
    else:
        finish(entry, Ending(Outcome.CLOSED, "", ms))


def _harder(
    entry: Entry, reason: str, seconds: float, error: BaseException | None = None
) -> None:
    """
    After a failed close: force it where that is possible, else say why not.
    """
    node = entry.node
    if error is not None:
        node.registry.failures.record(
            f"closing {node.kind} {entry.label}", error, call_site(node.site)
        )
    outcome = Outcome.UNCLOSABLE
    if node.forces:
        try:
            node._force()
            outcome = Outcome.FORCED
        except Exception as second:
            reason = f"{reason}; forcing it: {_told(second)}"
    finish(entry, Ending(outcome, reason, seconds * 1000))


def finish(entry: Entry, ending: Ending) -> bool:
    """
    Record *ending* on the entry and its node, once; False when it had one.
    """
    if not entry.finish(ending):
        return False
    node = entry.node
    if node.declared:
        node.state = NEW
        node.ending = ending
    elif node.state != CLOSED:
        node.settle(ending)
    return True


def _bytes(node: Node) -> int | None:
    try:
        return node.memory_bytes()
    except Exception as error:
        node.registry.failures.record("memory_bytes", error, call_site(node.site))
        return None


def _told(error: BaseException) -> str:
    """
    Type and place of an error; never its text, which may hold a user's value.
    """
    where = error_site(error)
    name = type(error).__qualname__
    return f"{name} at {where}" if where else name


def _interrupted(batch: Batch, error: BaseException) -> None:
    """
    Keep a KeyboardInterrupt or a SystemExit for the end: the rest closes first.
    """
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        batch.interrupt = error
