"""
Single flight: of all who want the same missing value at the same time, one loads it.

The others wait, in threads and in tasks alike. They get the value, whether it was
stored or not. If the load failed they try once more themselves, one of them for all;
then they raise what that raised. If the leader was cancelled, one of them takes over.
Who has waited its time takes the lead from a leader that hangs. Who stands inside of
the load of the same key, and who would block an event loop, computes for itself.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from itertools import count
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from memguard._kinds.cache.buckets import matching
from memguard._kinds.cache.store import Load
from memguard._kinds.cache.wanted import Wanted, is_some
from memguard._kinds.closers import running_loop
from memguard._latch import Latch

if TYPE_CHECKING:
    from typing_extensions import Self

    from memguard._kinds.cache.cache import Cache

__all__ = (
    "MISSING",
    "Flight",
    "aload",
    "arefresh",
    "load",
    "refresh",
)

MISSING: Final[Any] = object()
# Leaders that may be cancelled one after the other before a follower loads by itself.
_ROUNDS: Final = 8

# Marks of the loads that the code of this context runs inside of. Numbers only: a
# context lives as long as the longest task that was started in it.
_inside: ContextVar[tuple[int, ...]] = ContextVar("memguard_loading", default=())
_next_mark = count(1).__next__

_FLYING: Final = "flying"
_LANDED: Final = "landed"
_FAILED: Final = "failed"
_VACANT: Final = "vacant"  # the leader was interrupted: somebody else has to load


class Flight(Load):
    """
    One load of one key.

    `stale` is set when the key is written or invalidated meanwhile: then the result
    still goes to who waits for it, but not into the cache.
    """

    __slots__ = (
        "error",
        "hashed",
        "key",
        "latch",
        "mark",
        "outcome",
        "thread",
        "value",
    )

    def __init__(self, key: Any, hashed: int) -> None:
        super().__init__()
        self.key = key
        self.hashed = hashed
        self.mark = _next_mark()
        self.thread = 0
        self.latch = Latch()
        self.outcome = _FLYING
        self.value: Any = None
        self.error: BaseException | None = None

    @property
    def is_around(self) -> bool:
        """
        True where waiting for it would be waiting for oneself.
        """
        return self.thread == get_ident() or self.mark in _inside.get()


class _Leading:
    """
    The time in which a leader loads; lands the flight, however it ends.
    """

    __slots__ = (
        "_began",
        "_cache",
        "_flight",
        "_is_async",
        "_token",
        "landed",
        "loaded",
    )

    def __init__(
        self, cache: Cache[Any, Any], flight: Flight, *, is_async: bool
    ) -> None:
        self._cache = cache
        self._flight = flight
        self._is_async = is_async
        self.loaded = False
        # True where it was taken from the board with the storing of its value.
        self.landed = False

    def keep(self, value: Any, wanted: Wanted, *, anew: bool) -> None:
        """
        Store what was loaded, if it is to be stored.
        """
        self.loaded = True
        cache, flight = self._cache, self._flight
        if not anew and wanted.store is is_some and value is not None:
            # The most frequent case, in one step with the landing.
            self.landed = cache._bring(flight, value, cache._now() - self._began)
        if not self.landed:
            cache._keep(flight, value, wanted.store, instead=anew)

    def __enter__(self) -> Self:
        flight = self._flight
        if not self._is_async:
            flight.thread = get_ident()
        self._token: Token[Any] = _inside.set((*_inside.get(), flight.mark))
        self._began = self._cache._now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            _inside.reset(self._token)
        except ValueError:
            pass  # a coroutine that was closed from outside: that context is not ours
        flight, cache = self._flight, self._cache
        flight.thread = 0
        if error is None:
            flight.outcome = _LANDED
        elif isinstance(error, Exception):
            flight.error = error
            flight.outcome = _FAILED
        else:
            flight.outcome = _VACANT
        if not self.landed:
            seconds = cache._now() - self._began
            failed = flight.outcome == _FAILED
            cache._landed(flight, seconds, loaded=self.loaded, failed=failed)
        flight.latch.set()


def load(cache: Cache[Any, Any], wanted: Wanted) -> Any:
    """
    The wanted value: computed here, or by who is at it already.
    """
    failed = False
    for _ in range(_ROUNDS):
        flight, leads = _board(cache, wanted)
        if flight is None or (not leads and _must_not_wait(flight)):
            break
        if not leads and not flight.latch.wait(wanted.patience):
            flight = cache._take_over(flight)
            leads = True
            if flight is None:
                break
        if leads:
            return _lead(cache, flight, wanted)
        if flight.outcome == _LANDED:
            return flight.value
        if flight.outcome == _FAILED:
            if failed and flight.error is not None:
                raise flight.error
            failed = True
    return wanted.compute()


async def aload(cache: Cache[Any, Any], wanted: Wanted) -> Any:
    """
    As `load`, while the loop goes on; `compute` gives an awaitable.
    """
    failed = False
    for _ in range(_ROUNDS):
        flight, leads = _board(cache, wanted)
        if flight is None or (not leads and flight.is_around):
            break
        if not leads and not await flight.latch.await_(wanted.patience):
            flight = cache._take_over(flight)
            leads = True
            if flight is None:
                break
        if leads:
            return await _alead(cache, flight, wanted)
        if flight.outcome == _LANDED:
            return flight.value
        if flight.outcome == _FAILED:
            if failed and flight.error is not None:
                raise flight.error
            failed = True
    return await wanted.compute()


def refresh(cache: Cache[Any, Any], wanted: Wanted) -> Any:
    """
    Load anew what may be there; it stays there until the new value is.
    """
    flight = cache._start_anew(wanted.key, wanted.hashed)
    if flight is None:
        return wanted.compute()
    return _lead(cache, flight, wanted, anew=True)


async def arefresh(cache: Cache[Any, Any], wanted: Wanted) -> Any:
    """
    As `refresh`, while the loop goes on.
    """
    flight = cache._start_anew(wanted.key, wanted.hashed)
    if flight is None:
        return await wanted.compute()
    return await _alead(cache, flight, wanted, anew=True)


def _must_not_wait(flight: Flight) -> bool:
    return flight.is_around or running_loop() is not None


def _board(cache: Cache[Any, Any], wanted: Wanted) -> tuple[Flight | None, bool]:
    """
    The flight of the key, and whether the caller leads it; None if there can be none.
    """
    while cache._takes_loads():
        bucket = cache._flights.at(wanted.hashed)
        flight = matching(bucket, wanted.key)
        if flight is not None:
            return flight, False
        flight = Flight(wanted.key, wanted.hashed)
        if bucket:
            if cache._take_off(flight, bucket):
                return flight, True
        elif cache._flights.add_first(flight):
            return flight, True
    return None, False


def _lead(
    cache: Cache[Any, Any], flight: Flight, wanted: Wanted, *, anew: bool = False
) -> Any:
    with _Leading(cache, flight, is_async=False) as leading:
        # Somebody may have landed between the caller's miss and its boarding.
        value = MISSING if anew else cache._peek(wanted.key)
        if value is MISSING:
            value = wanted.compute()
            leading.keep(value, wanted, anew=anew)
        flight.value = value
    return value


async def _alead(
    cache: Cache[Any, Any], flight: Flight, wanted: Wanted, *, anew: bool = False
) -> Any:
    with _Leading(cache, flight, is_async=True) as leading:
        value = MISSING if anew else cache._peek(wanted.key)
        if value is MISSING:
            value = await wanted.compute()
            leading.keep(value, wanted, anew=anew)
        flight.value = value
    return value
