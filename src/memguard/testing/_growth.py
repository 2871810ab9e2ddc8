"""
Growth from call to call, measured in what Python allocates.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from memguard._kinds.closers import running_loop
from memguard._settings import format_size, parse_size
from memguard.errors import WouldBlockLoop

if TYPE_CHECKING:
    from tracemalloc import Snapshot
    from types import TracebackType

    from memguard.typing import Size

__all__ = ("aassert_no_growth", "assert_no_growth")

_PLACES_SHOWN: Final = 5


def assert_no_growth(
    fn: Callable[[], object],
    *,
    limit: Size = "64KiB",
    iterations: int = 50,
    warmup: int = 5,
) -> int:
    """
    Call *fn* again and again, and fail if more than *limit* is kept in the end.

    The first *warmup* calls may fill caches and load modules; what the *iterations*
    after them leave, garbage collected, is the growth, in bytes: it is returned. The
    AssertionError names the places that allocated it. Memory of C libraries that
    Python does not know of is not seen. Not for two threads at once.
    """
    if running_loop() is not None:
        verb = "assert_no_growth()"
        raise WouldBlockLoop(verb, "`await aassert_no_growth(...)`")
    growth = _Growth(limit, iterations, warmup)
    for _ in range(growth.warmup):
        fn()
    with growth:
        for _ in range(growth.iterations):
            fn()
    return growth.judge()


async def aassert_no_growth(
    fn: Callable[[], Awaitable[object]],
    *,
    limit: Size = "64KiB",
    iterations: int = 50,
    warmup: int = 5,
) -> int:
    """
    As `assert_no_growth`, awaiting what *fn* gives.
    """
    growth = _Growth(limit, iterations, warmup)
    for _ in range(growth.warmup):
        await fn()
    with growth:
        for _ in range(growth.iterations):
            await fn()
    return growth.judge()


class _Growth:
    """
    What is allocated inside the block and still there at its end.
    """

    def __init__(self, limit: Size, iterations: int, warmup: int) -> None:
        self.limit = parse_size(limit, what="limit")
        self.iterations = _count("iterations", iterations, 1)
        self.warmup = _count("warmup", warmup, 0)
        self._before: Snapshot | None = None
        self._after: Snapshot | None = None
        self._started = False

    def __enter__(self) -> None:
        import tracemalloc

        self._started = not tracemalloc.is_tracing()
        if self._started:
            tracemalloc.start()
        self._before = _snapshot()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        import tracemalloc

        try:
            if kind is None:
                self._after = _snapshot()
        finally:
            if self._started:
                tracemalloc.stop()

    def judge(self) -> int:
        """
        The growth in bytes, or an AssertionError that says where it comes from.
        """
        assert self._before is not None
        assert self._after is not None
        places = self._after.compare_to(self._before, "lineno")
        grown = sum(place.size_diff for place in places)
        if grown <= self.limit:
            return grown
        lines = [
            f"  - {format_size(place.size_diff)} in {place.count_diff} blocks:"
            f" {place.traceback[0].filename}:{place.traceback[0].lineno}"
            for place in sorted(places, key=lambda one: -one.size_diff)[:_PLACES_SHOWN]
            if place.size_diff > 0
        ]
        msg = (
            f"{format_size(grown)} more after {self.iterations} calls, and"
            f" {format_size(self.limit)} are allowed; allocated at:"
        )
        raise AssertionError("\n".join((msg, *lines)))


def _snapshot() -> Snapshot:
    import gc
    import tracemalloc

    gc.collect()
    everything = tracemalloc.take_snapshot()
    return everything.filter_traces(
        (
            tracemalloc.Filter(inclusive=False, filename_pattern=__file__),
            tracemalloc.Filter(inclusive=False, filename_pattern=tracemalloc.__file__),
        )
    )


def _count(what: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        msg = f"{what} must be a whole number of at least {least}, not {value!r}"
        raise ValueError(msg)
    return value
