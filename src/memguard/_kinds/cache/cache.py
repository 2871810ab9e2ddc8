"""
Caches: the verbs, and the loading of what is missing. Thread-safe.

User code (loader, weigher, listener, and what keys and values define themselves) runs
with no lock held. Longer than 300 lines because the verbs belong side by side.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final, Generic, TypeVar, overload

from memguard._kinds.cache.buckets import Buckets, matching
from memguard._kinds.cache.engine import Entry
from memguard._kinds.cache.figures import CacheInfo, Count
from memguard._kinds.cache.flight import MISSING, Flight, Wanted, aload, load
from memguard._kinds.cache.options import Listener, Weigher, checked
from memguard._kinds.cache.store import Store
from memguard._kinds.callbacks import is_async
from memguard._kinds.caps import lifetime
from memguard._kinds.container import NEVER
from memguard._phases import CLOSING
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.typing import Duration, OnLimit, Size

__all__ = ("Cache", "is_some")

_K = TypeVar("_K")
_V = TypeVar("_V")
_D = TypeVar("_D")

# How long a reader waits for somebody else's load before it loads by itself.
_PATIENCE_S: Final = 30.0


class Cache(Store, Generic[_K, _V]):
    """
    Values by key, made by a *loader* or put. Over a cap the least used leave.

    Without `max_entries` and `max_bytes` it holds 1000 entries. `ttl` counts from the
    put, `idle` from the last use; what is over is never returned, and leaves at the
    next use, or without any once the guard runs. `max_bytes` bounds the weight of keys
    and values at any time; the weigher, a function of both, gives it, else it is
    measured ("exact": by pympler). An entry heavier than the whole is refused.

    A missing key is loaded by one of all who want it at the same time; failures are
    never stored, nor is a None that a loader returns. `on_evict(key, value, cause)` is
    called after an entry left, except by `pop`; the causes are size, ttl, idle,
    pressure, explicit (invalidate, clear, the end) and replaced. What it raises, and
    what a weigher raises, is a background failure.

    With `on_limit="raise"` a put that needs room raises LimitReached instead. `strict`
    asks for an age check on every hit, which is always done. Under memory pressure
    caches of low `priority` give first, and none below its `floor_bytes`.
    """

    __slots__ = (
        "_flights",
        "_hits",
        "_load_failures",
        "_load_seconds",
        "_loader",
        "_loader_is_async",
        "_loads",
        "_misses",
    )

    def __init__(
        self,
        owner: Branch,
        name: str,
        loader: Callable[[_K], Awaitable[_V] | _V] | None = None,
        *,
        max_entries: int | None = None,
        max_bytes: Size | None = None,
        ttl: Duration | None = None,
        idle: Duration | None = None,
        strict: bool = False,
        weigher: Weigher = None,
        on_evict: Listener = None,
        priority: int = 0,
        floor_bytes: Size = 0,
        on_limit: OnLimit = "evict",
    ) -> None:
        if loader is not None and not callable(loader):
            msg = f"loader must be a function of a key, not a {type(loader).__name__}"
            raise TypeError(msg)
        options = checked(
            max_entries=max_entries,
            max_bytes=max_bytes,
            ttl=ttl,
            idle=idle,
            strict=strict,
            weigher=weigher,
            on_evict=on_evict,
            priority=priority,
            floor_bytes=floor_bytes,
            on_limit=on_limit,
        )
        super().__init__(owner, name, options)
        self.spec["loader"] = getattr(loader, "__code__", loader)
        self._loader = loader
        self._loader_is_async = loader is not None and is_async(loader)
        self._flights: Buckets[Flight] = Buckets()
        self._hits = Count()
        self._misses = Count()
        self._loads = 0
        self._load_failures = 0
        self._load_seconds = 0.0

    # -- looking up --------------------------------------------------------------------

    @overload
    def get(self, key: _K) -> _V | None: ...
    @overload
    def get(self, key: _K, default: _V | _D) -> _V | _D: ...
    def get(self, key: _K, default: Any = None) -> Any:
        """
        The value of *key*. A missing one is loaded, if there is a loader; *default* is
        for what is missing without one, and for a loader's None.
        """
        hashed = hash(key)
        value = self._look_up(key, hashed)
        if value is not MISSING:
            return value
        if self._loader is None:
            return default
        value = self._load(key, hashed)
        return default if value is None else value

    def __getitem__(self, key: _K) -> _V:
        hashed = hash(key)
        value = self._look_up(key, hashed)
        if value is MISSING:
            if self._loader is None:
                raise KeyError(key)
            value = self._load(key, hashed)
        return value  # type: ignore[no-any-return]

    def fast(self, key: _K, /) -> _V | None:
        """
        As `get` without a default, for hot paths: no keywords.
        """
        return self.get(key)

    async def aget(self, key: _K, default: Any = None) -> Any:
        """
        As `get`, for an asynchronous loader too; waits for others on the loop.
        """
        hashed = hash(key)
        value = self._look_up(key, hashed)
        if value is not MISSING:
            return value
        if self._loader is None:
            return default
        compute = partial(self._aload, key)
        wanted = Wanted(key, hashed, compute, is_some, _PATIENCE_S)
        value = await aload(self, wanted)
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        return self._peek(key, hash(key)) is not MISSING

    def _look_up(self, key: Any, hashed: int) -> Any:
        """
        The value, counted as a hit and as a use; or MISSING, counted as a miss.
        """
        engine = self._engine
        entry = matching(engine.at(hashed), key)
        if entry is not None:
            if entry.expires != NEVER or engine.idle is not None:
                now = self._now()
                cause = engine.cause(entry, now)
                if cause is not None:
                    self._let_go(entry, cause)
                    self._misses.add()
                    return MISSING
                entry.used = now
            entry.touched = True
            self._hits.add()
            return entry.value
        self._misses.add()
        return MISSING

    def _peek(self, key: Any, hashed: int) -> Any:
        """
        The value or MISSING, without a trace.
        """
        entry = matching(self._engine.at(hashed), key)
        if entry is None or self._engine.cause(entry, self._now()) is not None:
            return MISSING
        return entry.value

    # -- writing -----------------------------------------------------------------------

    def put(self, key: _K, value: _V, *, ttl: Duration | None = None) -> bool:
        """
        Keep *value* under *key*, for *ttl* if it is given.

        False if it was refused because it is heavier than the whole cache may be; what
        was there before has left then, too. Raises LimitReached if the cache was made
        for that, and ScopeClosed after its end.
        """
        hashed = hash(key)
        seconds = self.ttl if ttl is None else lifetime(ttl, "ttl")
        if self._is_inside():
            self._put_off(lambda: self.put(key, value, ttl=ttl))
            return True
        return self._store(key, hashed, value, seconds, None)

    def __setitem__(self, key: _K, value: _V) -> None:
        self.put(key, value)

    @overload
    def pop(self, key: _K) -> _V: ...
    @overload
    def pop(self, key: _K, default: _V | _D) -> _V | _D: ...
    def pop(self, key: _K, default: Any = MISSING) -> Any:
        """
        Take the value of *key* out and return it: it is the caller's now, so no
        listener is told. Raises KeyError without a value and a *default*.
        """
        hashed = hash(key)
        value = self._peek(key, hashed)
        if value is not MISSING:
            if self._is_inside():
                self._put_off(lambda: self._remove(key, hashed, None))
                return value
            entry = self._remove(key, hashed, None)
            if entry is not None:
                return entry.value
        if default is MISSING:
            raise KeyError(key)
        return default

    def invalidate(self, key: _K) -> bool:
        """
        Drop *key*; False if it was not there. A load that is under way is not stored.
        """
        hashed = hash(key)
        if self._is_inside():
            self._put_off(lambda: self.invalidate(key))
            return self._peek(key, hashed) is not MISSING
        return self._remove(key, hashed, "explicit") is not None

    def __delitem__(self, key: _K) -> None:
        if not self.invalidate(key):
            raise KeyError(key)

    def clear(self) -> None:
        """
        Drop everything. Loads that are under way are not stored.
        """
        if self._is_inside():
            self._put_off(self.clear)
        else:
            self._clear()

    # -- reading -----------------------------------------------------------------------

    def __len__(self) -> int:
        self._let_expired_go()
        return len(self._engine)

    def __iter__(self) -> Iterator[_K]:
        return iter(self.keys())

    def keys(self) -> list[_K]:
        """
        The keys of now, oldest entry first.
        """
        return [entry.key for entry in self._entries()]

    def values(self) -> list[_V]:
        """
        The values of now, oldest entry first.
        """
        return [entry.value for entry in self._entries()]

    def items(self) -> list[tuple[_K, _V]]:
        """
        Keys and values of now, oldest entry first.
        """
        return [(entry.key, entry.value) for entry in self._entries()]

    def _entries(self) -> list[Entry]:
        self._let_expired_go()
        return self._engine.entries()

    def info(self) -> CacheInfo:
        """
        The figures of this moment.
        """
        entries = len(self)
        engine = self._engine
        causes = {cause: counted.value for cause, counted in self._causes.items()}
        return CacheInfo(
            entries=entries,
            bytes=engine.weight,
            hits=self._hits.value,
            misses=self._misses.value,
            evictions=causes["size"] + causes["pressure"],
            max_entries=engine.max_entries,
            max_bytes=engine.max_bytes,
            expired=causes["ttl"] + causes["idle"],
            refused=self._refused.value,
            loads=self._loads,
            load_failures=self._load_failures,
            load_seconds=self._load_seconds,
            causes=causes,
        )

    # -- loading -----------------------------------------------------------------------

    def _load(self, key: Any, hashed: int) -> Any:
        loader: Any = self._loader
        if self._loader_is_async:
            msg = (
                f"cache {self.label!r} has an asynchronous loader, and this key is not"
                " in it; use `await cache.aget(key)`"
            )
            raise TypeError(msg)
        compute = partial(loader, key)
        return load(self, Wanted(key, hashed, compute, is_some, _PATIENCE_S))

    async def _aload(self, key: Any) -> Any:
        loader: Any = self._loader
        value = loader(key)
        return await value if self._loader_is_async else value

    def _takes_loads(self) -> bool:
        """
        False after the end, and in a destructor that came in the middle of a change.
        """
        return not (
            self.state >= CLOSING or self.registry.detached or self._is_inside()
        )

    def _take_off(self, flight: Flight, bucket: tuple[Flight, ...]) -> bool:
        """
        Enter *flight*, unless somebody else changed the *bucket* meanwhile.
        """

        def step() -> bool:
            if self._flights.at(flight.hashed) is not bucket:
                return False
            self._flights.add(flight)
            return True

        return self._locked(step)

    def _take_over(self, flight: Flight) -> Flight | None:
        """
        A new flight in the place of one that takes too long; None if it has gone.
        """
        new = Flight(flight.key, flight.hashed)

        def step() -> bool:
            if not self._flights.remove(flight):
                return False
            self._flights.add(new)
            return True

        return new if self._locked(step) else None

    def _start_anew(self, key: Any, hashed: int) -> Flight | None:
        """
        A flight that loads *key* whether it is there or not; None after the end.
        """
        if not self._takes_loads():
            return None
        flight = Flight(key, hashed)

        def step() -> None:
            self._overtake(hashed)
            self._flights.add(flight)

        self._locked(step)
        return flight

    def _overtake(self, hashed: int) -> None:
        # Not compared by key, which could run its code: a key that only shares the hash
        # is loaded once more than it would have to be.
        for flight in self._flights.at(hashed):
            flight.stale = True
            self._flights.remove(flight)

    def _overtake_all(self) -> None:
        for flight in self._flights.things():
            flight.stale = True
        self._flights = Buckets()

    def _landed(
        self, flight: Flight, seconds: float, *, loaded: bool, failed: bool
    ) -> None:
        """
        Count how a flight ended. Whoever comes now starts another one.
        """

        def step() -> None:
            self._flights.remove(flight)
            if loaded:
                self._loads += 1
                self._load_seconds += seconds
            elif failed:
                self._load_failures += 1

        # In a child that was forked in the middle of a load there is nobody to tell.
        if not self.registry.detached:
            self._locked(step)

    def _keep(
        self,
        flight: Flight,
        value: Any,
        store: Callable[[Any], bool],
        *,
        instead: bool = False,
    ) -> None:
        """
        Store what was loaded, if it is to be; *instead* of what is there by now.
        """
        try:
            wanted = store(value)
        except Exception as error:
            self._failed("store", error)
            wanted = False
        if self.registry.detached:
            return
        if wanted:
            self._store(flight.key, flight.hashed, value, self.ttl, flight)
        elif instead and not flight.stale:
            self._remove(flight.key, flight.hashed, "replaced")

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        # Who was loading has stayed in the parent.
        self._flights = Buckets()


def is_some(value: Any) -> bool:
    """
    Which results are stored unless somebody says otherwise.
    """
    return value is not None
