"""
Timers are cleared when their owner goes.
"""

from __future__ import annotations

import gc
from weakref import ref

import memguard
from memguard.testing import FakeClock


class Held:
    """
    What a callback closes over.
    """

    called = 0


def test_a_timer_ends_with_its_scope_and_holds_nothing() -> None:
    """
    Closing the scope cancels; callback and closure are gone at once, uncollected.
    """
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        with guard.scope("job") as scope:
            held = Held()

            def callback(held: Held = held) -> None:
                held.called += 1

            timer = scope.timer(callback, every="1s")
            clock.advance("3s")
            assert 3 == held.called
        gc.disable()
        try:
            gone = ref(callback), ref(held)
            del callback, held
            assert [None, None] == [one() for one in gone]
        finally:
            gc.enable()
        clock.advance("1h")
        assert (True, 3) == (timer.closed, timer.info().runs)
        assert 0 == guard.snapshot().count("timer")


def test_nothing_of_it_is_left_in_the_schedule() -> None:
    """
    A closed timer of a session, of a scope or of the guard is not scheduled any more.
    """
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        for _ in range(100):
            with guard.scope("job") as scope:
                scope.timer(print, every="1h")
                scope.timer(print, after="1h")
        assert 0 == clock.pending
