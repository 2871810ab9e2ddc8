"""
Leases: how a member of a pool is taken and given back, in a thread or on a loop.

The pool decides in generators; the lease performs the calls and the waits they yield.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from memguard._kinds.closers import running_loop
from memguard._latch import Latch
from memguard._records import record
from memguard.errors import WouldBlockLoop

__all__ = ("Call", "Lease", "Wait", "Waiter")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


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

    def wake(self) -> None:
        """
        Let who waits look again, with nothing in hand.
        """
        self._latch.set()

    def wait(self, timeout: float) -> bool:
        return self._latch.wait(timeout)

    async def await_(self, timeout: float) -> bool:
        return await self._latch.await_(timeout)


@record
class Call:
    """
    Call a function of the user; its result may be awaitable.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]


@record
class Wait:
    """
    Wait for a place in the line, in seconds.
    """

    waiter: Waiter
    timeout: float


class Lender(Protocol[T_co]):
    """
    What a lease needs of a pool.
    """

    name: str | None

    def take_steps(self) -> Generator[Any, Any, T_co]: ...

    def give_back_steps(self, member: Any) -> Generator[Any, Any, None]: ...


class Lease(Generic[T]):
    """
    One member for the length of one block. A lease is used once.
    """

    __slots__ = ("_member", "_pool", "_taken")

    def __init__(self, pool: Lender[T]) -> None:
        self._pool = pool
        self._member: T | None = None
        self._taken = False

    def __enter__(self) -> T:
        self._once()
        self._member = member = _drive(self._pool.take_steps(), self._pool.name)
        return member

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        member, self._member = self._member, None
        _drive(self._pool.give_back_steps(member), self._pool.name)

    async def __aenter__(self) -> T:
        self._once()
        self._member = member = await _adrive(self._pool.take_steps())
        return member

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        member, self._member = self._member, None
        await _adrive(self._pool.give_back_steps(member))

    def _once(self) -> None:
        if self._taken:
            msg = (
                f"a lease of pool {self._pool.name!r} was used already; call acquire()"
                " for each block"
            )
            raise RuntimeError(msg)
        self._taken = True


def _drive(steps: Generator[Any, Any, T], name: str | None) -> T:
    try:
        step = next(steps)
        while True:
            try:
                result = _perform(step, name)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


def _perform(step: Any, name: str | None) -> Any:
    if isinstance(step, Wait):
        if running_loop() is not None and not step.waiter.filled:
            verb = f"acquiring from pool {name!r}"
            raise WouldBlockLoop(verb, "`async with pool.acquire()`")
        return step.waiter.wait(step.timeout)
    result = step.fn(*step.args)
    if result is not None and hasattr(result, "__await__"):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        msg = (
            f"pool {name!r} is made with asynchronous functions; use"
            " `async with pool.acquire()`"
        )
        raise TypeError(msg)
    return result


async def _adrive(steps: Generator[Any, Any, T]) -> T:
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, Wait):
                    result = await step.waiter.await_(step.timeout)
                else:
                    result = step.fn(*step.args)
                    if result is not None and hasattr(result, "__await__"):
                        result = await result
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value
