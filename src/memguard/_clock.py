"""
Time as the operating system tells it.

Everything else in memguard is given a clock; the fake one is public, in
`memguard.testing`.
"""

from __future__ import annotations

import time

__all__ = ("SystemClock", "give_way")


class SystemClock:
    """
    The real clocks, in seconds.
    """

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)


def give_way(seconds: float = 0.0) -> None:
    """
    Let other threads run, for *seconds* at least: the interpreter's lock is given up.

    For the pauses between slices of long work; nobody waits for an event with it.
    """
    time.sleep(seconds)
