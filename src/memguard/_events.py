"""
Facts, as frozen records, and their fan-out to whoever listens.

Does not format, log or know OpenTelemetry: sinks subscribe. Nothing is emitted on
the hot path of registering and closing; those are counters.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from memguard._records import record

__all__ = (
    "BackgroundFailure",
    "Collected",
    "Dropped",
    "Event",
    "Events",
    "HandlerDisplaced",
    "Hook",
    "ListenerCeiling",
    "ShutdownFinished",
    "ShutdownStarted",
    "Squeezed",
)


@record
class Event:
    """
    The base of all events.
    """


@record
class Collected(Event):
    """
    A registered object was collected before anybody closed it.
    """

    kind: str
    name: str
    site: str


@record
class BackgroundFailure(Event):
    """
    A call-back failed where no user code could see it.

    `times` counts failures of the same type at the same place.
    """

    where: str
    error_type: str
    site: str
    times: int


@record
class ListenerCeiling(Event):
    """
    An emitter has more listeners for one event than its ceiling.
    """

    emitter: str
    listeners: int
    sites: tuple[str, ...]


@record
class Dropped(Event):
    """
    A bounded buffer dropped its oldest entries; `total` counts them all.
    """

    kind: str
    name: str
    total: int


@record
class Squeezed(Event):
    """
    Under the managed limit a member evicted for another, of which more was expected.

    `total` counts its bytes so far. At most once a minute for each name.
    """

    kind: str
    name: str
    total: int


@record
class ShutdownStarted(Event):
    """
    A shutdown began, with its reason and its budget in seconds.
    """

    guard: str
    reason: str
    budget_s: float


@record
class ShutdownFinished(Event):
    """
    A shutdown ended; `report` is the ShutdownReport.
    """

    guard: str
    report: Any


@record
class HandlerDisplaced(Event):
    """
    Somebody replaced memguard's handler of a signal.
    """

    signal: str
    by: str


Hook: TypeAlias = Callable[[Event], object]


class Events:
    """
    Fan-out of events to hooks. A hook that fails never breaks the program.

    Hooks are called in the thread in which the fact happened, with no lock held.
    """

    __slots__ = ("_hooks",)

    def __init__(self) -> None:
        # A tuple that is replaced as a whole: emitting needs no lock.
        self._hooks: tuple[Hook, ...] = ()

    @property
    def hooks(self) -> tuple[Hook, ...]:
        return self._hooks

    def subscribe(self, hook: Hook) -> Callable[[], None]:
        """
        Call *hook* for every event from now on; the result unsubscribes it.
        """
        self._hooks = (*self._hooks, hook)

        def unsubscribe() -> None:
            self._hooks = tuple(one for one in self._hooks if one is not hook)

        return unsubscribe

    def emit(self, event: Event) -> None:
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:
                # The interpreter's own channel for errors nobody can catch; logging
                # here could call the same hook again.
                sys.unraisablehook(_unraisable(hook))


def _unraisable(hook: Hook) -> Any:
    class Unraisable:
        exc_type, exc_value, exc_traceback = sys.exc_info()
        err_msg = "Exception ignored in memguard event hook"
        object = hook

    return Unraisable
