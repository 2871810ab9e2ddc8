"""
Time as the operating system tells it.

Everything else in memguard is given a clock; the fake one is public, in
`memguard.testing`.
"""

from __future__ import annotations

import time

__all__ = ("SystemClock",)


class SystemClock:
    """
    The real clocks, in seconds.
    """

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
