"""
The parts of the metrics that need neither a guard nor OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from memguard._health import Level, MemorySample
from memguard._lifecycle.report import (
    AuditReport,
    Finding,
    ResourceReport,
    ShutdownReport,
)
from memguard._sessions.looking import told
from memguard._telemetry import census
from memguard._telemetry.names import Names
from memguard._telemetry.observation import CacheRow, FigureRow, Observed, ResourceRow
from memguard._telemetry.recording import duration_of, failures_of
from memguard._telemetry.table import DURATION_BOUNDS, TABLE

READERS = {row.name: row.read for row in TABLE if row.read is not None}


def read(name: str, observed: Observed) -> list[Any]:
    """
    The points of one metric.
    """
    points: Iterable[Any] = READERS[name](observed)
    return list(points)


def sample(**changes: Any) -> MemorySample:
    """
    A quarter of 256 MiB.
    """
    values: dict[str, Any] = {
        "rss": 64 << 20,
        "virtual": 1 << 30,
        "limit": 256 << 20,
        "limit_source": "cgroup",
        "source": "statm",
        "python_blocks": 1000,
        "ratio": 0.25,
        "level": Level.NORMAL,
    }
    return MemorySample(**{**values, **changes})


def test_names_are_unique_and_units_are_written_as_the_conventions_ask() -> None:
    """
    No name stands twice; things counted stand in braces, in the singular.
    """
    names = [row.name for row in TABLE]
    assert len(set(names)) == len(names)
    for row in TABLE:
        assert row.unit in ("By", "s", "1") or (
            row.unit.startswith("{") and row.unit.endswith("}")
        )
        assert not row.unit.endswith("s}")
        assert not row.name.endswith("_total")
        assert row.doc.endswith(".")
        assert row.name.startswith(("process.", "cpython.gc.", "memguard."))


def test_new_names_are_memguards_own() -> None:
    """
    Only what the conventions have stands outside `memguard.`, attributes too.
    """
    for row in TABLE:
        for attribute in row.attributes:
            assert attribute in ("cpython.gc.generation", "error.type") or (
                attribute.startswith("memguard.")
            )


def test_the_bounds_of_durations_rise() -> None:
    """
    They cover a shutdown of ten milliseconds and one of the whole default budget.
    """
    assert list(DURATION_BOUNDS) == sorted(set(DURATION_BOUNDS))
    assert DURATION_BOUNDS[0] <= 0.01
    assert DURATION_BOUNDS[-2] >= 25.0


SESSIONS_TOLD = tuple(told(None))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_what_nobody_knows_is_absent(row: Any) -> None:
    """
    An empty observation makes no point, but for memguard's own counters.
    """
    if row.read is not None:
        points = list(row.read(Observed()))
        own = row.name in ("memguard.self.overhead.time", "memguard.self.dropped")
        assert points == ([(0, {})] if own else [])


def test_every_point_has_the_attributes_of_its_row() -> None:
    """
    No reader makes an attribute that the table does not list.
    """
    seen = Observed(
        memory=sample(),
        descriptors=3,
        threads=2,
        uptime_s=1.0,
        collector=({"collections": 1, "collected": 2, "uncollectable": 0},),
        resources=(ResourceRow("door", "front", 1, 2, {"closed": 1}, 3.0, 4),),
        caches=(CacheRow("c", 1, 2, 3, 4, 5, 6, {"size": 7}),),
        figures=tuple(
            FigureRow(kind, "f", dict.fromkeys(fields or ("ERROR",), 1))
            for kind, fields in (*census._TOLD.items(), ("sessions", SESSIONS_TOLD))
            if (kind, fields) != ("sessions", ())
        ),
        own_bytes=10,
        budget_limit=1,
        shares=(
            FigureRow(
                "cache", "c", {"allowance": 1, "held": 1, "price": 1.0, "squeezed": 1}
            ),
        ),
    )
    for row in TABLE:
        if row.read is not None:
            points = list(row.read(seen))
            assert points, row.name
            for _, attributes in points:
                assert set(row.attributes) == set(attributes)


def test_a_peak_is_not_the_memory_in_use() -> None:
    """
    Where the kernel only tells the highest ever, usage is absent.
    """
    peak = Observed(memory=sample(source="rusage-peak", virtual=None))
    assert read("process.memory.usage", peak) == []
    assert read("memguard.memory.limit", peak) == [
        (256 << 20, {"memguard.limit.source": "cgroup"})
    ]


def test_unbounded_caches_have_no_limits() -> None:
    """
    A cache without a cap has no point for it.
    """
    seen = Observed(caches=(CacheRow("c", 1, None, None, None, 0, 0, {}),))
    assert read("memguard.cache.entry.limit", seen) == []
    assert read("memguard.cache.memory.limit", seen) == []
    assert read("memguard.cache.memory.usage", seen) == []
    unknown = Observed(caches=(CacheRow("c", 1, None, None, None, None, None, {}),))
    assert read("memguard.cache.requests", unknown) == []
    assert read("memguard.cache.requests", seen) == [
        (0, {"memguard.cache.name": "c", "memguard.cache.result": "hit"}),
        (0, {"memguard.cache.name": "c", "memguard.cache.result": "miss"}),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "front",
        "GET /users/<int:user_id>",
        "GET /v1/orders",
        "http-8080",
        "app.tenants.load_config",
        "deadbeef",
        "décor",
        "2024",
    ],
)
def test_names_from_the_code_stay(name: str) -> None:
    """
    Routes, functions, ports and words are names.
    """
    assert Names().bounded("kind", name) == ("kind", name)


@pytest.mark.parametrize(
    "name",
    [
        "9b2c7e1a-4a6f-4a3e-9d58-1f0d7a3b6c55",
        "session 1f0d7a3b6c55",
        "user-123456",
        "ann@example.org",
        "x" * 121,
    ],
)
def test_ids_do_not_become_names(name: str) -> None:
    """
    UUIDs, long numbers, addresses and endless texts are counted as `other`.
    """
    assert Names().bounded("kind", name) == ("kind", "other")
    assert Names().bounded(name, "front") == ("other", "other")


def test_the_first_names_stay_the_rest_is_other() -> None:
    """
    What was seen once keeps its name; types are bounded as names are.
    """
    names = Names()
    given = [names.bounded("kind", f"name {number}") for number in range(600)]
    assert len(set(given)) == 501
    assert given[-1] == ("kind", "other")
    assert names.bounded("kind", "name 3") == ("kind", "name 3")
    assert names.bounded("kind", "") == ("kind", "")
    kinds = {names.bounded(f"kind {number}", "")[0] for number in range(100)}
    assert len(kinds) == 50
    assert "other" in kinds


def row(outcome: str, reason: str, kind: str = "door") -> ResourceReport:
    """
    One ended resource.
    """
    return ResourceReport(kind, kind, "work", outcome, reason, 1.0, None, "")


def report(*rows: ResourceReport, findings: tuple[Finding, ...] = ()) -> ShutdownReport:
    """
    A shutdown of half a second.
    """
    return ShutdownReport("app", "test", 0.5, 25.0, tuple(rows), AuditReport(findings))


def test_a_clean_shutdown_has_no_error() -> None:
    """
    Its duration has no attribute, and there are no failures.
    """
    clean = report(row("closed", ""), findings=(Finding("fd", "3", "host"),))
    assert duration_of(clean) == (0.5, {})
    assert failures_of(clean) == []


def test_failures_are_counted_by_type_and_error() -> None:
    """
    The class of the error or `timeout`; never its text. A finding counts once.
    """
    failed = report(
        row("unclosable", "ValueError at app.py:3 in close"),
        row("unclosable", "ValueError at app.py:3 in close"),
        row("forced", "did not close in time", "task"),
        row("abandoned", "hangs in close", "thread"),
        row("unclosable", "its event loop is closed", "server"),
        findings=(
            Finding("door", "door", "leaked", "unclosable: ValueError"),
            Finding("fd", "socket 7", "unattributed"),
        ),
    )
    assert duration_of(failed) == (0.5, {"error.type": "leaked"})
    found = {
        (one["memguard.resource.type"], one["error.type"]): many
        for many, one in failures_of(failed)
    }
    assert found == {
        ("door", "ValueError"): 2,
        ("task", "timeout"): 1,
        ("thread", "timeout"): 1,
        ("server", "_OTHER"): 1,
        ("fd", "unattributed"): 1,
    }
