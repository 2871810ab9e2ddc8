"""
What is done for adopted things once a tick: measured for metrics, and trimmed.

Runs on a worker of the guard, with no lock held, within a few milliseconds a tick:
who has many adopted things has them measured in turn. Trimming goes on in slices until
the caps hold; nothing of it is on the way of who uses the object.
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time
from typing import TYPE_CHECKING, Any, Final

from memguard._clock import give_way
from memguard._kinds.teardown import discard

if TYPE_CHECKING:
    from memguard._adopt.adopted import Adopted
    from memguard._registry import Registry

__all__ = ("WEIGH_EVERY_S", "Rounds", "rounds_of")

# CPU seconds a tick for measuring and for weighing; from one weighing of a thing to the
# next.
_MEASURE_S: Final = 0.002
_WEIGH_S: Final = 0.001
WEIGH_EVERY_S: Final = 30.0
# Entries that are taken out in one step, and the pause after it.
_SLICE: Final = 2000
_PAUSE_S: Final = 0.0005
# A container that is filled as fast as it is trimmed holds a worker no longer.
_SLICES: Final = 10_000


class Rounds:
    """
    The adopted things of one guard that want to be looked at once a tick.
    """

    __slots__ = (
        "_at",
        "_going",
        "_members",
        "_owed",
        "_registry",
        "_trimmed",
        "_weighed",
        "places",
    )

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._members: dict[Adopted, None] = {}
        self._trimmed: dict[Adopted, None] = {}
        # Where measuring and weighing go on in the next round.
        self._at = 0
        self._weighed = 0
        # CPU seconds that weighing has taken ahead of its time.
        self._owed = 0.0
        self._going = False
        #: What was adopted by place, by holder and attribute.
        self.places: dict[tuple[Any, str], Adopted] = {}

    def join(self, node: Adopted) -> None:
        """
        Look at *node* from now on; joining again after its caps have changed.
        """
        self._members[node] = None
        if node.caps:
            if node.is_trimmed:
                self._trimmed[node] = None
            else:
                self._trimmed.pop(node, None)
        if not self._going and self._registry.running:
            self._going = True
            self._next()

    def leave(self, node: Adopted) -> None:
        """
        Look at *node* no more.
        """
        self._members.pop(node, None)
        self._trimmed.pop(node, None)

    def forget(self, node: Adopted) -> None:
        """
        As `leave`, and what lies at its place may be adopted anew.
        """
        self.leave(node)
        place = node.place
        if place is not None and self.places.get(place.key) is node:
            self.places.pop(place.key, None)

    def _next(self) -> None:
        scheduler = self._registry.scheduler
        when = self._registry.now() + self._registry.tick
        scheduler.call_at(when, lambda: scheduler.submit(self._go))

    def _go(self) -> None:
        registry = self._registry
        if registry.detached or not registry.running or not self._members:
            self._going = False
            if self._members and registry.running and not registry.detached:
                self.join(next(iter(self._members)))
            return
        try:
            self.look()
        finally:
            self._next()

    def look(self) -> None:
        """
        One round: trim what has caps, then measure as many as there is time for.
        """
        for node in list(self._trimmed):
            self._trim(node)
        members = list(self._members)
        self._at = self._in_turn(members, self._at, _MEASURE_S, self._measure)
        self._owed -= _WEIGH_S
        if self._owed > 0:
            return  # one look at something large took the time of several rounds
        began = thread_time()
        self._weighed = self._in_turn(members, self._weighed, _WEIGH_S, self._weigh)
        self._owed = thread_time() - began

    def _in_turn(
        self,
        members: list[Adopted],
        first: int,
        budget_s: float,
        do: Callable[[Adopted], object],
    ) -> int:
        """
        Do something with one after the other, within the budget; where to go on then.
        """
        count = len(members)
        began = thread_time()
        for step in range(count):
            node = members[(first + step) % count]
            try:
                do(node)
            except Exception as error:  # a foreign object may do anything
                node.failed("measuring", error)
            if thread_time() - began > budget_s:
                return (first + step + 1) % count
        return 0

    def _measure(self, node: Adopted) -> None:
        node.measure()

    def _weigh(self, node: Adopted) -> None:
        seen = node.seen
        now = self._registry.now()
        if seen is not None and now - seen.weighed_at >= WEIGH_EVERY_S:
            node.weigh()

    def _trim(self, node: Adopted) -> None:
        registry = self._registry
        before = 0
        for _ in range(_SLICES):
            obj = node.target()
            if obj is None or not registry.running:
                return
            try:
                taken = node.adapter.trim(obj, node.caps, _SLICE)
                left = len(obj) if hasattr(obj, "__len__") else 0
            except Exception as error:  # keys and containers are the application's
                node.failed("trimming", error)
                return
            obj = None
            if not taken:
                return
            more = len(taken) >= _SLICE
            discard(taken, registry.scheduler.submit)
            if not more:
                return
            if left <= before or not before:
                # Else it is filled faster than it is trimmed: then nobody is spared.
                give_way(_PAUSE_S)
            before = left


def rounds_of(registry: Registry) -> Rounds:
    """
    The rounds of one guard, made when they are first needed.
    """
    found: Rounds | None = registry.rounds
    if found is None:
        with registry.lock:
            found = registry.rounds
            if found is None:
                found = registry.rounds = Rounds(registry)
    return found
