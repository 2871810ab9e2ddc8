"""
Leases: how a member of a pool is taken and given back, in a thread or on a loop.

The pool decides in generators; `drive` and `adrive` perform what they yield.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memguard._kinds.closers import running_loop
from memguard._kinds.standin import Ticket, stand_in
from memguard._latch import Latch
from memguard.errors import WouldBlockLoop

if TYPE_CHECKING:
    from memguard._kinds.members import Member
    from memguard._kinds.pool import Pool

__all__ = ("Call", "Lease", "Wait", "Waiter", "adrive", "drive")

T = TypeVar("T")


class Waiter:
    """
    One place in the line of a pool.
    """

    __slots__ = ("_latch", "filled", "value")

    def __init__(self) -> None:
        self._latch = Latch()
        self.filled = False
        self.value: Any = None

    def fill(self, value: Any) -> None:
        """
        Hand *value* to who waits. The caller holds the pool's lock.
        """
        self.value = value
        self.filled = True
        self._latch.set()

    def wait(self, timeout: float) -> bool:
        """
        Block this thread for at most *timeout* seconds.
        """
        return self._latch.wait(timeout)

    async def await_(self, timeout: float) -> bool:
        """
        Wait on this loop for at most *timeout* seconds.
        """
        return await self._latch.await_(timeout)


class Call:
    """
    Call a function of the user; its result may be awaitable. `awaited` tells if it was.
    """

    __slots__ = ("args", "awaited", "fn")

    def __init__(self, fn: Callable[..., Any], *args: Any) -> None:
        self.fn = fn
        self.args = args
        self.awaited = False


class Wait:
    """
    Wait for a place in the line, in seconds.
    """

    __slots__ = ("timeout", "waiter")

    def __init__(self, waiter: Waiter, timeout: float) -> None:
        self.waiter = waiter
        self.timeout = timeout


class Lease(Generic[T]):
    """
    One member for the length of one `with` or `async with` block. Used once.
    """

    __slots__ = ("_member", "_pool", "_taken", "_turn")

    def __init__(self, pool: Pool[T]) -> None:
        self._pool = pool
        self._member: Member[T] | None = None
        self._taken = False
        self._turn = 0

    def __enter__(self) -> T:
        self._once()
        if self._pool.is_async:
            raise _needs_async(self._pool.label)
        pool = self._pool
        return self._lend(pool.take_at_once() or drive(pool.take_steps(), pool.label))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        member, self._member = self._member, None
        if member is None:
            return
        pool, turn = self._pool, self._turn
        kept = pool.give_back_at_once(member, turn)
        if kept is None:
            drive(pool.give_back_steps(member, turn), pool.label)
        elif not kept:
            drive(pool.drop_steps(member), pool.label)

    async def __aenter__(self) -> T:
        self._once()
        pool = self._pool
        member = pool.take_at_once()
        if member is None:
            member = await adrive(pool.take_steps())
        return self._lend(member)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        member, self._member = self._member, None
        if member is None:
            return
        pool, turn = self._pool, self._turn
        kept = pool.give_back_at_once(member, turn)
        if kept is None:
            await adrive(pool.give_back_steps(member, turn))
        elif not kept:
            await adrive(pool.drop_steps(member))

    @property
    def value(self) -> T:
        """
        The member itself, in strict mode too; for functions in C that refuse a
        stand-in. Raises RuntimeError outside the block.
        """
        member = self._member
        if member is None or member.turn != self._turn:
            msg = (
                f"this lease of pool {self._pool.label!r} has no member; enter it with"
                " `with`, and do not give the member back before the block ends"
            )
            raise RuntimeError(msg)
        return member.value

    def _lend(self, member: Member[T]) -> T:
        self._member = member
        self._turn = member.turn
        if not self._pool.is_strict:
            return member.value
        pool = self._pool
        member.ticket = Ticket(member.value, pool.label, pool.registry)
        return stand_in(member.ticket)  # type: ignore[no-any-return]

    def _once(self) -> None:
        if self._taken:
            msg = (
                f"a lease of pool {self._pool.label!r} was used already; call acquire()"
                " for each block"
            )
            raise RuntimeError(msg)
        self._taken = True


def drive(steps: Generator[Any, Any, T], label: str) -> T:
    """
    Perform what *steps* yield, in this thread. *label* is the pool's, for errors.
    """
    try:
        step = next(steps)
        while True:
            try:
                result = _perform(step, label)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


def _perform(step: Any, label: str) -> Any:
    if isinstance(step, Wait):
        if running_loop() is not None and not step.waiter.filled:
            verb = f"acquiring from pool {label!r}"
            raise WouldBlockLoop(verb, "`async with pool.acquire()`")
        return step.waiter.wait(step.timeout)
    result = step.fn(*step.args)
    if _is_awaitable(result):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        raise _needs_async(label)
    return result


def _needs_async(label: str) -> TypeError:
    return TypeError(
        f"pool {label!r} is made with asynchronous functions; use `async with"
        " pool.acquire()`"
    )


async def adrive(steps: Generator[Any, Any, T]) -> T:
    """
    Perform what *steps* yield, on the running loop.
    """
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, Wait):
                    result = await step.waiter.await_(step.timeout)
                else:
                    result = step.fn(*step.args)
                    if _is_awaitable(result):
                        step.awaited = True
                        result = await result
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


def _is_awaitable(result: Any) -> bool:
    return hasattr(type(result), "__await__")
