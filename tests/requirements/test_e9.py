"""
Page faults and switches between tasks are told, and how many there are a second.
"""

from __future__ import annotations

import threading

import memguard
from memguard._clock import give_way
from memguard.testing import FakeClock

MIB = 1 << 20


def test_page_faults_and_switches_are_told_with_their_rates() -> None:
    """
    Memory that is mapped, touched and given back costs faults, and waiting switches.
    """
    clock = FakeClock()
    guard = memguard.Guard(clock=clock)
    before = guard.footprint()
    for _ in range(10):
        # Above the size from which each block has a mapping of its own.
        bytearray(b"x") * (40 * MIB)
    first, second = threading.Event(), threading.Event()

    def answer() -> None:
        for _ in range(50):
            first.wait(10)
            first.clear()
            second.set()

    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(50):
        first.set()
        second.wait(10)
        second.clear()
        give_way()
    thread.join()
    clock.advance("10s")
    after = guard.footprint(before)
    assert after.rates is not None
    assert (after.rates.minor_faults or 0) > 10 * 20 / 10
    assert (after.rates.voluntary_switches or 0) > 0
    assert after.rates.major_faults is not None
    assert after.rates.involuntary_switches is not None
    counters = after.to_dict()["counters"]
    assert "getrusage" == counters["source"]
    assert counters["minor_faults"] > (before.counters.minor_faults or 0)
