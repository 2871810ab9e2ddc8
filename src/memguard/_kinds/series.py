"""
Series: the newest figures under one name, and their statistics.

Adding takes no lock. An iterator gives out the places of an array of doubles, one lap
after the other; taking a place and filling it are one step each. So points may be
added by any thread, and in a destructor, for little more than the price of the call.
The next lap is opened under the registry's lock, which is re-entrant.
Longer than 300 lines because the steps without a lock have to be read together.
"""

from __future__ import annotations

import math
import sys
from array import array
from itertools import filterfalse
from typing import Any, ClassVar, Final, TypeAlias

from memguard._kinds.callbacks import checked_name
from memguard._kinds.caps import count_cap
from memguard._phases import CLOSING, Phase
from memguard._records import record
from memguard._tree import Branch, Node
from memguard.errors import ScopeClosed
from memguard.typing import JSON

__all__ = ("Series", "SeriesInfo", "SeriesStats")

_FORMAT: Final = 1  # of `dump`
_FIRST_POINTS: Final = 16  # the least that is allocated; then twice as many each time
_READINGS: Final = 4  # at most, when points come in the middle of one
_EMPTY: Final = math.nan  # in a place that no point was put into: no point is a NaN
_BOOLEANS: Final = ("bool", "bool_")  # numpy's is no subclass of Python's


@record
class SeriesStats:
    """
    Statistics of a series at one moment.

    `count` is how many points were ever added, `n` how many of them are still there:
    all other figures are of these. With n = 0 the sum is 0 and the others are None.
    """

    count: int
    n: int
    min: float | None
    max: float | None
    mean: float | None
    sum: float
    p50: float | None
    p90: float | None
    p99: float | None
    last: float | None


@record
class SeriesInfo:
    """
    Size of a series at one moment.

    `points` are there now, `count` were ever added, `bytes` is what they are kept in.
    `merged` is not 0 only for the series `other`: so often it was returned for a new
    name, because its owner had as many series as it may have.
    """

    points: int
    count: int
    bytes: int
    max_points: int
    merged: int


#: What an `add` needs, in one piece, so that all of it changes in one step: the places
#: that are left in this lap, the array, how many points there have been when these
#: places are used up, and the number of the first point that the array was made for.
#: Point number i is in place (i - start) % max_points. A bare tuple, because a named
#: one costs an `add` twice as much to take apart.
_State: TypeAlias = "tuple[Any, array[float], int, int]"


class Series(Node):
    """
    The newest `max_points` figures, in 8 bytes each. Thread-safe, without a lock.

    Points have no times: one figure is all that is kept of each. Memory is taken as
    points come, up to `max_points`. A figure is a finite number; others are refused.
    Readings made while other threads add may miss the points that come meanwhile.
    """

    __slots__ = ("_changes", "_state", "asked", "max_points", "merged")

    kind: ClassVar[str] = "series"
    phase = Phase.CACHES

    def __init__(self, owner: Branch, name: str, *, max_points: int = 1000) -> None:
        super().__init__(owner, checked_name("a series", name))
        most = count_cap(max_points, "max_points")
        if most is None:
            msg = f"series {name!r} would have no cap; give it max_points"
            raise ValueError(msg)
        self.max_points = most
        self.asked: tuple[Any, ...] | None = None  # as for containers
        #: How often this one was returned for a name that was one too many.
        self.merged = 0
        self._changes = 0
        self._state: _State = (iter(range(0)), array("d"), 0, 0)

    @property
    def spec(self) -> dict[str, object]:
        """
        What has to be the same where the same name is asked for again.
        """
        return {"max_points": self.max_points}

    @property
    def version(self) -> int:
        """
        Changes whenever the content does, so that a session knows what to save.
        """
        return _total(self._state) + self._changes

    # -- writing -----------------------------------------------------------------------

    def add(self, value: float) -> None:
        """
        Add one figure: an int, a float, or what can become one (Decimal, numpy).

        Raises TypeError for anything else and for a bool, ValueError for NaN and for
        infinities, ScopeClosed after the end of the series.
        """
        try:
            if type(value) is not float:
                value = float(value) if type(value) is int else self._figure(value)
            if value - value != 0.0:  # only NaN and the infinities do this
                raise self._not_finite()
            places, points, _, _ = self._state
            points[next(places)] = value
        except StopIteration:
            self._add_in_next_lap(value)
        except OverflowError:
            raise self._not_finite() from None

    def _figure(self, value: Any) -> float:
        if type(value).__name__ not in _BOOLEANS:
            try:
                if not isinstance(value, (str, bytes, bytearray)):
                    return float(value)
            except (TypeError, ValueError):
                pass
        msg = (
            f"series {self.label!r} takes numbers, not a {type(value).__qualname__};"
            " convert it first"
        )
        raise TypeError(msg)

    def _not_finite(self) -> ValueError:
        return ValueError(
            f"series {self.label!r} takes finite numbers; NaN, infinities and what is"
            " too large for a float would spoil every mean: leave them out"
        )

    def _add_in_next_lap(self, value: float) -> None:
        """
        Open a lap, unless somebody else has just done that, and add *value*.
        """
        while True:
            state = self._state
            places, points, _, _ = state
            try:
                points[next(places)] = value
            except StopIteration:
                self._open_lap(state)
            else:
                return

    def _open_lap(self, state: _State) -> None:
        """
        Give out places again: new ones as long as there may be more, then the first.
        """
        if self.state >= CLOSING or self.registry.detached:
            raise ScopeClosed(self._ended_text())
        _, points, end, start = state
        with self.registry.lock:
            if self._state is not state:
                return
            there = len(points)
            room = min(self.max_points, max(_FIRST_POINTS, 2 * there))
            if there < room:
                # In place: who has the array in hand goes on with it.
                points.extend(array("d", (_EMPTY,)) * (room - there))
            else:
                there = 0
            self._state = iter(range(there, room)), points, end + room - there, start

    # -- reading -----------------------------------------------------------------------

    def recent(self, n: int) -> list[float]:
        """
        The newest *n* points, oldest of them first.
        """
        most = count_cap(n, "n", least=0)
        if most is None:
            msg = "recent() takes a number of points"
            raise TypeError(msg)
        window = self._window()[1]
        return window[max(0, len(window) - most) :]

    def stats(self) -> SeriesStats:
        """
        Count, extremes, mean, sum and quantiles of the points that are there.

        Quantiles are interpolated linearly between the two nearest ranks, as by
        `statistics.quantiles(method="inclusive")` and numpy's default. The sum is
        rounded once. It sorts a copy: 0.2 ms for 1,000 points.
        """
        total, window = self._window()
        if not window:
            return SeriesStats(total, 0, None, None, None, 0.0, None, None, None, None)
        last = window[-1]
        mean, whole = _mean_and_sum(window)
        window.sort()
        return SeriesStats(
            count=total,
            n=len(window),
            min=window[0],
            max=window[-1],
            mean=min(max(mean, window[0]), window[-1]),
            sum=whole,
            p50=_quantile(window, 0.50),
            p90=_quantile(window, 0.90),
            p99=_quantile(window, 0.99),
            last=last,
        )

    def info(self) -> SeriesInfo:
        """
        How many points there are, and the bytes they take.
        """
        total, window = self._window()
        return SeriesInfo(
            points=len(window),
            count=total,
            bytes=self.memory_bytes(),
            max_points=self.max_points,
            merged=self.merged,
        )

    def memory_bytes(self) -> int:
        """
        Bytes of the places that points are kept in.
        """
        return sys.getsizeof(self._state[1])

    def __len__(self) -> int:
        return len(self._window()[1])

    def _window(self) -> tuple[int, list[float]]:
        """
        How many points were ever added, and those that are there, oldest first.
        """
        readings = 0
        while True:
            readings += 1
            state = self._state
            total = _total(state)
            points = state[1].tolist()
            later = self._state
            after = _total(later)
            if total == after or readings == _READINGS:
                break
        if later[1] is not state[1]:  # cleared meanwhile
            return after, []
        # What came while the places were copied has taken those of the oldest.
        start = state[3]
        first = max(start, after - self.max_points)
        number = max(0, total - first)
        low = (first - start) % self.max_points
        window = points[low : low + number]
        window += points[: number - len(window)]
        # A place may have been taken by a thread that has not come to fill it.
        return total, list(filterfalse(math.isnan, window))

    # -- taking out --------------------------------------------------------------------

    def clear(self) -> None:
        """
        Drop all points, and their memory. `count` goes on.
        """
        with self.registry.lock:
            total = _total(self._state)
            self._changes += 1
            self._state = iter(range(0)), array("d"), total, total

    # -- saving and restoring ----------------------------------------------------------

    def dump(self) -> list[JSON]:
        """
        The content for a store, in values of JSON: a header, then the points.
        """
        total, window = self._window()
        head: dict[str, JSON] = {"series": _FORMAT, "count": total}
        return [head, *window]

    def load(self, dumped: list[JSON]) -> None:
        """
        Replace the content by what `dump` returned, the newest `max_points` of it.

        Raises ValueError for anything else.
        """
        if self.state >= CLOSING or self.registry.detached:
            raise ScopeClosed(self._ended_text())
        head = dumped[0] if dumped else None
        points = dumped[1:]
        if (
            not isinstance(head, dict)
            or head.get("series") != _FORMAT
            or type(head.get("count")) is not int
            or head["count"] < len(points)
        ):
            msg = (
                f"series {self.label!r} cannot load this: it is not what dump() of"
                f" format {_FORMAT} returns"
            )
            raise ValueError(msg)
        figures = array("d", map(self._checked, points[-self.max_points :]))
        total: int = head["count"]
        with self.registry.lock:
            # The version must not be one that there has been.
            self._changes += _total(self._state) + 1
            self._state = iter(range(0)), figures, total, total - len(figures)

    def _checked(self, point: JSON) -> float:
        figure = point if type(point) is float else self._figure(point)
        if figure - figure != 0.0:
            raise self._not_finite()
        return figure

    # -- life --------------------------------------------------------------------------

    def _disarm(self) -> None:
        self.clear()

    def _release(self) -> Any:
        self.clear()


def _total(state: _State) -> int:
    """
    How many points have ever been added.
    """
    left: int = state[0].__length_hint__()
    return state[2] - left


def _mean_and_sum(points: list[float]) -> tuple[float, float]:
    try:
        whole = math.fsum(points)
    except OverflowError:
        # The sum is too large for a float, or is on the way; the mean never is.
        mean = math.fsum(point / len(points) for point in points)
        return mean, mean * len(points)
    return whole / len(points), whole


def _quantile(ordered: list[float], share: float) -> float:
    """
    The point below which *share* of the others are, between the two nearest ones.
    """
    at = (len(ordered) - 1) * share
    low = int(at)
    if low + 1 == len(ordered):
        return ordered[low]
    below, above, weight = ordered[low], ordered[low + 1], at - low
    # Not `below + (above - below) * weight`: the difference may be too large.
    return min(max(below * (1 - weight) + above * weight, below), above)
