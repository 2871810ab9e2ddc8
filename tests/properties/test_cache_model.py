"""
A cache against a model: any sequence of verbs, with time passing in between.

The model does not know which entry leaves over a cap, the engine's secret; it is told
by the listener, and checks that the entry had to leave, and for the reason given.
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


TestCacheModel = CacheMachine.TestCase
TestCacheModel.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None
)
