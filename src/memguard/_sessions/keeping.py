"""
The life of a container of sessions: started, swept, shut down, forked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from memguard._kinds.closers import running_loop
from memguard._phases import NEW, OPEN, Phase
from memguard._sessions.closing import Close, must_await
from memguard._sessions.core import Core
from memguard._sessions.expiry import Verdict
from memguard._sessions.leaving import expire, sleep
from memguard._sessions.saving import back_up
from memguard._sessions.steps import Refusal, Steps
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
_SWEEP: Final[Refusal] = ("looking after sessions", "`async with`")
_CLOSE: Final[Refusal] = ("sessions.close()", "`await sessions.aclose()`")


class Keeping(Branch):
    """
    Owns live sessions, and sees to it that what is due for them happens.
    """

    __slots__ = (
        "core",
        "expire_hooks",
        "expire_hooks_await",
        "options",
        "restore_hooks",
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
        self.core = Core(self, options)

    # -- looking after them ------------------------------------------------------------

    def _looked_after(self) -> Core:
        """
        The core, after what is due was done; a guard that runs does it by itself.
        """
        core = self.core
        if not self.registry.running:
            with core.table.lock:
                head = core.table.deadlines.head
            if head is not None and head <= core.now():
                self._sweep()
        return core

    def _in_use(self) -> Core:
        """
        As `_looked_after`, for verbs that may leave something to be shut down.
        """
        self.core.refuse_if_ended()
        if self.state == NEW:
            self.state = OPEN
        return self._looked_after()

    def _rang(self) -> None:
        """
        The alarm: on the scheduler's thread, so whatever may be slow goes elsewhere.
        """
        core = self.core
        with core.table.lock:
            core.alarm.rang()
        self.registry.scheduler.submit(self._sweep)

    def _sweep(self) -> None:
        """
        Do what is due, one session after the other; closes may take their time.
        """
        core = self.core
        table = core.table
        while not self.registry.detached:
            with table.lock:
                due = table.due(core.now())
                if due is None:
                    head = table.deadlines.head
                    if head is not None:
                        head = max(head, core.now() + _TOGETHER_S)
                    core.alarm.set(self.registry, head)
                    return
                # Another worker goes on with the rest if this one should hang.
                core.rearm()
            self._do(core, *due)

    def _do(self, core: Core, slot: Slot, verdict: Verdict) -> None:
        steps: Steps[None]
        awaits = False
        if verdict is Verdict.SLEEP:
            steps = sleep(core, slot)
        elif verdict is Verdict.EXPIRE:
            steps = expire(core, slot)
            awaits = self.expire_hooks_await
        else:
            steps = back_up(core, slot)
        core.apart(steps, slot, awaits=awaits).perform(_SWEEP)

    # -- the life of a node ------------------------------------------------------------

    def _arm(self) -> None:
        if self.state == NEW:
            self.state = OPEN
        with self.core.table.lock:
            self.core.rearm()

    def _disarm(self) -> None:
        """
        End all sessions; what a store that outlives the process has of them stays.
        """
        old, self.core = self.core, Core(self, self.options)
        with old.table.lock:
            old.alarm.end()
        # The shutdown has closed the sessions before; these came in late.
        for child in reversed(self.children()):
            Close(child, later=True).perform(_CLOSE)  # type: ignore[arg-type]

    def _release(self) -> None:
        self._disarm()

    def close(self) -> None:
        """
        Close all sessions, and take no more. Nothing of them is kept in memory.

        Inside a loop it raises WouldBlockLoop, and does nothing, when something has to
        be awaited: use `aclose`.
        """
        here = running_loop()
        if here is not None and any(
            must_await(child, here)  # type: ignore[arg-type]
            for child in self.children()
        ):
            raise WouldBlockLoop(*_CLOSE)
        super().close()

    async def aclose(self) -> None:
        """
        As `close`, awaiting what has to be awaited.
        """
        for child in reversed(self.children()):
            await Close(child).aperform()  # type: ignore[arg-type]
        self.close()

    def _after_fork(self, registry: Registry) -> None:
        """
        Nothing of the parent's sessions: they are its own, live and asleep.
        """
        super()._after_fork(registry)
        self._children = None
        self._named = None
        self.core = Core(self, self.options)
