"""
OpenTelemetry: `instrument()`, and `MemguardInstrumentor` for its tools.

A program that has imported `opentelemetry.metrics` before `memguard.install()` needs
neither: its global meter provider is used. `opentelemetry-instrument` finds the
instrumentor by itself; `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=memguard` turns it off.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from memguard._default import default_guard
from memguard._telemetry.instrumentation import (
    Instrumentation,
    instrument as _instrument,
)

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from memguard._guard import Guard
    from memguard._telemetry.hostmetrics import ProcessMetrics

__all__ = ("Instrumentation", "MemguardInstrumentor", "instrument")

_LOG: Final = logging.getLogger("memguard")


def instrument(
    guard: Guard | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    process_metrics: ProcessMetrics = "auto",
) -> Instrumentation:
    """
    Export the metrics of *guard* (the default guard) through *meter_provider*.

    Without *meter_provider* it is the global one, also when that is set later. A
    provider shows one guard, the last one. *process_metrics*: auto leaves `process.*`
    and `cpython.*` to the instrumentation of system metrics while that is active, on
    exports them anyway, off never. `shutdown()` of the result ends it.

    Raises ScopeClosed for a guard that was shut down and not started again.
    """
    return _instrument(
        default_guard() if guard is None else guard,
        meter_provider,
        process_metrics=process_metrics,
    )


try:
    from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
        BaseInstrumentor,
    )
except ImportError:

    class MemguardInstrumentor:
        """
        Raises ImportError: OpenTelemetry's tools for instrumentations are missing.
        """

        def __init__(self) -> None:
            msg = (
                "MemguardInstrumentor needs opentelemetry-instrumentation, which is not"
                " installed: pip install 'memguard[otel]'. Without it, call"
                " memguard.integrations.otel.instrument()."
            )
            raise ImportError(msg)

else:

    class MemguardInstrumentor(BaseInstrumentor):  # type: ignore[no-redef,misc]
        """
        Exports the metrics of the default guard; of one guard at a time.

        `instrument()` takes the arguments of the function `instrument` by name.
        Without any, as `opentelemetry-instrument` calls it, it never raises: what is
        wrong is logged, for other instrumentations have to go on.
        """

        _instrumentation: Instrumentation | None = None

        def instrumentation_dependencies(self) -> Collection[str]:
            """
            None: what it instruments is memguard itself.
            """
            return ()

        def _instrument(self, **kwargs: Any) -> None:
            kwargs.pop("logger_provider", None)
            kwargs.pop("tracer_provider", None)
            try:
                self._instrumentation = instrument(**kwargs)
            except Exception as error:
                if kwargs:
                    raise
                _LOG.error("memguard: exports no metrics: %s", error)

        def _uninstrument(self, **_kwargs: Any) -> None:
            found, self._instrumentation = self._instrumentation, None
            if found is not None:
                found.shutdown()
