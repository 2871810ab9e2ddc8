"""
Telemetry for both examples, behind one variable: CHAT_TELEMETRY=console or otlp.

memguard itself only knows the OpenTelemetry API; which exporter runs is the
application's choice. OTLP goes where OTEL_EXPORTER_OTLP_ENDPOINT says.
"""

from __future__ import annotations

import os


def set_up(service: str) -> None:
    """
    Call it in the process that serves: after a fork, before the first request.
    """
    kind = os.environ.get("CHAT_TELEMETRY", "")
    if not kind:
        return
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import (
        ConsoleMetricExporter,
        MetricExporter,
        PeriodicExportingMetricReader,
    )
    from opentelemetry.sdk.resources import Resource

    from memguard.integrations.otel import instrument

    exporter: MetricExporter
    if kind == "console":
        exporter = ConsoleMetricExporter()
    elif kind == "otlp":
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
            OTLPMetricExporter,
        )

        exporter = OTLPMetricExporter()
    else:
        message = f"CHAT_TELEMETRY is 'console' or 'otlp', not {kind!r}"
        raise SystemExit(message)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=5_000)
    resource = Resource.create({"service.name": service})
    metrics.set_meter_provider(MeterProvider([reader], resource=resource))
    instrument()
