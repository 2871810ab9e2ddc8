"""
A cache against a model: any sequence of verbs, with time passing in between.

The model does not know which entry leaves over a cap, the engine's secret; it is told
by the listener, and checks that the entry had to leave, and for the reason given. Where
nobody listens it checks that nothing old, foreign or overdue is ever returned, and that
all tables of the cache tell of the same entries. Longer than 300 lines because that are
two machines.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from memguard._kinds.cache import Cache
from memguard._kinds.cache.cells import Cell
from memguard._kinds.cache.trust import StandIn
from memguard._kinds.container import NEVER
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.errors import LimitReached
from memguard.testing import FakeClock

KEYS = st.integers(0, 12)
WEIGHTS = st.integers(0, 40)
TIMES = st.sampled_from([1, 5, 20])
MAYBE_TIME = st.none() | TIMES


class Expected:
    """
    One entry of the model.
    """

    def __init__(self, value: Any, weight: int, expires: float, used: float) -> None:
        self.value = value
        self.weight = weight
        self.expires = expires
        self.used = used


class CacheMachine(RuleBasedStateMachine):
    """
    Verbs of a cache, each with what has to be true afterwards.
    """

    cache: Cache[int, Any]

    @initialize(
        max_entries=st.none() | st.integers(1, 8),
        max_bytes=st.none() | st.integers(20, 100),
        ttl=MAYBE_TIME,
        idle=MAYBE_TIME,
        raises=st.booleans(),
        armed=st.booleans(),
    )
    def begin(
        self,
        *,
        max_entries: int | None,
        max_bytes: int | None,
        ttl: int | None,
        idle: int | None,
        raises: bool,
        armed: bool,
    ) -> None:
        """
        An empty cache with some caps.
        """
        self.clock = FakeClock(start=0.0)
        registry = Registry(self.clock, self.clock)
        root = Branch(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        root.owner = None
        root._children = {}
        self.failures = registry.failures
        self.cache = Cache(
            root,
            "model",
            max_entries=max_entries,
            max_bytes=max_bytes,
            ttl=ttl,
            idle=idle,
            weigher=lambda key, value: value[1],
            on_evict=self.departed,
            on_limit="raise" if raises else "evict",
        ).attach()
        if armed:
            self.cache._arm()
        self.ttl, self.idle, self.raises = ttl, idle, raises
        self.model: dict[int, Expected] = {}
        self.gone: list[str] = []
        self.serial = 0

    # -- what the listener tells -------------------------------------------------------

    def departed(self, key: int, value: Any, cause: str) -> None:
        """
        Whoever leaves was there, with this value, and had this reason.
        """
        was = self.model.pop(key)
        assert was.value is value
        self.gone.append(cause)
        now = self.clock.monotonic()
        if cause == "ttl":
            assert was.expires <= now
        elif cause == "idle":
            assert was.expires > now
            assert self.idle is not None
            assert was.used + self.idle <= now
        else:
            assert cause in ("size", "pressure", "explicit", "replaced")

    def is_over(self, one: Expected) -> bool:
        """
        Its time has passed, whether it has left or not.
        """
        now = self.clock.monotonic()
        return one.expires <= now or (
            self.idle is not None and one.used + self.idle <= now
        )

    def live(self) -> dict[int, Any]:
        """
        What the cache has to return now.
        """
        return {
            key: one.value for key, one in self.model.items() if not self.is_over(one)
        }

    # -- verbs -------------------------------------------------------------------------

    @rule(key=KEYS, weight=WEIGHTS, own_ttl=MAYBE_TIME)
    def put(self, key: int, weight: int, own_ttl: int | None) -> None:
        """
        Stored with its own age; or refused, with nothing left under the key.
        """
        self.serial += 1
        value = (self.serial, weight)
        before = set(self.live())
        self.gone.clear()
        info = self.cache.info()
        try:
            stored = self.cache.put(key, value, ttl=own_ttl)
        except LimitReached:
            assert self.raises
            assert before == set(self.live())
            return
        limit = info.max_bytes
        assert stored is (limit is None or weight <= limit)
        if self.raises:
            assert "size" not in self.gone
        if stored:
            assert key not in self.model
            now = self.clock.monotonic()
            ttl = self.ttl if own_ttl is None else own_ttl
            expires = float("inf") if ttl is None else now + ttl
            self.model[key] = Expected(value, weight, expires, now)
            self.only_as_many_as_needed(before - {key}, weight)
        else:
            assert key not in self.live()

    def only_as_many_as_needed(self, others: set[int], weight: int) -> None:
        """
        With one victim less the caps would not have held.
        """
        left = others - set(self.model)
        info = self.cache.info()
        if not left:
            return
        assert "size" in self.gone
        full = info.max_entries is not None and info.entries == info.max_entries
        heavy = info.max_bytes is not None and info.bytes + 40 > info.max_bytes
        assert full or heavy

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        """
        The value that was put last, unless its time is over.
        """
        expected = self.live().get(key)
        assert expected is self.cache.get(key)
        if expected is not None:
            self.model[key].used = self.clock.monotonic()

    @rule(key=KEYS)
    def contains(self, key: int) -> None:
        """
        As `get`, without being a use.
        """
        assert (key in self.live()) is (key in self.cache)

    @rule(key=KEYS)
    def pop(self, key: int) -> None:
        """
        Given back once, and not told to the listener.
        """
        expected = self.live().get(key)
        assert expected is self.cache.pop(key, None)
        if expected is not None:
            del self.model[key]

    @rule(key=KEYS)
    def invalidate(self, key: int) -> None:
        """
        Says whether it was there.
        """
        assert (key in self.live()) is self.cache.invalidate(key)
        assert key not in self.cache

    @rule()
    def clear(self) -> None:
        """
        Nothing is left.
        """
        self.cache.clear()
        assert {} == self.model

    @rule(seconds=st.sampled_from([0.5, 1, 4, 10, 30]))
    def wait(self, seconds: float) -> None:
        """
        Time passes.
        """
        self.clock.advance(seconds)

    @precondition(lambda self: self.cache.info().max_entries is not None)
    @rule(most=st.integers(1, 8))
    def resize(self, most: int) -> None:
        """
        A lower cap holds at once.
        """
        self.cache.resize(max_entries=most)
        assert len(self.cache) <= most

    @rule(weight=WEIGHTS)
    def shrink(self, weight: int) -> None:
        """
        As much is freed as was asked for, if there is as much.
        """
        held = self.cache.info().bytes
        freed = self.cache.shrink(weight)
        assert freed >= min(weight, held)
        assert held - freed == self.cache.info().bytes

    # -- always ------------------------------------------------------------------------

    @invariant()
    def the_books_agree(self) -> None:
        """
        Content, figures and caps, after every step.
        """
        live = self.live()
        assert live == dict(self.cache.items())
        assert live == self.live()
        info = self.cache.info()
        assert len(live) == len(self.cache) == info.entries
        assert sum(value[1] for value in live.values()) == info.bytes
        assert info.max_entries is None or info.entries <= info.max_entries
        assert info.max_bytes is None or info.bytes <= info.max_bytes
        assert 0 == self.failures.total

    def teardown(self) -> None:
        """
        Closing tells about everybody who was left.
        """
        if hasattr(self, "cache"):
            self.cache.close()
            assert {} == self.model
            assert 0 == self.clock.pending


class Foreign:
    """
    A key that is hashed and compared in Python; some are equal to numbers.
    """

    def __init__(self, number: int, *, is_equal: bool) -> None:
        self.name: Any = number if is_equal else ("foreign", number)

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return self.name == (other.name if isinstance(other, Foreign) else other)


def books_agree(cache: Cache[Any, Any]) -> None:
    """
    Tables, queues, weights, deadlines and stand-ins tell of the same entries.
    """
    engine: Any = cache._engine
    table = engine.table
    keys = set(table)
    assert len(keys) == len(table)
    cells = {key: held for key, held in table.items() if type(held) is Cell}
    assert sum(held.weight for held in cells.values()) == cache._weight
    if cache._max_bytes is not None:
        assert set(cells) == keys
    timed = {key for key, held in cells.items() if held.until != NEVER}
    assert timed == set(cache._deadlines._at)
    assert {key for key in keys if type(key) is StandIn} == set(
        cache._stand_ins.things()
    )
    assert set(engine.front) | engine.seen <= keys
    assert not set(engine.front) & engine.seen
    for key, value in engine.front.items():
        assert value is (cells[key].value if key in cells else table[key])
        assert type(key) is not StandIn
        assert not cache._checked or key not in timed
    if hasattr(engine, "_keys"):
        places = {
            key
            for queue, dues in zip(engine._keys, engine._dues, strict=True)
            for key, due in zip(queue, dues, strict=True)
            if key in table and table[key].due == due
        }
        count = sum(map(len, engine._keys))
    else:
        places = {*engine.probation, *engine.main}
        count = len(engine.probation) + len(engine.main)
    assert keys <= places
    assert count <= 2 * len(table) + 64 + 1
    assert 2 == len(cache._turn)


class UnheardMachine(RuleBasedStateMachine):
    """
    A cache without a listener, in all its modes, by a `fast` that was kept as well.
    """

    cache: Cache[Any, Any]
    keys = st.integers(0, 9) | st.builds(
        Foreign, st.integers(10, 15), is_equal=st.booleans()
    )

    @initialize(
        options=st.sampled_from(
            [
                {},
                {},
                {"ttl": 20},
                {"idle": 10},
                {"ttl": 20, "idle": 10, "jitter": 0.5},
                {"max_bytes": 1500},
                {"max_bytes": 1500, "max_entries": None},
                {"max_bytes": 1500, "ttl": 20, "weigher": "value"},
                {"weigher": "value"},
            ]
        ),
        entries=st.integers(1, 12),
        life=st.sampled_from(["not armed", "armed", "swept"]),
        counted=st.sampled_from([0, 3, 10_000]),
        own_ttls=st.booleans(),
    )
    def begin(
        self,
        *,
        options: dict[str, Any],
        entries: int,
        life: str,
        counted: int,
        own_ttls: bool,
    ) -> None:
        """
        An empty cache in one of its modes.
        """
        self.clock = FakeClock(start=0.0)
        registry = Registry(self.clock, self.clock)
        root = Branch(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        root.owner = None
        root._children = {}
        self.options = {"max_entries": entries, **options}
        if "weigher" in options:
            self.options["weigher"] = lambda key, value: value[1]
        self.cache = Cache(root, "unheard", **self.options).attach()
        self.fast = self.cache.fast
        self.cache._counted = counted
        self.own_ttls = own_ttls
        self.armed = life != "not armed"
        if self.armed:
            self.cache._arm()
        if life == "swept":
            # As with the real clock: sweeps, and no look at ages.
            self.cache._look_at_ages(always=False)
        self.model: dict[Any, Expected] = {}
        self.serial = 0

    def is_late(self, key: Any) -> bool:
        """
        Its time is over for sure.
        """
        one = self.model[key]
        idle = self.options.get("idle") or float("inf")
        now = self.clock.monotonic()
        late = 0.11 if not self.cache._checked else 0.0
        slow = 1.0 if self.cache._checked else 1.5
        return one.expires + late <= now or one.used + slow * idle + late <= now

    def check(self, key: Any, value: Any) -> None:
        """
        Nothing, or what was put last, in time.
        """
        if value is not None:
            assert key in self.model
            assert self.model[key].value is value
            assert not self.is_late(key)
            self.model[key].used = self.clock.monotonic()

    @rule(key=keys, weight=st.integers(0, 600), own_ttl=MAYBE_TIME)
    def put(self, key: Any, weight: int, own_ttl: int | None) -> None:
        """
        What was there before is never seen again; the new one is, if nobody is in the
        way.
        """
        own_ttl = own_ttl if self.own_ttls else None
        self.serial += 1
        value = (self.serial, weight)
        self.model.pop(key, None)
        if self.cache.put(key, value, ttl=own_ttl):
            now = self.clock.monotonic()
            ttl = self.options.get("ttl") if own_ttl is None else own_ttl
            expires = float("inf") if ttl is None else now + ttl
            self.model[key] = Expected(value, weight, expires, now)
            assert self.cache.get(key) is value
        else:
            assert self.cache.get(key) is None

    @rule(key=keys, way=st.sampled_from(["get", "fast", "item", "get fast fast"]))
    def get(self, key: Any, way: str) -> None:
        """
        On each path the same.
        """
        for one in way.split():
            if one == "item":
                try:
                    value = self.cache[key]
                except KeyError:
                    value = None
            else:
                value = self.fast(key) if one == "fast" else self.cache.get(key)
            self.check(key, value)

    @rule(key=keys)
    def pop(self, key: Any) -> None:
        """
        Once.
        """
        self.check(key, self.cache.pop(key, None))
        self.model.pop(key, None)
        assert self.cache.pop(key, None) is None is self.fast(key)

    @rule(key=keys)
    def invalidate(self, key: Any) -> None:
        """
        It is gone for everybody, at once.
        """
        self.cache.invalidate(key)
        self.model.pop(key, None)
        assert self.fast(key) is None is self.cache.get(key)
        assert key not in self.cache

    @rule()
    def clear(self) -> None:
        """
        Nothing is left.
        """
        self.cache.clear()
        self.model.clear()
        assert 0 == len(self.cache)

    @rule(seconds=st.sampled_from([0.02, 0.5, 1, 4, 10, 30]))
    def wait(self, seconds: float) -> None:
        """
        Time passes.
        """
        self.clock.advance(seconds)

    @rule(most=st.none() | st.integers(1, 12), limit=st.none() | st.integers(100, 2000))
    def resize(self, most: int | None, limit: int | None) -> None:
        """
        Caps come and go, and hold at once.
        """
        if most is None and limit is None:
            return
        self.cache.resize(max_entries=most, max_bytes=limit)
        info = self.cache.info()
        assert (most, limit) == (info.max_entries, info.max_bytes)

    @rule(nbytes=st.integers(0, 1500))
    def shrink(self, nbytes: int) -> None:
        """
        Somebody leaves, if anybody is there.
        """
        before = len(self.cache)
        self.cache.shrink(nbytes)
        assert len(self.cache) <= before

    @rule(nbytes=st.none() | st.integers(0, 3000))
    def allow(self, nbytes: int | None) -> None:
        """
        A budget gives more or less; then the cache is told to give as much back.
        """
        self.cache.demand()
        self.cache.allowance = nbytes
        if nbytes is not None:
            self.cache.shrink(max(0, self.cache.memory_bytes() - nbytes))

    @rule(armed=st.booleans())
    def arm(self, armed: bool) -> None:
        """
        The guard starts, or stops.
        """
        if armed and not self.armed:
            self.cache._arm()
        elif self.armed and not armed:
            self.cache._rest()
            assert 0 == self.clock.pending
            assert self.cache._checked
        self.armed = armed

    @invariant()
    def nothing_is_old(self) -> None:
        """
        Content and books, after every step.
        """
        cache = self.cache
        books_agree(cache)
        for key, value in cache.items():
            assert self.model[key].value is value
        books_agree(cache)
        info = cache.info()
        assert info.max_entries is None or info.entries <= info.max_entries
        assert info.max_bytes is None or info.bytes <= info.max_bytes
        assert 0 == cache.registry.failures.total
        assert cache._later is None

    def teardown(self) -> None:
        """
        Nothing is left after the end, by any path.
        """
        if hasattr(self, "cache"):
            self.cache.close()
            assert 0 == self.clock.pending
            assert [] == [key for key in range(16) if self.fast(key) is not None]


TestUnheard = UnheardMachine.TestCase
TestUnheard.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

TestCacheModel = CacheMachine.TestCase
TestCacheModel.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None
)
