"""
What is in a cache: coming, going and age, and who is told. The verbs are in `cache`.

Weigher and listener are called with no lock held, keys are compared with none, and
what leaves is destroyed after the lock was left. Longer than 300 lines because each
verb and what it does under the lock belong side by side.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ClassVar, Final

from memguard._kinds.cache.buckets import matching
from memguard._kinds.cache.engine import Engine, Entry
from memguard._kinds.cache.figures import CAUSES, Count
from memguard._kinds.cache.options import KEEP, Options
from memguard._kinds.cache.weights import Weights
from memguard._kinds.caps import byte_cap, count_cap
from memguard._kinds.container import NEVER, Container
from memguard._phases import CLOSING, Phase
from memguard._tree import Branch
from memguard.errors import LimitReached
from memguard.typing import Size

__all__ = ("Store",)

# Who left, with the cause.
_Departures = list[tuple[Entry, str]]

# How a step of storing ended: _AGAIN asks for another comparison of the keys, _OVER is
# a cache that ended or a load that was overtaken.
_STORED, _REFUSED, _FULL, _OVER, _AGAIN = "stored", "refused", "full", "over", "again"

# Entries that leave in one locked section, so that nobody waits long for the lock.
_SLICE: Final = 256
_ENTRY_BYTES: Final = sys.getsizeof(Entry(0, 0, 0, 0, now=0.0, expires=0.0)) + sum(
    # A bucket, hash and number; the entry's times; its place in the deadlines.
    map(sys.getsizeof, ((None,), 1 << 60, 1 << 30, 0.5, 0.5, (0.5, 1)))
)


class Load:
    """
    What a load has to do with the store: whether it was overtaken by a change.
    """

    __slots__ = ("stale",)

    def __init__(self) -> None:
        self.stale = False


class Store(Container):
    """
    Entries within caps, and what happens to them.
    """

    __slots__ = (
        "_causes",
        "_engine",
        "_on_evict",
        "_on_limit",
        "_refused",
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
        self._on_limit = options.on_limit
        self._on_evict = options.on_evict
        self._weights = Weights(options.weigher, capped=options.max_bytes is not None)
        self._engine = Engine(options.max_entries, options.max_bytes, options.idle)
        self._refused = Count()
        self._causes = {cause: Count() for cause in CAUSES}

    def _overtake(self, hashed: int) -> None:
        """
        What is being loaded under *hashed* is older than a change. Lock held.
        """

    def _overtake_all(self) -> None:
        """
        Whatever is being loaded is older than a change. Lock held.
        """

    def _now(self) -> float:
        return self.registry.clock.monotonic()

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
        weight = self._weights.of(key, value, self._failed)
        now = self._now()
        expires = NEVER if ttl is None else now + ttl
        entry = Entry(key, hashed, value, weight, now=now, expires=expires)
        while True:
            bucket = self._engine.at(hashed)
            old = matching(bucket, key)
            outcome, gone = self._locked(
                self._store_step, entry, bucket, old, load, now
            )
            self._depart(gone)
            if outcome == _AGAIN:
                continue
            if outcome == _REFUSED:
                self._refused.add()
            elif outcome == _FULL:
                raise LimitReached(self._full_text())
            elif outcome == _OVER and load is None:
                self._refuse_if_closed()
            return outcome == _STORED

    def _store_step(
        self,
        entry: Entry,
        bucket: tuple[Entry, ...],
        old: Entry | None,
        load: Load | None,
        now: float,
    ) -> tuple[str, _Departures]:
        engine = self._engine
        if self.state >= CLOSING or (load is not None and load.stale):
            return _OVER, []
        if engine.at(entry.hashed) is not bucket:
            return _AGAIN, []
        gone = engine.take_expired(now, _SLICE)
        if self._on_limit == "raise" and not engine.has_room(entry.weight, old):
            return _FULL, gone
        if load is None:
            self._overtake(entry.hashed)
        too_heavy = engine.max_bytes is not None and entry.weight > engine.max_bytes
        if old is not None and engine.remove(old):
            # Refusing the new value must not bring the old one back.
            gone.append((old, "size" if too_heavy else "replaced"))
        if too_heavy:
            return _REFUSED, gone
        gone += [(victim, "size") for victim in engine.make_room(entry.weight)]
        engine.add(entry)
        self._wake_at(engine.next_deadline())
        return _STORED, gone

    def _full_text(self) -> str:
        engine = self._engine
        return (
            f"cache {self.label!r} is full ({len(engine)} entries, {engine.weight}"
            f" bytes; max_entries={engine.max_entries}, max_bytes={engine.max_bytes})"
            ' and was made with on_limit="raise"; invalidate something, resize it, or'
            " let it evict"
        )

    # -- going -------------------------------------------------------------------------

    def _remove(self, key: Any, hashed: int, cause: str | None) -> Entry | None:
        """
        The live entry of *key*, taken out; its listener is told unless *cause* is None.
        """

        def step() -> bool:
            engine = self._engine
            if engine.at(hashed) is not bucket:
                return False
            self._overtake(hashed)
            if entry is not None:
                engine.remove(entry)
            return True

        while True:
            bucket = self._engine.at(hashed)
            entry = matching(bucket, key)
            if self._locked(step):
                break
        if entry is None:
            return None
        over = self._engine.cause(entry, self._now())
        if over is not None or cause is not None:
            self._depart([(entry, over or cause or "")])
        return None if over is not None else entry

    def _clear(self) -> None:
        """
        Everything leaves.
        """

        def step() -> list[Entry]:
            self._overtake_all()
            return self._engine.clear()

        entries = self._locked(step)
        self._depart([(entry, "explicit") for entry in entries])

    def _let_go(self, entry: Entry, cause: str) -> None:
        """
        *entry* is over, and leaves now unless that has to wait.
        """
        if self._is_inside() or self.registry.detached:
            return
        if self._locked(self._engine.remove, entry):
            self._depart([(entry, cause)])

    def _let_expired_go(self) -> None:
        """
        Everything whose time is over leaves, in slices.
        """
        engine = self._engine
        if self._is_inside() or self.registry.detached:
            return
        while engine.next_deadline() != NEVER:
            gone = self._locked(engine.take_expired, self._now(), _SLICE)
            self._depart(gone)
            if len(gone) < _SLICE:
                return

    def _depart(self, gone: _Departures) -> None:
        """
        Count and tell who left. Their values are destroyed when *gone* is: not here,
        but in any case with no lock held.
        """
        listener = self._on_evict
        for entry, cause in gone:
            self._causes[cause].add()
            if listener is not None:
                try:
                    listener(entry.key, entry.value, cause)
                except Exception as error:
                    self._failed("on_evict", error)

    # -- caps --------------------------------------------------------------------------

    def resize(
        self, *, max_entries: int | None = KEEP, max_bytes: Size | None = KEEP
    ) -> None:
        """
        Change one cap or both, now; None lifts one of them. The least used leave.
        """
        engine = self._engine
        entries = (
            engine.max_entries
            if max_entries is KEEP
            else count_cap(max_entries, "max_entries")
        )
        limit = (
            engine.max_bytes if max_bytes is KEEP else byte_cap(max_bytes, "max_bytes")
        )
        if entries is None and limit is None:
            msg = (
                f"cache {self.label!r} would have no cap left; keep max_entries or"
                " max_bytes"
            )
            raise ValueError(msg)
        if self._is_inside():
            self._put_off(lambda: self.resize(max_entries=entries, max_bytes=limit))
            return
        self._refuse_if_closed()

        def step() -> None:
            engine.max_entries = entries
            engine.max_bytes = limit

        self._weights.capped = limit is not None
        self._locked(step)
        self._evict("size", lambda: not engine.is_over())

    def shrink(self, nbytes: int) -> int:
        """
        Give *nbytes* back under pressure, the least used first, but none below
        `floor_bytes`; returns the bytes that were given.
        """
        if self._is_inside() or self.state >= CLOSING or self.registry.detached:
            return 0
        engine = self._engine
        before = engine.weight
        target = max(self.floor_bytes, before - nbytes)
        return self._evict("pressure", lambda: engine.weight <= target)

    def _evict(self, cause: str, is_enough: Callable[[], bool]) -> int:
        """
        Let victims go until it *is_enough*, in slices; their weight.
        """

        def step() -> _Departures:
            victims: _Departures = []
            while len(victims) < _SLICE and not is_enough():
                victim = self._engine.take_victim()
                if victim is None:
                    break
                victims.append((victim, cause))
            return victims

        freed = 0
        while gone := self._locked(step):
            freed += sum(entry.weight for entry, _ in gone)
            self._depart(gone)
        return freed

    def memory_bytes(self) -> int:
        """
        Bytes of keys and values, and of what the cache needs to hold them.

        With a weigher of the user's: what that said.
        """
        return self._engine.weight + _ENTRY_BYTES * len(self._engine)

    # -- life --------------------------------------------------------------------------

    def _tidy(self) -> None:
        self._let_expired_go()
        self._locked(self._set_alarm)

    def _set_alarm(self) -> None:
        self._wake_later(self._engine.next_deadline(), self._now())

    def _disarm(self) -> None:
        self._rest()
        self._clear()

    def _release(self) -> None:
        self._disarm()

    def _forget(self) -> None:
        engine = self._engine
        self._engine = Engine(engine.max_entries, engine.max_bytes, engine.idle)
