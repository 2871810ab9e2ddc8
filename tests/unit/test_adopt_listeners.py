"""
Adopting signals of blinker and emitters of pyee, the real ones.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import blinker
import pyee
import pyee.asyncio
import pyee.cls
import pyee.executor
import pytest

from memguard import Guard
from memguard.testing import FakeClock


@pytest.fixture
def guard() -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=FakeClock())


def listener() -> Any:
    """
    A new function each time, as code that leaks them makes.
    """

    def received(*_: Any, **__: Any) -> None:
        return None

    return received


def test_a_signal_is_measured_and_disconnected(guard: Guard) -> None:
    """
    Weak and strong receivers are told apart; the end disconnects all of them.
    """
    signal = blinker.signal("an event")
    weak, called = listener(), []
    signal.connect(weak)
    signal.connect(called.append, weak=False)
    handle = guard.adopt(signal)
    info = handle.info()
    assert ("signal", "an event", 2) == (info.kind, info.name, info.entries)
    assert 1 == info.details["strong"]
    assert "notification" in info.cannot
    with pytest.raises(TypeError, match="notification"):
        handle.resize(max_entries=1)
    handle.close()
    assert not signal.receivers
    signal.send("anybody")
    assert [] == called


def test_a_receiver_connected_again_and_again_is_a_risk(guard: Guard) -> None:
    """
    Many different receivers are none; many of one function are.
    """
    signal = blinker.Signal()
    for one in (print, len, str, sorted, min, max, abs, sum, any, all, iter, next):
        signal.connect(one, weak=False)
    handle = guard.adopt(signal)
    assert handle.risk() is None
    for _ in range(11):
        signal.connect(listener(), weak=False)
    risk = handle.risk()
    assert risk is not None
    assert "11 receivers" in risk.reason


def test_listeners_are_removed_in_the_phase_of_emitters(guard: Guard) -> None:
    """
    A shutdown ends signals and emitters before sessions and clients.
    """
    signal, emitter = blinker.Signal(), pyee.EventEmitter()
    signal.connect(print, weak=False)
    emitter.on("event", print)
    with guard:
        handles = [guard.adopt(signal), guard.adopt(emitter)]
        assert {"emitters"} == {str(one.phase) for one in handles}
    assert not signal.receivers
    assert not emitter.listeners("event")


class Evented(pyee.EventEmitter):
    """
    An application's own emitter.
    """


@pytest.mark.parametrize("kind", [pyee.EventEmitter, Evented])
def test_an_emitter_is_measured(guard: Guard, kind: Any) -> None:
    """
    Listeners, events, and how many listen to one of them.
    """
    emitter = kind()
    for _ in range(3):
        emitter.on("one", listener())
    emitter.once("two", print)
    handle = guard.adopt(emitter)
    info = handle.info()
    assert 4 == info.entries
    assert (2, 3) == (info.details["events"], info.details["most_of_one_event"])
    assert handle.risk() is None
    for _ in range(8):
        emitter.on("one", listener())
    risk = handle.risk()
    assert risk is not None
    assert "11 listeners" in risk.reason
    handle.close()
    assert set() == emitter.event_names()


def test_an_emitter_on_a_loop_ends_with_its_tasks(guard: Guard) -> None:
    """
    The tasks of listeners are counted, and cancelled in their loop.
    """

    async def run() -> None:
        emitter = pyee.asyncio.AsyncIOEventEmitter()
        ended = asyncio.Event()

        @emitter.on("event")
        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async with guard:
            handle = guard.adopt(emitter)
            emitter.emit("event")
            await asyncio.sleep(0)
            assert 1 == handle.info().details["waiting"]
        await asyncio.wait_for(ended.wait(), 5)
        assert emitter.complete

    asyncio.run(run())


def test_an_emitter_with_an_executor_ends_with_it(guard: Guard) -> None:
    """
    Its threads are gone after the close.
    """
    before = threading.active_count()
    emitter = pyee.executor.ExecutorEventEmitter()
    done = threading.Event()
    emitter.on("event", done.set)
    emitter.emit("event")
    assert done.wait(5)
    handle = guard.adopt(emitter)
    assert 1 == handle.info().entries
    handle.close()
    assert before == threading.active_count()
