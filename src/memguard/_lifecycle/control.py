"""
Who may shut a guard down, and who waits for it: single flight for the shutdown.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from memguard._kinds.closers import running_loop
from memguard._latch import Latch
from memguard._lifecycle.budget import Budget
from memguard._lifecycle.drivers import run_plan
from memguard._lifecycle.order import closing_order
from memguard._lifecycle.plan import plan
from memguard._lifecycle.report import ShutdownReport
from memguard._lifecycle.shutdown import Auditing, Shutdown, adrive, drive
from memguard._phases import CLOSED, DRAINING, Phase
from memguard._tree import Branch
from memguard._workers import Workers
from memguard.errors import BackgroundFailures, ScopeClosed, WouldBlockLoop

__all__ = ("Control",)

_INTAKE_S: Final = 1.0
_BLOCK_S: Final = 2.0
# A loop that does not come round within this is left aside: its own things are then
# closed as far as that goes, and everything else in time.
_LOOP_ANSWERS_S: Final = 1.0
_LATE_S: Final = 0.15
# In 3.12.0 and 3.12.1 no thread can be started as soon as the exit has begun: then
# each of these may hang once before the shutdown has to close things by itself.
_SPARE: Final = 4 if (3, 12, 0) <= sys.version_info < (3, 12, 2) else 1
_SENDING_STEP_S: Final = 0.005
_SENDING_STEPS: Final = 50


class Control:
    """
    The shutdowns of one guard, one at a time.

    The lock is held for a few assignments only. `before_audit` stops the guard's own
    threads, `total` gives the budget in seconds, `told` gets each report.
    """

    def __init__(
        self,
        root: Branch,
        auditor: Auditing,
        total: Callable[[], float],
        before_audit: Callable[[], None],
        told: Callable[[ShutdownReport], None],
    ) -> None:
        self.lock = threading.RLock()
        self.workers = Workers("memguard-shutdown", limit=None)
        self.begun = Latch()
        self.asked = Latch()
        self.draining = False
        # Requests that the application has served and the server still sends.
        self.sending: set[Any] = set()
        # Set when the guard's block is left; None while nobody is inside one.
        self.left: Latch | None = None
        self._root = root
        self._auditor = auditor
        self._total = total
        self._before_audit = before_audit
        self._tell = told
        self._run: Shutdown | None = None

    def renew(self) -> None:
        """
        Before a start: nobody has asked to stop yet. The caller holds the lock.
        """
        self.workers = Workers("memguard-shutdown", limit=None)
        self.begun = Latch()
        self.asked = Latch()
        self.draining = False

    def make_ready(self) -> None:
        """
        Have threads ready for the shutdown: at interpreter exit none may be had.
        """
        self.workers.spare(_SPARE)

    # -- shutting down -----------------------------------------------------------------

    def shutdown(self, timeout: float | None, reason: str) -> ShutdownReport:
        """
        Shut down in this thread, or join whoever does.
        """
        if running_loop() is not None:
            verb = "guard.shutdown()"
            raise WouldBlockLoop(verb, "`await guard.ashutdown()`")
        run, mine = self._begin(timeout, reason)
        if not mine:
            if threading.get_ident() != run.thread:
                run.over.wait(run.patience)
            return self._told(run)
        try:
            procedure = run.procedure(self._stop_threads)
            drive(procedure, self._now, self.workers, run.hurry)
        finally:
            self._end(run)
        return self._told(run)

    async def ashutdown(self, timeout: float | None, reason: str) -> ShutdownReport:
        """
        Shut down on this loop, or join whoever does.
        """
        import asyncio

        run, mine = self._begin(timeout, reason)
        if mine:
            # A task of its own: a cancelled caller must not leave things half closed.
            task = asyncio.ensure_future(self._on_loop(run))
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                # The caller's loop may end with the caller: wait, then let it through.
                await asyncio.wait([task], timeout=run.patience)
                raise
        else:
            await run.over.await_(run.patience)
        return self._told(run)

    async def _on_loop(self, run: Shutdown) -> None:
        try:
            await adrive(run.procedure(self._stop_threads), self._now, self.workers)
        finally:
            self._end(run)

    def anywhere(self, reason: str, timeout: float | None = None) -> None:
        """
        Shut down from a thread that is nobody's: on the guard's loop if one answers.
        """
        total = self._total() if timeout is None else timeout
        reference = self._root.registry.loop
        loop: Any = None if reference is None else reference()
        if loop is None or not _answers(loop, min(_LOOP_ANSWERS_S, total / 4)):
            self.shutdown(timeout, reason)
            return
        import asyncio

        closing = self.ashutdown(timeout, reason)
        asyncio.run_coroutine_threadsafe(closing, loop).result(total + _LATE_S)

    def wait_for_block(self) -> None:
        """
        After a shutdown, let whoever stands inside the guard's block leave it.

        Bounded by what is left of the budget, and by two seconds.
        """
        run, left = self._run, self.left
        if run is not None and left is not None:
            left.wait(min(_BLOCK_S, run.budget.end - self._now()))

    def wait_for_answers(self) -> None:
        """
        Before the process ends: let servers send what has been served, for a moment.
        """
        pause = threading.Event()  # never set: only for its bounded wait
        for _ in range(_SENDING_STEPS):
            if not self.sending:
                return
            pause.wait(_SENDING_STEP_S)

    def hurry(self) -> None:
        """
        Leave a running shutdown two more seconds.
        """
        if self._run is not None:
            self._run.hurry()

    def hold_back(self, error: BaseException) -> bool:
        """
        Raise *error*, of a signal's handler, when this thread's shutdown is over.

        False when this thread is not in the middle of one.
        """
        run = self._run
        if run is None or run.over.is_set or run.thread != threading.get_ident():
            return False
        run.held = error
        return True

    def stop_intake(self) -> None:
        """
        Take no new work: say so, and close what takes it in. The rest goes on.
        """
        self.draining = True
        self.asked.set()
        doors = [
            node
            for node in self._root.children()
            if node.phase is Phase.STOP_INTAKE and not node.declared
        ]
        now = self._now()
        run_plan(
            plan(closing_order(doors), Budget(now, _INTAKE_S), now),
            self._now,
            self.workers,
        )

    # -- steps -------------------------------------------------------------------------

    def _now(self) -> float:
        return self._root.registry.clock.monotonic()

    def _begin(self, timeout: float | None, reason: str) -> tuple[Shutdown, bool]:
        root = self._root
        total = self._total() if timeout is None else timeout
        with self.lock:
            if self._run is not None and root.state >= DRAINING:
                return self._run, False
            run = Shutdown(root, total=total, reason=reason, auditor=self._auditor)
            self._run = run
            with root.registry.lock:
                root.state = DRAINING
        self.draining = True
        self.begun.set()
        self.asked.set()
        return run, True

    def _stop_threads(self) -> None:
        self._before_audit()
        # Idle ones end at once; what hangs in a close has been waited for already.
        self.workers.close(0.05)

    def _end(self, run: Shutdown) -> None:
        with self.lock, self._root.registry.lock:
            self._root.state = CLOSED
        try:
            if run.report is not None:
                self._tell(run.report)
        finally:
            run.over.set()

    def _told(self, run: Shutdown) -> ShutdownReport:
        held, run.held = run.held, None
        if held is not None:
            raise held
        report = run.report
        if report is None:
            msg = (
                f"the shutdown of guard {self._root.label!r} that this call joined has"
                f" not ended within its budget ({run.budget.total:g} s), or it was"
                " asked for from inside itself"
            )
            raise ScopeClosed(msg)
        failures = self._root.registry.failures.take_strict()
        if failures:
            raise BackgroundFailures(failures)
        return report


def _answers(loop: Any, patience: float) -> bool:
    """
    True when *loop* runs, in another thread, and comes round within *patience*.
    """
    came_round = threading.Event()
    try:
        loop.call_soon_threadsafe(came_round.set)
    except RuntimeError:
        return False  # closed
    return came_round.wait(patience)
