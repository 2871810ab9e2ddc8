"""
Caches: the verbs, and the loading of what is missing. Thread-safe.

User code (loader, weigher, listener, and what keys and values define themselves) runs
with no lock held. Longer than 300 lines because the verbs belong side by side.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final, Generic, TypeVar, overload

from memguard._kinds.cache.buckets import Buckets
from memguard._kinds.cache.cells import GONE, Cell, value_of
from memguard._kinds.cache.engine import ByCount
from memguard._kinds.cache.figures import CacheInfo
from memguard._kinds.cache.flight import MISSING, Flight, aload, load
from memguard._kinds.cache.options import Listener, Weigher, checked
from memguard._kinds.cache.sampling import COUNTED, Sampler
from memguard._kinds.cache.sharing import ASK, Sharing
from memguard._kinds.cache.trust import FLAT, StandIn, is_trusted
from memguard._kinds.cache.turn import runs_in
from memguard._kinds.cache.wanted import Wanted, is_some
from memguard._kinds.cache.wide import MOST
from memguard._kinds.callbacks import is_async
from memguard._kinds.caps import lifetime
from memguard._kinds.container import NEVER
from memguard._phases import CLOSING
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.typing import Duration, OnLimit, Size

__all__ = ("Cache",)

_K = TypeVar("_K")
_V = TypeVar("_V")
_D = TypeVar("_D")

# In a cache of at least _LARGE entries the 256th part leaves at once, at most so many.
_LARGE, _MOST_TOGETHER = 4096, 32
# How long a reader waits for somebody else's load before it loads by itself.
_PATIENCE_S: Final = 30.0


class Cache(Sharing, Generic[_K, _V]):
    """
    Values by key, made by a *loader* or put. Over a cap the least useful leave.

    Without `max_entries` and `max_bytes` it holds 1000 entries. `ttl` counts from the
    put, less up to the fraction `jitter` of it, so that what came together does not go
    together; `idle` counts from the last use, and may last half as long again while
    the guard runs. What is over is never returned before the guard is started, nor
    with `strict`; else it leaves by itself, 50 ms late at most. `max_bytes` bounds the
    weight of keys and values at any time; the weigher, a function of both, gives it,
    else it is measured ("exact": by pympler). An entry heavier than the whole is
    refused.

    A missing key is loaded by one of all who want it at the same time; failures are
    never stored, nor is a None that a loader returns. `on_evict(key, value, cause)` is
    called after an entry left, except by `pop`; the causes are size, ttl, idle,
    pressure, explicit (invalidate, clear, the end) and replaced. What it raises, and
    what a weigher raises, is a background failure.

    Who leaves is chosen as in S3-FIFO with a moving share of new entries, or by
    greedy-dual with sizes where there is a cap of bytes: not the least recently used,
    and more hits than with that. From 4096 entries on up to 32 leave at a time.

    With `on_limit="raise"` a put that needs room raises LimitReached instead. Under
    memory pressure, and for others under the guard's budget, caches of low `priority`
    give first, and none below its `floor_bytes`.

    Keys of built-in types are found by C code alone. Others are compared with no lock
    held, whatever their `__eq__` does, and take a few times as long.
    """

    __slots__ = (
        "_counted",
        "_flights",
        "_flying",
        "_front",
        "_hits",
        "_load_failures",
        "_loader",
        "_loader_is_async",
        "_loads",
        "_sampler",
        "_sampling",
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
        jitter: float = 0.0,
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
            jitter=jitter,
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
        # The same, for who only wants to know whether there are any.
        self._flying = self._flights.table
        self._front = self._engine.front
        # Uses that are counted one by one before the fast path is used at all.
        self._counted = COUNTED
        self._hits = 0
        self._loads = 0
        self._load_failures = 0
        self._sampler = Sampler()
        # The next turn of the sampler, with the scheduler.
        self._sampling: Any = None
        if type(self) is Cache and self.ttl is not None and self._idle is None:
            # What has no age need not be asked for it, and so `get` has two forms.
            self.__class__ = TimedCache

    # -- looking up --------------------------------------------------------------------

    @property
    def fast(self) -> Callable[[_K], _V | None]:
        """
        As `get` without a default, for hot paths: one argument, by position.

        It is a C function, which may be kept: it stays right, whatever happens to the
        cache. Uses by it are sampled, as `info` says.
        """
        return self._engine.front.__getitem__

    @overload
    def get(self, key: _K) -> _V | None: ...
    @overload
    def get(self, key: _K, default: _V | _D) -> _V | _D: ...
    def get(self, key: _K, default: Any = None) -> Any:
        """
        The value of *key*. A missing one is loaded, if there is a loader; *default* is
        for what is missing without one, and for a loader's None.
        """
        value = self._front[key]
        if value is None:
            return self._instead(key, default)
        return value

    def _instead(self, key: Any, default: Any) -> Any:
        """
        What `get` returns for a None, which is a value if it was put.
        """
        if default is None or self._peek(key) is not MISSING:
            return None
        return default

    def __getitem__(self, key: _K) -> _V:
        value = self._front[key]
        if value is None and self._loader is None and self._peek(key) is MISSING:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    async def aget(self, key: _K, default: Any = None) -> Any:
        """
        As `get`, for an asynchronous loader too; waits for others on the loop.
        """
        value = self._look_up(key)
        if value is not MISSING:
            return value
        if self._loader is None:
            return default
        compute = partial(self._aload, key)
        wanted = Wanted(key, hash(key), compute, is_some, _PATIENCE_S)
        value = await aload(self, wanted)
        return default if value is None else value

    def __contains__(self, key: object) -> bool:
        found = self._peek(key) is not MISSING
        if not found and type(key) in FLAT:
            # Who asks may go on to put it in.
            self._engine.missed(key)
        return found

    def _missing(self, key: Any) -> Any:
        value = self._look_up(key)
        if value is MISSING:
            if self._loader is None:
                return None
            return self._load(key, hash(key))
        return value

    def _look_up(self, key: Any) -> Any:
        """
        The value, counted as a hit and as a use; or MISSING, counted as a miss.
        """
        engine = self._engine
        inner = key if type(key) in FLAT else self._inner(key)
        held = engine.table.get(inner, GONE)
        if held is GONE and type(engine.table) is not dict:
            held = self._held(key)
        if held is GONE:
            self._misses += 1
            if inner is not GONE:
                engine.missed(inner)
            return MISSING
        if type(held) is not Cell:
            value = held
        elif held.until == NEVER or not self._checked:
            value = held.value
        else:
            now = self._now()
            if held.until <= now:
                self._let_go(inner, held, self._cause(held, now) or "ttl")
                self._misses += 1
                return MISSING
            if self._idle is not None:
                held.until = min(held.expires, now + self._idle)
            held.used = True
            self._hits += 1
            return held.value
        self._hits += 1
        if self._sampler.keys and inner in self._sampler.keys:
            self._sampler.seen += 1
        else:
            self._note_use(inner, held, value)
        return value

    def _note_use(self, inner: Any, held: Any, value: Any) -> None:
        """
        Mark *inner* as used. The next uses are as fast as can be, if they need not be
        counted.
        """
        engine = self._engine
        if self._counted > 0:
            self._counted -= 1
            if self._counted <= 0 and self._armed:
                self._begin_to_sample()
            is_fast = False
        else:
            is_fast = type(inner) is not StandIn and len(engine.front) < MOST
        if not is_fast:
            if type(held) is Cell and held.until != NEVER and self._idle is not None:
                held.until = min(held.expires, self._now() + self._idle)
            if inner in engine.seen:
                return
        if not self._is_inside() and not self.registry.detached:
            self._locked(self._mark, inner, held, value, is_fast)

    def _mark(self, inner: Any, held: Any, value: Any, is_fast: bool) -> None:
        """
        Mark *inner* as used, unless it has left meanwhile. Lock held.
        """
        # Not the engine that it was found in: there may be another one since.
        engine = self._engine
        if engine.table.get(inner, GONE) is not held or self.state >= CLOSING:
            return
        if not is_fast:
            engine.seen.add(inner)
            return
        if type(held) is Cell and held.until != NEVER:
            if self._checked:
                return
            if self._idle is not None:
                # Uses are not seen from now on: until half of the idle time has passed,
                # and then for one more idle time.
                now = self._now()
                soon = min(held.expires, now + self._idle / 2)
                held.until = min(held.expires, now + self._idle)
                self._deadlines.set(inner, soon)
                self._wake_at(soon)
        engine.expose(inner, value)

    def _begin_to_sample(self) -> None:
        """
        Estimate the uses of the fast path from now on, while the guard runs.
        """
        if self._sampling is None:
            when = self._sampler.begin(self._now())
            self._sampling = self.registry.scheduler.call_at(when, self._sample_soon)

    def _sample_soon(self) -> None:
        self.registry.scheduler.submit(self._sample)

    def _sample(self) -> None:
        def step() -> None:
            # Asked in here: after `_rest` there are no windows.
            if self._armed:
                when = self._sampler.turn(self._engine, self._now())
                call_at = self.registry.scheduler.call_at
                self._sampling = call_at(when, self._sample_soon)

        if self._armed and not self.registry.detached:
            self._locked(step)

    def _arm(self) -> None:
        super()._arm()
        if self._counted <= 0:
            self._begin_to_sample()

    def _rest(self) -> None:
        def step() -> Any:
            self._sampler.stop(self._now())
            call, self._sampling = self._sampling, None
            return call

        super()._rest()
        if not self.registry.detached and not self._is_inside():
            call = self._locked(step)
            if call is not None:
                call.cancel()

    def _peek(self, key: Any) -> Any:
        """
        The value or MISSING, without a trace.
        """
        held = self._held(key)
        if held is GONE:
            return MISSING
        if type(held) is not Cell:
            return held
        if held.until != NEVER and self._checked and held.until <= self._now():
            return MISSING
        return held.value

    # -- writing -----------------------------------------------------------------------

    def put(  # noqa: PLR0912
        self, key: _K, value: _V, *, ttl: Duration | None = None
    ) -> bool:
        """
        Keep *value* under *key*, for *ttl* if it is given.

        False if it was refused because it is heavier than the whole cache may be; what
        was there before has left then, too. Raises LimitReached if the cache was made
        for that, and ScopeClosed after its end.
        """
        if (
            not self._plain
            or ttl is not None
            or (type(key) is not str and type(key) not in FLAT)
        ):
            return self._put(key, value, ttl)
        turn = self._turn
        is_done = True
        # While this has a value we may be inside: `_is_mine` looks for it.
        was: Any = None
        try:
            del turn[1]
        except IndexError:
            del was
            return self._put(key, value, None)
        # As `_store_step`, for the most frequent case.
        try:
            engine: Any = self._engine
            table = engine.table
            if engine.credit and key not in table and not self._flying:
                engine.credit -= 1
                if engine.coming and hash(key) in engine.coming:
                    engine.coming.discard(hash(key))
                    engine.main.append(key)
                else:
                    engine.probation.append(key)
                table[key] = value
                if self._later is None:
                    return True
            elif self._flying or not self._plain:
                # Somebody was faster.
                is_done = False
            elif key in table:
                was = [table[key]]
                if key in engine.front:
                    engine.front[key] = value
                table[key] = value
                self._replaced += 1
            else:
                was = self._come(engine, key, value)
                is_done = was is not ASK
        except BaseException:
            self._mend()
            raise
        finally:
            turn.append(None)
        left = was if is_done else None
        del was
        if self._later is not None:
            self._catch_up()
        if left is not None:
            # What was there before dies here: with no lock held.
            self._drop_values(left)
        return is_done or self._put(key, value, None)

    def _come(self, engine: ByCount, key: Any, value: Any) -> Any:
        """
        A put of a key that is not in here, where there may be no room: who left for it.
        Lock held.
        """
        most = self._most or 0
        room = most - len(engine.table)
        gone = None
        if room <= 0 and most < (self._max_entries or 0) and self._should_ask():
            # Not with the lock held: others may have to give something for it.
            return ASK
        if room > 0 and not engine.is_settled():
            if not room & 1023:
                engine.widen()
            engine.fill(key, value, most)
            return None
        if room <= 0:
            engine.settle()
            # In a large cache some leave together, which is quicker.
            together = min(most >> 8, _MOST_TOGETHER) if most >= _LARGE else 1
            # After its allowance was lowered some leave with each put, not all at once.
            together = max(together, min(1 - room, _MOST_TOGETHER))
            gone = engine.evict_some(together)
            self._evicted += len(gone)
            room += len(gone)
        engine.admit(key, value)
        # Who looks at what is missed looks at each of them.
        engine.credit = max(room - 1, 0) if engine.shadow is None else 0
        return gone

    def _put(self, key: Any, value: Any, ttl: Duration | None) -> bool:
        seconds = self.ttl if ttl is None else lifetime(ttl, "ttl")
        hashed = hash(key)
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
        value = self._peek(key)
        if value is not MISSING:
            hashed = hash(key)
            if self._is_inside():
                self._put_off(lambda: self._remove(key, hashed, None))
                return value
            held = self._remove(key, hashed, None)
            if held is not GONE:
                return value_of(held)
        if default is MISSING:
            raise KeyError(key)
        return default

    def invalidate(self, key: _K) -> bool:
        """
        Drop *key*; False if it was not there. A load that is under way is not stored.
        """
        if self._is_inside():
            self._put_off(lambda: self.invalidate(key))
            return self._peek(key) is not MISSING
        gone = [(key, self._remove(key, hash(key), "explicit"), "")]
        found = gone[0][1] is not GONE
        self._let_die(gone)
        return found

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
        return len(self._engine.table)

    def __iter__(self) -> Iterator[_K]:
        return iter(self.keys())

    def keys(self) -> list[_K]:
        """
        The keys of now, oldest entry first (in no order beyond 40,000 entries).
        """
        return [key for key, _ in self.items()]

    def values(self) -> list[_V]:
        """
        The values of now, as `keys`.
        """
        return [value for _, value in self.items()]

    def items(self) -> list[tuple[_K, _V]]:
        """
        Keys and values of now, as `keys`.
        """
        self._let_expired_go()
        # With the lock, because a collection may run a destructor that uses the cache.
        if self._is_inside() or self.registry.detached:
            found, names = self._all()
        else:
            found, names = self._locked(self._all)
        return [
            (
                names[inner] if type(inner) is StandIn else inner,
                value_of(held),
            )
            for inner, held in found
        ]

    def _all(self) -> tuple[list[tuple[Any, Any]], dict[StandIn, Any]]:
        """
        What is held for each entry, and the keys of stand-ins: who leaves loses it.
        """
        names = {one: one.key for one in self._stand_ins.things()}
        return list(self._engine.table.items()), names

    def info(self) -> CacheInfo:
        """
        The figures of this moment.
        """
        entries = len(self)
        causes = {cause: counted.value for cause, counted in self._causes.items()}
        causes["size"] += self._evicted
        causes["replaced"] += self._replaced
        return CacheInfo(
            entries=entries,
            bytes=self.content_bytes(),
            hits=self._hits + int(self._sampler.estimate),
            misses=self._misses,
            evictions=causes["size"] + causes["pressure"],
            max_entries=self._max_entries,
            max_bytes=self._max_bytes,
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
        self._flying = self._flights.table

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

    def _bring(self, flight: Flight, value: Any, seconds: float) -> bool:
        """
        Store what a load brought and count how it ended, if that can be done in one.
        """
        if not self._plain or not is_trusted(flight.key) or self.registry.detached:
            return False
        if self._is_inside():
            return False
        was = self._locked(self._bring_step, flight, value, seconds)
        if was is ASK:
            return False
        if was is not None:
            self._drop_values(was)
        return True

    def _bring_step(self, flight: Flight, value: Any, seconds: float) -> Any:
        engine: Any = self._engine
        key, was = flight.key, None
        if not self._plain:
            return ASK
        if not flight.stale:
            if key in engine.table:
                was = [engine.table[key]]
                engine.replace(key, value)
                if key in engine.front:
                    engine.front[key] = value
                self._replaced += 1
            else:
                was = self._come(engine, key, value)
                if was is ASK:
                    return ASK
        self._flights.remove(flight)
        self._loads += 1
        self._load_seconds += seconds
        return was

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

    def _is_mine(self) -> bool:
        # `put` does not take the time to say who is inside.
        return super()._is_mine() or (
            not self._holder and runs_in(Cache.put.__code__, self, "was")
        )

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        self._sampling = None
        self._sampler.keys = set()
        # Who was loading has stayed in the parent.
        self._flights = Buckets()
        self._flying = self._flights.table


class TimedCache(Cache[_K, _V]):
    """
    A cache whose entries all have an end, which `get` may have to look at.
    """

    __slots__ = ()

    def get(self, key: _K, default: Any = None) -> Any:
        if self._checked:
            try:
                cell = self._engine.table[key]
                if cell.until > self._now():
                    cell.used = True
                    self._hits += 1
                    return cell.value
            except KeyError:
                pass
            value = self._missing(key)
        else:
            value = self._front[key]
        if value is None:
            return self._instead(key, default)
        return value

    get.__doc__ = Cache.get.__doc__
