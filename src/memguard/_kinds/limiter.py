"""
Limiters: how many things, and how many bytes, may be in flight at once.

One line for threads and tasks, first come, first served.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from memguard._kinds.caps import byte_cap, count_cap
from memguard._kinds.container import Container
from memguard._kinds.gate import Gate
from memguard._kinds.line import LimiterInfo, Line
from memguard._kinds.turn import Turn
from memguard._latch import Latch
from memguard._phases import Phase
from memguard._registry import Registry
from memguard._settings import parse_duration, parse_size
from memguard._tree import Branch
from memguard.typing import Duration, Size

if TYPE_CHECKING:
    from memguard._kinds.amapping import AsyncMapped
    from memguard._kinds.mapping import Mapped

__all__ = ("Limiter", "LimiterInfo", "Turn")

_T = TypeVar("_T")
_R = TypeVar("_R")


class Limiter(Container):
    """
    `with limiter(bytes=n):`, and the same with `async with`.

    At most *max_in_flight* blocks, and at most *max_bytes* of what they say they need,
    are inside at once. Whoever does not fit waits in line, threads and tasks in one,
    first come, first served: one that is heavy holds up the lighter ones behind it, so
    that it is not starved. A block that needs more than *max_bytes* goes in alone.

    Nobody waits for longer than the timeout (*acquire_timeout* unless the call names
    another one): LimiterFull. A cancelled waiter, or one whose loop was closed, is
    passed over. When the limiter ends, who waits gets ScopeClosed, and a shutdown
    waits for who is inside.
    """

    __slots__ = ("_gate", "acquire_timeout", "spec")

    kind: ClassVar[str] = "limiter"
    phase = Phase.WORK

    def __init__(
        self,
        owner: Branch,
        name: str,
        *,
        max_in_flight: int = 5,
        max_bytes: Size | None = None,
        acquire_timeout: Duration = "30s",
    ) -> None:
        super().__init__(owner, name)
        most = _in_flight(max_in_flight)
        limit = byte_cap(max_bytes, "max_bytes")
        self.acquire_timeout = parse_duration(acquire_timeout, what="acquire_timeout")
        self._gate = Gate(self, Line(most, limit))
        #: What has to be the same where the same name is asked for again.
        self.spec: dict[str, object] = {
            "max_in_flight": most,
            "max_bytes": limit,
            "acquire_timeout": self.acquire_timeout,
        }

    # -- for users ---------------------------------------------------------------------

    def __call__(self, bytes: Size = 0, *, timeout: Duration | None = None) -> Turn:
        """
        A turn for one block that needs *bytes*. *timeout* 0: now or never.

        Entering it raises LimiterFull, ScopeClosed and, where a plain `with` would
        have to wait inside a running loop, WouldBlockLoop.
        """
        size = bytes if type(bytes) is int and bytes >= 0 else _size(bytes)
        return Turn(self._gate, size, self._patience(timeout))

    @overload
    def map(  # type: ignore[overload-overlap]
        self,
        fn: Callable[[_T], Awaitable[_R]],
        source: Iterable[_T] | AsyncIterable[_T],
        *,
        bytes: Size | Callable[[_T], int] | None = None,
        timeout: Duration | None = None,
    ) -> AsyncMapped[_R]: ...

    @overload
    def map(
        self,
        fn: Callable[[_T], _R],
        source: AsyncIterable[_T],
        *,
        bytes: Size | Callable[[_T], int] | None = None,
        timeout: Duration | None = None,
    ) -> AsyncMapped[_R]: ...

    @overload
    def map(
        self,
        fn: Callable[[_T], _R],
        source: Iterable[_T],
        *,
        bytes: Size | Callable[[_T], int] | None = None,
        timeout: Duration | None = None,
    ) -> Mapped[_R]: ...

    def map(
        self,
        fn: Callable[[Any], Any],
        source: Any,
        *,
        bytes: Any = None,
        timeout: Duration | None = None,
    ) -> Any:
        """
        Iterate over `fn(item)` for each item of *source*, in order, in flat memory.

        A plain *fn* runs on worker threads, an `async def` in tasks; where either is
        asynchronous, or *source* is, the result is for `async for`. The source is read
        lazily: at most `max_in_flight` items, of at most `max_bytes` as *bytes* tells
        of each (a size, or a function of the item), were read and not handed out yet.
        Each call of *fn* takes a turn of this limiter, and waits for it for at most
        *timeout*; how long *fn* takes is its own business.

        What *fn*, *source* or *bytes* raises comes at its place, after the results
        before it, and ends the iteration. Leaving it half-way and closing it (`close`,
        `aclose`, `with`) cancels what has not begun and waits at most 5 s for what
        has. A plain source is read in the thread, or on the loop, of who iterates; an
        asynchronous generator is closed with the iteration.
        """
        from memguard._kinds.mapping import mapped

        return mapped(self._gate, fn, source, bytes, self._patience(timeout))

    def resize(
        self, max_in_flight: int | None = None, *, max_bytes: Size | None = None
    ) -> None:
        """
        Change the bounds, those that are given. Who is inside beyond them stays.
        """
        most = None if max_in_flight is None else _in_flight(max_in_flight)
        limit = byte_cap(max_bytes, "max_bytes")

        def step(line: Line) -> None:
            line.max_in_flight = most or line.max_in_flight
            line.max_bytes = limit or line.max_bytes

        self._gate.change(step)

    def tighten(self, share: float) -> None:
        """
        Do with *share* of both bounds until `restore`: for the time of a shortage.

        One block may always be inside, so that nothing comes to a halt. Who is inside
        beyond the bounds stays. Again with another share, it is that one.
        """
        if type(share) not in (int, float) or not 0 <= share <= 1:
            msg = f"the share of a limiter must be a number from 0 to 1, not {share!r}"
            raise ValueError(msg)
        self._set_share(float(share))

    def restore(self) -> None:
        """
        Back to the whole bounds; who waits is let in as far as there is room now.
        """
        self._set_share(1.0)

    def _set_share(self, share: float) -> None:
        def step(line: Line) -> None:
            line.share = share

        self._gate.change(step)

    def info(self) -> LimiterInfo:
        """
        The figures of this moment.
        """
        return self._gate.info()

    def memory_bytes(self) -> int:
        """
        The bytes that what is in flight says it needs.
        """
        return self._gate.line.bytes

    def _patience(self, timeout: Duration | None) -> float:
        if timeout is None:
            return self.acquire_timeout
        return parse_duration(timeout, what="timeout")

    # -- ending ------------------------------------------------------------------------

    @property
    def drains(self) -> bool:  # type: ignore[override]
        """
        True while something is in flight or waits.
        """
        line = self._gate.line
        return bool(line.in_flight or line.waiting)

    def _drain(self) -> None:
        """
        Send away who waits, and wait until nothing is in flight any more.

        On a thread always: shutdowns never drain on a loop what may block it.
        """
        gate = self._gate
        gate.drained = drained = Latch()
        gate.send_away()
        if gate.line.in_flight:
            drained.wait(self.registry.drain_s)

    def _disarm(self) -> None:
        self._rest()
        self._gate.end()

    def _release(self) -> None:
        self._disarm()

    # -- forks -------------------------------------------------------------------------

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        self._forget()

    def _forget(self) -> None:
        self._gate.forget()


def _in_flight(value: int) -> int:
    most = count_cap(value, "max_in_flight")
    if most is None:
        msg = "max_in_flight must be a whole number of at least 1, not None"
        raise ValueError(msg)
    return most


def _size(value: Size) -> int:
    return parse_size(value, what="bytes")
