"""
Sessions against a model: any order of uses, any passing of time.

The model knows no queue, no lazy entries and no alarm: it looks at every session in
every half second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from memguard import Guard
from memguard.errors import SessionsFull
from memguard.testing import FakeClock

TTL, MAX_AGE, HIBERNATE_AFTER, GRACE, MAX_LIVE = 40, 130, 15, 4, 3
IDS = st.sampled_from(["ann", "bob", "eve", "joe", "kim"])


@dataclass
class Known:
    """
    What the model remembers of one session.
    """

    born: float
    used: float
    live: bool = True
    blocks: int = 0
    connections: int = 0
    grace_end: float | None = None
    writes: int = 0
    ticks_from: list[float] = field(default_factory=list)

    @property
    def held(self) -> bool:
        return bool(self.blocks or self.connections)

    def look(self, now: float) -> bool:
        """
        Do what is due at *now*; False when the session is gone.
        """
        if self.held:
            return True
        unused = now >= self.used + TTL
        if self.grace_end is not None and now < self.grace_end:
            unused = False
        if unused or now >= self.born + MAX_AGE:
            return False
        idle = self.used + HIBERNATE_AFTER
        if now >= (idle if self.grace_end is None else self.grace_end):
            self.sleep()
        return True

    def sleep(self) -> None:
        self.live = False
        self.grace_end = None


class SessionsMachine(RuleBasedStateMachine):
    """
    Three places for live sessions, five ids.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(start=0.0)
        self.guard = Guard(clock=self.clock).start()
        self.sessions = self.guard.sessions(
            "chat",
            ttl=TTL,
            max_age=MAX_AGE,
            hibernate_after=HIBERNATE_AFTER,
            grace=GRACE,
            max_live=MAX_LIVE,
        )
        self.expired: list[str] = []
        self.sessions.on_expire(lambda gone: self.expired.append(gone.id))
        self.known: dict[str, Known] = {}
        self.gone: list[str] = []
        self.open: list[tuple[str, Any]] = []
        self.connected: list[tuple[str, Any]] = []

    def teardown(self) -> None:
        """
        A shutdown in whatever state it is ends everything.
        """
        assert self.guard.shutdown().clean
        assert 0 == self.clock.pending
        for _, block in (*self.open, *self.connected):
            block.__exit__(None, None, None)

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def can_enter(self, name: str) -> bool:
        """
        The model's admission; puts the least recent to sleep where that is needed.
        """
        known = self.known.get(name)
        if known is not None and known.live:
            return True
        live = [one for one in self.known.values() if one.live]
        if len(live) < MAX_LIVE:
            return True
        idle = [one for one in live if not one.held]
        if not idle:
            return False
        min(idle, key=lambda one: (one.used, self.order.index(one))).sleep()
        return True

    @property
    def order(self) -> list[Known]:
        return sorted(self.known.values(), key=lambda one: one.used)

    def entered(self, name: str) -> Known:
        known = self.known.setdefault(name, Known(self.now, self.now))
        known.live = True
        return known

    # -- rules -------------------------------------------------------------------------

    @rule(name=IDS)
    def enter(self, name: str) -> None:
        """
        Begin a block, and find what was written before.
        """
        # Uses at the same instant have no order of their own in the model.
        self.clock.advance(0.001)
        self.tick()
        block = self.sessions.open(name)
        if not self.can_enter(name):
            with pytest.raises(SessionsFull):
                block.__enter__()
            return
        known = self.entered(name)
        session = block.__enter__()
        assert known.writes == session.data.get("writes", 0)
        ring = session.ring("writes", of=int)
        assert list(range(known.writes)) == ring.recent(1000)
        ring.append(known.writes)
        known.writes += 1
        session.data["writes"] = known.writes
        known.blocks += 1
        self.open.append((name, block))

    @rule(name=IDS)
    def connect(self, name: str) -> None:
        """
        Begin a connection.
        """
        self.clock.advance(0.001)
        self.tick()
        if not self.can_enter(name):
            return
        known = self.entered(name)
        block = self.sessions.connect(name)
        block.__enter__().timer(print, every="1d")
        known.connections += 1
        known.grace_end = None
        self.connected.append((name, block))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """
        Leave any of the open blocks.
        """
        self.clock.advance(0.001)
        self.tick()
        at = data.draw(st.integers(0, len(self.open) - 1))
        name, block = self.open.pop(at)
        block.__exit__(None, None, None)
        known = self.known[name]
        known.blocks -= 1
        known.used = self.now
        if known.grace_end is not None and known.grace_end <= self.now:
            known.grace_end = None

    @precondition(lambda self: self.connected)
    @rule(data=st.data())
    def depart(self, data: st.DataObject) -> None:
        """
        Leave any of the connections.
        """
        self.clock.advance(0.001)
        self.tick()
        at = data.draw(st.integers(0, len(self.connected) - 1))
        name, block = self.connected.pop(at)
        block.__exit__(None, None, None)
        self.departed(self.known[name], 1)

    def departed(self, known: Known, times: int) -> None:
        known.connections -= times
        known.used = self.now
        if not known.connections:
            known.grace_end = self.now + GRACE

    @rule(name=IDS)
    def disconnect(self, name: str) -> None:
        """
        Close all connections of one session.
        """
        self.clock.advance(0.001)
        self.tick()
        known = self.known.get(name)
        times = 0 if known is None else known.connections
        assert times == self.sessions.disconnect(name)
        left = [entry for entry in self.connected if entry[0] == name]
        self.connected = [entry for entry in self.connected if entry[0] != name]
        if known is not None and times:
            self.departed(known, times)
        for _, block in left:
            block.__exit__(None, None, None)

    @rule(name=IDS)
    def hibernate(self, name: str) -> None:
        """
        Put one to sleep, if it lets itself.
        """
        known = self.known.get(name)
        possible = known is not None and not known.held
        assert possible == self.sessions.hibernate(name)
        if known is not None and possible and known.live:
            known.sleep()

    @rule(name=IDS)
    def end(self, name: str) -> None:
        """
        End one, whoever has it.
        """
        assert (name in self.known) == self.sessions.end(name)
        self.known.pop(name, None)
        for held in (self.open, self.connected):
            for entry in [entry for entry in held if entry[0] == name]:
                held.remove(entry)
                entry[1].__exit__(None, None, None)

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        """
        Let time pass, in half seconds.
        """
        for _ in range(2 * seconds):
            self.clock.advance(0.5)
            self.tick()

    def tick(self) -> None:
        for name in list(self.known):
            if not self.known[name].look(self.now):
                del self.known[name]
                self.gone.append(name)

    # -- what must be so ---------------------------------------------------------------

    @invariant()
    def the_same_is_known(self) -> None:
        """
        Ids, states, uses and expired ones are those of the model.
        """
        # The alarm may be late by so much; the model never is.
        self.clock.advance(0.051)
        self.tick()
        told = {}
        for name in self.sessions.ids():
            info = self.sessions.info(name)
            assert info is not None
            told[name] = (info.state == "live", info.pinned, info.connections)
        assert told == {
            name: (one.live, one.blocks > 0, one.connections)
            for name, one in self.known.items()
        }
        assert sorted(self.gone) == sorted(self.expired)

    @invariant()
    def the_tables_agree(self) -> None:
        """
        Counts are those of what is there, and nothing is remembered beyond it.
        """
        table = self.sessions.core.table
        live = list(table.slots.values())
        asleep = [one for one in self.known.values() if not one.live]
        assert all(slot.session is not None for slot in live)
        assert table.live == len(live) <= MAX_LIVE
        assert {slot.id for slot in live if not slot.held} == set(table.idle)
        assert len(asleep) == self.sessions.stats().hibernated
        assert len(self.sessions.core.store) == len(asleep)  # type: ignore[arg-type]
        assert len(table.deadlines) <= 2 * len(table.slots) + 1
        assert len(live) == len(self.sessions.children())


TestSessions = SessionsMachine.TestCase
TestSessions.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
