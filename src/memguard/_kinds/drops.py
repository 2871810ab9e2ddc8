"""
Telling that bounded buffers drop entries: at most once a minute for each name.

A thousand sessions may each have a ring of the same name, so the count and the minute
belong to the name and not to the ring. An entry that somebody had read is history;
its end is worth a debug line. An entry that nobody has read is lost: a warning.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from itertools import count
from typing import Final
from weakref import WeakKeyDictionary

from memguard._events import Dropped
from memguard._registry import OTHER, Registry
from memguard._sites import Site, call_site

__all__ = ("DropNotice", "notice_of")

_LOG: Final = logging.getLogger("memguard")
_EVERY_S: Final = 60.0
_NAMES: Final = 100


class DropNotice:
    """
    What the buffers of one kind and name have dropped, and when that was last told.

    Counts without a lock, because a drop may happen in a destructor.
    """

    __slots__ = (
        "_dropped",
        "_gate",
        "_next_at",
        "_pending",
        "_told",
        "_unread",
        "kind",
        "name",
    )

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self._dropped = count()
        self._unread = count()
        self._told = (0, 0)
        self._next_at = float("-inf")
        self._pending = False
        self._gate = threading.Lock()

    def add(
        self, registry: Registry, dropped: int, unread: int, site: Site | None
    ) -> None:
        """
        Count, and tell if the minute is over; else tell when it is.

        Calls log handlers and event hooks, so no lock may be held.
        """
        for _ in range(dropped):
            next(self._dropped)
        for _ in range(unread):
            next(self._unread)
        now = registry.clock.monotonic()
        # Never waits: who comes second leaves it to the first.
        if not self._gate.acquire(blocking=False):
            return
        try:
            due = now >= self._next_at
            if due:
                self._next_at = now + _EVERY_S
            elif not self._pending:
                self._pending = True
                registry.scheduler.call_at(
                    self._next_at, partial(self._tell_rest, registry, site)
                )
        finally:
            self._gate.release()
        if due:
            self._tell(registry, site)

    def _tell_rest(self, registry: Registry, site: Site | None) -> None:
        def tell() -> None:
            self._pending = False
            self._next_at = registry.clock.monotonic() + _EVERY_S
            self._tell(registry, site)

        registry.scheduler.submit(tell)

    def _tell(self, registry: Registry, site: Site | None) -> None:
        total, unread = _value(self._dropped), _value(self._unread)
        told, told_unread = self._told
        if total == told:
            return
        self._told = (total, unread)
        lost = unread - told_unread
        _LOG.log(
            logging.WARNING if lost else logging.DEBUG,
            "memguard: %s %r dropped %d of its entries, %d of them before anybody had"
            " read them (%d in all; made at %s)%s",
            self.kind,
            self.name,
            total - told,
            lost,
            total,
            call_site(site),
            "; raise its cap, or read sooner" if lost else "",
        )
        registry.events.emit(Dropped(self.kind, self.name, total))


def _value(counter: count[int]) -> int:
    """
    The next value of *counter*: its repr is the documented way to look at it.
    """
    return int(repr(counter)[6:-1])


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
