"""
The example services, as a newcomer runs them: real load, SIGTERM in the middle.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
SOURCE = Path(__file__).parents[2] / "src"


@pytest.mark.system
@pytest.mark.parametrize("name", ["flask_app", "asyncio_app"])
def test_example_under_load_ends_clean(name: str, long_form: bool) -> None:
    """
    No request fails, every audit is clean.
    """
    seconds = "30" if long_form else "3"
    environment = {
        **os.environ,
        "DEMO_SECONDS": seconds,
        "PYTHONPATH": str(SOURCE),
    }
    run = subprocess.run(
        [sys.executable, str(DEMO), name],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert 0 == run.returncode, run.stdout + run.stderr
    assert "all clean" in run.stdout


@pytest.mark.system
def test_every_cap_saves_memory() -> None:
    """
    The example prints measured memory before and after each cap, and less after.
    """
    run = subprocess.run(
        [sys.executable, str(DEMO.with_name("savings.py"))],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert (0, "") == (run.returncode, run.stderr)
    lines = run.stdout.splitlines()[1:]
    assert 4 == len(lines)
    for line in lines:
        before, after = re.findall(r"([0-9.]+) MiB", line)
        assert float(after) < float(before) / 2
