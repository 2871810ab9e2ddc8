"""
Giving bytes back: in short slices, between which others run, and what came of it.

Evicted is not returned: memory that was evicted comes back to the operating system only
where whole pages are free. So both are told, and neither is guessed from the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from heapq import heapify, heappop, heappush
from time import thread_time
from typing import TYPE_CHECKING, Any, Final

from memguard._clock import SystemClock, give_way
from memguard._records import record

if TYPE_CHECKING:
    from memguard._kinds.budget import Budget
    from memguard._kinds.ledger import Seat

__all__ = ("PAUSE_S", "Released", "Slices", "in_slices", "release")

# A slice holds the interpreter so long, seconds. The next one's size follows from it.
_SLICE_S: Final = 0.0003
_FIRST_BYTES: Final = 16 * 1024
_MOST_BYTES: Final = 16 * 1024 * 1024
# Long enough that a thread that waits for the interpreter gets it: one that only lets
# go of it for an instant mostly has it back before anybody woke up.
PAUSE_S: Final = 1e-6
# Members that a record names.
_TOLD: Final = 20


@record
class Released:
    """
    What a request to give back bytes came to.

    `requested` are the bytes that were asked for, `evicted` those that members gave by
    their own weighing, `returned` those by which the resident memory of the process
    fell, None where that cannot be read. `longest_slice_s` is processor time.
    """

    requested: int
    evicted: int
    returned: int | None
    duration_s: float
    longest_slice_s: float
    slices: int
    members: tuple[tuple[str, int], ...]

    @property
    def is_complete(self) -> bool:
        """
        True where as much was evicted as was asked for.
        """
        return self.evicted >= self.requested

    def to_dict(self) -> dict[str, Any]:
        return {
            "requested": self.requested,
            "evicted": self.evicted,
            "returned": self.returned,
            "duration": round(self.duration_s, 6),
            "longestSlice": round(self.longest_slice_s, 6),
            "slices": self.slices,
            "members": dict(self.members),
        }


class Slices:
    """
    How large the next slice may be, learnt from how long the last one took.
    """

    __slots__ = ("count", "longest_s", "nbytes")

    def __init__(self) -> None:
        self.nbytes = _FIRST_BYTES
        self.longest_s = 0.0
        self.count = 0

    def took(self, seconds: float) -> None:
        """
        A slice of `nbytes` took so long.
        """
        self.count += 1
        self.longest_s = max(self.longest_s, seconds)
        if seconds > _SLICE_S:
            self.nbytes = max(1, int(self.nbytes * max(0.1, _SLICE_S / seconds)))
        elif seconds < _SLICE_S / 2:
            self.nbytes = min(_MOST_BYTES, 2 * self.nbytes)


def in_slices(
    steps: Iterator[Callable[[int], int]],
    nbytes: int,
    *,
    is_over: Callable[[], bool],
    pause: Callable[[float], object] = give_way,
    used: Callable[[], float] = thread_time,
) -> tuple[int, Slices]:
    """
    Take *steps*, each called with the bytes of its slice, until *nbytes* are evicted.

    Stops at a step's end when *is_over*. Call it again to go on. Returns the bytes and
    what is known of the slices.
    """
    slices = Slices()
    evicted = 0
    for step in steps:
        before = used()
        evicted += step(min(slices.nbytes, nbytes - evicted))
        slices.took(used() - before)
        if evicted >= nbytes or is_over():
            break
        pause(PAUSE_S)
    return evicted, slices


def release(
    budget: Budget,
    nbytes: int,
    deadline: float | None = None,
    *,
    now: Callable[[], float] = SystemClock.monotonic,
    rss: Callable[[], int | None] | None = None,
    trim: Callable[[], object] | None = None,
    pause: Callable[[float], object] = give_way,
) -> Released:
    """
    Let members evict *nbytes*, those of low priority first, then of low price.

    Nobody goes below its floor. In slices of less than half a millisecond, between
    which other threads run, until *deadline* on the clock *now*; call it again to go
    on. *rss* is read before and after, and *trim* called in between, after the last
    slice. What was given is free for all: lower the limit to keep it so.
    """
    began = now()
    before = None if rss is None else rss()
    gave: dict[str, int] = {}
    evicted, slices = in_slices(
        _steps(budget, gave),
        nbytes,
        is_over=lambda: deadline is not None and now() >= deadline,
        pause=pause,
    )
    if trim is not None:
        trim()
    after = None if rss is None else rss()
    most = sorted(gave.items(), key=lambda one: -one[1])[:_TOLD]
    return Released(
        requested=nbytes,
        evicted=evicted,
        returned=None if before is None or after is None else before - after,
        duration_s=now() - began,
        longest_slice_s=slices.longest_s,
        slices=slices.count,
        members=tuple(most),
    )


def _steps(budget: Budget, gave: dict[str, int]) -> Iterator[Callable[[int], int]]:
    """
    Steps of eviction, each from whose bytes are then worth least.

    A member evicts in the order of age: slice after slice of the same one leaves
    memory that lies together, which is what can go back to the operating system.
    """
    heap = [
        (priority, price, at, seat)
        for at, (priority, price, seat) in enumerate(budget.worth())
    ]
    heapify(heap)
    while heap:
        priority, _, at, seat = heappop(heap)
        freed: list[int] = []
        yield partial(_note, budget, seat, freed)
        if freed[0]:
            label = seat.member.label
            gave[label] = gave.get(label, 0) + freed[0]
            heappush(heap, (priority, budget.price_of(seat), at, seat))


def _note(budget: Budget, seat: Seat, freed: list[int], nbytes: int) -> int:
    freed.append(budget.give_back(seat, nbytes))
    return freed[0]
