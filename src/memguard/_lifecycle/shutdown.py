"""
One shutdown from its first decision to its report, for both drivers.

`procedure` is a generator that yields plans to carry out and pauses to make; what is
done between them is short and never waits. Whoever calls while a shutdown runs joins
it and gets the same report.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, Final, Protocol, TypeAlias

from memguard._events import ShutdownFinished, ShutdownStarted
from memguard._latch import Latch
from memguard._lifecycle.budget import Budget
from memguard._lifecycle.drivers import Plan, Spawner, arun_plan, run_plan
from memguard._lifecycle.order import Entry, closing_order
from memguard._lifecycle.plan import plan
from memguard._lifecycle.report import AuditReport, ShutdownReport, rows_of
from memguard._phases import CLOSING, NEW
from memguard._tree import Branch

__all__ = ("Auditing", "Shutdown", "adrive", "drive")

# Requests in flight may still register while their phase drains; a sweep after the
# first takes what came late.
_SWEEPS: Final = 3
AUDIT_S: Final = 2.0
_SECOND_SIGNAL_S: Final = 2.0

Pause: TypeAlias = float
Action: TypeAlias = Plan | Pause
Procedure: TypeAlias = Generator[Action, None, ShutdownReport]


class Auditing(Protocol):
    """
    Looks at the operating system; `examine` yields pauses between its attempts.
    """

    def examine(
        self, failing: list[Entry], deadline: float
    ) -> Generator[Pause, None, AuditReport]: ...


class Shutdown:
    """
    One run: its budget, what it closed, and its report once it is there.
    """

    def __init__(
        self, root: Branch, *, total: float, reason: str, auditor: Auditing
    ) -> None:
        self._root = root
        self._auditor = auditor
        self._now: Callable[[], float] = root.registry.clock.monotonic
        self.reason = reason
        self.budget = Budget(self._now(), total)
        self.report: ShutdownReport | None = None
        self.thread = threading.get_ident()
        self.over = Latch()
        # What a signal's handler raised meanwhile in the thread that does all this.
        self.held: BaseException | None = None

    def procedure(self, before_audit: Callable[[], None]) -> Procedure:
        """
        Close everything, look at what is left, report.

        *before_audit* stops memguard's own threads, which are no leaks of anybody.
        """
        root, registry = self._root, self._root.registry
        began, total = self.budget.start, self.budget.total
        registry.events.emit(ShutdownStarted(root.label, self.reason, total))
        for scope in list(registry.in_hand):
            scope.enter_tree()
        entries: list[Entry] = []
        for sweep in range(_SWEEPS):
            if sweep:
                with registry.lock:
                    root.state = CLOSING
            children = [child for child in root.children() if _due(child)]
            if not children and sweep:
                break
            ordered = closing_order(children)
            entries += ordered
            yield plan(ordered, self.budget, self._now())
        with registry.lock:
            root.state = CLOSING
        registry.settle_collected()
        before_audit()
        failing = [entry for entry in entries if _failed(entry)]
        # The audit belongs to the shutdown's budget, but one look is always taken.
        deadline = min(self._now() + AUDIT_S, self.budget.end)
        audit = yield from self._auditor.examine(failing, deadline)
        self.report = ShutdownReport(
            guard=root.label,
            reason=self.reason,
            seconds=self._now() - began,
            budget_s=total,
            resources=rows_of(entries),
            audit=audit,
        )
        registry.events.emit(ShutdownFinished(root.label, self.report))
        return self.report

    def hurry(self) -> None:
        """
        A second signal: whatever is left has two seconds.
        """
        self.budget.cut(self._now(), _SECOND_SIGNAL_S)

    @property
    def patience(self) -> float:
        """
        How long somebody who joins may have to wait, in seconds.
        """
        return max(0.05, self.budget.end - self._now() + AUDIT_S)


def drive(
    actions: Procedure,
    now: Callable[[], float],
    spawner: Spawner,
    hurry: Callable[[], None] | None = None,
) -> ShutdownReport:
    """
    Carry a procedure out, blocking this thread.

    A Ctrl-C meanwhile calls *hurry*; it is raised when the procedure is over.
    """
    pause = threading.Event()  # never set: only for its bounded wait
    interrupt: BaseException | None = None
    while True:
        try:
            action = next(actions)
        except StopIteration as stop:
            return _report(stop, interrupt)
        if isinstance(action, float):
            try:
                pause.wait(action)
            except KeyboardInterrupt as error:
                interrupt = error
        else:
            interrupt = run_plan(action, now, spawner, hurry) or interrupt


async def adrive(
    actions: Procedure, now: Callable[[], float], spawner: Spawner
) -> ShutdownReport:
    """
    Carry a procedure out on the running loop.
    """
    import asyncio

    interrupt: BaseException | None = None
    while True:
        try:
            action = next(actions)
        except StopIteration as stop:
            return _report(stop, interrupt)
        if isinstance(action, float):
            await asyncio.sleep(action)
        else:
            interrupt = await arun_plan(action, now, spawner) or interrupt


def _report(stop: StopIteration, interrupt: BaseException | None) -> ShutdownReport:
    if interrupt is not None:
        raise interrupt
    report: ShutdownReport = stop.value
    return report


def _due(node: Any) -> bool:
    """
    What a shutdown has to end: all but the declarations that were never armed.
    """
    return not (node.declared and node.state == NEW)


def _failed(entry: Entry) -> bool:
    ending = entry.ending
    return ending is not None and ending.outcome in ("abandoned", "unclosable")
