"""
The page of the metrics is made from their table.
"""

from __future__ import annotations

from pathlib import Path

from memguard._telemetry.reference import reference
from memguard._telemetry.table import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_the_page_is_up_to_date() -> None:
    """
    If not: `python -m memguard._telemetry.reference docs/reference/metrics.md`.
    """
    assert reference() == PAGE.read_text(encoding="utf-8")


def test_every_metric_is_on_the_page_once() -> None:
    """
    With its name, its unit and its attributes.
    """
    lines = reference().splitlines()
    for row in TABLE:
        (line,) = [one for one in lines if one.startswith(f"| `{row.name}` |")]
        assert f"| `{row.unit}` |" in line
        for attribute in row.attributes:
            assert f"`{attribute}`" in line
