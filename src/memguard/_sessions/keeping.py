"""
The life of a container of sessions: started, swept, shut down, forked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from memguard._kinds.closers import running_loop
from memguard._phases import NEW, OPEN, Phase
from memguard._sessions.closing import Apart, Close, must_await
from memguard._sessions.core import Core
from memguard._sessions.ending import sweep_asleep
from memguard._sessions.expiry import Verdict, earliest
from memguard._sessions.leaving import expire, sleep
from memguard._sessions.placing import lasts
from memguard._sessions.refusing import refuse_if_ended
from memguard._sessions.saving import back_up, save_all
from memguard._sessions.steps import Refusal, Steps, arun, run
from memguard._sessions.tending import Tending, depart
from memguard._tree import Branch
from memguard.errors import WouldBlockLoop

if TYPE_CHECKING:
    from memguard._registry import Registry
    from memguard._sessions.info import ExpiredSession
    from memguard._sessions.options import Options
    from memguard._sessions.session import Session
    from memguard._sessions.slots import Slot

__all__ = ("Keeping",)

# Alarms are at least so far apart: what is due meanwhile goes together.
_TOGETHER_S: Final = 0.05
# A store that fails is asked again after so long.
_AGAIN_S: Final = 60.0
_SWEEP: Final[Refusal] = ("looking after sessions", "`async with`")
_CLOSE: Final[Refusal] = ("sessions.close()", "`await sessions.aclose()`")


class Keeping(Branch):
    """
    Owns live sessions, and sees to it that what is due for them happens.
    """

    __slots__ = (
        "_core",
        "_sink",
        "expire_hooks",
        "expire_hooks_await",
        "options",
        "restore_hooks",
        "tending",
        "upgrade_hook",
    )

    kind: ClassVar[str] = "sessions"
    phase = Phase.SESSIONS

    def __init__(self, owner: Branch, name: str, options: Options) -> None:
        super().__init__(owner, name)
        self.options = options
        # Replaced as a whole, so that calling them needs no lock.
        self.restore_hooks: tuple[Callable[[Session], Any], ...] = ()
        self.expire_hooks: tuple[Callable[[ExpiredSession], Any], ...] = ()
        self.expire_hooks_await = False
        self.upgrade_hook: Callable[[Any, int], Any] | None = None
        self._sink: Any = None
        # Made when it is first needed: until then the settings may change.
        self._core: Core | None = None
        self.tending = Tending(self)

    @property
    def core(self) -> Core:
        """
        The tables and the store, in this process and until the next shutdown.
        """
        core = self._core
        if core is None:
            # Outside of the lock: it opens the store, and may have something to tell.
            made = Core(self, self.options)
            with self.registry.lock:
                core = self._core
                if core is None:
                    core = self._core = made
        return core

    @property
    def ends_slowly(self) -> bool:
        """
        True where expiring a session may keep a loop waiting.
        """
        return self.expire_hooks_await or self.options.archive is not None

    # -- looking after them ------------------------------------------------------------

    def _looked_after(self) -> Core:
        """
        The core, after what is due was done; a guard that runs does it by itself.
        """
        core = self.core
        if not self.registry.running:
            with core.table.lock:
                head = earliest(core.table.deadlines.head, core.asleep_due)
            if head is not None and head <= core.now():
                self._sweep(core)
        return core

    def _in_use(self) -> Core:
        """
        As `_looked_after`, for verbs that may leave something to be shut down.
        """
        refuse_if_ended(self.core)
        if self.state == NEW:
            self.state = OPEN
        return self._looked_after()

    def _rang(self) -> None:
        """
        The alarm: on the scheduler's thread, so whatever may be slow goes elsewhere.
        """
        core = self._core
        if core is None:
            return  # a shutdown was quicker
        with core.table.lock:
            core.alarm.rang()
        self.registry.scheduler.submit(partial(self._sweep, core))

    def _sweep(self, core: Core) -> None:
        """
        Do what is due, one session after the other; closes may take their time.
        """
        table = core.table
        while not (self.registry.detached or core.gone):
            with table.lock:
                now = core.now()
                due = table.due(now)
                asleep = core.asleep_due is not None and core.asleep_due <= now
                if due is None and not asleep:
                    head = earliest(table.deadlines.head, core.asleep_due)
                    if head is not None:
                        head = max(head, now + _TOGETHER_S)
                    core.alarm.set(self.registry, head)
                    return
                if due is None:
                    core.asleep_due = None
                # Another worker goes on with the rest if this one should hang.
                core.rearm()
            if due is None:
                if not self._do_asleep(core):
                    return
            else:
                self._do(core, *due)

    def _do(self, core: Core, slot: Slot, verdict: Verdict) -> None:
        steps: Steps[None]
        awaits = False
        if verdict is Verdict.SLEEP:
            steps = sleep(core, slot)
        elif verdict is Verdict.EXPIRE:
            steps = expire(core, slot)
            awaits = self.ends_slowly
        else:
            steps = back_up(core, slot)
        core.apart(steps, slot, awaits=awaits).perform(_SWEEP)

    def _do_asleep(self, core: Core) -> bool:
        """
        Expire sleeping sessions; False where a task does it, which sets the alarm.
        """
        steps = self._swept(core)
        awaits = core.keeps or self.ends_slowly
        Apart(self.registry, steps, None, awaits=awaits).perform(_SWEEP)
        return running_loop() is None

    def _swept(self, core: Core) -> Steps[None]:
        try:
            yield from sweep_asleep(core)
        except Exception as error:
            if not core.gone:
                core.failed("looking for expired sessions", error)
            with core.table.lock:
                core.asleep_due = core.now() + _AGAIN_S
        finally:
            with core.table.lock:
                core.rearm()

    # -- the life of a node ------------------------------------------------------------

    def _arm(self) -> None:
        if self.state == NEW:
            self.state = OPEN
        core = self._core
        if core is not None and core.untouched:
            # Made before the settings were final; its store may be another one now.
            self._core = core = None
        # In a store that lasts there may be sessions of an earlier process.
        if core is not None or self.options.store is not None or lasts(self):
            with self.core.table.lock:
                self.core.rearm()
        self.tending.begin()

    @property
    def in_hand(self) -> bool:  # type: ignore[override]
        """
        True where sessions have to be saved before anything of them is closed.
        """
        core = self._core
        return core is not None and core.keeps and bool(core.table.slots)

    @property
    def drains(self) -> bool:  # type: ignore[override]
        """
        True where there is something to save.
        """
        return self.in_hand

    def _drain(self) -> Any:
        """
        Save what changed, many sessions at a time; each tells of its own failure.
        """
        steps = save_all(self.core)
        if running_loop() is None:
            run(steps, _CLOSE)
            return None
        return arun(steps)

    def _disarm(self) -> Any:
        """
        End all sessions; what a store that outlives the process has of them stays.
        """
        self.tending.end()
        old, self._core = self._core, None
        if old is None:
            return None
        with old.table.lock:
            old.alarm.end()
        # The shutdown has closed the sessions before; these came in late.
        late: Any = self.children()[::-1]
        steps = depart(old, late)
        if running_loop() is None:
            run(steps, _CLOSE)
            return None
        return arun(steps)

    def _release(self) -> Any:
        return self._disarm()

    def close(self) -> None:
        """
        Close all sessions, and take no more. Nothing of them is kept in memory.

        Inside a loop it raises WouldBlockLoop, and does nothing, when something has to
        be awaited: use `aclose`.
        """
        here = running_loop()
        if here is not None and (
            (self._core is not None and self._core.keeps)
            or any(
                must_await(child, here)  # type: ignore[arg-type]
                for child in self.children()
            )
        ):
            raise WouldBlockLoop(*_CLOSE)
        super().close()

    async def aclose(self) -> None:
        """
        As `close`, awaiting what has to be awaited.
        """
        for child in reversed(self.children()):
            await Close(child).aperform()  # type: ignore[arg-type]
        if self.registry.detached or not self.claim():
            return
        try:
            result = self._release()
            if result is not None:
                await result
        finally:
            self.settle()

    def _after_fork(self, registry: Registry) -> None:
        """
        Nothing of the parent's sessions: they are its own, live and asleep.
        """
        super()._after_fork(registry)
        self._children = None
        self._named = None
        self._core = self._sink = None
        self.tending = Tending(self)
