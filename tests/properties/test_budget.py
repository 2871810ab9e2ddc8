"""
One budget under any sequence of puts, demands, joins, ends and limits.
"""

from __future__ import annotations

from collections import deque

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from memguard._kinds.budget import Budget, Seat
from memguard._kinds.demand import Demand
from memguard._kinds.shares import chunk_of, due


class Store:
    """
    A member that holds to its allowance, as caches and rings do.
    """

    label = "store"
    seat: Seat

    def __init__(self, priority: int, floor: int, ceiling: int | None) -> None:
        self.priority = priority
        self.floor_bytes = floor
        self.ceiling_bytes = ceiling
        self.allowance: int | None = None
        self.entries: deque[int] = deque()
        self.held = 0
        self.said = Demand()

    def memory_bytes(self) -> int:
        return self.held

    def shrink(self, nbytes: int) -> int:
        freed = 0
        while self.entries and freed < nbytes:
            freed += self.entries.popleft()
        self.held -= freed
        return freed

    def demand(self) -> Demand:
        said, self.said = self.said, Demand()
        return said

    def put(self, nbytes: int) -> None:
        if self.allowance is not None and self.held + nbytes > self.allowance:
            self.seat.ask(nbytes)
        caps = [one for one in (self.allowance, self.ceiling_bytes) if one is not None]
        if caps:
            if nbytes > min(caps):
                return
            self.shrink(self.held + nbytes - min(caps))
        self.entries.append(nbytes)
        self.held += nbytes


class OneBudget(RuleBasedStateMachine):
    """
    Whatever happens: the sum holds, floors and ceilings hold, newcomers get a part.
    """

    stores = Bundle("stores")

    def __init__(self) -> None:
        super().__init__()
        self.limit: int | None = 10_000
        self.budget = Budget(lambda: 10_000)
        self.joined: list[Store] = []

    @rule(
        target=stores,
        priority=st.integers(-3, 3),
        floor=st.sampled_from([0, 0, 500, 3_000, 20_000]),
        ceiling=st.sampled_from([None, None, 100, 5_000]),
        held=st.sampled_from([0, 0, 700]),
    )
    def join(self, priority: int, floor: int, ceiling: int | None, held: int) -> Store:
        store = Store(priority, floor, ceiling)
        if held and ceiling is None:
            store.entries.append(held)
            store.held = held
        store.seat = self.budget.join(store)
        self.joined.append(store)
        return store

    @rule(store=consumes(stores))
    def leave(self, store: Store) -> None:
        self.budget.leave(store)
        self.joined.remove(store)

    @rule(store=stores, each=st.integers(1, 400), times=st.integers(1, 200))
    def put(self, store: Store, each: int, times: int) -> None:
        for _ in range(times):
            store.put(each)

    @rule(store=stores, size=st.integers(1, 12_000))
    def put_heavy(self, store: Store, size: int) -> None:
        store.put(size)

    @rule(store=stores)
    def clear(self, store: Store) -> None:
        store.entries.clear()
        store.held = 0

    @rule(
        store=stores,
        hits=st.tuples(*[st.integers(0, 50)] * 3),
        seconds=st.floats(0, 10),
        misses=st.integers(0, 100),
    )
    def say(
        self, store: Store, hits: tuple[int, ...], seconds: float, misses: int
    ) -> None:
        store.said = Demand(tuple(sorted(hits)), seconds, misses)

    @rule()
    def step(self) -> None:
        self.budget.step()

    @rule(nbytes=st.integers(1, 12_000))
    def release(self, nbytes: int) -> None:
        before = sum(one.held for one in self.joined)
        floors = {one: min(one.held, one.floor_bytes) for one in self.joined}
        released = self.budget.release(nbytes, pause=lambda _: None)
        assert before - sum(one.held for one in self.joined) == released.evicted
        for store, floor in floors.items():
            # An entry leaves as a whole: the last one may reach below.
            assert store.held + 12_000 >= floor

    @rule(limit=st.one_of(st.none(), st.integers(100, 30_000)))
    def resize(self, limit: int | None) -> None:
        self.budget.resize(limit)
        self.limit = limit

    @invariant()
    def the_sum_holds(self) -> None:
        allowances = [one.allowance for one in self.joined]
        if self.limit is None:
            assert set(allowances) <= {None}
            return
        known = [one for one in allowances if one is not None]
        assert len(known) == len(allowances)
        assert all(one >= 0 for one in known)
        assert sum(known) == self.budget.given
        if self.budget._is_known:
            assert sum(known) <= self.limit

    @invariant()
    def ceilings_hold(self) -> None:
        for one in self.joined:
            if one.allowance is not None and one.ceiling_bytes is not None:
                assert one.allowance <= one.ceiling_bytes

    @rule(store=stores)
    def nobody_starves(self, store: Store) -> None:
        if self.limit is None:
            return
        for _ in range(300):
            store.put(10)
        floors = sum(one.floor_bytes for one in self.joined)
        owed = due(self.limit, len(self.joined), floors, store.floor_bytes)
        if store.ceiling_bytes is not None:
            owed = min(owed, store.ceiling_bytes)
        # What entries of another size leave over does not count as starving.
        least = min(3_000, owed) - chunk_of(self.limit, len(self.joined)) - 10
        assert store.allowance is not None
        assert store.allowance >= least


TestOneBudget = OneBudget.TestCase
TestOneBudget.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None
)
