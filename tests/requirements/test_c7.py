"""
One configuration object, from code, environment and framework, with origins.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import memguard
from memguard.errors import SettingsError


def test_each_value_says_where_it_comes_from(tmp_path: Path) -> None:
    """
    Keyword before environment before framework before file before default.
    """
    file = tmp_path / "pyproject.toml"
    names = ("tick", "grace", "log_every", "strict")
    rows = "".join(f"{name} = {value}\n" for name, value in _values(names, "9s"))
    file.write_text(f"[tool.memguard]\n{rows}")
    settings = memguard.Settings.load(
        {"MEMGUARD_TICK": "3s", "MEMGUARD_GRACE": "40s", "MEMGUARD_LOG_EVERY": "4s"},
        environ={"MEMGUARD_TICK": "2s", "MEMGUARD_GRACE": "50s"},
        pyproject=file,
        tick="1500ms",
    )
    told = {one.field: (one.value, one.origin) for one in settings.describe()}
    assert (1.5, "keyword") == told["tick"]
    assert (50.0, "environment MEMGUARD_GRACE") == told["grace"]
    assert (4.0, "framework MEMGUARD_LOG_EVERY") == told["log_every"]
    assert (True, "pyproject.toml") == told["strict"]
    assert (0.9, "default") == told["critical"]


def _values(names: tuple[str, ...], duration: str) -> list[tuple[str, str]]:
    return [(name, "true" if name == "strict" else f'"{duration}"') for name in names]


def test_a_guard_and_install_take_the_same() -> None:
    """
    The keywords of a guard are those of the object; the guard carries it.
    """
    guard = memguard.Guard(memory_limit="512MiB", shutdown_timeout="5s")
    assert guard.settings == memguard.Settings(
        memory_limit=512 << 20, shutdown_timeout=5
    )


def test_all_that_is_wrong_is_told_at_once() -> None:
    """
    Three mistakes are three lines, each with its cure.
    """
    with pytest.raises(SettingsError) as caught:
        memguard.Settings(memory_limit="512M", warning=0.92, tick="soon")
    assert 3 == len(caught.value.problems)


def test_limits_of_containers_are_checked_at_the_same_door() -> None:
    """
    Event buffer, task cache and pool take sizes and durations in the same spelling.
    """
    with memguard.Guard() as guard:
        ring = guard.ring("events", max_entries=1000, max_bytes="1MiB")
        cache = guard.cache("tasks", ttl="1h", max_bytes="100MiB")
        assert (1 << 20, 100 << 20) == (ring.max_bytes, cache.info().max_bytes)
        with pytest.raises(ValueError, match="acquire_timeout"):
            guard.pool("db", object, acquire_timeout="soon")
