"""
The reference of the metrics, made from the table.

`python -m memguard._telemetry.reference docs/reference/metrics.md` writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from memguard._telemetry.table import SCHEMA_URL, TABLE, Instrument

__all__ = ("reference",)

_KINDS: Final = {
    "observable_counter": "counter, observed",
    "observable_up_down_counter": "up-down counter, observed",
    "observable_gauge": "gauge, observed",
    "counter": "counter",
    "histogram": "histogram",
}

_HEAD: Final = f"""\
# Metrics

<!-- Made by `python -m memguard._telemetry.reference docs/reference/metrics.md`
     from the table in src/memguard/_telemetry/table.py. Change it there. -->

memguard exports these metrics through OpenTelemetry's API: to the global meter
provider when `opentelemetry.metrics` was imported before `memguard.install()`, else
when `memguard.integrations.otel.instrument()` is called. Without an SDK nothing is
measured. Names and units follow the semantic conventions ({SCHEMA_URL}) where these
have a name; everything else begins with `memguard.`.

- The meter is `memguard`. A provider shows one guard, the last one; a forked worker
  shows its own figures. Nothing says which process a point is from: that is
  `service.instance.id` of the resource.
- All observed figures come from one look at the guard, at most one a second, and less
  often where a look would cost more than the setting `overhead_budget`.
- `process.*` and `cpython.*` are left to OpenTelemetry's instrumentation of system
  metrics while that is active; `process_metrics="on"` or `"off"` decides otherwise.
- `metrics_exclude` (`MEMGUARD_METRICS_EXCLUDE="memguard.cache.*"`) takes patterns of
  metrics that are not to be exported.
- Values of attributes come from the code and are bounded: 100 names for each type of
  resource, 500 altogether. What comes beyond, and names that look like somebody's id,
  are counted under `other`. Resources without a name have no
  `memguard.resource.name`.
- In every shutdown of the guard the provider is asked to export once more
  (`force_flush`), for at most two seconds. The shutdown itself is recorded after it
  is over, and exported too when the collector answered the first time.
- memguard never shuts the provider down. But when the collector did not answer in
  those two seconds, the exit of the process does not wait for it again: the
  provider's own `atexit` function is taken back. Connections of exporters are not
  findings of the audit.
"""


def reference() -> str:
    """
    The whole page, in Markdown.
    """
    parts = [_HEAD]
    for title, prefix in (
        ("The process", ("process.",)),
        ("The garbage collector", ("cpython.",)),
        ("Memory and its limit", ("memguard.memory.", "memguard.pressure.")),
        ("Resources", ("memguard.resource.",)),
        ("Caches", ("memguard.cache.",)),
        ("Adopted containers", ("memguard.container.",)),
        ("The budget of caches and rings", ("memguard.budget.",)),
        ("Limiters", ("memguard.limiter.",)),
        ("Sessions", ("memguard.session.",)),
        ("Sinks", ("memguard.sink.",)),
        ("Logs", ("memguard.log.",)),
        ("Shutdown", ("memguard.shutdown.",)),
        ("memguard itself", ("memguard.self.",)),
    ):
        rows = [_row(row) for row in TABLE if row.name.startswith(prefix)]
        parts += [
            f"\n## {title}\n\n",
            "| Metric | Instrument | Unit | Attributes | Meaning |\n",
            "|---|---|---|---|---|\n",
            *rows,
        ]
    return "".join(parts)


def _row(row: Instrument) -> str:
    attributes = ", ".join(f"`{name}`" for name in row.attributes) or "–"
    return (
        f"| `{row.name}` | {_KINDS[row.kind]} | `{row.unit}` | {attributes} |"
        f" {row.doc} |\n"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
