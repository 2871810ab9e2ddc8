"""
A turn of a limiter: the two ways to wait for it, and to leave.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from memguard._kinds.closers import running_loop
from memguard._kinds.line import Ticket
from memguard.errors import WouldBlockLoop

if TYPE_CHECKING:
    from typing_extensions import Self

    from memguard._kinds.gate import Gate

__all__ = ("Turn",)


class Turn(Ticket):
    """
    What `limiter()` returns: for one `with` or `async with` block.
    """

    __slots__ = ("_gate", "_timeout", "_used")

    def __init__(self, gate: Gate, size: int, timeout: float) -> None:
        super().__init__(size)
        self._gate = gate
        self._timeout = timeout
        self._used = False

    def __enter__(self) -> Self:
        gate = self._begin()
        if not gate.try_in(self):
            if self._timeout and running_loop() is not None:
                verb = f"entering limiter {gate.label!r}"
                raise WouldBlockLoop(verb, "`async with limiter(...)`")
            with gate.in_line(self, self._timeout) as latch:
                latch.wait(self._timeout)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._gate.release(self)

    async def __aenter__(self) -> Self:
        gate = self._begin()
        if not gate.try_in(self):
            self.loop = running_loop()
            with gate.in_line(self, self._timeout) as latch:
                await latch.await_(self._timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._gate.release(self)

    def _begin(self) -> Gate:
        if self._used:
            msg = (
                f"a turn of limiter {self._gate.label!r} was used already; call the"
                " limiter for each block"
            )
            raise RuntimeError(msg)
        self._used = True
        return self._gate
