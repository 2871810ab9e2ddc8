"""
What an emitter is made of below its emitting: listeners that come and go.

They are kept in one dictionary an event: adding and removing are cheap with ten
thousand listeners as well, and the emitter ends them in one step of the shutdown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from memguard._events import ListenerCeiling
from memguard._kinds.callbacks import checked_name, warn_at
from memguard._kinds.listener import Listener
from memguard._kinds.running import Running
from memguard._kinds.slots import Growth, SiteGrowth, Slot
from memguard._phases import CLOSING, DRAINING, NEW, Ending
from memguard._sites import call_site
from memguard._tree import Branch, Node
from memguard.errors import MemguardWarning, ScopeClosed

if TYPE_CHECKING:
    from memguard._registry import Registry

__all__ = ("Listening", "checked_event")

_WARNED_KEPT: Final = 1000


class Listening(Running):
    """
    A node that listeners are added to and removed from.
    """

    __slots__ = ("_growth", "_max", "_slots", "_warned")

    def __init__(
        self, owner: Branch, name: str, *, max_listeners: int | None = 10
    ) -> None:
        super().__init__(owner, checked_name("an emitter", name))
        self._max = _checked_ceiling(max_listeners)
        # Changed under the registry's lock.
        self._slots: dict[str, Slot] = {}
        self._growth = Growth()
        self._warned: set[str] = set()

    @property
    def spec(self) -> dict[str, object]:
        """
        The options, for comparing with those of a second request for the name.
        """
        return {"max_listeners": self._max}

    # -- adding and removing -----------------------------------------------------------

    def listen(
        self,
        event: str,
        fn: Callable[..., Any],
        *,
        owner: Branch | None = None,
        once: bool = False,
    ) -> Listener:
        """
        As `on`, and return the listener, which can be closed.
        """
        event = checked_event(event)
        _check_callable(fn)
        self._refuse_if_ended()
        listener = Listener(_owner(owner, self), self, event, fn, once=once)
        self._declare(listener, owner)
        listener.attach()
        crowd: tuple[Listener, ...] = ()
        with self.registry.lock:
            ended = next(
                (one for one in (self, listener) if one.state >= CLOSING), None
            )
            if ended is None:
                slot = self._slots.get(event)
                if slot is None:
                    slot = self._slots[event] = Slot()
                slot.add(listener)
                self._growth.added(listener)
                crowd = self._crowd(event, slot)
        if ended is not None:  # closed by somebody else, this very moment
            listener.close()
            raise ScopeClosed(ended._ended_text())
        if crowd:
            self._warn_crowd(event, crowd)
        return listener

    def _declare(self, listener: Listener, owner: Branch | None) -> None:
        """
        Added before the guard started it is a declaration, as its owner is.
        """
        if self.registry.running:
            return
        root = owner is not None and owner.owner is None and owner.state == NEW
        if root or (owner is None and self.declared):
            listener.declared = True
            listener.state = NEW

    def off(self, event: str, fn: Callable[..., Any]) -> int:
        """
        Remove *fn* from *event*, however often it was added; returns how often.
        """
        slot = self._slots.get(checked_event(event))
        if slot is None:
            return 0
        with self.registry.lock:
            found = slot.find(fn)
        for listener in found:
            listener.close()
        return len(found)

    def listeners(self, event: str) -> tuple[Callable[..., Any], ...]:
        """
        The functions that listen to *event* now, in the order of their calls.
        """
        slot = self._slots.get(checked_event(event))
        if slot is None:
            return ()
        targets = [listener.target() for listener in slot.snapshot()]
        return tuple(fn for fn in targets if fn is not None)

    # -- counting ----------------------------------------------------------------------

    @property
    def listening(self) -> int:
        """
        Listeners there are now, of all events.
        """
        return sum(len(slot) for slot in list(self._slots.values()))

    def growth(self) -> tuple[SiteGrowth, ...]:
        """
        Listeners added so far and alive now, for each place that adds them.
        """
        return self._growth.report()

    def _crowd(self, event: str, slot: Slot) -> tuple[Listener, ...]:
        """
        All listeners of an event that has just passed its ceiling, once.
        """
        ceiling, warned = self._max, self._warned
        if ceiling is None or len(slot) <= ceiling or event in warned:
            return ()
        if len(warned) >= _WARNED_KEPT:
            return ()
        warned.add(event)
        return slot.snapshot()

    def _warn_crowd(self, event: str, crowd: tuple[Listener, ...]) -> None:
        sites = tuple(dict.fromkeys(call_site(one.site) for one in crowd))
        self.registry.events.emit(ListenerCeiling(self.label, len(crowd), sites))
        text = (
            f"emitter {self.label!r} has {len(crowd)} listeners for event {event!r},"
            f" more than max_listeners={self._max}. They were added at:"
            f" {'; '.join(sites)}. Remove them with off(), tie them to a scope with"
            " scope.listen() or owner=, or raise max_listeners."
        )
        warn_at(crowd[-1].site, MemguardWarning(text), self.registry)

    # -- owning listeners --------------------------------------------------------------

    # An owner without being a branch: its own listeners end with it, in one step of
    # the shutdown, and are no entries of their own in the plan and the report.

    def take(self, node: Node) -> None:
        """
        Count a listener that no scope owns.
        """
        self._refuse_if_ended()
        self._count(node)

    def _count(self, node: Node) -> None:
        node.tally = tally = self.registry.tally(node.kind, node.name or "")
        tally.made()

    def drop(self, node: Node, ending: Ending) -> None:
        """
        Count the end of one.
        """
        if node.tally is not None:
            node.tally.ended(ending)

    def forget(self, listener: Listener) -> None:
        """
        Call *listener* no more.
        """
        with self.registry.lock:
            slot = self._slots.get(listener.event)
            if slot is not None and slot.remove(listener):
                self._growth.removed(listener)
                if not slot:
                    del self._slots[listener.event]

    def _refuse_if_ended(self) -> None:
        if self.state > DRAINING or self.registry.detached:
            raise ScopeClosed(self._ended_text())

    # -- life --------------------------------------------------------------------------

    def _release(self) -> Any:
        with self.registry.lock:
            slots, self._slots = self._slots, {}
            self._growth.all_removed()
        for slot in slots.values():
            for listener in slot.snapshot():
                listener.close()
        return self._cancel_calls()

    def _disarm(self) -> Any:
        for slot in list(self._slots.values()):
            for listener in slot.snapshot():
                if self._owns(listener) and not listener.declared:
                    listener.close()
        return self._cancel_calls()

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        slots, self._slots = self._slots, {}
        self._growth = Growth()
        for event, slot in slots.items():
            kept = [one for one in slot.snapshot() if one.declared]
            if not kept:
                continue
            self._slots[event] = anew = Slot()
            for listener in kept:
                if self._owns(listener):
                    listener._after_fork(registry)
                    self._count(listener)
                anew.add(listener)
                self._growth.added(listener)

    def _owns(self, listener: Listener) -> bool:
        owner: Node | None = listener.owner
        return owner is self


def _owner(owner: Any, emitter: Listening) -> Any:
    if owner is None:
        return emitter
    if not isinstance(owner, Branch):
        msg = f"owner must be a scope, not a {type(owner).__qualname__}"
        raise TypeError(msg)
    return owner


def _check_callable(fn: Any) -> None:
    if not callable(fn):
        msg = f"a listener must be callable; a {type(fn).__qualname__} is not"
        raise TypeError(msg)


def checked_event(event: Any) -> str:
    if type(event) is str:
        return event
    if isinstance(event, str):
        # Plain text: a subclass (a text enum) may compare and hash as it likes.
        return str.__str__(event)
    msg = f"an event is named by a text, not by a {type(event).__qualname__}"
    raise TypeError(msg)


def _checked_ceiling(ceiling: Any) -> int | None:
    if ceiling is None:
        return None
    if isinstance(ceiling, bool) or not isinstance(ceiling, int):
        msg = (
            "max_listeners must be a whole number or None, not a"
            f" {type(ceiling).__qualname__}"
        )
        raise TypeError(msg)
    if ceiling < 1:
        msg = f"max_listeners must be at least 1, or None for no ceiling, not {ceiling}"
        raise ValueError(msg)
    return ceiling
