"""
Who else exports the figures of the process.

The same metric from two instrumentations is two series, and a sum over them is twice
the truth. So memguard leaves `process.*` and `cpython.*` to OpenTelemetry's own
instrumentation of system metrics where that is active.
"""

from __future__ import annotations

import sys
from typing import Final, Literal, TypeAlias

__all__ = ("MODES", "ProcessMetrics", "exported_by_others")

ProcessMetrics: TypeAlias = Literal["auto", "on", "off"]
MODES: Final = ("auto", "on", "off")

_MODULE: Final = "opentelemetry.instrumentation.system_metrics"


def exported_by_others() -> bool:
    """
    True while SystemMetricsInstrumentor is active; it is never imported for that.
    """
    cls = getattr(sys.modules.get(_MODULE), "SystemMetricsInstrumentor", None)
    instance = getattr(cls, "_instance", None)
    return bool(getattr(instance, "is_instrumented_by_opentelemetry", False))
