"""
What tests of applications, and of memguard itself, need: time and memory at will.

A `FakeClock` moves only when it is told to, and runs on its way what is due. A
`FakeProbe` says how much memory is used. Pass them to a guard:

    clock, probe = FakeClock(), FakeProbe(rss="100MiB", limit="256MiB")
    with Guard(clock=clock, probe=probe) as guard:
        guard.timer(refresh, every="10m")
        clock.advance("1h")
        probe.rss = "250MiB"

`no_leaks` fails a test that leaves something behind, `assert_no_growth` one whose
subject grows from call to call, `capture_events` collects what a guard reports.
"""

from __future__ import annotations

from memguard.testing._capture import capture_events
from memguard.testing._clock import FakeClock
from memguard.testing._growth import aassert_no_growth, assert_no_growth
from memguard.testing._leaks import no_leaks
from memguard.testing._probe import FakeProbe

__all__ = (
    "FakeClock",
    "FakeProbe",
    "aassert_no_growth",
    "assert_no_growth",
    "capture_events",
    "no_leaks",
)
