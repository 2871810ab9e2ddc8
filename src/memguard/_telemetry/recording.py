"""
What a finished shutdown is recorded as. Pure.
"""

from __future__ import annotations

from collections import Counter

from memguard._lifecycle.report import ResourceReport, ShutdownReport
from memguard._phases import Outcome
from memguard._telemetry.readers import TYPE, Point

__all__ = ("duration_of", "failures_of")


def duration_of(report: ShutdownReport) -> Point:
    """
    How long it took; with the reason when the audit was not clean.
    """
    verdicts = {finding.verdict for finding in report.audit.findings}
    for verdict in ("leaked", "unattributed"):
        if verdict in verdicts:
            return report.seconds, {"error.type": verdict}
    return report.seconds, {}


def failures_of(report: ShutdownReport) -> list[Point]:
    """
    How many of each type did not close by themselves, and what was found besides.
    """
    failed: Counter[tuple[str, str]] = Counter()
    named = set()
    for row in report.failing():
        named.add((row.kind, row.name))
        failed[row.kind, _error_type(row)] += 1
    for finding in report.audit.findings:
        if finding.verdict != "host" and (finding.kind, finding.name) not in named:
            failed[finding.kind, finding.verdict] += 1
    return [
        (many, {TYPE: kind, "error.type": error})
        for (kind, error), many in failed.items()
    ]


def _error_type(row: ResourceReport) -> str:
    """
    The class of the error, or `timeout`; `_OTHER` is the conventions' word for else.
    """
    error = row.reason.partition(" at ")[0]
    if error and all(part.isidentifier() for part in error.split(".")):
        return error
    if row.outcome in (Outcome.ABANDONED, Outcome.FORCED):
        return "timeout"
    return "_OTHER"
