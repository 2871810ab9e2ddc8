"""
The plan of a shutdown, driven by a simulation: no threads, no clock, times to the ms.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from memguard._lifecycle.batch import CLOSE, DRAIN, FORCE, Abandon, At, Batch, Start
from memguard._lifecycle.budget import Budget
from memguard._lifecycle.order import Entry, closing_order
from memguard._lifecycle.plan import plan
from memguard._phases import CLOSED, OPEN, Ending, Outcome, Phase

NEVER = math.inf
START = 1_000.0
TOTAL = 25.0


class Stub:
    """
    What the plan and the order read of a node.
    """

    in_hand = False

    def __init__(
        self,
        name: str,
        *,
        phase: Phase = Phase.CLIENTS,
        affinity: str = "any",
        timeout: float | None = None,
        uses: tuple[Any, ...] = (),
        drain: float = 0.0,
        close: float = 0.0,
        force: float | None = None,
        seq: int = 0,
    ) -> None:
        self.label = name
        self.kind = "stub"
        self.phase = phase
        self.affinity = affinity
        self.timeout = timeout
        self.uses = uses
        self.seq = seq
        self.owner = None
        self.state = OPEN
        # How long each step takes; `force` None is: there is no way to force it.
        self.takes = {DRAIN: drain, CLOSE: close, FORCE: force or 0.0}
        self.drains = drain > 0
        self.forces = force is not None


@dataclass
class Run:
    """
    A batch at work: when the step of its current entry is over.
    """

    batch: Batch
    entry: Entry
    stage: str
    until: float


@dataclass
class Simulation:
    """
    Carries commands out in virtual time, as the drivers do in real time.
    """

    budget: Budget
    now: float = START
    runs: list[Run] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    begun: list[tuple[float, str, str]] = field(default_factory=list)
    drivers: int = 0
    waits: int = 0
    # At these times, this is done: a second signal, say.
    events: list[tuple[float, Any]] = field(default_factory=list)

    def carry_out(self, entries: list[Entry]) -> None:
        steps = plan(entries, self.budget, self.now)
        try:
            command = next(steps)
            while True:
                if isinstance(command, Start):
                    self.drivers += 1
                    self.begin(command.batch)
                elif isinstance(command, Abandon):
                    at = command.batch and command.batch.at
                    ms = 0.0 if not at else (self.now - at.since) * 1000
                    reason = f"{command.entry.trouble} {command.reason}".strip()
                    self.end(command.entry, Ending(Outcome.ABANDONED, reason, ms))
                else:
                    self.waits += 1
                    assert command.until > self.now
                    assert self.waits < 100_000, "the plan does not come to an end"
                    self.wait(command.until)
                command = steps.send(self.now)
        except StopIteration:
            return

    def begin(self, batch: Batch) -> None:
        if batch.todo:
            self.enter(batch, batch.todo.popleft(), batch.stage)
        else:
            batch.finished = True

    def enter(self, batch: Batch, entry: Entry, stage: str) -> None:
        node: Any = entry.node
        if stage == DRAIN and not node.drains:
            stage = CLOSE
        batch.at = At(entry, stage, self.now)
        self.begun.append((self.now, stage, entry.label))
        took = node.takes[stage]
        if batch.lane == "thread":
            # In the plan's own thread: time passes, and nothing else happens.
            assert took < NEVER
            self.now += took
            self.over(Run(batch, entry, stage, self.now))
        else:
            self.runs.append(Run(batch, entry, stage, self.now + took))

    def wait(self, until: float) -> None:
        """
        Let time pass until then, or until a batch has finished.
        """
        while True:
            nearest = min((run.until for run in self.runs), default=NEVER)
            event = min((when for when, _ in self.events), default=NEVER)
            if event <= min(nearest, until):
                self.now = event
                for when, call in list(self.events):
                    if when <= self.now:
                        self.events.remove((when, call))
                        call()
                continue
            if nearest > until:
                self.now = until
                return
            self.now = nearest
            run = next(one for one in self.runs if one.until == nearest)
            self.runs.remove(run)
            self.over(run)
            if run.batch.finished:
                return

    def over(self, run: Run) -> None:
        batch, entry, stage = run.batch, run.entry, run.stage
        node: Any = entry.node
        if stage == DRAIN and entry.closes:
            if batch.disowned:
                batch.finished = True  # somebody else goes on
            else:
                self.enter(batch, entry, CLOSE)
            return
        if stage == FORCE:
            self.end(entry, Ending(Outcome.FORCED, "did not close in time"))
        else:
            self.end(entry, Ending(Outcome.CLOSED, entry.trouble))
        node.state = CLOSED
        batch.done += 1
        self.begin(batch) if batch.todo else setattr(batch, "finished", True)

    def end(self, entry: Entry, ending: Ending) -> None:
        if entry.finish(ending) and ending.outcome is not Outcome.ABANDONED:
            self.closed.append(entry.label)


def entries_of(*stubs: Stub) -> list[Entry]:
    """
    The stubs in the order in which they are to be closed; later ones are newer.
    """
    for number, stub in enumerate(stubs, 1):
        stub.seq = stub.seq or number
    return closing_order(stubs)  # type: ignore[arg-type]


def simulate(*stubs: Stub, total: float = TOTAL) -> tuple[Simulation, dict[str, Entry]]:
    """
    Carry a plan for the stubs out; every entry has ended, and in time.
    """
    entries = entries_of(*stubs)
    simulation = Simulation(Budget(START, total))
    simulation.carry_out(entries)
    assert all(entry.done for entry in entries)
    assert simulation.now <= START + total + 0.011
    return simulation, {entry.label: entry for entry in entries}


def outcome_of(entry: Entry) -> str:
    """
    How an entry ended, in a word.
    """
    assert entry.ending is not None
    return entry.ending.outcome.value


def reason_of(entry: Entry) -> str:
    """
    What its ending says.
    """
    assert entry.ending is not None
    return entry.ending.reason


def times_of(simulation: Simulation, stub: Stub) -> list[float]:
    """
    When its steps were begun.
    """
    return sorted(when for when, _, label in simulation.begun if label == stub.label)


# -- while all goes well ---------------------------------------------------------------


def test_one_driver_does_everything_in_the_exact_order() -> None:
    """
    Newest first, phase after phase, on a single driver, as long as nothing is slow.
    """
    simulation, _ = simulate(
        Stub("old"),
        Stub("new"),
        Stub("process", phase=Phase.PROCESS),
        Stub("intake", phase=Phase.STOP_INTAKE),
    )

    assert ["intake", "new", "old", "process"] == simulation.closed
    assert 1 == simulation.drivers
    assert START == simulation.now


def test_nothing_to_do_is_done_at_once() -> None:
    """
    An empty order asks for nothing.
    """
    simulation, _ = simulate()

    assert (0, 0) == (simulation.drivers, simulation.waits)


def test_lanes_of_a_wave_are_put_together() -> None:
    """
    What is bound to a thread or a loop changes drivers once, newest first in each.
    """
    simulation, _ = simulate(
        Stub("a1"),
        Stub("t1", affinity="thread"),
        Stub("a2"),
        Stub("t2", affinity="thread"),
        Stub("a3"),
    )

    assert ["a3", "a2", "a1", "t2", "t1"] == simulation.closed
    assert 2 == simulation.drivers


def test_a_close_that_takes_its_time_is_waited_for() -> None:
    """
    A step of half a second stays within its second; the rest goes on meanwhile.
    """
    simulation, entries = simulate(Stub("quick"), Stub("slow", close=0.5))

    assert "closed" == outcome_of(entries["slow"])
    assert ["quick", "slow"] == simulation.closed
    assert START + 0.5 == pytest.approx(simulation.now)


def test_many_slow_closes_are_spread() -> None:
    """
    A thousand closes of 5 ms take 5 s one after the other, and much less here.
    """
    simulation, _ = simulate(*(Stub(str(n), close=0.005) for n in range(1000)))

    assert simulation.now - START < 0.5
    assert 1000 == len(set(simulation.closed))


# -- what hangs ------------------------------------------------------------------------


def test_a_hanging_close_is_abandoned_after_its_second() -> None:
    """
    Everything else is closed long before.
    """
    stubs = [Stub(str(number)) for number in range(20)]
    stubs[10] = Stub("hangs", close=NEVER)
    simulation, entries = simulate(*stubs)

    assert "abandoned" == outcome_of(entries["hangs"])
    assert "hangs in close" == reason_of(entries["hangs"])
    assert 19 == len(simulation.closed)
    assert START + 1.0 == pytest.approx(simulation.now, abs=0.002)
    last = max(when for when, _, _ in simulation.begun)
    assert last < START + 0.05


def test_drain_close_force_abandon() -> None:
    """
    The harder ways, one after the other, each with its time.
    """
    simulation, entries = simulate(
        Stub("stuck", phase=Phase.WORK, drain=NEVER, close=NEVER, force=NEVER)
    )

    stages = [(round(when - START, 3), stage) for when, stage, _ in simulation.begun]
    # Work may be waited for until 44 % of 25 s, less a fifth of its own share.
    assert [(0.0, DRAIN), (9.5, CLOSE), (10.5, FORCE)] == stages
    assert "abandoned" == outcome_of(entries["stuck"])
    assert "its drain did not end in time hangs in force" == reason_of(entries["stuck"])
    assert START + 10.6 == pytest.approx(simulation.now, abs=0.002)


def test_a_close_that_can_be_forced_is() -> None:
    """
    Forcing it is the end, and is said.
    """
    _, entries = simulate(Stub("stuck", close=NEVER, force=0.0))

    assert "forced" == outcome_of(entries["stuck"])


def test_a_hanging_drain_is_followed_by_the_close() -> None:
    """
    It closes, and the report says that not everything was finished before.
    """
    _, entries = simulate(Stub("sink", phase=Phase.TELEMETRY, drain=NEVER))

    assert "closed" == outcome_of(entries["sink"])
    assert "its drain did not end in time" == reason_of(entries["sink"])


def test_the_close_after_a_long_drain_has_a_second_of_its_own() -> None:
    """
    The time of the drain is not taken off the close's.
    """
    _, entries = simulate(
        Stub("session", phase=Phase.SESSIONS, drain=8.0, close=0.9, force=0.0)
    )

    assert ("closed", "") == (
        outcome_of(entries["session"]),
        reason_of(entries["session"]),
    )


def test_a_drain_that_ends_late_closes_nothing() -> None:
    """
    It was given up, somebody else closed: one close, not two.
    """
    drain = Budget(START, TOTAL).drain_end(Phase.WORK, START, None) - START
    simulation, _ = simulate(
        Stub("late", phase=Phase.WORK, drain=drain + 0.1, close=0.5)
    )

    closes = [label for _, stage, label in simulation.begun if stage == CLOSE]
    assert ["late"] == closes


def test_a_timeout_of_its_own() -> None:
    """
    Shorter than a second, or longer.
    """
    for timeout in (0.2, 3.0):
        simulation, entries = simulate(Stub("a", close=NEVER, timeout=timeout))

        assert "abandoned" == outcome_of(entries["a"])
        assert START + timeout == pytest.approx(simulation.now, abs=0.002)


def test_many_hanging_cost_one_second_in_all() -> None:
    """
    They hang beside one another; those that are well are closed meanwhile.
    """
    stubs = [
        Stub(str(number), close=NEVER if number % 50 == 7 else 0.0)
        for number in range(2000)
    ]
    simulation, entries = simulate(*stubs)

    assert 1960 == len(simulation.closed)
    assert 40 == sum(outcome_of(one) == "abandoned" for one in entries.values())
    assert simulation.now - START < 1.25


# -- phases ----------------------------------------------------------------------------


def test_a_hanging_plain_close_holds_later_phases_for_a_tenth_of_a_second() -> None:
    """
    Then they go on beside it.
    """
    simulation, _ = simulate(
        Stub("hangs", phase=Phase.WORK, close=NEVER), Stub("client")
    )

    began = {label: when for when, _, label in simulation.begun}
    assert 0.1 == pytest.approx(began["client"] - START, abs=0.002)


@pytest.mark.parametrize(
    "strict",
    [
        {"drain": 3.0},
        {"close": 3.0, "timeout": 5.0},
        {"close": 0.9, "uses": (Stub("other"),)},
    ],
)
def test_what_others_are_said_to_need_holds_later_phases(strict: Any) -> None:
    """
    Drains, closes with a timeout of their own and declared users: until they end.
    """
    simulation, _ = simulate(Stub("a", phase=Phase.WORK, **strict), Stub("client"))

    assert ["a", "client"] == simulation.closed


def test_what_is_strict_holds_no_longer_than_its_phase() -> None:
    """
    At the end of the phase's share the next ones begin, whatever hangs.
    """
    simulation, entries = simulate(
        Stub("hangs", phase=Phase.WORK, close=NEVER, timeout=1000.0, force=NEVER),
        Stub("client"),
    )

    began = {label: when for when, _, label in simulation.begun}
    assert began["client"] <= START + 0.44 * TOTAL + 0.002
    assert "closed" == outcome_of(entries["client"])


def test_the_last_two_phases_have_their_share_whatever_came_before() -> None:
    """
    Every earlier phase uses all it can get; 15 % are left for telemetry and processes.
    """
    stubs = [
        Stub(phase.value, phase=phase, drain=NEVER, close=NEVER, force=NEVER)
        for phase in Phase
    ]
    stubs += [Stub(f"good {one.label}", phase=one.phase) for one in stubs]
    simulation, entries = simulate(*stubs)

    began = {label: when - START for when, _, label in reversed(simulation.begun)}
    assert began["telemetry"] <= 0.85 * TOTAL + 0.1
    for phase in Phase:
        assert "closed" == outcome_of(entries[f"good {phase.value}"])


def test_the_budget_is_kept_and_nothing_is_forgotten() -> None:
    """
    A chain of a hundred users that all hang: each is named when the time is over.
    """
    stubs = [Stub("0", close=NEVER, force=NEVER)]
    for number in range(1, 100):
        stubs.append(
            Stub(str(number), close=NEVER, force=NEVER, uses=(stubs[-1],), timeout=20)
        )
    simulation, entries = simulate(*stubs, Stub("last", phase=Phase.PROCESS), total=3.0)

    assert simulation.now <= START + 3.011
    assert "closed" == outcome_of(entries["last"])
    reasons = {reason_of(one) for one in entries.values()} - {""}
    assert {
        "hangs in force",
        "hangs in close; the budget is spent",
        "hangs in force; the budget is spent",
        "the budget was spent before its turn",
    } >= reasons
    assert "the budget was spent before its turn" in reasons


def test_a_budget_that_is_over_before_it_begins() -> None:
    """
    Everything is named, nothing is begun.
    """
    simulation, entries = simulate(Stub("a"), Stub("b"), total=0.0)

    assert [] == simulation.begun
    assert {"abandoned"} == {outcome_of(one) for one in entries.values()}


def test_a_second_signal_cuts_what_is_left() -> None:
    """
    Two seconds from then on, for everything that hangs.
    """
    stubs = [Stub("w", phase=Phase.WORK, drain=NEVER, close=NEVER), Stub("client")]
    entries = entries_of(*stubs)
    budget = Budget(START, TOTAL)
    simulation = Simulation(budget)
    simulation.events.append((START + 1.0, lambda: budget.cut(START + 1.0, 2.0)))

    # The driver looks at the budget at least every 100 ms.
    steps = plan(entries, budget, START)
    command = next(steps)
    while simulation.now < START + TOTAL:
        if isinstance(command, Start):
            simulation.begin(command.batch)
        elif isinstance(command, Abandon):
            simulation.end(command.entry, Ending(Outcome.ABANDONED, command.reason))
        else:
            simulation.wait(min(command.until, simulation.now + 0.1))
        try:
            command = steps.send(simulation.now)
        except StopIteration:
            break

    assert all(entry.done for entry in entries)
    assert simulation.now <= START + 3.011
    assert ["client"] == simulation.closed


# -- order while things hang -----------------------------------------------------------


def test_users_that_hang_are_waited_for() -> None:
    """
    What they use is not taken away before they are given up.
    """
    used = Stub("used")
    simulation, _ = simulate(used, Stub("user", close=NEVER, uses=(used,)), Stub("x"))

    began = {label: when for when, _, label in simulation.begun}
    assert began["used"] >= START + 1.0


def test_an_entry_waits_for_all_it_comes_after() -> None:
    """
    An owner, say: also when it is the only one left to do.
    """
    owner, child = Stub("owner", phase=Phase.WORK), Stub("child", close=0.7)
    entries = entries_of(owner, child)
    by_label = {entry.label: entry for entry in entries}
    by_label["owner"].wait_for(by_label["child"])
    simulation = Simulation(Budget(START, TOTAL))
    simulation.carry_out([by_label["child"], by_label["owner"]])

    assert ["child", "owner"] == simulation.closed


def test_a_ring_of_waits_ends_all_the_same() -> None:
    """
    Registration refuses one; if there was one, nothing would stand still for ever.
    """
    entries = entries_of(Stub("a"), Stub("b"), Stub("slow", close=0.1))
    by_label = {entry.label: entry for entry in entries}
    by_label["a"].wait_for(by_label["b"])
    by_label["b"].wait_for(by_label["a"])
    simulation = Simulation(Budget(START, TOTAL))
    simulation.carry_out([by_label["slow"], by_label["a"], by_label["b"]])

    assert {"a", "b", "slow"} == set(simulation.closed)


# -- when drivers fail -----------------------------------------------------------------


def test_a_driver_that_dies_loses_nothing() -> None:
    """
    The entry it stood at is named, the rest is given to another one.
    """
    entries = entries_of(Stub("c"), Stub("b"), Stub("a"))
    budget = Budget(START, TOTAL)
    simulation = Simulation(budget)
    steps = plan(entries, budget, START)
    command = next(steps)
    assert isinstance(command, Start)
    batch = command.batch
    batch.at = At(batch.todo.popleft(), CLOSE, START)
    batch.finished = True

    command = steps.send(START)
    assert isinstance(command, Abandon)
    assert ("a", "its driver failed") == (command.entry.label, command.reason)
    simulation.end(command.entry, Ending(Outcome.ABANDONED, command.reason))
    command = steps.send(START)
    assert isinstance(command, Start)
    assert ["b", "c"] == [entry.label for entry in command.batch.todo]


def test_an_entry_between_two_hands_is_named_at_the_end() -> None:
    """
    Taken from the batch, not begun: the budget ends and it has an ending.
    """
    entries = entries_of(Stub("a"), Stub("b"))
    budget = Budget(START, 1.0)
    steps = plan(entries, budget, START)
    command = next(steps)
    assert isinstance(command, Start)
    command.batch.todo.clear()  # in the hands of a thread that never goes on

    named = []
    command = steps.send(START)
    while True:
        if isinstance(command, Abandon):
            named.append(command.entry.label)
            command.entry.finish(Ending(Outcome.ABANDONED))
        try:
            command = steps.send(START + 1.0)
        except StopIteration:
            break
    assert ["a", "b"] == sorted(named)


def test_a_batch_that_moves_on_is_not_given_up_for_what_it_did_before() -> None:
    """
    Entry, stage and time are read as one: a new entry has a time of its own.
    """
    entries = entries_of(Stub("b"), Stub("a"))
    budget = Budget(START, TOTAL)
    steps = plan(entries, budget, START)
    command = next(steps)
    assert isinstance(command, Start)
    batch = command.batch
    first, second = batch.todo.popleft(), batch.todo.popleft()
    batch.at = At(first, CLOSE, START)
    steps.send(START)  # Wait
    steps.send(START + 0.5)  # withdrawn: it hangs
    first.finish(Ending(Outcome.CLOSED))
    batch.at = At(second, CLOSE, START + 1.2)

    command = steps.send(START + 1.2)

    assert not isinstance(command, (Abandon, Start))


# -- at random -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(250))
def test_invariants_of_random_shutdowns(seed: int) -> None:
    """
    Whatever hangs or is slow: every entry ends once, in time, and never too early.
    """
    rng = random.Random(seed)
    stubs: list[Stub] = []
    for number in range(rng.randint(1, 60)):
        uses = tuple(rng.sample(stubs, min(len(stubs), rng.choice((0, 0, 0, 1, 2)))))
        phase = rng.choice(list(Phase))
        if uses:
            phase = min((phase, *(one.phase for one in uses)), key=lambda one: one.rank)
        slow = rng.choice((0.0, 0.0, 0.0, 0.0, 0.01, 0.3, NEVER))
        stubs.append(
            Stub(
                str(number),
                phase=phase,
                affinity=rng.choice(("any", "any", "loop")),
                uses=uses,
                timeout=rng.choice((None, None, None, 0.1, 4.0)),
                drain=rng.choice((0.0, 0.0, 0.0, 0.2, NEVER)),
                close=slow,
                force=rng.choice((None, 0.0, NEVER)),
            )
        )
    total = rng.choice((0.3, 3.0, 25.0))
    simulation, entries = simulate(*stubs, total=total)

    began: dict[tuple[str, str], list[float]] = {}
    for when, stage, label in simulation.begun:
        began.setdefault((label, stage), []).append(when)
    # Each step of each is taken once.
    assert all(1 == len(times) for times in began.values())
    assert len(simulation.closed) == len(set(simulation.closed))
    ends = {label: entry.ending for label, entry in entries.items()}
    if START + total > simulation.now:
        # Nothing was begun before what it had to wait for was over.
        for stub in stubs:
            for used in stub.uses:
                before = min(
                    w for w, _, label in simulation.begun if label == used.label
                )
                after = max(
                    w for w, _, label in simulation.begun if label == stub.label
                )
                assert before >= after
    needed = {used.label for stub in stubs for used in stub.uses}
    for stub in stubs:
        ending = ends[stub.label]
        assert ending is not None
        healthy = stub.takes[CLOSE] == 0.0 and not stub.drains
        if healthy and stub.label not in needed and total == TOTAL:
            assert "closed" == ending.outcome.value
