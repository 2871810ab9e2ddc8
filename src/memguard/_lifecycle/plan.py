"""
The decisions of a shutdown, as a generator: no I/O, no clock, no threads.

`plan` yields commands and is sent the time. While all goes well it hands out one
long batch after another, in the exact order; when a step passes 20 ms, or steps are
slow as a whole, it takes the rest back and spreads it over more drivers, still
honouring owners, `uses` and phases. What hangs is forced or abandoned at its
deadline, and everything else goes on meanwhile.

What holds later phases up: a drain, a close with a timeout of its own and one that
others are declared to wait for, until they end or their phase's time is over; any
other close that hangs, a tenth of a second. An owner waits for all that it owns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from typing import Final

from memguard._lifecycle.batch import (
    CLOSE,
    DRAIN,
    FORCE,
    Abandon,
    At,
    Batch,
    Command,
    Start,
    Wait,
)
from memguard._lifecycle.budget import Budget
from memguard._lifecycle.order import Entry, by_lane

__all__ = ("plan",)

_STALL_S: Final = 0.020
_MAX_WIDTH: Final = 64
_FORCE_S: Final = 0.100
_BARRIER_S: Final = 0.100
_SLOW_AFTER_S: Final = 0.050
_SLOW_REST_S: Final = 0.250
_OPEN: Final = 99  # above the rank of every entry
_BREATH_S: Final = 0.001


def plan(
    ordered: Iterable[Entry], budget: Budget, now: float
) -> Generator[Command, float, None]:
    """
    Close *ordered* within *budget*; every entry has an ending when it returns.
    """
    desk = _Desk(ordered, budget)
    while True:
        for batch, entry in desk.tidy():
            now = yield Abandon(batch, entry, "its driver failed")
        if not desk.busy:
            return
        if now >= budget.end:
            yield from _give_up(desk)
            return
        desk.withdraw(now)
        for batch, at in desk.overdue(now):
            now = yield from _escalate(desk, batch, at, now)
        for batch in desk.next_batches(now):
            desk.active.append(batch)
            now = yield Start(batch)
        if not desk.moved:
            now = yield Wait(desk.next_look(now))


class _Desk:
    """
    What the plan keeps in view: entries not begun, batches at work, batches stuck.
    """

    def __init__(self, ordered: Iterable[Entry], budget: Budget) -> None:
        self.entries = by_lane(ordered)
        self.todo = deque(self.entries)
        self.budget = budget
        self.active: list[Batch] = []
        self.stuck: list[Batch] = []
        self.width = 1

    @property
    def busy(self) -> bool:
        return bool(self.todo or self.active or self.stuck)

    @property
    def moved(self) -> bool:
        """
        True when a batch has finished since the last look.
        """
        return any(one.finished for one in (*self.active, *self.stuck))

    def tidy(self) -> list[tuple[Batch, Entry]]:
        """
        Forget the batches that finished; what one of them left open is returned.

        That happens only when a driver failed itself: nothing may get lost by it.
        """
        left: list[tuple[Batch, Entry]] = []
        for batch in (*self.active, *self.stuck):
            if not batch.finished:
                continue
            rest = batch.take_back()
            if rest:
                self.todo.extendleft(reversed(rest))
            at = batch.at
            if at is not None and not at.entry.done:
                left.append((batch, at.entry))
        self.active = [one for one in self.active if not one.finished]
        self.stuck = [one for one in self.stuck if not one.finished]
        return left

    def withdraw(self, now: float) -> None:
        """
        Take the rest of a batch back whose step hangs, or which is slow as a whole.
        """
        for batch in list(self.active):
            at = batch.at
            if at is None or batch.finished:
                continue
            if now - at.since < _STALL_S and not _slow(batch, now):
                continue
            self.todo.extendleft(reversed(batch.take_back()))
            self.active.remove(batch)
            self.stuck.append(batch)
            self.width = min(self.width * 4, _MAX_WIDTH)

    def overdue(self, now: float) -> list[tuple[Batch, At]]:
        """
        The stuck batches whose step has passed its deadline.
        """
        return [
            (batch, at)
            for batch in self.stuck
            if (at := batch.at) is not None
            and not (batch.finished or at.entry.done)
            and now >= self.deadline(at)
        ]

    def deadline(self, at: At) -> float:
        """
        The time at which a step is forced or abandoned.
        """
        if at.stage == FORCE:
            return min(at.since + _FORCE_S, self.budget.end)
        entry = at.entry
        end = self.budget.drain_end if at.stage == DRAIN else self.budget.close_end
        return end(entry.phase, at.since, entry.node.timeout)

    def next_batches(self, now: float) -> list[Batch]:
        """
        What can be begun now, cut to as many drivers as the state of things asks for.
        """
        if self.active or not self.todo:
            return []
        if not self.stuck and self.width == 1:
            return [self._prefix(now)]
        ready = self._ready(now)
        if not ready and not self.stuck:
            # Nothing is at work and each waits for another: never, but to stand
            # still would be worse than any order.
            ready = [self.todo.popleft()]
        if not ready:
            return []
        lane = ready[0].node.affinity
        parts = 1 if lane == "thread" else min(self.width, len(ready))
        cut = [deque(ready[part::parts]) for part in range(parts)]
        return [Batch(part, lane, started=now) for part in cut]

    def _prefix(self, now: float) -> Batch:
        lane = self.todo[0].node.affinity
        taken: deque[Entry] = deque()
        while self.todo and self.todo[0].node.affinity == lane:
            taken.append(self.todo.popleft())
        return Batch(taken, lane, started=now)

    def _ready(self, now: float) -> list[Entry]:
        """
        Take all entries of one rank and lane that nothing holds up any more.
        """
        barrier = min((self._held(batch, now) for batch in self.stuck), default=_OPEN)
        ready: list[Entry] = []
        rest: deque[Entry] = deque()
        first: Entry | None = None
        for entry in self.todo:
            if (
                entry.rank <= barrier
                and (first is None or _alike(first, entry))
                and (not entry.after or all(one.done for one in entry.after))
            ):
                first = first or entry
                ready.append(entry)
            else:
                rest.append(entry)
        self.todo = rest
        return ready

    def _held(self, batch: Batch, now: float) -> int:
        """
        The rank beyond which nothing may begin while this batch is stuck.
        """
        at = batch.at
        if at is None or at.entry.done or now >= self._gate(at):
            return _OPEN
        return at.entry.rank

    def _gate(self, at: At) -> float:
        """
        The time at which a stuck step lets later phases pass.
        """
        over = self.budget.phase_end(at.entry.phase)
        return over if _strict(at) else min(over, at.since + _BARRIER_S)

    def next_look(self, now: float) -> float:
        """
        The latest time at which the plan has to be asked again.
        """
        looks = [
            now + _STALL_S if one.at is None else one.at.since + _STALL_S
            for one in self.active
        ]
        for batch in self.stuck:
            at = batch.at
            if at is not None:
                looks.append(self.deadline(at))
                if self.todo and (gate := self._gate(at)) > now:
                    looks.append(gate)
        return max(min(looks, default=now), now + _BREATH_S)


def _escalate(
    desk: _Desk, batch: Batch, at: At, now: float
) -> Generator[Command, float, float]:
    """
    The next harder way: from drain to close, from close to force, then abandon.
    """
    entry = at.entry
    desk.stuck.remove(batch)
    batch.disowned = True
    if entry.closes and at.stage == DRAIN:
        harder = CLOSE
        entry.trouble = "its drain did not end in time"
    elif entry.closes and at.stage != FORCE and entry.node.forces:
        harder = FORCE
    else:
        return (yield Abandon(batch, entry, f"hangs in {at.stage}"))
    follow = Batch(
        deque([entry]),
        entry.node.affinity,
        stage=harder,
        started=now,
        at=At(entry, harder, now),
        instead_of=batch,
    )
    desk.stuck.append(follow)
    return (yield Start(follow))


def _give_up(desk: _Desk) -> Generator[Command, float, None]:
    """
    The whole budget is spent: nothing is forgotten, all of it is named.
    """
    for batch in (*desk.active, *desk.stuck):
        batch.disowned = True
        batch.take_back()
        at = batch.at
        if at is not None and not at.entry.done:
            reason = f"hangs in {at.stage}; the budget is spent"
            yield Abandon(batch, at.entry, reason)
    for entry in desk.entries:
        if not entry.done:
            yield Abandon(None, entry, "the budget was spent before its turn")


def _alike(first: Entry, entry: Entry) -> bool:
    return first.rank == entry.rank and first.node.affinity == entry.node.affinity


def _strict(at: At) -> bool:
    node = at.entry.node
    return at.stage == DRAIN or node.timeout is not None or bool(node.uses)


def _slow(batch: Batch, now: float) -> bool:
    spent = now - batch.started
    if spent < _SLOW_AFTER_S or not batch.done:
        return False
    return len(batch.todo) * spent / batch.done > _SLOW_REST_S
