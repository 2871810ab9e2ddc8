"""
The example services, as a newcomer runs them: real load, SIGTERM in the middle.
"""

from __future__ import annotations

import os
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
