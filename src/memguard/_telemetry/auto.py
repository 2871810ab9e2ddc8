"""
Metrics without a word: for programs that use OpenTelemetry already.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memguard._guard import Guard
    from memguard._telemetry.instrumentation import Instrumentation

__all__ = ("instrument_if_loaded",)


def instrument_if_loaded(guard: Guard) -> Instrumentation | None:
    """
    Export through the global provider, if the program has imported the metrics API.

    None when it has not (nothing is imported then), and when *guard* is exported
    already. Never raises: what fails is reported to the guard.
    """
    if sys.modules.get("opentelemetry.metrics") is None:
        return None
    try:
        from memguard._telemetry.bridge import bridge_to, global_provider
        from memguard._telemetry.instrumentation import instrument

        owner = bridge_to(global_provider()).owner
        known = None if owner is None else owner()
        if known is not None and known.shows(guard):
            return None
        return instrument(guard)
    except Exception as error:
        guard.registry.failures.record("setting up the metrics", error)
        return None
