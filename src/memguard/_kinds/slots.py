"""
The listeners of one event, and how many each place in the code has added.

Neither takes a lock: whoever changes them holds the registry's; reading needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from memguard._kinds.callbacks import identity
from memguard._records import record
from memguard._sites import Site, call_site

if TYPE_CHECKING:
    from memguard._kinds.listener import Listener

__all__ = ("Growth", "SiteGrowth", "Slot")

_SITES_KEPT: Final = 1000
_SiteKey: TypeAlias = "tuple[int, int] | None"


class Slot:
    """
    The listeners of one event, in the order in which they were added.
    """

    __slots__ = ("_by_identity", "_listeners", "_snapshot", "_version")

    def __init__(self) -> None:
        self._listeners: dict[Listener, None] = {}
        self._by_identity: dict[Any, tuple[Listener, ...]] = {}
        self._version = 0
        self._snapshot: tuple[int, tuple[Listener, ...]] = (0, ())

    def __len__(self) -> int:
        return len(self._listeners)

    def snapshot(self) -> tuple[Listener, ...]:
        """
        All of them; the same tuple until the next change.
        """
        version, listeners = self._snapshot
        while version != self._version:
            # The version is read before the listeners: a change in between makes the
            # snapshot look too old, never too new.
            version = self._version
            try:
                listeners = tuple(self._listeners)
            except RuntimeError:
                version = -1  # a destructor changed it while it was read: again
            else:
                self._snapshot = (version, listeners)
                break
        return listeners

    def add(self, listener: Listener) -> None:
        """
        Append one.
        """
        self._listeners[listener] = None
        twins = self._by_identity.get(listener.key, ())
        self._by_identity[listener.key] = (*twins, listener)
        self._version += 1

    def remove(self, listener: Listener) -> bool:
        """
        Take one out; False when it was not there.
        """
        if self._listeners.pop(listener, self) is self:
            return False
        twins = self._by_identity.get(listener.key, ())
        left = tuple(one for one in twins if one is not listener)
        if left:
            self._by_identity[listener.key] = left
        else:
            self._by_identity.pop(listener.key, None)
        self._version += 1
        return True

    def find(self, fn: Any) -> tuple[Listener, ...]:
        """
        Those that call *fn*.
        """
        # Identities of dead objects come back; only the living are meant.
        same = self._by_identity.get(identity(fn), ())
        return tuple(one for one in same if one.target() is not None)


@record
class SiteGrowth:
    """
    Listeners that one place in the code has added, and how many of them are left.
    """

    site: str
    created: int
    live: int


class _Count:
    __slots__ = ("created", "live", "site")

    def __init__(self, site: Site | None) -> None:
        self.site = site
        self.created = 0
        self.live = 0


class Growth:
    """
    Counts listeners by the place that added them. Bounded: later places share one.
    """

    __slots__ = ("_counts", "_others")

    def __init__(self) -> None:
        self._counts: dict[_SiteKey, _Count] = {}
        self._others = _Count(None)

    def added(self, listener: Listener) -> None:
        """
        One more.
        """
        count = self._count(listener, make=True)
        count.created += 1
        count.live += 1

    def removed(self, listener: Listener) -> None:
        """
        One less.
        """
        self._count(listener, make=False).live -= 1

    def all_removed(self) -> None:
        """
        None is left.
        """
        for count in (*self._counts.values(), self._others):
            count.live = 0

    def report(self) -> tuple[SiteGrowth, ...]:
        """
        The counts, most living first; places beyond the bound are `other`.
        """
        found = [
            SiteGrowth(call_site(count.site), count.created, count.live)
            for count in list(self._counts.values())
        ]
        if self._others.created:
            others = self._others
            found.append(SiteGrowth("other", others.created, others.live))
        found.sort(key=lambda one: (-one.live, -one.created))
        return tuple(found)

    def _count(self, listener: Listener, *, make: bool) -> _Count:
        site = listener.site
        # The site in the count keeps the code alive, and so its identity.
        key = None if site is None else (id(site._code), site._lasti)
        count = self._counts.get(key)
        if count is None:
            if not make or len(self._counts) >= _SITES_KEPT:
                return self._others
            count = self._counts[key] = _Count(site)
        return count
