"""
The decisions of a shutdown, as a generator: no I/O, no clock, no threads.

`plan` yields commands and is sent the time. While all goes well it hands out one
long batch after another, in the exact order; when a step passes 20 ms, or steps are
slow as a whole, it takes the rest back and spreads it over more drivers, still
honouring owners, `uses` and phases. What hangs is forced or abandoned at its
deadline, and everything else goes on meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from memguard._lifecycle.budget import Budget
from memguard._lifecycle.order import Entry

__all__ = ("Abandon", "Batch", "Command", "Start", "Wait", "plan")

STALL_S: Final = 0.020
_MAX_WIDTH: Final = 32
_FORCE_S: Final = 0.100
# A plain close that hangs holds up later phases this long, then they go on beside
# it. Drains, explicit timeouts and declared uses hold them up until they end.
_BARRIER_S: Final = 0.100
_SLOW_AFTER_S: Final = 0.050
_SLOW_REST_S: Final = 0.250
_OPEN: Final = 99  # above the rank of every phase


@dataclass(slots=True, eq=False)
class Batch:
    """
    Entries that one driver performs one after the other.

    Shared between the plan, which reads, and its driver, which writes `current`,
    `since`, `stage` and `finished` and takes from `todo` with `popleft`.
    """

    todo: deque[Entry]
    lane: str
    stage: str = "drain"  # where the current entry stands: drain, close or force
    current: Entry | None = None
    since: float = 0.0
    started: float = 0.0
    done: int = 0
    finished: bool = False
    disowned: bool = False  # somebody else finishes its current entry
    interrupt: BaseException | None = None
    runner: Any = field(default=None, repr=False)

    def take_back(self) -> list[Entry]:
        """
        What was not begun yet. Safe while the driver works: popleft is atomic.
        """
        rest: list[Entry] = []
        while True:
            try:
                rest.append(self.todo.popleft())
            except IndexError:
                return rest


@dataclass(frozen=True, slots=True)
class Start:
    """
    Perform a batch on a driver of its own.
    """

    batch: Batch


@dataclass(frozen=True, slots=True)
class Wait:
    """
    Come back when a batch finished, at the latest at *until*.
    """

    until: float


@dataclass(frozen=True, slots=True)
class Abandon:
    """
    Give up on the current entry of a batch, and note where it hangs.
    """

    batch: Batch
    entry: Entry
    reason: str


Command: TypeAlias = Start | Wait | Abandon


class _Desk:
    """
    What the plan keeps in view: entries not begun, batches at work, batches stuck.
    """

    def __init__(self, ordered: Iterable[Entry], budget: Budget) -> None:
        self.todo = _by_lane(ordered)
        self.budget = budget
        self.active: list[Batch] = []
        self.stuck: list[Batch] = []
        self.width = 1

    @property
    def busy(self) -> bool:
        return bool(self.todo or self.active or self.stuck)

    def tidy(self) -> None:
        self.active = [one for one in self.active if not one.finished]
        self.stuck = [one for one in self.stuck if not one.finished]

    def withdraw(self, now: float) -> None:
        """
        Take the rest of a batch back whose step hangs, or which is slow as a whole.
        """
        for batch in list(self.active):
            if batch.current is None or batch.finished or batch.lane == "thread":
                continue
            if now - batch.since < STALL_S and not _slow(batch, now):
                continue
            rest = batch.take_back()
            self.todo.extendleft(reversed(rest))
            self.active.remove(batch)
            self.stuck.append(batch)
            self.width = min(self.width * 2, _MAX_WIDTH)

    def deadline(self, batch: Batch) -> float:
        """
        The time at which the current step of *batch* is forced or abandoned.
        """
        entry = batch.current
        if entry is None:
            return self.budget.end
        if batch.stage == "force":
            return min(batch.since + _FORCE_S, self.budget.end)
        node = entry.node
        drains = node.drains and batch.stage == "drain"
        return self.budget.node_end(
            entry.phase, batch.since, node.timeout, drains=drains
        )

    def next_batches(self, now: float) -> list[Batch]:
        """
        What can be begun now, cut to as many drivers as the state of things asks for.
        """
        if self.active or not self.todo:
            return []
        if not self.stuck and self.width == 1:
            return [self._prefix(now)]
        ready = self._ready(now)
        if not ready:
            return []
        parts = 1 if ready[0].node.affinity == "thread" else self.width
        lane = ready[0].node.affinity
        cut = [deque(ready[part::parts]) for part in range(min(parts, len(ready)))]
        return [Batch(part, lane, started=now) for part in cut]

    def _prefix(self, now: float) -> Batch:
        lane = self.todo[0].node.affinity
        taken: deque[Entry] = deque()
        while self.todo and self.todo[0].node.affinity == lane:
            taken.append(self.todo.popleft())
        return Batch(taken, lane, started=now)

    def _ready(self, now: float) -> list[Entry]:
        """
        Take all entries of one phase and lane that nothing holds up any more.
        """
        barrier = min((_held_rank(batch, now) for batch in self.stuck), default=_OPEN)
        ready: list[Entry] = []
        rest: deque[Entry] = deque()
        first: Entry | None = None
        for entry in self.todo:
            if (
                entry.phase.rank <= barrier
                and (first is None or _alike(first, entry))
                and all(one.done for one in entry.after)
            ):
                first = first or entry
                ready.append(entry)
            else:
                rest.append(entry)
        self.todo = rest
        return ready

    def next_look(self, now: float) -> float:
        """
        The latest time at which the plan has to be asked again.
        """
        looks = [now + STALL_S] if self.active else []
        looks += [self.deadline(batch) for batch in self.stuck]
        if self.todo and not self.active:
            gates = [batch.since + _BARRIER_S for batch in self.stuck]
            looks += [gate for gate in gates if gate > now]
        looks.append(self.budget.end)
        return max(min(looks), now + 0.001)


def plan(
    ordered: Iterable[Entry], budget: Budget, now: float
) -> Generator[Command, float, None]:
    """
    Close *ordered* within *budget*; every entry has an ending when it returns.
    """
    desk = _Desk(ordered, budget)
    while desk.busy:
        desk.tidy()
        desk.withdraw(now)
        for batch in list(desk.stuck):
            if now >= desk.deadline(batch) and not batch.finished:
                now = yield from _escalate(desk, batch, now)
        if now >= budget.end:
            yield from _give_up(desk)
            return
        for batch in desk.next_batches(now):
            desk.active.append(batch)
            now = yield Start(batch)
        desk.tidy()
        if desk.active or desk.stuck:
            now = yield Wait(desk.next_look(now))


def _escalate(
    desk: _Desk, batch: Batch, now: float
) -> Generator[Command, float, float]:
    """
    The next harder way: from drain to close, from close to force, then abandon.
    """
    entry = batch.current
    if entry is None or entry.done:
        return now
    desk.stuck.remove(batch)
    batch.disowned = True
    if batch.stage == "drain" and now < desk.budget.end:
        harder = "close"
    elif batch.stage != "force" and entry.node.forces:
        harder = "force"
    else:
        return (yield Abandon(batch, entry, f"hangs in {batch.stage}"))
    follow = Batch(deque([entry]), entry.node.affinity, stage=harder, current=entry)
    follow.since = follow.started = now
    now = yield Start(follow)
    desk.stuck.append(follow)
    return now


def _give_up(desk: _Desk) -> Generator[Command, float, None]:
    """
    The whole budget is spent: nothing is forgotten, all of it is named.
    """
    for batch in desk.active:
        desk.todo.extend(batch.take_back())
    for batch in (*desk.active, *desk.stuck):
        entry = batch.current
        batch.disowned = True
        if entry is not None and not entry.done:
            yield Abandon(batch, entry, f"hangs in {batch.stage}; the budget is spent")
    unbegun = Batch(deque(), "any", stage="turn")
    for entry in desk.todo:
        if not entry.done:
            yield Abandon(unbegun, entry, "the budget was spent before its turn")


def _by_lane(ordered: Iterable[Entry]) -> deque[Entry]:
    """
    The order, with the lanes of each wave together: fewer changes of driver.
    """
    waves: dict[int, dict[str, list[Entry]]] = {}
    for entry in ordered:
        lanes = waves.setdefault(entry.wave, {})
        lanes.setdefault(entry.node.affinity, []).append(entry)
    return deque(
        entry
        for lanes in waves.values()
        for entries in lanes.values()
        for entry in entries
    )


def _alike(first: Entry, entry: Entry) -> bool:
    return first.phase is entry.phase and first.node.affinity == entry.node.affinity


def _strict(entry: Entry) -> bool:
    node = entry.node
    return bool(node.drains or node.timeout is not None or node.uses)


def _held_rank(batch: Batch, now: float) -> int:
    """
    The phase beyond which nothing may begin while this batch is stuck.
    """
    entry = batch.current
    if entry is None or _strict(entry) or now - batch.since < _BARRIER_S:
        return 0 if entry is None else entry.phase.rank
    return _OPEN


def _slow(batch: Batch, now: float) -> bool:
    spent = now - batch.started
    if spent < _SLOW_AFTER_S or not batch.done:
        return False
    return len(batch.todo) * spent / batch.done > _SLOW_REST_S
