"""
What all nodes of one guard share, and where they are counted.

One registry serves one guard in one process: a forked child gets a fresh one
and the inherited one is marked `detached`, so that nothing of the parent is ever
closed by a child. The registry holds counters and queues, no policy, and it keeps
no application object alive.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from memguard._events import Collected, Events
from memguard._failures import Failures
from memguard._sites import Sites, call_site
from memguard._tally import Tally, reading
from memguard.errors import MemguardResourceWarning

if TYPE_CHECKING:
    from memguard._tree import Node
    from memguard.typing import Clock, Scheduler

__all__ = ("Registry", "Tally", "live_registries")

# Cardinality rule: names come from the code, but a name built from an id must not
# become a leak of its own.
_NAMES_A_KIND: Final = 100
_WORK_NAMES: Final = 200
_EXPECTED_KEPT: Final = 10_000
OTHER: Final = "other"


#: Every registry of the process, for the audit. Weak.
_registries: WeakSet[Registry] = WeakSet()


def live_registries() -> list[Registry]:
    """
    The registries of all guards of this process.
    """
    while True:
        try:
            return [one for one in _registries if not one.detached]
        except RuntimeError:
            continue  # another thread has made one meanwhile


class Registry:
    """
    Clock, lock, counters and queues of one guard.

    `lock` is for the tree's names and for states that hang together; making and
    closing do without it. It is re-entrant, because a collection inside a locked
    section may run a destructor that closes something. It is held for a few
    dictionary operations only, and never while foreign code is called.
    """

    __slots__ = (
        "__weakref__",
        "budget",
        "clock",
        "collected",
        "detached",
        "drain_s",
        "events",
        "expected",
        "failures",
        "files",
        "in_hand",
        "lock",
        "loop",
        "next_seq",
        "now",
        "objects",
        "pid",
        "rounds",
        "running",
        "scheduler",
        "series_names",
        "sites",
        "stores",
        "tallies",
        "tasks",
        "tick",
        "unnamed",
        "work",
    )

    def __init__(
        self,
        clock: Clock,
        scheduler: Scheduler,
        *,
        site_level: str = "sampled",
        strict: bool = False,
    ) -> None:
        self.clock = clock
        self.now = clock.monotonic
        self.scheduler = scheduler
        self.lock = threading.RLock()
        self.pid = os.getpid()
        self.detached = False
        self.next_seq = count(1).__next__
        self.sites = Sites(site_level)
        self.tallies: dict[str, dict[str, Tally]] = {}
        # Those of them without a name, by kind: what is registered mostly has none.
        self.unnamed: dict[str, Tally] = {}
        # Counts one more unit of work of a name.
        self.work: dict[str, Callable[[], int]] = {}
        # Nodes of the objects that memguard was told to keep, by identity, for `uses`
        # and `release`. The others are found through their weak references.
        self.objects: dict[int, Node] = {}
        # Weakref callbacks append here and do nothing else: they may run inside any
        # locked section, in any thread, in the middle of a collection.
        self.collected: deque[Node] = deque()
        self.events = Events()
        self.failures = Failures(self.events, strict=strict)
        # True between start and shutdown: what is attached meanwhile is armed at once.
        self.running = False
        # What all caches and shrinkable rings share; the guard makes it.
        self.budget: Any = None
        # What is looked at once a tick among adopted things; made with the first.
        self.rounds: Any = None
        # Seconds from one of these looks to the next.
        self.tick = 1.0
        # Files that nodes of this guard keep open: no leak for another guard's audit.
        self.files: set[str] = set()
        # Stores of sessions by their path: several containers have one in common.
        self.stores: dict[str, Any] = {}
        # The series that one owner may have.
        self.series_names = 1000
        # The longest wait for work in hand, seconds.
        self.drain_s = 30.0
        # Watched objects that outlived their scope; dead ones are dropped on append.
        self.expected: list[Any] = []
        # Scopes that were entered and not left. The tree has only those that own
        # something, and a shutdown waits for the others as well.
        self.in_hand: set[Any] = set()
        # Tasks that close what a `with` block inside a loop could not await.
        self.tasks: set[Any] = set()
        _registries.add(self)
        # The loop that `async with guard` or a lifespan runs on: a weak reference.
        self.loop: Any = None

    def tally(self, kind: str, name: str) -> Tally:
        """
        The counters of one kind and name; names beyond the bound share one.
        """
        if not name:
            found = self.unnamed.get(kind)
            if found is not None:
                return found
        names = self.tallies.get(kind)
        if names is None:
            names = self.tallies.setdefault(kind, {})
        found = names.get(name)
        if found is None:
            if name and len(names) >= _NAMES_A_KIND:
                name = OTHER
            found = names.get(name) or names.setdefault(name, Tally())
            if not name:
                self.unnamed[kind] = found
        return found

    def live(self, kind: str) -> int:
        """
        How many of one kind live now.
        """
        tallies = list(self.tallies.get(kind, {}).values())
        return sum(one.live for one in tallies)

    def forget(self, number: int, node: Node) -> None:
        """
        The object of that identity, which *node* kept, is kept no longer.
        """
        if self.objects.get(number) is node:
            self.objects.pop(number, None)

    def count_work(self, name: str) -> str:
        """
        Count one more unit of work, and return its name, which is bounded.
        """
        counted = self.work.get(name)
        if counted is None:
            if len(self.work) >= _WORK_NAMES:
                name = OTHER
            counted = self.work.setdefault(name, count().__next__)
        counted()
        return name

    def units_of_work(self) -> dict[str, int]:
        """
        Units of work begun so far, by bounded name.
        """
        return {
            name: reading(counted.__self__)  # type: ignore[attr-defined]
            for name, counted in list(self.work.items())
        }

    def expect(self, expected: Any) -> None:
        """
        Note a watched object whose scope has ended.
        """
        with self.lock:  # whoever prunes would lose what comes meanwhile
            if len(self.expected) >= _EXPECTED_KEPT:
                alive = [one for one in self.expected if one.alive]
                self.expected = alive[-(_EXPECTED_KEPT // 2) :]
            self.expected.append(expected)

    def background(self, loop: Any, closing: Any) -> None:
        """
        Run *closing* as a task of the running *loop*, and hold it until it ended.
        """
        task = loop.create_task(closing)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def settle_collected(self) -> int:
        """
        Take what was collected unclosed off the tree, and warn about each.

        Runs in ordinary code, never in a weakref callback. No lock is held while
        the warning filters and event hooks run.
        """
        settled = 0
        while True:
            try:
                node = self.collected.popleft()
            except IndexError:
                return settled
            settled += 1
            if node.collected_unclosed():
                self.tell_collected(node)

    def tell_collected(self, node: Node) -> None:
        """
        Warn that the object of *node* was collected before it was closed.
        """
        if self.detached:
            return
        site = node.site
        label = node.label
        place = call_site(site)
        self.events.emit(Collected(node.kind, label, place))
        text = (
            f"{node.kind} {label} was collected before it was closed; it was made at"
            f" {place}. Close it through its scope, or tell its scope with release()"
            " that you closed it."
        )
        self._warn(text, site)

    def _warn(self, text: str, site: Any) -> None:
        filename, line = ("unknown", 0) if site is None else (site.filename, site.line)
        try:
            warnings.warn_explicit(
                MemguardResourceWarning(text), None, filename, line, "memguard"
            )
        except MemguardResourceWarning as turned_into_error:
            # A filter made it an error; there is no caller who could take it.
            self.failures.record("resource collected unclosed", turned_into_error)
