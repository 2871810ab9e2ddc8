"""
A cache bound by bytes: never above its cap, and it tells how full it is.
"""

from __future__ import annotations

import random

import memguard
from memguard.testing import FakeClock

CAP = 1 << 20


def test_the_cap_holds_after_each_put() -> None:
    """
    Values from 10 bytes to 100 KB: what does not fit has gone when the put returns.
    """
    draw = random.Random(4)
    with memguard.Guard(clock=FakeClock()) as guard:
        results = guard.cache("results", max_bytes="1MiB")
        for number in range(2000):
            assert results.put(number, bytes(int(10 ** draw.uniform(1, 5))))
            assert results.info().bytes <= CAP
        held = [(key, memguard.sizeof(value)) for key, value in results.items()]
        weight = sum(size + memguard.sizeof(key) for key, size in held)
        info = results.info()
        assert weight <= info.bytes <= CAP
        assert (len(held), 2000) == (info.entries, info.entries + info.evictions)


def test_it_tells_how_full_it_is() -> None:
    """
    Bytes, entries and the share of the cap that is used.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        results = guard.cache("results", max_bytes="1MiB")
        assert 0.0 == results.info().utilisation
        for number in range(1000):
            results.put(number, bytes(10_000))
        info = results.info()
        assert 0.95 < info.utilisation <= 1.0
        assert info.bytes / CAP == info.utilisation
        assert 90 <= info.entries <= 105


def test_what_is_heavier_than_the_cap_is_refused() -> None:
    """
    It would push everything else out, and still not fit.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        results = guard.cache("results", max_bytes="1MiB")
        results.put("small", b"x")
        assert not results.put("huge", bytes(2 * CAP))
        assert (1, 1) == (results.info().entries, results.info().refused)
