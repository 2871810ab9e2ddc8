"""
A ring against a model: any sequence of verbs, with time passing in between.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import memguard
from memguard._kinds.ring import Ring
from memguard._sizing import sizeof
from memguard.testing import FakeClock

TEXTS = st.text("ab", max_size=40)


class RingMachine(RuleBasedStateMachine):
    """
    Verbs of a ring; the model is a list of [number, value, when it came].
    """

    ring: Ring[str]

    @initialize(
        most=st.integers(1, 12),
        limit=st.none() | st.integers(100, 600),
        ttl=st.none() | st.integers(2, 6),
        armed=st.booleans(),
    )
    def make(self, most: int, limit: int | None, ttl: int | None, armed: bool) -> None:
        """
        With every combination of caps, of a guard that runs or not.
        """
        self.clock = FakeClock()
        self.guard = memguard.Guard(clock=self.clock)
        if armed:
            self.guard.start()
        self.options: dict[str, Any] = {
            "max_entries": most,
            "max_bytes": limit,
            "ttl": ttl,
        }
        self.made = 0
        self.ring = self._another()
        self.entries: list[tuple[int, str, float]] = []
        self.number = 1
        self.refused = self.dropped = self.expired = 0
        self.counts: dict[str, int] = {}
        self.version = self.ring.version

    def _another(self) -> Ring[str]:
        self.made += 1
        return self.guard.ring(f"ring {self.made}", shrinkable=True, **self.options)

    @rule(texts=st.lists(TEXTS, max_size=15), key=st.none() | st.sampled_from("xy"))
    def append(self, texts: list[str], key: str | None) -> None:
        """
        Some values, one after the other.
        """
        limit = self.options["max_bytes"]
        for text in texts:
            kept = self.ring.append(text, key)
            name = key or "str"
            self.counts[name] = self.counts.get(name, 0) + 1
            self._expire()
            fits = limit is None or sizeof(text) <= limit
            assert kept == fits
            if not fits:
                self.refused += 1
                self.dropped += 1
                continue
            self.entries.append((self.number, text, self.clock.monotonic()))
            self.number += 1
            self._make_room()

    def _expire(self) -> None:
        ttl = self.options["ttl"]
        while ttl and self.entries:
            if self.entries[0][2] + ttl > self.clock.monotonic():
                break
            del self.entries[0]
            self.expired += 1

    def _make_room(self) -> None:
        limit = self.options["max_bytes"]
        while len(self.entries) > self.options["max_entries"] or (
            limit is not None and sum(sizeof(one[1]) for one in self.entries) > limit
        ):
            del self.entries[0]
            self.dropped += 1

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        """
        Time passes.
        """
        self.clock.advance(seconds)

    @rule()
    def clear(self) -> None:
        """
        All go.
        """
        self.ring.clear()
        self._expire()
        self.entries = []

    @rule()
    def drain(self) -> None:
        """
        All are handed out, once.
        """
        drained = self.ring.drain()
        self._expire()
        assert [one[1] for one in self.entries] == drained
        self.entries = []

    @rule(nbytes=st.integers(0, 300))
    def shrink(self, nbytes: int) -> None:
        """
        Oldest entries go until the bytes are free; they count as dropped.
        """
        self._expire()
        assert len(self.ring) == len(self.entries)
        freed = self.ring.shrink(nbytes)
        gone = len(self.entries) - len(self.ring)
        assert sum(sizeof(one[1]) for one in self.entries[:gone]) == freed
        assert freed >= nbytes or gone == len(self.entries)
        del self.entries[:gone]
        self.dropped += gone

    @rule(most=st.integers(1, 12))
    def save_and_restore(self, most: int) -> None:
        """
        Through JSON, into a ring with another cap perhaps.
        """
        self._expire()
        dumped = json.loads(json.dumps(self.ring.dump()))
        self.ring.close()
        self.options["max_entries"] = most
        self.ring = self._another()
        self.ring.load(dumped)
        self._make_room()

    @rule(n=st.integers(0, 15), size=st.integers(1, 5))
    def read(self, n: int, size: int) -> None:
        """
        The newest, and page by page the whole.
        """
        self._expire()
        values = [one[1] for one in self.entries]
        assert values[max(0, len(values) - n) :] == self.ring.recent(n)
        pages: list[str] = []
        page = self.ring.page(None, size)
        while page:
            pages[:0] = page.entries
            if page.next is None:
                break
            page = self.ring.page(page.next, size)
        assert values == pages

    @rule(before=st.integers(0, 60), n=st.integers(0, 5))
    def read_before(self, before: int, n: int) -> None:
        """
        From any place, as cursors are good for ever.
        """
        self._expire()
        older = [one[1] for one in self.entries if one[0] < before]
        page = self.ring.page(before, n)
        assert tuple(older[max(0, len(older) - n) :]) == page.entries

    @invariant()
    def the_figures_are_right(self) -> None:
        """
        What is there, what came and how it went.
        """
        self._expire()
        assert [one[1] for one in self.entries] == list(self.ring)
        info = self.ring.info()
        assert (len(self.entries), self.dropped, self.expired) == (
            info.entries,
            info.dropped,
            info.expired,
        )
        assert self.number - 1 + self.refused == info.appended
        assert sum(sizeof(one[1]) for one in self.entries) == info.bytes
        assert self.counts == self.ring.counts()
        assert self.version <= self.ring.version or self.made > 1
        self.version = self.ring.version

    def teardown(self) -> None:
        """
        No guard outlives its example.
        """
        if hasattr(self, "guard"):
            self.guard.shutdown()


TestRing = RingMachine.TestCase
TestRing.settings = settings(
    max_examples=120, stateful_step_count=30, deadline=None, derandomize=True
)
