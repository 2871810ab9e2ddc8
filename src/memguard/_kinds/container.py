"""
What rings, caches and pools share: one lock, one alarm, and their renewal after a fork.

The lock is held for a few steps of memguard's own code and never while foreign code is
called. Yet a collection may run somebody's destructor between any two of those steps,
in the same thread, and that may use the very container. Such a call would wait for
itself; so it is put off until the lock is left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final, TypeVar

from memguard._kinds.callbacks import checked_name
from memguard._phases import CLOSING, PLAIN, Ending
from memguard._registry import Registry
from memguard._sites import call_site
from memguard._tree import Branch, Node
from memguard.errors import ScopeClosed

__all__ = ("NEVER", "Container")

_T = TypeVar("_T")

NEVER: Final = float("inf")
# Alarms are at least so far apart: what expires meanwhile goes together.
_TOGETHER_S: Final = 0.05


class Container(Node):
    """
    A named node with content. Subclasses say what to do when the alarm goes off.

    While it is armed, an alarm of the guard's scheduler calls `_tidy`, on a worker.
    """

    __slots__ = ("_alarm", "_alarm_at", "_armed", "_holder", "_later", "_lock", "asked")

    # True for what shares the guard's budget: it has a `seat`, and an `allowance`.
    rationed: bool = False

    def __init__(self, owner: Branch, name: str) -> None:
        super().__init__(owner, checked_name(f"a {self.kind}", name))
        #: The options in the words of who made it: the same words mean the same spec.
        self.asked: tuple[Any, ...] | None = None
        self._lock = threading.Lock()
        self._holder = 0
        self._later: list[Callable[[], object]] | None = None
        self._armed = False
        self._alarm: Any = None
        self._alarm_at = NEVER

    # -- the budget --------------------------------------------------------------------

    def _join(self) -> None:
        super()._join()
        self._take_seat()

    def _take_seat(self) -> None:
        budget = self.registry.budget
        if self.rationed and budget is not None:
            self.seat = budget.join(self)  # type: ignore[misc]  # see `rationed`

    def settle(self, ending: Ending = PLAIN) -> None:
        super().settle(ending)
        if self.rationed and self.registry.budget is not None:
            self.registry.budget.leave(self)

    # -- the lock ----------------------------------------------------------------------

    def _locked(self, step: Callable[..., _T], *arguments: Any) -> _T:
        """
        Call *step*, which is memguard's own code, with the lock held.

        The caller has asked `_is_inside` first.
        """
        if self.registry.detached:
            # A thread of the parent process may have held the lock at the fork.
            raise ScopeClosed(self._ended_text())
        with self._lock:
            self._holder = get_ident()
            try:
                result = step(*arguments)
            finally:
                self._holder = 0
        if self._later is not None:
            self._catch_up()
        return result

    def _is_inside(self) -> bool:
        """
        True in a destructor that runs in the middle of our own locked section.
        """
        return self._holder == get_ident()

    def _put_off(self, call: Callable[[], object]) -> None:
        """
        Make *call* when the locked section is left; only where `_is_inside`.
        """
        later = self._later
        if later is None:
            later = self._later = []
        later.append(call)
        if later and self._later is not later:
            # Another thread, which left the section before, has just taken the list.
            self._later = later

    def _catch_up(self) -> None:
        calls, self._later = self._later, None
        while calls:
            try:
                calls.pop(0)()
            except Exception as error:
                # The destructor it came from is over; nobody else can take it.
                self._failed("call from a destructor", error)

    def _failed(self, where: str, error: BaseException) -> None:
        self.registry.failures.record(
            f"{where} of {self.kind} {self.label}", error, call_site(self.site)
        )

    def _refuse_if_closed(self) -> None:
        if self.state >= CLOSING or self.registry.detached:
            raise ScopeClosed(self._ended_text())

    # -- the alarm ---------------------------------------------------------------------

    def _tidy(self) -> None:
        """
        Let go of what is due, and set the next alarm. Called without the lock.
        """

    def _arm(self) -> None:
        self._armed = True
        self._tidy()

    def _rest(self) -> None:
        """
        No alarms from now on.
        """
        self._armed = False
        alarm, self._alarm = self._alarm, None
        self._alarm_at = NEVER
        if alarm is not None:
            alarm.cancel()

    def _wake_at(self, when: float) -> None:
        """
        Go off at *when*, or before. The caller holds the lock.
        """
        if not self._armed or when >= self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = when
        self._alarm = self.registry.scheduler.call_at(when, self._went_off)

    def _wake_later(self, when: float, now: float) -> None:
        """
        As `_wake_at`, for who has just tidied up at *now*.
        """
        self._wake_at(max(when, now + _TOGETHER_S))

    def _went_off(self) -> None:
        # Values are destroyed and listeners called in `_tidy`: that may be slow.
        self.registry.scheduler.submit(self._begin_to_tidy)

    def _begin_to_tidy(self) -> None:
        if self._armed and not self.registry.detached:
            self._alarm = None
            self._alarm_at = NEVER
            self._tidy()

    # -- forks -------------------------------------------------------------------------

    def _after_fork(self, registry: Registry) -> None:
        """
        A fresh lock and no alarm. What was being changed at the fork may be torn.
        """
        super()._after_fork(registry)
        torn = not self._lock.acquire(blocking=False)
        self._lock = threading.Lock()
        self._holder = 0
        self._later = None
        self._armed = False
        self._alarm = None
        self._alarm_at = NEVER
        if torn:
            self._forget()
        self._take_seat()

    def _forget(self) -> None:
        """
        Begin anew, whatever state the content is in. In a forked child only.
        """
