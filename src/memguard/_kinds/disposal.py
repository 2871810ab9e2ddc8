"""
How members of a pool are ended: by the function given, else as their type is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from memguard._kinds.closers import info_of, is_coroutine

__all__ = ("Disposal", "Pending")


class Disposal:
    """
    Ends members one by one; a failure is told and does not spare the others.
    """

    __slots__ = ("_dispose", "_record")

    def __init__(
        self,
        dispose: Callable[[Any], Any] | None,
        record: Callable[[str, BaseException], None],
    ) -> None:
        self._dispose = dispose
        self._record = record

    def way(self, member: Any) -> Callable[[Any], Any] | None:
        """
        The function that ends *member*; None where there is nothing to do.
        """
        if self._dispose is not None:
            return self._dispose
        close = info_of(member).close
        if isinstance(close, str):
            name = close
            return lambda one: getattr(one, name)()
        return close

    def awaits(self, member: Any) -> bool:
        """
        True where *member* is ended by a coroutine function.
        """
        if self._dispose is not None:
            return is_coroutine(self._dispose)
        close = info_of(member).close
        if isinstance(close, str):
            return is_coroutine(getattr(type(member), close, None))
        return is_coroutine(close)

    def end_all(self, members: list[Any]) -> Pending | None:
        """
        End *members*; what has to be awaited comes back as one awaitable.
        """
        pending: list[Any] = []
        for member in members:
            how = self.way(member)
            if how is None:
                continue
            try:
                result = how(member)
            except Exception as error:  # the others are ended all the same
                self._record("dispose", error)
                continue
            if hasattr(type(result), "__await__"):
                pending.append(result)
        return Pending(pending, self._record) if pending else None


class Pending:
    """
    Endings that have to be awaited, one after the other; or closed, if nobody can.
    """

    __slots__ = ("_awaitables", "_record")

    def __init__(
        self, awaitables: list[Any], record: Callable[[str, BaseException], None]
    ) -> None:
        self._awaitables = awaitables
        self._record = record

    def __await__(self) -> Generator[Any, None, None]:
        return self.run().__await__()

    async def run(self) -> None:
        """
        Await them all.
        """
        while self._awaitables:
            try:
                await self._awaitables.pop(0)
            except Exception as error:  # the others are ended all the same
                self._record("dispose", error)

    def close(self) -> None:
        """
        Give up on what was not begun.
        """
        while self._awaitables:
            close = getattr(self._awaitables.pop(), "close", None)
            if close is not None:
                close()
