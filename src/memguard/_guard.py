"""
The guard: the root scope of a process. Composition only; it decides nothing.

Longer than 300 lines because the life of a guard, from its start over blocks and forks
to its end, is read in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import ref

from memguard._clock import SystemClock
from memguard._forks import tell_after_fork
from memguard._kinds.budget import Budget
from memguard._kinds.closers import running_loop
from memguard._kinds.squeezes import SqueezeNotice
from memguard._latch import Latch
from memguard._lifecycle.audit import Auditor
from memguard._lifecycle.control import Control
from memguard._lifecycle.report import AuditReport, ShutdownReport
from memguard._lifecycle.telling import tell
from memguard._phases import CLOSED, CLOSING, DRAINING, NEW, OPEN, Phase
from memguard._probes.probe import SystemProbe
from memguard._registry import Registry
from memguard._root import Root
from memguard._scheduler import ThreadScheduler
from memguard._settings import MEMORY, Settings, parse_duration
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from os import PathLike

    from typing_extensions import Self, Unpack

    from memguard._footprint import Footprint
    from memguard._settings import SettingsKwargs
    from memguard.typing import Clock, Duration, Scheduler

__all__ = ("Guard", "active")

_STOP_SCHEDULER_S = 0.5
_FIRST_LOOK_S = 10.0

#: The innermost guard whose block this context is in.
active: ContextVar[Guard | None] = ContextVar("memguard_guard", default=None)


class Guard(Root):
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
        "_first_look",
        "home",
        "on_uninstall",
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
        self._clock: Clock = clock or SystemClock()
        self.probe = probe or SystemProbe()
        self.settings = Settings.load(**settings)
        self.registry = self._new_registry()
        self.owner = None
        self.name = name
        self.state = NEW
        self.site = None
        self.ending = None
        self.seq = 0
        self.born = self._clock.monotonic()
        self.tally = None
        self._children = {}
        self._named = None
        self._token = None
        self._left = None
        self.work = False
        self.looks = None
        self.home: str | None = None
        self.on_uninstall: Callable[[], None] | None = None
        self._active_token: Token[Guard | None] | None = None
        self._renew()
        tell_after_fork(self)

    def _new_registry(self) -> Registry:
        clock = self._clock
        # A clock that schedules as well (the fake one) is the scheduler.
        scheduler: Scheduler = (
            clock  # type: ignore[assignment]
            if hasattr(clock, "call_at")
            else ThreadScheduler(clock, "memguard-scheduler")
        )
        registry = Registry(clock, scheduler)
        if isinstance(scheduler, ThreadScheduler):
            scheduler.on_error = registry.failures.record
        registry.budget = Budget(
            self._managed_limit, SqueezeNotice(registry).add, self._after_a_tick
        )
        self._apply_to(registry)
        return registry

    def _apply_to(self, registry: Registry) -> None:
        settings = self.settings
        registry.sites.level = settings.site_level
        registry.drain_s = settings.shutdown_timeout
        registry.failures.strict = settings.strict
        registry.series_names = settings.series_names
        registry.tick = settings.tick

    def _managed_limit(self) -> int | None:
        """
        What all caches may hold together: the setting, or half of the memory limit.
        """
        settings = self.settings
        if settings.managed_limit is not None:
            return settings.managed_limit
        limit = self.probe.limit(settings.memory_limit).limit_bytes
        return None if limit is None else int(limit) // 2

    def _after_a_tick(self, fn: Callable[[], None]) -> bool:
        """
        Call *fn* on a worker, a tick from now; False where no thread would.
        """
        registry = self.registry
        if registry.running:
            scheduler = registry.scheduler
            when = registry.now() + self.settings.tick
            scheduler.call_at(when, partial(scheduler.submit, fn))
        return registry.running

    def _renew(self) -> None:
        """
        What a new guard and a forked child's guard have in common.
        """
        self._auditor = Auditor(self, self.settings.audit_ignore)
        self.control = Control(
            self,
            self._auditor,
            lambda: self.settings.shutdown_timeout,
            self._stop_threads,
            lambda report: tell(report, self.settings.report_file),
        )
        self.started_at: float | None = None
        self._first_look: Any = None

    # -- starting and stopping ---------------------------------------------------------

    def start(self) -> Self:
        """
        Start the threads, arm what was declared, take the audit's baseline.

        Starting twice does nothing; after a shutdown it starts anew.
        """
        control, registry = self.control, self.registry
        with control.lock:
            if self.state in (DRAINING, CLOSING):
                msg = (
                    f"guard {self.label!r} is shutting down; start it again when"
                    " shutdown() has returned"
                )
                raise ScopeClosed(msg)
            if self.state == OPEN:
                return self
            control.renew()
            self._auditor.take_baseline(running_loop())
            registry.scheduler.start()
            control.make_ready()
            self.started_at = registry.clock.monotonic()
            self.state = OPEN
            registry.running = True
        for node in list(self.walk()):
            if node.declared and node.state == NEW:
                node.state = OPEN
            node._arm()
        self._look_later()
        return self

    def _look_later(self) -> None:
        """
        Before long remember how long everything is, so that `risks` sees growth.

        Not on a fake clock: there nothing is to happen that a test did not ask for.
        """
        scheduler = self.registry.scheduler
        if self.looks is None and isinstance(scheduler, ThreadScheduler):
            when = self.registry.now() + _FIRST_LOOK_S
            look = partial(_first_look, ref(self))
            self._first_look = scheduler.call_at(when, partial(scheduler.submit, look))

    def shutdown(
        self, timeout: Duration | None = None, *, reason: str = "shutdown()"
    ) -> ShutdownReport:
        """
        Close everything within *timeout* (the setting `shutdown_timeout`), and audit.

        Joins a shutdown that runs already; after one it returns its report. Raises
        WouldBlockLoop inside a running loop, and in strict mode BackgroundFailures.
        """
        return self.control.shutdown(_seconds(timeout), reason)

    async def ashutdown(
        self, timeout: Duration | None = None, *, reason: str = "ashutdown()"
    ) -> ShutdownReport:
        """
        Close everything while the running loop stays responsive.

        As `shutdown`. A cancellation of the caller does not stop it half-way.
        """
        return await self.control.ashutdown(_seconds(timeout), reason)

    def _stop_threads(self) -> None:
        registry = self.registry
        registry.running = False
        look, self._first_look = self._first_look, None
        if look is not None:
            look.cancel()
        registry.loop = None
        registry.scheduler.stop(_STOP_SCHEDULER_S)

    @property
    def is_running(self) -> bool:
        """
        True between `start` and the end of `shutdown`.
        """
        return self.started_at is not None and self.state != CLOSED

    async def stopped(self) -> None:
        """
        Wait until somebody asks the guard to stop: a signal, or shutdown().
        """
        await self.control.asked.await_(None)

    def uninstall(self) -> None:
        """
        Undo `memguard.install`: handlers, exit hook. A closed guard is as new again.

        A SIGTERM that memguard answered with the shutdown is raised again here.
        """
        if self.state == CLOSED:
            self.state = NEW
            self.started_at = None
        self.home = None
        undo, self.on_uninstall = self.on_uninstall, None
        if undo is not None:
            undo()

    def apply(self, settings: Settings) -> None:
        """
        Take other settings, before the start; declarations stay as they are.
        """
        if self.state not in (NEW, CLOSED):
            msg = (
                f"guard {self.label!r} is running; its settings can be changed before"
                " it starts or after its shutdown"
            )
            raise ScopeClosed(msg)
        self.settings = settings
        self._apply_to(self.registry)
        self._auditor.ignore = settings.audit_ignore
        self.registry.budget.renew()

    # -- as a context manager ----------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        self.control.left = Latch()
        self._active_token = active.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave_block()
        try:
            self.shutdown(reason="end of the `with` block")
        finally:
            if self.on_uninstall is not None:
                self.uninstall()

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
        try:
            await self.ashutdown(reason="end of the `async with` block")
        finally:
            if self.on_uninstall is not None:
                self.uninstall()

    def _leave_block(self) -> None:
        if self.control.left is not None:
            self.control.left.set()
        token, self._active_token = self._active_token, None
        if token is not None:
            try:
                active.reset(token)
            except ValueError:
                active.set(None)  # left in another context than it was entered in

    def close(self) -> None:
        """
        As `shutdown`, without the report.
        """
        self.shutdown(reason="close()")

    async def aclose(self) -> None:
        """
        As `ashutdown`, without the report.
        """
        await self.ashutdown(reason="aclose()")

    # -- reading -----------------------------------------------------------------------

    def state_directory(self) -> str | None:
        """
        Where what outlives the process is kept; None where nothing is to be.

        The setting `state_dir`, else, while this guard is installed, a directory of
        systemd or of the user. It is made when something is kept there.
        """
        asked = self.settings.state_dir
        if asked is None:
            return self.home
        return None if asked == MEMORY else asked

    def audit(self) -> AuditReport:
        """
        Compare the live process with the baseline of `start`, once, without waiting.
        """
        self.registry.settle_collected()
        return self._auditor.live()

    def footprint(
        self,
        since: Footprint | None = None,
        *,
        log_dir: str | PathLike[str] | None = None,
        deep: bool = False,
    ) -> Footprint:
        """
        All that the process takes from the system now, and since an earlier footprint.

        *log_dir*: count the files below. *deep*: sum up all pages, 1 ms for 100 MB.
        """
        from memguard._footprint import footprint_of

        return footprint_of(self, since, log_dir=log_dir, deep=deep)

    # -- forks -------------------------------------------------------------------------

    def _after_fork_in_child(self) -> None:
        """
        Become a guard of the child: nothing inherited, declarations kept.

        Runs in the forked child before anything else, and takes no lock of the parent.
        """
        old = self.registry
        old.detached = True
        kept = [node for node in tuple(self._children or ()) if node.declared]
        self.registry = registry = self._new_registry()
        self.state = NEW
        self._children = None
        self._named = None
        self._token = None
        self._renew()
        self.adopt_declared(kept)
        for hook in old.events.hooks:
            registry.events.subscribe(hook)
        if old.running:
            self.start()

    def adopt_declared(self, nodes: list[Any]) -> None:
        """
        Take the declarations over into the child's fresh registry.
        """
        self._children = {}
        for node in nodes:
            node._after_fork(self.registry)
            node.state = NEW
            self.take(node)
            if node.name is not None and hasattr(node, "spec"):
                self._named = self._named or {}
                self._named[node.kind, node.name] = node


def _first_look(guard: ref[Guard]) -> None:
    """
    On a worker, some seconds after the start.
    """
    known = guard()
    if known is not None and known.registry.running and known.looks is None:
        from memguard._risks import first_look

        looks = first_look(known)
        if known.looks is None:  # nobody was faster
            known.looks = looks


def _seconds(timeout: Duration | None) -> float | None:
    return None if timeout is None else parse_duration(timeout, what="timeout")
