"""
Emitters do not leak listeners.
"""

from __future__ import annotations

import warnings
from weakref import ref

import memguard
from memguard.errors import MemguardWarning
from memguard.testing import FakeClock


class Screen:
    """
    Something that listens with a method.
    """

    def show(self, text: str) -> None: ...


def test_closing_an_owner_or_the_emitter_removes_every_listener() -> None:
    """
    Scopes and sessions take theirs along, the emitter all; nothing is kept alive.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        bus = guard.emitter("bus", max_listeners=None)
        closures = []
        with guard.scope("connection") as scope:
            for _ in range(1000):

                def listener(text: str) -> None: ...

                scope.listen(bus, "line", listener)
                closures.append(ref(listener))
            del listener
        assert (0, 0) == (bus.listening, guard.snapshot().count("listener"))
        assert all(one() is None for one in closures)
        bus.on("line", lambda text: None)
        bus.close()
        assert (0, 0) == (bus.listening, guard.snapshot().count("listener"))


def test_bound_methods_are_held_weakly() -> None:
    """
    An emitter does not keep who listens alive.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        bus = guard.emitter("bus")
        screen = Screen()
        bus.on("line", screen.show)
        bus.emit("line", "hello")
        gone = ref(screen)
        del screen
        assert (None, 0) == (gone(), bus.emit("line", "hello"))


def test_more_than_ten_are_one_warning_with_every_place() -> None:
    """
    The ceiling warns once; the growth tells which place adds them.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        bus = guard.emitter("bus")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            bus.on("line", lambda text: None)
            for _ in range(30):
                bus.on("line", lambda text: None)
        (one,) = [each for each in told if each.category is MemguardWarning]
        assert 2 == str(one.message).count("test_b1.py:")
        assert [30, 1] == [place.live for place in bus.growth()]
