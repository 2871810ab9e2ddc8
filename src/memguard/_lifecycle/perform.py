"""
One entry, performed: drain, close, and what to do when that fails.

The only place where foreign clean-up code is called. No lock is held meanwhile.
Nothing raises out of here: every ending is recorded on the entry and on its node.
Written once, as coroutines; `run_now` performs them in a thread, where nothing ever
has to be suspended, because the waiting is done by blocking.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from memguard._lifecycle.batch import CLOSE, DRAIN, FORCE, At, Batch
from memguard._phases import (
    CLOSED,
    CLOSING,
    DRAINING,
    NEW,
    OPEN,
    PLAIN,
    Ending,
    Outcome,
)
from memguard._sites import call_site, error_site
from memguard._tree import COLLECTED, Branch, Gone, Node

if TYPE_CHECKING:
    from memguard._lifecycle.order import Entry

__all__ = ("LoopGone", "Waiting", "end_children", "finish", "perform", "run_now")

_T = TypeVar("_T")
# How often a close that somebody else has in hand is looked at; the plan gives up on
# it long before.
_LOOKS: Final = 10_000
# A close may register something new, which is closed as well; but not for ever.
_ROUNDS: Final = 100


class Waiting(Protocol):
    """
    How the one who performs waits: by blocking a thread, or on a loop.
    """

    async def result(self, node: Node, awaitable: Awaitable[Any]) -> None:
        """
        Come back when *awaitable* is done; raises what it raises, and LoopGone.
        """

    async def pause(self) -> None:
        """
        Come back a moment later.
        """


class LoopGone(Exception):
    """
    Raised by a waiting when the loop that could run an awaitable is closed.
    """


def run_now(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """
    Run a coroutine that never has to be suspended.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: _T = stop.value
        return result
    coroutine.close()
    msg = "a close was to wait on a loop, but it runs in a thread"
    raise AssertionError(msg)


async def perform(
    entry: Entry, batch: Batch, now: Callable[[], float], waiting: Waiting
) -> None:
    """
    Drain and close one entry, or begin with a later stage if the batch says so.
    """
    node = entry.node
    begun = now()
    if batch.stage != DRAIN:
        batch.at = At(entry, batch.stage, begun)
    elif not node.drains or entry.drain is not None:
        # The drain of a branch with work in hand is an entry of its own.
        batch.at = At(entry, CLOSE, begun)
        if batch.planned:
            entry.bytes_held = _bytes(node)
    else:
        batch.at = At(entry, DRAIN, begun)
        await _drain(entry, batch, waiting)
        if batch.disowned:
            return  # it outlived its share, and somebody else goes on with the entry
        batch.at = At(entry, CLOSE, now())
    if not entry.closes:
        finish(entry, Ending(Outcome.CLOSED, entry.trouble, (now() - begun) * 1000))
        return
    error: BaseException | None = None
    if batch.stage == FORCE:
        node.claim()
        ending = harder(node, entry.label, "did not close in time")
    else:
        if node.declared:
            error = await _attempt(node._disarm, node, batch, waiting)
        elif node.claim():
            error = await _attempt(node._release, node, batch, waiting)
        elif batch.planned:
            await _others(entry, waiting)
        ending = PLAIN if error is None else harder(node, entry.label, "", error)
    ms = (now() - begun) * 1000
    reason = "; ".join(filter(None, (entry.trouble, ending.reason)))
    finish(entry, Ending(ending.outcome, reason, ms, entry.stack))


async def _drain(entry: Entry, batch: Batch, waiting: Waiting) -> None:
    node = entry.node
    if batch.planned and entry.closes:
        entry.bytes_held = _bytes(node)
    if node.state == OPEN:
        node.state = DRAINING
    error = await _attempt(node._drain, node, batch, waiting)
    if error is not None:
        _record(node, entry.label, "draining", error)
        entry.trouble = f"its drain failed: {_told(error)}"


async def _others(entry: Entry, waiting: Waiting) -> None:
    """
    Somebody else closes it at this moment. What comes after it in the order has to
    wait for that; the plan gives up on it like on any other close.
    """
    looks = _LOOKS
    while looks and entry.node.state != CLOSED and not entry.done:
        await waiting.pause()
        looks -= 1


async def _attempt(
    step: Callable[[], Any], node: Node, batch: Batch, waiting: Waiting
) -> BaseException | None:
    """
    Call *step* and await what it gives; the error, if it fails.
    """
    try:
        result = step()
        if result is not None and hasattr(result, "__await__"):
            await waiting.result(node, result)
    except BaseException as error:
        if batch.disowned and type(error).__name__ == "CancelledError":
            raise  # the driver cancels what it has abandoned
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            batch.interrupt = error  # raised at the end: the rest closes first
        return error
    return None


def end_children(
    branch: Branch, wait: Callable[[Node, Awaitable[Any]], bool]
) -> BaseException | None:
    """
    End what *branch* owns, newest first, until there is nothing left to end.

    For leaves that are `plain`, and for what comes while a branch is about to end:
    without a plan and its records. *wait* is given what turns out to be awaitable;
    where it returns False the caller settles that leaf. Returns a KeyboardInterrupt or
    a SystemExit for the caller to raise when everything else is done.
    """
    interrupt: BaseException | None = None
    for _ in range(_ROUNDS):
        going_on = False
        # As `branch.children()`, and then as `node.claim()`, written out: the way of
        # every request that owns something.
        for node in reversed(list(branch._children or ())):
            try:
                del node._claim
            except AttributeError:
                continue  # somebody else ends it
            node.state = CLOSING
            going_on = True
            try:
                result = node._release()
                if (
                    result is not None
                    and hasattr(result, "__await__")
                    and not wait(node, result)
                ):
                    continue
            except BaseException as error:
                if isinstance(error, (KeyboardInterrupt, SystemExit)):
                    interrupt = error
                node.settle(harder(node, node.label, "", error))
            else:
                node.settle()
        if not (going_on and branch._children):
            break
    return interrupt


def harder(
    node: Node, label: str, reason: str, error: BaseException | None = None
) -> Ending:
    """
    After a failed close: force it where that is possible, else say why not.
    """
    if isinstance(error, Gone):
        node.registry.tell_collected(node)
        return COLLECTED
    if error is not None:
        if not isinstance(error, LoopGone):
            _record(node, label, "closing", error)
        reason = _told(error)
    outcome = Outcome.UNCLOSABLE
    if node.forces:
        try:
            node._force()
            outcome = Outcome.FORCED
        except Exception as second:
            _record(node, label, "forcing", second)
            reason = f"{reason}; forcing it: {_told(second)}"
    return Ending(outcome, reason)


def finish(entry: Entry, ending: Ending) -> bool:
    """
    Record *ending* on the entry and its node, once; False when it had one.
    """
    if not entry.finish(ending):
        return False
    node = entry.node
    if not entry.closes:
        return True
    if node.declared:
        node.state = NEW
        node.ending = ending
    elif node.state != CLOSED:
        node.settle(PLAIN if _is_plain(ending) else ending)
    return True


def _is_plain(ending: Ending) -> bool:
    return ending.outcome is Outcome.CLOSED and not ending.reason


def _record(node: Node, label: str, what: str, error: BaseException) -> None:
    where = f"{what} {node.kind} {label}"
    node.registry.failures.record(where, error, call_site(node.site))


def _bytes(node: Node) -> int | None:
    try:
        return node.memory_bytes()
    except Exception as error:
        _record(node, node.label, "memory_bytes of", error)
        return None


def _told(error: BaseException) -> str:
    """
    Type and place of an error; never its text, which may hold a user's value.
    """
    if isinstance(error, LoopGone):
        return str(error)
    where = error_site(error)
    name = type(error).__qualname__
    return f"{name} at {where}" if where else name
