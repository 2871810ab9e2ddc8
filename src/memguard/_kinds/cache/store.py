"""
What is in a cache: coming, going and age, and who is told. The verbs are in `cache`.

Weigher and listener are called with no lock held, keys that are not trusted are hashed
and compared with none, and what leaves is destroyed after the lock was left. Longer
than 300 lines because each verb and what it does under the lock belong side by side.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, ClassVar, Final

from memguard._clock import SystemClock, give_way
from memguard._kinds.cache.buckets import Buckets, matching
from memguard._kinds.cache.cells import GONE, Cell, value_of
from memguard._kinds.cache.deadlines import Deadlines
from memguard._kinds.cache.engine import ByCount
from memguard._kinds.cache.exclusive import Exclusive
from memguard._kinds.cache.figures import CAUSES, Count
from memguard._kinds.cache.options import Options
from memguard._kinds.cache.tables import Tables, parts_of
from memguard._kinds.cache.trust import FLAT, StandIn, equal_in, is_trusted, key_of
from memguard._kinds.cache.weighed import ByWeight
from memguard._kinds.cache.weights import Weights
from memguard._kinds.container import NEVER
from memguard._kinds.teardown import discard
from memguard._phases import CLOSING, Phase
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.errors import LimitReached

__all__ = ("OVERHEAD", "SLICE", "Departures", "Load", "Store")

#: Who left: its key, what was held, and the cause.
Departures = list[tuple[Any, Any, str]]

# What is dropped at once, whatever its size.
_LIGHT: Final = FLAT | {bytearray}
# How a step of storing ended: _AGAIN asks for another comparison of the keys, _OVER is
# a cache that ended or a load that was overtaken.
_STORED, _REFUSED, _FULL, _OVER, _AGAIN = "stored", "refused", "full", "over", "again"

#: Bytes that it takes to hold an entry, besides its key and value: about.
OVERHEAD: Final = 64
#: Entries that leave in one locked section: about a fifth of a millisecond.
SLICE: Final = 64


class Load:
    """
    What a load has to do with the store: whether it was overtaken by a change.
    """

    __slots__ = ("stale",)

    def __init__(self) -> None:
        self.stale = False


class Store(Exclusive):
    """
    Entries within caps, and what happens to them.
    """

    __slots__ = (
        "_allowance",
        "_causes",
        "_checked",
        "_deadlines",
        "_engine",
        "_evicted",
        "_idle",
        "_jitter",
        "_max_bytes",
        "_max_entries",
        "_most",
        "_now",
        "_on_evict",
        "_on_limit",
        "_plain",
        "_refused",
        "_replaced",
        "_stand_ins",
        "_strict",
        "_weighs",
        "_weight",
        "_weights",
        "floor_bytes",
        "priority",
        "spec",
        "ttl",
    )

    kind: ClassVar[str] = "cache"
    phase = Phase.CACHES

    def __init__(self, owner: Branch, name: str, options: Options) -> None:
        super().__init__(owner, name)
        #: What has to be the same where the same name is asked for again.
        self.spec = options.spec
        self.ttl = options.ttl
        self.priority = options.priority
        self.floor_bytes = options.floor_bytes
        self._max_entries = options.max_entries
        self._max_bytes = options.max_bytes
        # What a budget leaves of the caps: bytes, or entries where none is weighed.
        self._allowance: int | None = None
        self._most = options.max_entries
        self._idle = options.idle
        self._jitter = options.jitter
        self._strict = options.strict
        self._on_limit = options.on_limit
        self._on_evict = options.on_evict
        self._weights = Weights(options.weigher)
        # True where each entry is weighed; else they are when somebody asks.
        self._weighs = options.max_bytes is not None or options.weigher is not None
        self._weight = 0
        # Whether ages are looked at with each use, because nobody sweeps in time.
        self._checked = True
        self._now = self.registry.now
        self._deadlines = Deadlines()
        self._stand_ins: Buckets[StandIn] = Buckets()
        self._engine: Tables = self._new_engine()
        # Of plain puts; the others are in the causes.
        self._evicted = self._replaced = 0
        self._refused = Count()
        self._causes = {cause: Count() for cause in CAUSES}
        self._plain = self._is_plain()

    def _new_engine(self) -> Tables:
        bound_by_bytes = self._max_bytes is not None
        return (ByWeight if bound_by_bytes else ByCount)(self._missing)

    def _is_plain(self) -> bool:
        """
        True where an entry is its value, and only the number of them is bounded.
        """
        return (
            self._max_entries is not None
            and self._is_bare()
            and self._on_limit == "evict"
            and self._on_evict is None
            and self.state < CLOSING
        )

    def _is_bare(self) -> bool:
        """
        True where every entry is its value, under its own key.
        """
        return (
            not self._weighs
            and self.ttl is None
            and self._idle is None
            and not self._deadlines
            and not self._stand_ins.table
        )

    def _missing(self, key: Any) -> Any:
        """
        Asked by the fast path for what is not in there.
        """
        raise NotImplementedError

    def _share_out(self) -> None:
        """
        Find out what a budget leaves of the caps.
        """
        self._most = self._max_entries

    def _ask(self, weight: int) -> None:
        """
        Ask a budget for room, if this weight finds none. Called with no lock held.
        """

    def _overtake(self, hashed: int) -> None:
        """
        What is being loaded under *hashed* is older than a change. Lock held.
        """

    def _overtake_all(self) -> None:
        """
        Whatever is being loaded is older than a change. Lock held.
        """

    def _mend(self) -> None:
        """
        Set the books right after an exception in the middle of a change: memory was
        short, or a signal handler raised. Lock held.
        """
        self._engine.mend()
        self._deadlines.clear()
        self._stand_ins = Buckets()
        self._weight = 0
        for inner, held in list(self._engine.table.items()):
            if type(inner) is StandIn:
                self._stand_ins.add(inner)
            if type(held) is Cell:
                self._weight += held.weight
                self._deadlines.set(inner, held.until)
        self._plain = self._is_plain()

    # -- looking -----------------------------------------------------------------------

    def _inner(self, key: Any) -> Any:
        """
        What stands for *key* in the tables; GONE if that is not there. May run code of
        the key: no lock held.
        """
        return key if is_trusted(key) else self._find(key, hash(key), False)[0]

    def _find(
        self, key: Any, hashed: int, trusted: bool
    ) -> tuple[Any, tuple[StandIn, ...] | None]:
        """
        What stands for *key* in the tables, or GONE if nothing does; and the stand-ins
        among which it was looked for. May run code of the key: no lock held.

        A key that is trusted is not compared with those that are not: that could raise,
        or wait, and who asks with a text must not suffer from what others have put.
        """
        if trusted:
            return key, None
        bucket = self._stand_ins.at(hashed)
        # The fast path finds a trusted key by any that is equal to it, and so do we.
        return (
            matching(bucket, key) or equal_in(self._engine.table, key, hashed),
            bucket,
        )

    def _held(self, key: Any) -> Any:
        """
        What is held for *key*, whatever its age, or GONE.
        """
        inner = self._inner(key)
        table = self._engine.table
        held = table.get(inner, GONE)
        if held is GONE and type(table) is not dict and not self._is_inside():
            # It may have been on its way from one place to another.
            held = self._locked(table.get, inner, GONE)
        return held

    def _cause(self, held: Any, now: float) -> str | None:
        """
        Why *held* is over: "ttl", "idle", or None if it is not.
        """
        if type(held) is not Cell or held.until > now:
            return None
        return "ttl" if held.expires <= now else "idle"

    # -- coming ------------------------------------------------------------------------

    def _store(
        self,
        key: Any,
        hashed: int,
        value: Any,
        ttl: float | None,
        load: Load | None,
    ) -> bool:
        """
        Put in what a user gave, or what a load brought.
        """
        now = self._now()
        weighed = self._weighs
        held = self._hold(key, value, ttl, now)
        self._ask(held.weight if type(held) is Cell else 0)
        trusted = is_trusted(key)
        while True:
            if weighed is not self._weighs:
                # There is a byte cap since.
                weighed = self._weighs
                held = self._hold(key, value, ttl, now)
            inner, bucket = self._find(key, hashed, trusted)
            where = key, hashed, inner, bucket
            outcome, gone = self._locked(
                self._store_step, where, held, weighed, load, now
            )
            self._depart(gone)
            self._let_die(gone)
            if outcome == _AGAIN:
                continue
            if outcome == _REFUSED:
                self._refused.add()
            elif outcome == _FULL:
                raise LimitReached(self._full_text())
            elif outcome == _OVER and load is None:
                self._refuse_if_closed()
            return outcome == _STORED

    def _hold(self, key: Any, value: Any, ttl: float | None, now: float) -> Any:
        """
        What the table holds for *value*: itself, if nothing else has to be known.
        """
        if not self._weighs and ttl is None and self._idle is None:
            return value
        weight = self._weights.of(key, value, self._failed) if self._weighs else 0
        expires = NEVER
        if ttl is not None:
            expires = now + (self._spread(ttl) if self._jitter else ttl)
        until = expires if self._idle is None else min(expires, now + self._idle)
        return Cell(value, weight, expires, until)

    def _spread(self, ttl: float) -> float:
        # Not at import: the module enters a fork hook of its own.
        from random import random

        return ttl * (1.0 - self._jitter * random())  # noqa: S311

    def _store_step(
        self,
        where: tuple[Any, int, Any, tuple[StandIn, ...] | None],
        held: Any,
        weighed: bool,
        load: Load | None,
        now: float,
    ) -> tuple[str, Departures]:
        key, hashed, inner, bucket = where
        if self.state >= CLOSING or (load is not None and load.stale):
            return _OVER, []
        if weighed is not self._weighs:
            return _AGAIN, []
        gone = self._take_due(now, SLICE) if self._deadlines else []
        if bucket is not None and self._stand_ins.at(hashed) is not bucket:
            return _AGAIN, gone
        engine = self._engine
        old = engine.table.get(inner, GONE)
        weight = held.weight if type(held) is Cell else 0
        if self._on_limit == "raise" and not self._has_room(weight, old):
            return _FULL, gone
        if load is None:
            self._overtake(hashed)
        limit = self._limit(1)
        too_heavy = limit is not None and weight > limit
        if old is not GONE:
            # Refusing the new value must not bring the old one back.
            gone.append((key, old, "size" if too_heavy else "replaced"))
            if too_heavy or not self._has_room(weight, old):
                self._drop(inner)
                inner = GONE if type(inner) is StandIn else inner
            else:
                self._replace(inner, old, held)
                return _STORED, gone
        if too_heavy:
            return _REFUSED, gone
        self._make_room(weight, gone)
        if inner is GONE:
            inner = StandIn(key, hashed)
            self._stand_ins.add(inner)
            self._plain = False
        if engine.is_settled():
            engine.admit(inner, held)
        else:
            engine.fill(inner, held, self._max_entries or 0)
        self._count_in(inner, held)
        return _STORED, gone

    def _replace(self, inner: Any, old: Any, held: Any) -> None:
        """
        *held* in the place of *old*, which keeps its rank. Lock held.
        """
        engine = self._engine
        self._count_out(inner, old)
        engine.replace(inner, held)
        if inner in engine.front:
            if type(held) is Cell and self._checked:
                engine.cover_one(inner)
            else:
                engine.front[inner] = value_of(held)
        self._count_in(inner, held)

    def _count_in(self, inner: Any, held: Any) -> None:
        if type(held) is Cell:
            self._weight += held.weight
            if held.until != NEVER:
                self._plain = False
                self._deadlines.set(inner, held.until)
                self._wake_at(held.until)

    def _count_out(self, inner: Any, held: Any) -> None:
        if type(held) is Cell:
            self._weight -= held.weight
            if self._deadlines:
                self._deadlines.drop(inner)

    def _full_text(self) -> str:
        return (
            f"cache {self.label!r} is full ({len(self._engine.table)} entries,"
            f" {self._weight} bytes; max_entries={self._max_entries},"
            f' max_bytes={self._max_bytes}) and was made with on_limit="raise";'
            " invalidate something, resize it, or let it evict"
        )

    # -- room --------------------------------------------------------------------------

    def _has_room(self, weight: int, old: Any = GONE) -> bool:
        """
        True where an entry of this weight needs nobody to leave, but for *old*.
        """
        count, total = len(self._engine.table), self._weight
        if old is not GONE:
            count -= 1
            total -= old.weight if type(old) is Cell else 0
        most, limit = self._most, self._limit(count + 1)
        return (most is None or count < most) and (
            limit is None or total + weight <= limit
        )

    def _limit(self, entries: int) -> int | None:
        """
        What the entries may weigh, if there are so many of them.
        """
        limit, allowance = self._max_bytes, self._allowance
        if allowance is None or not self._weighs:
            return limit
        left = allowance - OVERHEAD * entries
        return left if limit is None else min(limit, left)

    def _is_over(self) -> bool:
        """
        True where a cap is exceeded, as after it was lowered.
        """
        entries = len(self._engine.table)
        most, limit = self._most, self._limit(entries)
        return (most is not None and entries > most) or (
            limit is not None and self._weight > limit
        )

    def _make_room(self, weight: int, gone: Departures) -> None:
        """
        Let victims go until there is room; *weight* is within the caps by itself.
        """
        if self._has_room(weight):
            if not len(self._engine.table) & 1023:
                self._engine.widen()
            return
        # Only bytes may need many victims. Who is still above an allowance that was
        # lowered lets some of them go with each put.
        enough = len(gone) + SLICE
        while not self._has_room(weight) and (self._weighs or len(gone) < enough):
            if not self._take_victim("size", gone):
                break

    def _take_victim(self, cause: str, gone: Departures) -> bool:
        """
        Take out who goes next; False when nobody is left. Lock held.
        """
        engine = self._engine
        if not engine.is_settled():
            engine.settle()
        inner, held = engine.evict()
        if held is GONE:
            return False
        self._count_out(inner, held)
        gone.append((self._outer(inner), held, cause))
        return True

    def _outer(self, inner: Any) -> Any:
        """
        The user's key of who has just left. Lock held.
        """
        if type(inner) is not StandIn:
            return inner
        key = inner.key
        self._stand_ins.remove(inner)
        # It may lie in a queue for a while, the key must not.
        inner.key = None
        return key

    # -- going -------------------------------------------------------------------------

    def _drop(self, inner: Any) -> Any:
        """
        Take *inner* out; what was held, or GONE. Lock held.
        """
        held = self._engine.remove(inner)
        if held is not GONE:
            self._count_out(inner, held)
            if type(inner) is StandIn:
                self._outer(inner)
        return held

    def _remove(self, key: Any, hashed: int, cause: str | None) -> Any:
        """
        What was held for *key* and is no longer, or GONE; its listener is told unless
        *cause* is None.
        """
        trusted = is_trusted(key)

        def step() -> Any:
            if bucket is not None and self._stand_ins.at(hashed) is not bucket:
                return _AGAIN
            self._overtake(hashed)
            return self._drop(inner)

        while True:
            inner, bucket = self._find(key, hashed, trusted)
            held = self._locked(step)
            if held is not _AGAIN:
                break
        if held is GONE:
            return GONE
        over = self._cause(held, self._now())
        if over is not None or cause is not None:
            self._depart([(key, held, over or cause or "")])
        return GONE if over is not None else held

    def _let_die(self, gone: Departures) -> None:
        """
        Drop what was held by who left; huge values in slices, so that other threads
        run in between. Destructors run: no lock held.
        """
        values = [value_of(held) for _, held, _ in gone]
        gone.clear()
        self._drop_values(values)

    def _drop_values(self, values: list[Any]) -> None:
        if not _LIGHT.issuperset(map(type, values)):
            registry = self.registry
            away = self._armed and not registry.detached
            discard(values, registry.scheduler.submit if away else None)

    def _clear(self) -> None:
        """
        Everything leaves.
        """

        def step() -> Any:
            self._overtake_all()
            self._deadlines.clear()
            self._stand_ins = Buckets()
            self._weight = 0
            return self._engine.clear()

        table, queues = self._locked(step)
        parts = parts_of(table)
        for inner, held in chain.from_iterable(one.items() for one in parts):
            key = key_of(inner)
            self._depart([(key, held, "explicit")])
        # Freed in slices: a million entries at once would stop all threads.
        for part in parts:
            while part:
                some = [part.popitem()[1] for _ in range(min(SLICE, len(part)))]
                values = [value_of(one) for one in some]
                some.clear()
                self._drop_values(values)
                if part:
                    give_way()
        for queue in queues:
            while len(queue) > SLICE:
                for _ in range(SLICE):
                    queue.pop()

    def _let_go(self, inner: Any, held: Any, cause: str) -> None:
        """
        *held* is over, and leaves now unless that has to wait.
        """
        if self._is_inside() or self.registry.detached:
            return

        def step() -> tuple[Any, bool]:
            if self._engine.table.get(inner, GONE) is not held:
                return None, False
            key = key_of(inner)
            self._drop(inner)
            return key, True

        key, left = self._locked(step)
        if left:
            gone = [(key, held, cause)]
            del held
            self._depart(gone)
            self._let_die(gone)

    def _let_expired_go(self) -> None:
        """
        Everything whose time is over leaves, in slices.
        """
        if self._is_inside() or self.registry.detached:
            return
        while self._deadlines:
            gone, more = self._locked(self._sweep, self._now())
            self._depart(gone)
            self._let_die(gone)
            if not more:
                return
            give_way()

    def _sweep(self, now: float) -> tuple[Departures, bool]:
        """
        One slice of what is over, and whether there may be more. Lock held.
        """
        gone = self._take_due(now, SLICE)
        return gone, self._deadlines.has_due(now)

    def _take_due(self, now: float, most: int) -> Departures:
        """
        Take out up to *most* entries whose time is over. Lock held.
        """
        engine, deadlines = self._engine, self._deadlines
        gone: Departures = []
        for inner in deadlines.take_due(now, most):
            held = engine.table.get(inner, GONE)
            if type(held) is not Cell:
                continue
            if held.expires > now and inner in engine.front and self._idle is not None:
                # It may have been used until now. It is seen when it is used again.
                engine.cover_one(inner)
                held.until = min(held.expires, now + self._idle)
            cause = self._cause(held, now)
            if cause is None:
                # It was used meanwhile.
                deadlines.set(inner, held.until)
                continue
            engine.remove(inner)
            self._weight -= held.weight
            gone.append((self._outer(inner), held, cause))
        return gone

    def _depart(self, gone: Departures) -> None:
        """
        Count and tell who left. Their values are destroyed when *gone* is: not here,
        but in any case with no lock held.
        """
        listener = self._on_evict
        for key, held, cause in gone:
            self._causes[cause].add()
            if listener is not None:
                value = value_of(held)
                try:
                    listener(key, value, cause)
                except Exception as error:
                    self._failed("on_evict", error)

    # -- life --------------------------------------------------------------------------

    def _look_at_ages(self, *, always: bool) -> None:
        """
        Look at an entry's age with each use from now on, or leave that to the sweeps.
        """

        def step() -> None:
            self._checked = True
            if self._deadlines:
                if self._idle is not None:
                    now = self._now()
                    for inner in list(self._engine.front):
                        held = self._engine.table.get(inner, GONE)
                        if type(held) is Cell:
                            held.until = min(held.expires, now + self._idle)
                self._engine.cover()

        if not always:
            self._checked = False
        elif not self._checked:
            self._locked(step)

    def _arm(self) -> None:
        if not self._strict and isinstance(self.registry.clock, SystemClock):
            self._look_at_ages(always=False)
        super()._arm()

    def _rest(self) -> None:
        if not self.registry.detached:
            self._look_at_ages(always=True)
        super()._rest()

    def _tidy(self) -> None:
        self._let_expired_go()
        self._locked(self._set_alarm)

    def _set_alarm(self) -> None:
        self._wake_later(self._deadlines.next(), self._now())

    def _disarm(self) -> None:
        if self._is_inside():
            self._put_off(self._disarm)
            return
        self._rest()
        self._clear()

    def _release(self) -> None:
        self._plain = False
        self._disarm()

    def _after_fork(self, registry: Registry) -> None:
        # First of all the turn: what comes after may look into the tables.
        torn = self._renew_turn()
        self._now = registry.now
        if torn:
            self._forget()
        super()._after_fork(registry)
        self._look_at_ages(always=True)

    def _forget(self) -> None:
        # Who has kept the fast path goes on with it.
        front = self._engine.front
        front.clear()
        self._engine = self._new_engine()
        self._engine.front = front
        self._deadlines = Deadlines()
        self._stand_ins = Buckets()
        self._weight = 0
