"""
The guard: the root scope of a process. Composition only; it decides nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet, ref

from memguard._clock import SystemClock
from memguard._health import Health, MemorySample, health_of, sample_of
from memguard._kinds.closers import running_loop
from memguard._kinds.hook import ShutdownHook
from memguard._lifecycle.audit import Auditor
from memguard._lifecycle.report import AuditReport, ShutdownReport
from memguard._lifecycle.shutdown import Shutdown, adrive, drive
from memguard._phases import CLOSED, CLOSING, DRAINING, NEW, OPEN, Phase
from memguard._probes.probe import SystemProbe
from memguard._registry import Registry
from memguard._scheduler import ThreadScheduler, Workers
from memguard._scope import Scope
from memguard._settings import Settings, parse_duration
from memguard._snapshot import GuardSnapshot, snapshot_of
from memguard._tree import Branch
from memguard.errors import BackgroundFailures, ScopeClosed, WouldBlockLoop

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from memguard._settings import SettingsKwargs
    from memguard.typing import Clock, Scheduler

__all__ = ("Guard", "active", "guards")

_F = TypeVar("_F", bound=Callable[..., Any])

#: The innermost guard whose block this context is in.
active: ContextVar[Guard | None] = ContextVar("memguard_guard", default=None)
#: Every guard of the process, for the fork hook and the audit. Weak.
guards: WeakSet[Guard] = WeakSet()


class Guard(Scope):
    """
    The root of everything a process owns: scopes, containers, resources.

    `start` starts the scheduler and takes the baseline of the audit, `shutdown` closes
    everything in order and proves it. As a context manager (sync or async) it does
    both. It installs nothing in the process: signals, exit and fork hooks are
    `memguard.install`'s.
    """

    __slots__ = (
        "_active_token",
        "_auditor",
        "_clock",
        "_lifecycle",
        "_run",
        "_stop_calls",
        "_stop_requested",
        "_workers",
        "probe",
        "settings",
        "started_at",
    )

    phase = Phase.PROCESS

    def __init__(
        self,
        name: str = "app",
        *,
        clock: Clock | None = None,
        probe: Any = None,
        **settings: Unpack[SettingsKwargs],
    ) -> None:
        if not isinstance(name, str) or not name:
            msg = f"the name of a guard must be a non-empty text, not {name!r}"
            raise ValueError(msg)
        self._configure(name, clock, Settings.load(**settings))
        self.probe = probe or SystemProbe()
        guards.add(self)

    def _configure(self, name: str, clock: Clock | None, settings: Settings) -> None:
        self._clock: Clock = clock or SystemClock()
        self.settings = settings
        self.registry = self._new_registry()
        self.owner = None
        self.name = name
        self.state = NEW
        self.site = None
        self.ending = None
        self.seq = 0
        self.born = self._clock.monotonic()
        self.declared = False
        self._children = {}
        self._named = None
        self._token = None
        self._left = None
        self.work = False
        self._active_token: Token[Guard | None] | None = None
        self._lifecycle = threading.RLock()
        self._run: Shutdown | None = None
        self._stop_requested = threading.Event()
        self._stop_calls: list[Callable[[], None]] = []
        self._workers = Workers("memguard-shutdown")
        self._auditor = Auditor(self, settings.audit_ignore)
        self.started_at: float | None = None

    def _new_registry(self) -> Registry:
        clock, settings = self._clock, self.settings
        # A clock that schedules as well (the fake one) is the scheduler.
        scheduler: Scheduler = (
            clock  # type: ignore[assignment]
            if hasattr(clock, "call_at")
            else ThreadScheduler(clock, "memguard-scheduler")
        )
        registry = Registry(
            clock,
            scheduler,
            site_level=settings.site_level,
            strict=settings.strict,
        )
        registry.drain_s = settings.shutdown_timeout
        if isinstance(scheduler, ThreadScheduler):
            scheduler.on_error = registry.failures.record
        return registry

    # -- starting and stopping ---------------------------------------------------------

    def start(self) -> Self:
        """
        Start the threads, arm what was declared, take the audit's baseline.

        Starting twice does nothing; after a shutdown it starts anew.
        """
        with self._lifecycle:
            if self.state in (DRAINING, CLOSING):
                msg = (
                    f"guard {self.label!r} is shutting down; start it again when"
                    " shutdown() has returned"
                )
                raise ScopeClosed(msg)
            if self.state == OPEN:
                return self
            registry = self.registry
            self._stop_requested.clear()
            self._auditor.take_baseline(running_loop())
            registry.scheduler.start()
            # Threads cannot be started at interpreter exit from 3.12 on: one is
            # ready for the shutdown from the beginning.
            self._workers.spare(1)
            self.started_at = self._clock.monotonic()
            self.state = OPEN
            registry.running = True
        for node in list(self.walk()):
            node._arm()
        return self

    def shutdown(
        self, timeout: float | str | None = None, *, reason: str = "shutdown()"
    ) -> ShutdownReport:
        """
        Close everything within *timeout* (the setting `shutdown_timeout`), and audit.

        Joins a shutdown that runs already; after one returns its report. Raises
        WouldBlockLoop inside a running loop, and in strict mode BackgroundFailures.
        """
        if running_loop() is not None:
            raise WouldBlockLoop("guard.shutdown()", "`await guard.ashutdown()`")
        run, mine = self._begin(timeout, reason)
        if not mine:
            return self._report_of(run, run.join())
        try:
            actions = run.procedure(self._stop_threads)
            report = drive(actions, self._clock.monotonic, self._workers)
        finally:
            self._end(run)
        return self._report_of(run, report)

    async def ashutdown(
        self, timeout: float | str | None = None, *, reason: str = "ashutdown()"
    ) -> ShutdownReport:
        """
        Close everything while the running loop stays responsive.

        As `shutdown`. A cancellation of the caller does not stop it half-way.
        """
        import asyncio

        run, mine = self._begin(timeout, reason)
        if not mine:
            return await self._join_on_loop(run)
        task = asyncio.get_running_loop().create_task(self._drive_on_loop(run))
        return self._report_of(run, await asyncio.shield(task))

    async def _drive_on_loop(self, run: Shutdown) -> ShutdownReport:
        try:
            actions = run.procedure(self._stop_threads)
            return await adrive(actions, self._clock.monotonic, self._workers)
        finally:
            self._end(run)

    async def _join_on_loop(self, run: Shutdown) -> ShutdownReport:
        import asyncio

        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        run.when_over(lambda: loop.call_soon_threadsafe(over.set))
        left = run.budget.end - self._clock.monotonic() + 2.0
        try:
            await asyncio.wait_for(over.wait(), max(0.05, left))
        except asyncio.TimeoutError:
            pass  # its report is missing then, which _report_of says
        return self._report_of(run, run.report)

    def _begin(self, timeout: float | str | None, reason: str) -> tuple[Shutdown, bool]:
        total = (
            self.settings.shutdown_timeout
            if timeout is None
            else parse_duration(timeout, what="timeout")
        )
        with self._lifecycle:
            if self._run is not None and self.state >= DRAINING:
                return self._run, False
            run = Shutdown(self, total=total, reason=reason, auditor=self._auditor)
            self._run = run
            with self.registry.lock:
                self.state = DRAINING
        self.request_stop()
        return run, True

    def _stop_threads(self) -> None:
        registry = self.registry
        registry.running = False
        registry.scheduler.stop(0.5)
        self._workers.close(0.5)

    def _end(self, run: Shutdown) -> None:
        with self._lifecycle, self.registry.lock:
            self.state = CLOSED
            self.registry.loop = None
        run.finish()

    def _report_of(
        self, run: Shutdown, report: ShutdownReport | None
    ) -> ShutdownReport:
        if report is None:
            msg = (
                f"the shutdown of guard {self.label!r} that this call joined has not"
                f" ended within its budget ({run.budget.total:g} s), or was asked for"
                " from inside itself"
            )
            raise ScopeClosed(msg)
        failures = self.registry.failures.take_strict()
        if failures:
            raise BackgroundFailures(failures)
        return report

    # -- being asked to stop -----------------------------------------------------------

    def request_stop(self) -> None:
        """
        Wake everybody who waits in `stopped`. Does not shut down by itself.
        """
        self._stop_requested.set()
        calls, self._stop_calls = self._stop_calls, []
        for wake in calls:
            wake()

    def hurry(self) -> None:
        """
        Leave a running shutdown two more seconds: what a second signal means.
        """
        run = self._run
        if run is not None:
            run.hurry()

    async def stopped(self) -> None:
        """
        Wait until somebody asks the guard to stop: a signal, or shutdown().
        """
        import asyncio

        loop = asyncio.get_running_loop()
        asked = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(asked.set)

        self._stop_calls.append(wake)
        if self._stop_requested.is_set():
            return
        try:
            await asked.wait()
        finally:
            if wake in self._stop_calls:
                self._stop_calls.remove(wake)

    # -- as a context manager ----------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        self._active_token = active.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave_block()
        self.shutdown(reason="end of the `with` block")

    async def __aenter__(self) -> Self:
        import asyncio

        self.registry.loop = ref(asyncio.get_running_loop())
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave_block()
        await self.ashutdown(reason="end of the `async with` block")

    def _leave_block(self) -> None:
        token, self._active_token = self._active_token, None
        if token is not None:
            try:
                active.reset(token)
            except ValueError:
                active.set(None)  # left in another context than it was entered in

    # -- hooks -------------------------------------------------------------------------

    def on_shutdown(
        self, *, phase: Phase | str = Phase.WORK, timeout: float | str | None = None
    ) -> Callable[[_F], _F]:
        """
        Call the decorated function, sync or async, in *phase* of every shutdown.
        """

        def declare(fn: _F) -> _F:
            self._place(ShutdownHook(self, fn, phase=phase, timeout=timeout))
            return fn

        return declare

    # -- reading -----------------------------------------------------------------------

    def memory(self) -> MemorySample:
        """
        What the process uses and may use, now. Bytes, with the source of each.
        """
        return sample_of(self.probe, self.settings)

    def health(self) -> Health:
        """
        The health record (requirement A10); cheap enough for every second.
        """
        return health_of(self)

    def snapshot(self) -> GuardSnapshot:
        """
        What is owned now, by kind and by name.
        """
        self.registry.settle_collected()
        return snapshot_of(self)

    def audit(self) -> AuditReport:
        """
        Compare the live process with the baseline of `start`, once, without waiting.
        """
        self.registry.settle_collected()
        return self._auditor.live()

    # -- forks -------------------------------------------------------------------------

    def _after_fork_in_child(self) -> None:
        """
        Become a guard of the child: nothing inherited, declarations kept.

        Runs in the forked child before anything else; takes no lock of the parent.
        """
        old = self.registry
        old.detached = True
        was_running = old.running
        children = tuple(self._children or ())
        self.registry = registry = self._new_registry()
        kept = [node for node in children if node.declared]
        self._children = dict.fromkeys(kept)
        self._named = {
            (node.kind, node.name): node for node in kept if node.name is not None
        }
        self._token = None
        self._lifecycle = threading.RLock()
        self._run = None
        self._stop_requested = threading.Event()
        self._stop_calls = []
        self._workers = Workers("memguard-shutdown")
        self._auditor = Auditor(self, self.settings.audit_ignore)
        self.state = NEW
        for node in kept:
            node._after_fork(registry)
            node.state = NEW
            tally = registry.tally(node.kind, node.name or "")
            tally.created += 1
            tally.live += 1
        if was_running:
            self.rearm_after_fork()

    def rearm_after_fork(self) -> None:
        """
        Start again in the child when somebody first uses the guard there.

        Threads are not started inside the fork hook: a child that only calls exec or
        _exit must not pay for them.
        """
        self.registry.rearm = self.start


def root_of(node: Branch) -> Branch:
    """
    The guard at the top of *node*.
    """
    while node.owner is not None:
        node = node.owner
    return node
