"""
The metrics of adopted caches and containers: what the last round saw, nothing foreign.
"""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from memguard import Guard
from memguard._telemetry.census import take_census
from memguard._telemetry.names import Names
from memguard._telemetry.table import TABLE
from memguard.testing import FakeClock

if TYPE_CHECKING:
    import pytest


def test_adopted_caches_are_told_like_others() -> None:
    """
    Entries, bound, bytes, hits and misses, of what a round has measured before.
    """

    @functools.lru_cache(maxsize=10)
    def load(key: int) -> str:
        return str(key) * 100

    clock = FakeClock()
    with Guard(clock=clock) as guard:
        handle = guard.adopt(load, "loaded")
        guard.cache("own").put(1, 2)
        assert ["own"] == [row.name for row in take_census(guard, Names()).caches]
        for key in (1, 2, 1):
            load(key)
        clock.advance(1.5)
        load(3)
        (row,) = [
            row for row in take_census(guard, Names()).caches if row.name == "loaded"
        ]
        assert (2, 10, 1, 2) == (row.entries, row.max_entries, row.hits, row.misses)
        assert 200 < (row.bytes_held or 0)
        handle.close()
        assert ["own"] == [row.name for row in take_census(guard, Names()).caches]


def test_a_round_goes_on_where_one_cannot_be_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What raises is reported once, and the others are measured.
    """
    module: Any = ModuleType("an_application_that_raises")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    class Evil(list[int]):
        def __len__(self) -> int:
            raise OSError

    module.EVIL = Evil()
    module.GOOD = [1, 2, 3]
    clock = FakeClock()
    with Guard(clock=clock) as guard:
        guard.adopt(module.EVIL)
        guard.adopt(module, "GOOD", max_entries=100)
        clock.advance(1.5)
        (row,) = take_census(guard, Names()).figures
        assert "an_application_that_raises.GOOD" == row.name
        assert (3, 100) == (row.figures["entries"], row.figures["max_entries"])
        assert guard.registry.failures.total


def test_the_table_has_rows_for_containers() -> None:
    """
    Each has a row of its own attribute.
    """
    rows = [row for row in TABLE if row.name.startswith("memguard.container.")]
    assert 4 == len(rows)
    assert {("memguard.container.name",)} == {row.attributes for row in rows}
