"""
How members of a pool are ended: by the function given, else as their type is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from memguard._kinds.closers import info_of, is_coroutine

__all__ = ("Disposal",)


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

    def end_all(self, members: list[Any]) -> Coroutine[Any, Any, None] | None:
        """
        End *members*; what has to be awaited comes back as one coroutine.
        """
        pending: list[Awaitable[Any]] = []
        for member in members:
            how = self.way(member)
            if how is None:
                continue
            try:
                result = how(member)
            except Exception as error:  # the others are ended all the same
                self._record("dispose", error)
                continue
            if result is not None and hasattr(result, "__await__"):
                pending.append(result)
        return self._await_all(pending) if pending else None

    async def _await_all(self, pending: list[Awaitable[Any]]) -> None:
        for one in pending:
            try:
                await one
            except Exception as error:  # the others are ended all the same
                self._record("dispose", error)
