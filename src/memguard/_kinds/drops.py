"""
Telling that bounded buffers drop entries, for all those of one name together.

A thousand sessions may each have a ring of the same name, so the count and the time
belong to the name. What is dropped may be lost or be meant to go, and only its readers
tell which: see `Drops`. What is lost is a warning, the rest a line on debug level.
"""

from __future__ import annotations

import logging
import threading
from enum import Enum
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, ref

from memguard._events import Dropped
from memguard._registry import OTHER, Registry
from memguard._sites import Site, call_site

__all__ = ("DropNotice", "Drops", "notice_of")

_LOG: Final = logging.getLogger("memguard")
_EVERY_S: Final = 60.0
_SELDOM_S: Final = 3600.0
_NAMES: Final = 100


class Drops(Enum):
    """
    What it means that a buffer drops entries.

    LOST: it has a consumer, which takes entries out and is too slow. FORGOTTEN: nobody
    has read it yet, so it may be a buffer whose consumer never came as well as a
    history for an emergency. MEANT: it is looked at and not emptied: a history.
    """

    LOST = 1
    FORGOTTEN = 2
    MEANT = 3


class Dropping(Protocol):
    """
    What has dropped entries. Asked with no lock held.

    `told_drops` is this module's: how many of them were told.
    """

    told_drops: int

    @property
    def site(self) -> Site | None: ...

    @property
    def drops(self) -> Drops:
        """
        What it means.
        """

    @property
    def dropped(self) -> int:
        """
        How many there have been.
        """

    def goes_on(self) -> bool:
        """
        False when it will join again before, or as, it drops the next one.
        """


class DropNotice:
    """
    What the buffers of one kind and name have dropped, and when that was last told.

    Losses are told once a minute. As long as nobody reads, and for histories, the time
    doubles, up to an hour: it is news at first, and then it is not.
    """

    __slots__ = (
        "_alarm",
        "_buffers",
        "_every",
        "_gate",
        "_next_at",
        "_pending",
        "_sums",
        "_total",
        "kind",
        "name",
    )

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self._buffers: dict[int, ref[Any]] = {}
        self._total = 0
        # Drops of buffers that have ended, not told yet: all, and those that were lost.
        self._pending = (0, 0)
        # Re-entrant, because buffers may end in destructors.
        self._sums = threading.RLock()
        self._every = _EVERY_S
        self._next_at = float("-inf")
        self._alarm: Any = None
        self._gate = threading.Lock()

    def join(self, registry: Registry, buffer: Dropping) -> None:
        """
        Look after *buffer* until it leaves; tell now if it is time.

        Calls log handlers and event hooks, so no lock may be held.
        """
        self._buffers.setdefault(id(buffer), ref(buffer))
        self._look(registry)

    def leave(self, buffer: Dropping) -> None:
        """
        It has ended: what was not told of it is told with what comes next.
        """
        if self._buffers.pop(id(buffer), None) is not None:
            new, lost = _news(buffer)
            with self._sums:
                self._pending = (self._pending[0] + new, self._pending[1] + lost)
        self._rest()

    def _rest(self) -> None:
        """
        No alarm where nobody is left who might drop anything.
        """
        alarm = self._alarm
        if not self._buffers and alarm is not None:
            self._alarm = None
            alarm.cancel()

    def _look(self, registry: Registry) -> None:
        # Weak: the notice is kept for as long as the registry lives, and must not be
        # what keeps that alive.
        its = ref(registry)

        def again() -> None:
            self._alarm = None
            registry = its()
            if registry is not None and not registry.detached:
                self._look(registry)

        def wake() -> None:
            registry = its()
            if registry is not None:
                registry.scheduler.submit(again)

        now = registry.clock.monotonic()
        # Never waits: who comes second leaves it to the first.
        if not self._gate.acquire(blocking=False):
            return
        try:
            due = now >= self._next_at
            if due:
                self._next_at = now + self._every
            if self._alarm is None and self._buffers:
                self._alarm = registry.scheduler.call_at(self._next_at, wake)
        finally:
            self._gate.release()

        if due:
            self._tell(registry)

    def _tell(self, registry: Registry) -> None:
        with self._sums:
            (dropped, lost), self._pending = self._pending, (0, 0)
        taken_out = False
        site: Site | None = None
        for number, reference in list(self._buffers.items()):
            buffer = reference()
            new, new_lost = (0, 0) if buffer is None else _news(buffer)
            if buffer is None or (not new and not buffer.goes_on()):
                self._buffers.pop(number, None)
                continue
            dropped += new
            lost += new_lost
            taken_out |= buffer.drops is Drops.LOST
            if new:
                site = buffer.site
        if taken_out:
            self._every = _EVERY_S
        else:
            self._every = min(2 * self._every, _SELDOM_S)
        self._rest()
        if not dropped:
            return
        with self._sums:
            self._total += dropped
            total = self._total
        _LOG.log(
            logging.WARNING if lost else logging.DEBUG,
            "memguard: %s %r dropped %d of its entries, %d of them before anybody had"
            " read them (%d in all; made at %s)%s",
            self.kind,
            self.name,
            dropped,
            lost,
            total,
            call_site(site),
            "; raise its cap, or read sooner" if lost else "",
        )
        registry.events.emit(Dropped(self.kind, self.name, total))


def _news(buffer: Dropping) -> tuple[int, int]:
    """
    How many it has dropped since this was asked last, and how many of them were lost.
    """
    new = max(0, buffer.dropped - buffer.told_drops)
    buffer.told_drops += new
    return new, 0 if buffer.drops is Drops.MEANT else new


_notices: WeakKeyDictionary[Registry, dict[tuple[str, str], DropNotice]] = (
    WeakKeyDictionary()
)


def notice_of(registry: Registry, kind: str, name: str) -> DropNotice:
    """
    The notice that all buffers of this kind and name share in one guard.
    """
    notices = _notices.setdefault(registry, {})
    if (kind, name) not in notices and len(notices) >= _NAMES:
        name = OTHER
    return notices.setdefault((kind, name), DropNotice(kind, name))
