"""
One `limiter.map` in progress: what was read and not handed out yet, in order.

What a thread and what a loop does is the same up to how a call is launched and how its
end is waited for; those two are in `mapping`. A flow never refers to the iterator that
users hold, so that dropping that one half-way ends the flow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from memguard._kinds.line import Ticket
from memguard._latch import Latch
from memguard._settings import parse_size
from memguard.errors import LimiterFull, ScopeClosed

if TYPE_CHECKING:
    from memguard._kinds.gate import Gate

__all__ = ("JOIN_S", "Flow", "Place")

#: How long calls in progress are waited for when a map is left half-way.
JOIN_S: Final = 5.0
# What runs is looked after so often while its end is waited for.
_LOOK_S: Final = 60.0


class Place:
    """
    One item on its way: read, in line, running, done. `done` is opened exactly once.
    """

    __slots__ = ("_ended", "bytes", "context", "done", "error", "item", "turn", "value")

    def __init__(self, item: Any, size: int, context: Context | None) -> None:
        self.item = item
        self.bytes = size
        self.context = context
        self.done = Latch()
        self.turn: Ticket | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        self._ended = [True]

    def end(self, value: Any, error: BaseException | None) -> None:
        """
        The result, from whoever comes first.
        """
        try:
            self._ended.pop()  # one step: of two threads one gets the error
        except IndexError:
            return
        self.value = value
        self.error = error
        self.item = self.context = None
        self.done.set()


class Flow:
    """
    The window of a map: `places` in the order of the source, the next result first.

    Changed by the one who iterates only, or by the pump on its behalf; other threads
    end places and launch calls.
    """

    __slots__ = (
        "__weakref__",
        "_bytes",
        "_held_back",
        "_weigh",
        "ended",
        "exhausted",
        "fn",
        "gate",
        "launch",
        "places",
        "quit",
        "stopped",
        "timeout",
    )

    def __init__(
        self,
        gate: Gate,
        fn: Callable[[Any], Any],
        weigh: Any,
        timeout: float,
    ) -> None:
        self.gate = gate
        self.fn = fn
        self._weigh = weigh
        self.timeout = timeout
        #: Set by the driver: begins to call `fn` for a place whose turn it is.
        self.launch: Callable[[Flow, Place], None] = _nowhere
        #: Set by the driver: ends what it runs on, without waiting and without a lock.
        self.quit: Callable[[], object] = _nowhere
        self.places: deque[Place] = deque()
        self._bytes = 0
        # The newest place, while there is no room for its bytes.
        self._held_back: Place | None = None
        self.exhausted = False
        # No call begins any more; `ended` where that was not the wish of who iterates.
        self.stopped = False
        self.ended = False
        gate.begin(self)

    # -- the window --------------------------------------------------------------------

    def has_room(self) -> bool:
        """
        True if one more item may be read.
        """
        if self.exhausted or self.stopped or self._held_back is not None:
            return False
        most, limit = self.gate.window()
        return len(self.places) < most and (limit is None or self._bytes < limit)

    def take(self, item: Any) -> None:
        """
        A place for *item*, which was just read; its call begins when its turn comes.
        """
        try:
            size = self._size_of(item)
        except Exception as error:  # a function of the user
            self.fail(error)
            return
        place = Place(item, size, copy_context())
        self.places.append(place)
        self._held_back = place
        self._start_held_back()

    def fail(self, error: BaseException) -> None:
        """
        The source ends with *error*, which comes after what was read before it.
        """
        place = Place(None, 0, None)
        place.end(None, error)
        self.places.append(place)
        self.exhausted = True

    def _size_of(self, item: Any) -> int:
        weigh = self._weigh
        size = weigh(item) if callable(weigh) else weigh
        return size if type(size) is int and size >= 0 else _checked(size)

    def _start_held_back(self) -> None:
        place = self._held_back
        if place is None:
            return
        _, limit = self.gate.window()
        alone = self.places[0] is place
        if not alone and limit is not None and self._bytes + place.bytes > limit:
            return
        self._held_back = None
        self._bytes += place.bytes
        place.turn = turn = Ticket(place.bytes)
        turn.wake = partial(self._called, place, turn)
        try:
            self.gate.join(turn)
        except ScopeClosed as error:
            turn.wake = None
            place.end(None, error)

    def _called(self, place: Place, turn: Ticket) -> None:
        """
        It is this place's turn, or there will be none. In any thread, without a lock.
        """
        if turn.granted and not self.stopped:
            self.launch(self, place)
        else:
            self.drop(place)

    def drop(self, place: Place) -> None:
        """
        There will be no call for *place*. It has no result: an error, not a None.
        """
        self.over(place, None, ScopeClosed(self.gate.ended_text()))

    def over(self, place: Place, value: Any, error: BaseException | None) -> None:
        """
        The call of *place* has ended.
        """
        if place.turn is not None:
            self.gate.release(place.turn)
        place.end(value, error)

    def pop(self) -> Any:
        """
        Hand out the first result, or raise the first error; there is one.
        """
        place = self.places.popleft()
        if place.turn is not None:
            self._bytes -= place.bytes
            self._start_held_back()
        error, place.error = place.error, None
        if error is None:
            return place.value
        try:
            raise error
        finally:
            del error  # else this frame and its traceback keep each other alive

    # -- waiting -----------------------------------------------------------------------

    def patience(self, place: Place) -> float:
        """
        How long to wait for *place* before `look_after` is called, in seconds.
        """
        turn = place.turn
        return self.timeout if turn is not None and not turn.granted else _LOOK_S

    def look_after(self, place: Place) -> None:
        """
        *place* took its time: if that was for want of a turn, it gets no other.
        """
        turn = place.turn
        if turn is None or place.done.is_set:
            return
        try:
            self.gate.lose(turn, self.timeout)
        except (LimiterFull, ScopeClosed) as error:
            turn.wake = None
            place.end(None, error)

    def refuse_if_ended(self) -> None:
        """
        Raise ScopeClosed where the limiter has ended before the source.
        """
        gate = self.gate
        if (self.ended and not self.exhausted) or gate.registry.detached:
            raise ScopeClosed(gate.ended_text())

    # -- ending ------------------------------------------------------------------------

    def stop(self) -> None:
        """
        Whoever iterates gets ScopeClosed from now on; what waits in line leaves it.
        """
        self.ended = True
        self.abandon()
        for place in list(self.places):
            place.end(None, ScopeClosed(self.gate.ended_text()))

    def abandon(self) -> None:
        """
        Begin nothing more. Takes no lock: it may run in a destructor.
        """
        self.stopped = True
        for place in list(self.places):
            turn = place.turn
            if turn is not None:
                turn.dead = True
        self.quit()

    def leave(self) -> list[Place]:
        """
        Leave the line; returns what runs still.
        """
        self.abandon()
        running = []
        for place in self.places:
            turn = place.turn
            if turn is None or place.done.is_set:
                continue
            if turn.granted:
                running.append(place)
            else:
                turn.wake = None
                self.gate.give_up(turn)
                place.end(None, None)
        return running

    def forget(self) -> None:
        """
        In a forked child: the threads that would end anything are the parent's.
        """
        self.stopped = self.ended = True
        self.places.clear()


def _nowhere(*_: object) -> None:
    return None


def _checked(size: Any) -> int:
    if isinstance(size, (int, str)) and not isinstance(size, bool):
        return parse_size(size, what="bytes")
    kind = type(size).__qualname__
    msg = f"bytes must be a size, or a function that returns one, not a {kind}"
    raise TypeError(msg)
