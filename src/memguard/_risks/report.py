"""
What the list of risks says: frozen records, as a dictionary and as text.

No record holds a user's value: names given in code, types, places and numbers only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from memguard._records import record
from memguard._settings.units import format_size

__all__ = (
    "AT_RISK",
    "HIGH",
    "LOW",
    "MEDIUM",
    "SAFE",
    "RiskReport",
    "RiskRow",
    "estimate",
)

SCHEMA: Final = "memguard.risks/1"
SAFE: Final = "SAFE"
AT_RISK: Final = "AT RISK"
HIGH: Final = "high"
MEDIUM: Final = "medium"
LOW: Final = "low"
_ORDER: Final = {HIGH: 0, MEDIUM: 1, LOW: 2, None: 3}
_SAFE_SHOWN: Final = 30
#: Things that have a size; of others the number alone is told.
_WEIGHED: Final = frozenset(("entries", "results", "lines", "members"))


@record
class RiskRow:
    """
    One container, timer, listener, session or pattern, with the verdict on it.

    `estimate` is the text of *entries x measured bytes x instances*, `bytes` their
    product, None where nothing could be measured. For what has a cap these are the
    figures of a full one, for what has none those of now. `place` is the line in the
    code, as `file:line`, or `unknown`. `code` names the rule.
    """

    code: str
    kind: str
    name: str
    verdict: str
    impact: str | None
    entries: int | None
    entry_bytes: int | None
    instances: int
    bytes: int | None
    estimate: str
    reason: str
    fix: str
    site: str = "unknown"
    library: bool = False

    @property
    def at_risk(self) -> bool:
        return self.verdict == AT_RISK

    def to_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "kind": self.kind,
            "name": self.name,
            "verdict": self.verdict,
            "impact": self.impact,
            "entries": self.entries,
            "entry_bytes": self.entry_bytes,
            "instances": self.instances,
            "bytes": self.bytes,
            "estimate": self.estimate,
            "reason": self.reason,
            "fix": self.fix,
            "site": self.site,
            "library": self.library,
        }

    def __str__(self) -> str:
        place = "" if self.site == "unknown" else f" ({self.site})"
        if not self.at_risk:
            told = f"; {self.estimate}" if self.estimate else ""
            return f"{self.kind} {self.name}{place}: {self.reason}{told}"
        lines = [f"{self.impact:<6}  {self.kind} {self.name}{place}"]
        if self.estimate:
            lines.append(f"        estimate  {self.estimate}")
        lines.append(f"        reason    {self.reason}")
        lines.append(f"        fix       {self.fix}")
        return "\n".join(lines)


@record
class RiskReport:
    """
    Everything that was looked at and has a verdict, the worst first.

    `modules` were looked into, `unread` is how many things could not be. `looks` counts
    the looks so far: from the second one on growth is known.
    """

    guard: str
    risks: tuple[RiskRow, ...]
    memory_limit: int | None
    managed_limit: int | None
    modules: int
    looks: int
    unread: int
    seconds: float

    @property
    def at_risk(self) -> tuple[RiskRow, ...]:
        return tuple(one for one in self.risks if one.at_risk)

    @property
    def safe(self) -> tuple[RiskRow, ...]:
        return tuple(one for one in self.risks if not one.at_risk)

    @property
    def clean(self) -> bool:
        """
        True where nothing is at a high or medium risk.
        """
        return not any(one.impact in (HIGH, MEDIUM) for one in self.risks)

    def __iter__(self) -> Iterator[RiskRow]:
        return iter(self.risks)

    def __len__(self) -> int:
        return len(self.risks)

    def __bool__(self) -> bool:
        # A report is there also when it has nothing to tell.
        return True

    def to_dict(self) -> dict[str, Any]:
        counts = Counter(one.impact for one in self.risks)
        return {
            "schema": SCHEMA,
            "guard": self.guard,
            "clean": self.clean,
            "counts": {
                HIGH: counts[HIGH],
                MEDIUM: counts[MEDIUM],
                LOW: counts[LOW],
                "safe": counts[None],
            },
            "memory_limit": self.memory_limit,
            "managed_limit": self.managed_limit,
            "modules": self.modules,
            "looks": self.looks,
            "unread": self.unread,
            "seconds": round(self.seconds, 6),
            "risks": [one.to_dict() for one in self.risks],
        }

    def to_text(self) -> str:
        """
        The report for people: what is at risk in full, what is safe in a line each.
        """
        return str(self)

    def __str__(self) -> str:
        counts = Counter(one.impact for one in self.risks)
        lines = [
            (
                f"memguard risks of {self.guard!r}: {len(self.at_risk)} at risk"
                f" ({counts[HIGH]} high, {counts[MEDIUM]} medium, {counts[LOW]} low),"
                f" {counts[None]} safe"
            )
        ]
        limit = (
            "unknown" if self.memory_limit is None else format_size(self.memory_limit)
        )
        managed = (
            "none" if self.managed_limit is None else format_size(self.managed_limit)
        )
        lines.append(f"  memory limit {limit}, for caches {managed}")
        if self.looks < 2:
            lines.append("  the first look: growth is seen from the second one on")
        mine = [one for one in self.at_risk if not one.library]
        others = [one for one in self.at_risk if one.library]
        lines += _indented(mine)
        if others:
            lines += ["", "  in libraries:", *_indented(others)]
        safe = self.safe
        if safe:
            lines += ["", "  safe:", *(f"    {one}" for one in safe[:_SAFE_SHOWN])]
        if len(safe) > _SAFE_SHOWN:
            lines.append(f"    ... and {len(safe) - _SAFE_SHOWN} more")
        if self.unread:
            lines += ["", f"  {self.unread} things could not be read"]
        return "\n".join(lines)


def ordered(risks: Iterable[RiskRow]) -> tuple[RiskRow, ...]:
    """
    The application's before the libraries', the worst first, the largest first.
    """
    return tuple(
        sorted(
            risks,
            key=lambda one: (
                one.impact is None,
                one.library,
                _ORDER[one.impact],
                -(one.bytes or 0),
                -(one.entries or 0),
                one.name,
            ),
        )
    )


def _indented(risks: Iterable[RiskRow]) -> Iterator[str]:
    for one in risks:
        yield ""
        yield from (f"  {line}" for line in str(one).splitlines())


def estimate(
    entries: int | None,
    entry_bytes: int | None,
    instances: int = 1,
    *,
    capped: bool = False,
    unit: str = "entries",
    many: str = "instances",
) -> tuple[str, int | None]:
    """
    The text of *entries x bytes x instances*, and the product; None if not measured.
    """
    if entries is None:
        return "", None
    parts = [f"{'up to ' if capped else ''}{entries:,} {_counted(entries, unit)}"]
    if entry_bytes is not None:
        parts.append(f"{format_size(entry_bytes)}")
    if instances != 1:
        parts.append(f"{instances:,} {many}")
    if entry_bytes is None:
        told = ", not measured" if entries and unit in _WEIGHED else ""
        return f"{' x '.join(parts)}{told}", None
    total = entries * entry_bytes * instances
    return f"{' x '.join(parts)} = {format_size(total)}", total


def _counted(number: int, unit: str) -> str:
    if number != 1 or not unit.endswith("s"):
        return unit
    return f"{unit[:-3]}y" if unit.endswith("ies") else unit[:-1]
