"""
What came of a shutdown: frozen records, as a dictionary and as text.

No record holds a user's value: kinds, names given in code, types and places only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from memguard._lifecycle.order import Entry
from memguard._phases import Ending, Outcome
from memguard._records import field, record
from memguard._sites import Site, call_site

__all__ = ("AuditReport", "Finding", "ResourceReport", "ShutdownReport", "rows_of")

SCHEMA: Final = "memguard.shutdown/1"
_ROWS_SHOWN: Final = 20


@record
class ResourceReport:
    """
    How one node ended. `ms` is wall time; `bytes_held` is None where unknown.
    """

    kind: str
    name: str
    phase: str
    outcome: str
    reason: str
    ms: float
    bytes_held: int | None
    stack: str
    _site: Site | None = field(repr=False, default=None)

    @property
    def site(self) -> str:
        """
        Where it was made: `file:line in function`.
        """
        return call_site(self._site)

    @property
    def well(self) -> bool:
        return self.outcome in (Outcome.CLOSED, Outcome.FORCED)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "phase": self.phase,
            "outcome": self.outcome,
            "reason": self.reason,
            "ms": round(self.ms, 3),
            "bytes": self.bytes_held,
            "site": self.site,
            "stack": self.stack.splitlines(),
        }


@record
class Finding:
    """
    Something that is there after the shutdown and was not at the baseline.

    `verdict` is `leaked` (registered and alive, or made by application code),
    `host` (of the baseline or the host's) or `unattributed`.
    """

    kind: str
    name: str
    verdict: str
    detail: str = ""
    site: str = "unknown"
    #: The whole path or link, for the patterns of `audit_ignore`; shown nowhere.
    target: str = field(default="", repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "verdict": self.verdict,
            "detail": self.detail,
            "site": self.site,
        }

    def __str__(self) -> str:
        made = "" if self.site == "unknown" else f", made at {self.site}"
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.verdict} {self.kind} {self.name}{detail}{made}"


@record
class AuditReport:
    """
    What the operating system and the interpreter hold, against the baseline.

    `clean`: nothing leaked, and nothing unattributed outside `audit_ignore`.
    `counts` are the figures now; `attempts` is how often it was looked. `unseen` names
    what this system does not let anybody see, which is not the same as nothing left.
    """

    findings: tuple[Finding, ...] = ()
    ignored: tuple[Finding, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    attempts: int = 1
    unseen: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return all(finding.verdict == "host" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        return {
            "clean": self.clean,
            "findings": [finding.to_dict() for finding in self.findings],
            "ignored": [finding.to_dict() for finding in self.ignored],
            "counts": dict(self.counts),
            "attempts": self.attempts,
            "unseen": list(self.unseen),
        }

    def __str__(self) -> str:
        faults = [one for one in self.findings if one.verdict != "host"]
        if not faults:
            blind = f" (could not see: {', '.join(self.unseen)})" if self.unseen else ""
            return f"audit: clean{blind}"
        lines = [f"audit: {len(faults)} finding(s)"]
        lines += [f"  - {fault}" for fault in faults[:_ROWS_SHOWN]]
        if len(faults) > _ROWS_SHOWN:
            lines.append(f"  ... and {len(faults) - _ROWS_SHOWN} more")
        return "\n".join(lines)


@record
class ShutdownReport:
    """
    Everything that was closed, how, and what the audit found afterwards.
    """

    guard: str
    reason: str
    seconds: float
    budget_s: float
    resources: tuple[ResourceReport, ...] = ()
    audit: AuditReport = field(default_factory=AuditReport)

    @property
    def clean(self) -> bool:
        """
        True when the audit found no leak and nothing it cannot attribute.
        """
        return self.audit.clean

    @property
    def outcomes(self) -> dict[str, int]:
        """
        How many ended in each way; every outcome is present.
        """
        counted = Counter(resource.outcome for resource in self.resources)
        return {outcome.value: counted.get(outcome.value, 0) for outcome in Outcome}

    def failing(self) -> tuple[ResourceReport, ...]:
        """
        What did not close by itself, or not without an error.
        """
        return tuple(
            one for one in self.resources if one.outcome != Outcome.CLOSED or one.reason
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "guard": self.guard,
            "reason": self.reason,
            "seconds": round(self.seconds, 6),
            "budget_seconds": self.budget_s,
            "clean": self.clean,
            "outcomes": self.outcomes,
            "resources": [resource.to_dict() for resource in self.resources],
            "audit": self.audit.to_dict(),
        }

    def __str__(self) -> str:
        kinds = Counter(resource.kind for resource in self.resources)
        closed = ", ".join(f"{many} {kind}" for kind, many in kinds.most_common())
        verdict = "clean" if self.clean else "NOT clean"
        lines = [
            (
                f"memguard shutdown of {self.guard!r} ({self.reason}): {verdict},"
                f" {self.seconds * 1000:.0f} ms of {self.budget_s:g} s"
            ),
            f"  ended: {closed or 'nothing was open'}",
        ]
        failing = self.failing()
        for one in failing[:_ROWS_SHOWN]:
            lines.append(
                f"  - {one.outcome} {one.kind} {one.name} in {one.phase} after"
                f" {one.ms:.0f} ms: {one.reason}; made at {one.site}"
            )
            lines += [f"      {place}" for place in one.stack.splitlines()[:6]]
        if len(failing) > _ROWS_SHOWN:
            lines.append(f"  ... and {len(failing) - _ROWS_SHOWN} more")
        slow = sorted(self.resources, key=lambda one: -one.ms)[:3]
        if slow and slow[0].ms >= 10:
            told = ", ".join(f"{one.kind} {one.name} {one.ms:.0f} ms" for one in slow)
            lines.append(f"  slowest: {told}")
        lines.append(f"  {self.audit}".replace("\n", "\n  "))
        return "\n".join(lines)


def rows_of(entries: Iterable[Entry]) -> tuple[ResourceReport, ...]:
    """
    The report's rows, in the order of the shutdown. One a node: what its drain has to
    say stands in the row of its close.
    """
    return tuple(
        _row(entry, entry.ending)
        for entry in entries
        if entry.closes and entry.ending is not None
    )


def _row(entry: Entry, ending: Ending) -> ResourceReport:
    outcome, reason, ms, stack = ending.outcome, ending.reason, ending.ms, ending.stack
    drained = None if entry.drain is None else entry.drain.ending
    if drained is not None:
        if drained.outcome is not Outcome.CLOSED and outcome is Outcome.CLOSED:
            outcome = drained.outcome
        reason = "; ".join(filter(None, (drained.reason, reason)))
        ms += drained.ms
        stack = stack or drained.stack
    return ResourceReport(
        kind=entry.node.kind,
        name=entry.label,
        phase=entry.phase.value,
        outcome=outcome.value,
        reason=reason,
        ms=ms,
        bytes_held=entry.bytes_held,
        stack=stack,
        _site=entry.node.site,
    )
