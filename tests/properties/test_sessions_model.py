"""
Workers that share sessions, against a model: what was acknowledged is what is read.

One process, one fake clock, no threads: every interleaving is chosen and can be
replayed. Workers are paused past their lease, killed, stopped and started again.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from memguard import Guard, SqliteStore
from memguard._sessions import Sessions
from memguard.errors import SessionElsewhere, SessionLost
from memguard.testing import FakeClock

WORKERS = st.integers(0, 2)
IDS = st.sampled_from(["ann", "bob"])


class Worker:
    """
    One process, as far as the others can tell.
    """

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self.guard = Guard("svc", clock=clock, audit_ignore=("*",)).start()
        store = SqliteStore(path, lease="15s", patience="1ms")
        self.sessions: Sessions = self.guard.sessions(
            "s", store=store, ttl=None, hibernate_after="1m", max_live=2
        )
        # Blocks that were entered and not left: their ids and sessions.
        self.blocks: list[tuple[Any, str, Any]] = []

    def kill(self) -> None:
        """
        Be silent from now on; what it holds in memory is gone.
        """
        self.sessions.tending.end()
        self.sessions.core.alarm.end()
        self.guard.registry.running = False
        self.blocks.clear()


class Shared(RuleBasedStateMachine):
    """
    Three workers count in two sessions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "s.sqlite3"
        self.clock = FakeClock()
        self.workers = [Worker(self.path, self.clock) for _ in range(3)]
        self.dead: list[Worker] = []
        self.acknowledged: dict[str, int] = {}

    def teardown(self) -> None:
        for worker in self.workers:
            self.leave_all(worker)
            worker.guard.shutdown()
        for worker in self.dead:
            worker.sessions.core.space.close()
        self.folder.cleanup()

    def leave_all(self, worker: Worker) -> None:
        while worker.blocks:
            self.leave_one(worker)

    def leave_one(self, worker: Worker) -> None:
        block, key, session = worker.blocks.pop()
        value = session.data["n"]
        # Another block of the worker may have saved it already: then that was the
        # acknowledgement.
        written = session.dirty
        try:
            block.__exit__(None, None, None)
        except SessionLost:
            return
        if written:
            self.acknowledge(key, value)

    def acknowledge(self, id: str, value: int) -> None:
        known = self.acknowledged.get(id, 0)
        assert value >= known, "an acknowledged write was lost"
        self.acknowledged[id] = value

    # -- what workers do ---------------------------------------------------------------

    @rule(who=WORKERS, id=IDS)
    def count(self, who: int, id: str) -> None:
        """
        A short block: read, add one, leave.
        """
        worker = self.workers[who]
        try:
            with worker.sessions.open(id, durable=True) as session:
                known = session.data.get("n", 0)
                if not any(other == id for _, other, _ in worker.blocks):
                    # Nobody else of this worker has it open, so it is as it was left.
                    assert self.acknowledged.get(id, 0) == known
                session.data["n"] = known + 1
        except (SessionElsewhere, SessionLost):
            return
        self.acknowledge(id, known + 1)

    @rule(who=WORKERS, id=IDS)
    def begin(self, who: int, id: str) -> None:
        """
        A long block, left some time later.
        """
        worker = self.workers[who]
        if any(other == id for _, other, _ in worker.blocks):
            return
        block = worker.sessions.open(id, durable=True)
        try:
            session = block.__enter__()
        except SessionElsewhere:
            return
        known = session.data.get("n", 0)
        assert self.acknowledged.get(id, 0) == known
        session.data["n"] = known + 1
        worker.blocks.append((block, id, session))

    @precondition(lambda self: any(worker.blocks for worker in self.workers))
    @rule(who=WORKERS)
    def leave(self, who: int) -> None:
        """
        The end of a long block: saved, or refused because the lease is gone.
        """
        if self.workers[who].blocks:
            self.leave_one(self.workers[who])

    @rule(who=WORKERS, id=IDS)
    def hibernate(self, who: int, id: str) -> None:
        """
        Put one to sleep, if it is here and idle.
        """
        self.workers[who].sessions.hibernate(id)

    @rule(who=WORKERS)
    def pause(self, who: int) -> None:
        """
        The process is stopped: it prolongs nothing and gives nothing back.
        """
        self.workers[who].sessions.tending.end()

    @rule(who=WORKERS)
    def go_on(self, who: int) -> None:
        """
        It is let go on.
        """
        self.workers[who].sessions.tending.begin()

    @rule(who=WORKERS)
    def kill(self, who: int) -> None:
        """
        SIGKILL, and a new one in its place.
        """
        self.workers[who].kill()
        self.dead.append(self.workers[who])
        self.workers[who] = Worker(self.path, self.clock)

    @rule(who=WORKERS)
    def restart(self, who: int) -> None:
        """
        An orderly end, and a new one in its place.
        """
        worker = self.workers[who]
        self.leave_all(worker)
        worker.guard.shutdown()
        self.workers[who] = Worker(self.path, self.clock)

    @rule(seconds=st.sampled_from([0.3, 6.0, 20.0, 90.0]))
    def time_goes_by(self, seconds: float) -> None:
        """
        Heartbeats, wishes of others, idle clocks, leases that run out.
        """
        self.clock.advance(seconds)

    # -- what holds --------------------------------------------------------------------

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        """
        No slot is claimed between two steps.
        """
        for worker in self.workers:
            for slot in worker.sessions.core.table.slots.values():
                assert slot.busy is None
                assert slot.session is not None

    @rule(id=IDS)
    def all_is_there_in_the_end(self, id: str) -> None:
        """
        Everybody leaves and stops; the next one finds what was acknowledged.
        """
        for who, worker in enumerate(self.workers):
            with suppress(SessionLost):
                self.leave_all(worker)
            worker.guard.shutdown()
            self.workers[who] = Worker(self.path, self.clock)
        self.clock.advance(20)
        with self.workers[0].sessions.open(id) as session:
            assert self.acknowledged.get(id, 0) == session.data.get("n", 0)


TestShared = Shared.TestCase
TestShared.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
