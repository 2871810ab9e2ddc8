"""
The records of a shutdown: as data, and as text for whoever was paged.
"""

from __future__ import annotations

import json

import pytest

from memguard._lifecycle.report import (
    AuditReport,
    Finding,
    ResourceReport,
    ShutdownReport,
)
from memguard._sites import Site

LEAKED = Finding("fd", "file 7", "leaked", "/tmp/*", "app.py:3 in main", "/tmp/alice")
HOST = Finding("thread", "asyncio_0", "host")
UNKNOWN = Finding("fd", "pipe 9", "unattributed")


def row(outcome: str = "closed", reason: str = "", ms: float = 1.0) -> ResourceReport:
    """
    A resource that ended in this way.
    """
    site = Site(row.__code__, 0)
    return ResourceReport(
        "socket", "db", "clients", outcome, reason, ms, 64, "a.py:1 in f", site
    )


def test_findings_as_data_and_as_text() -> None:
    """
    What is unknown is left out of the text; the whole path is in neither.
    """
    assert "leaked fd file 7 (/tmp/*), made at app.py:3 in main" == str(LEAKED)
    assert "host thread asyncio_0" == str(HOST)
    assert {
        "kind": "fd",
        "name": "file 7",
        "verdict": "leaked",
        "detail": "/tmp/*",
        "site": "app.py:3 in main",
    } == LEAKED.to_dict()
    assert "alice" not in repr(LEAKED) + str(LEAKED) + json.dumps(LEAKED.to_dict())


@pytest.mark.parametrize(
    ("findings", "clean"),
    [
        ((), True),
        ((HOST,), True),
        ((HOST, UNKNOWN), False),
        ((LEAKED,), False),
    ],
)
def test_clean_is_nothing_leaked_and_nothing_unattributed(
    findings: tuple[Finding, ...], clean: bool
) -> None:
    """
    What is the host's is no fault, and neither is what was ignored.
    """
    audit = AuditReport(findings, ignored=(LEAKED,))

    assert clean == audit.clean == audit.to_dict()["clean"]
    assert clean == ShutdownReport("g", "r", 0, 1, audit=audit).clean


def test_the_text_of_an_audit() -> None:
    """
    Faults only, at most twenty of them, and what could not be seen.
    """
    assert "audit: clean" == str(AuditReport((HOST,)))
    assert "audit: clean (could not see: children)" == str(
        AuditReport(unseen=("children",))
    )
    lines = str(AuditReport((HOST, *[LEAKED] * 30))).splitlines()
    assert "audit: 30 finding(s)" == lines[0]
    assert "... and 10 more" in lines[-1]
    assert 22 == len(lines)


def test_outcomes_are_counted_completely() -> None:
    """
    Those that did not happen with zero.
    """
    report = ShutdownReport("g", "r", 0, 1, (row(), row(), row("forced", "hung")))

    expected = {"closed": 2, "forced": 1, "abandoned": 0, "unclosable": 0}
    assert expected == report.outcomes


def test_what_did_not_close_well_is_told_with_its_place_and_stack() -> None:
    """
    The rest is a count.
    """
    report = ShutdownReport(
        "shop", "SIGTERM", 1.5, 25, (row(), row("abandoned", "hangs", 1000))
    )
    text = str(report)

    assert "memguard shutdown of 'shop' (SIGTERM): clean, 1500 ms of 25 s" in text
    assert "ended: 2 socket" in text
    assert "abandoned socket db in clients after 1000 ms: hangs; made at" in text
    assert "test_report.py" in text
    assert "a.py:1 in f" in text
    assert "slowest: socket db 1000 ms, socket db 1 ms" in text
    assert 1 == len(report.failing())
    assert [True, False] == [one.well for one in report.resources]


def test_a_close_that_only_warns_is_told_too() -> None:
    """
    It ended, but with a reason.
    """
    report = ShutdownReport("g", "r", 0, 1, (row("closed", "drained late"),))

    assert 1 == len(report.failing())


def test_many_failures_are_cut() -> None:
    """
    Twenty are told, the rest counted.
    """
    report = ShutdownReport("g", "r", 0, 1, tuple([row("forced", "hung")] * 25))

    assert "... and 5 more" in str(report)


def test_a_report_as_data() -> None:
    """
    JSON takes it, and it names its schema.
    """
    audit = AuditReport((LEAKED,), (HOST,), {"fd": 8}, 3, ("children",))
    report = ShutdownReport("shop", "SIGTERM", 1.25, 25, (row(),), audit)
    data = json.loads(json.dumps(report.to_dict()))

    assert "memguard.shutdown/1" == data["schema"]
    assert (False, 1.25, 25) == (data["clean"], data["seconds"], data["budget_seconds"])
    assert [("socket", "db", "closed", 64)] == [
        (one["kind"], one["name"], one["outcome"], one["bytes"])
        for one in data["resources"]
    ]
    assert ["a.py:1 in f"] == data["resources"][0]["stack"]
    assert (3, {"fd": 8}, ["children"]) == (
        data["audit"]["attempts"],
        data["audit"]["counts"],
        data["audit"]["unseen"],
    )
    assert "alice" not in json.dumps(data)


def test_an_empty_shutdown() -> None:
    """
    Says so.
    """
    assert "ended: nothing was open" in str(ShutdownReport("g", "r", 0, 1))
    assert ShutdownReport("g", "r", 0, 1).clean
