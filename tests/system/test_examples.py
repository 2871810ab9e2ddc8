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


# What each prints of its sessions, besides what it judges itself.
SHOWN = {
    "flask_app": (
        r"SIGKILL to worker \d+, which has \d+ sessions",
        r"flask_app after the restart: \d+ histories, each as it was answered",
    ),
    "asyncio_app": (
        r"back within the grace: 'hello, visit 2', drafts \['half a line'\]",
        r"sessions: \d+ live, \d+ hibernated; .* after 120 guests have left",
        r"sessions: 1 live, 12\d hibernated",
        r"back after it: 'hello, visit 3', history \['the first line'\], drafts \[\]",
        r"asyncio_app after the restart: 8 users are known again",
        r"guest-7: 'hello, visit 2', 20 lines of history",
    ),
}


@pytest.mark.system
@pytest.mark.parametrize("name", sorted(SHOWN))
def test_example_under_load_ends_clean(name: str, long_form: bool) -> None:
    """
    No request fails, no answered message is lost, every audit is clean.

    Not to a reconnect, nor to a killed worker, nor to a restart of the service.
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
    for shown in SHOWN[name]:
        assert re.search(shown, run.stdout), run.stdout


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
    assert 6 == len(lines)
    for line in lines:
        before, after = re.findall(r"([0-9.]+) MiB", line)
        assert float(after) < float(before) / 2
