"""
Failures in the background: logged once a site, counted, never raised at users.

In strict mode they are collected as well, so that `shutdown` and the test helpers
can raise them together.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from memguard._events import BackgroundFailure, Events
from memguard._sites import error_site
from memguard.errors import StoreFailed

__all__ = ("Failures",)

_LOG: Final = logging.getLogger("memguard")
_SITES_KEPT: Final = 1000
_STRICT_KEPT: Final = 1000


class Failures:
    """
    Counts background failures by place and type; the first of each is logged.

    Thread-safe. No lock is held while logging handlers or event hooks run.
    """

    __slots__ = ("_events", "_kept", "_lock", "counts", "strict")

    def __init__(self, events: Events, *, strict: bool = False) -> None:
        self._events = events
        self._lock = threading.Lock()
        self.strict = strict
        self._kept: list[BaseException] = []
        self.counts: dict[tuple[str, str, str], int] = {}

    def record(self, where: str, error: BaseException, site: str = "") -> None:
        """
        Note that *error* happened in *where*, in a call-back made at *site*.
        """
        error_type = type(error).__qualname__
        key = (where, error_type, site)
        with self._lock:
            if key not in self.counts and len(self.counts) >= _SITES_KEPT:
                key = (where, "other", "")
            times = self.counts[key] = self.counts.get(key, 0) + 1
            if self.strict and len(self._kept) < _STRICT_KEPT:
                self._kept.append(error)
        if times == 1:
            # Type and place, and no exc_info: the text of an error may hold a user's
            # value, and logs outlive users. Strict mode raises the error itself. That
            # of a store is about its file or server, and has the cure.
            says = error_type
            if isinstance(error, StoreFailed) and str(error) not in where:
                says = f"{error_type} ({error})"
            _LOG.error(
                "memguard: %s failed with %s at %s (made at %s); further failures of"
                " this kind are only counted",
                where,
                says,
                error_site(error) or "unknown",
                site or "unknown",
            )
        self._events.emit(BackgroundFailure(where, error_type, site, times))

    @property
    def total(self) -> int:
        return sum(list(self.counts.values()))

    def take_strict(self) -> tuple[BaseException, ...]:
        """
        What strict mode collected since the last call; empty outside strict mode.
        """
        with self._lock:
            taken = tuple(self._kept)
            self._kept.clear()
        return taken
