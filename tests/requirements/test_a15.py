"""
The example apps print measured memory before and after each cap.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import RunPython

EXAMPLES = Path(__file__).parents[2] / "examples"

CODE = """
import sys
sys.path.insert(0, {examples!r})
import savings
savings.CASES = savings.CASES[-2:]
sys.exit(savings.main())
"""


def test_lazy_mounting_and_hibernation_are_measured(run_python: RunPython) -> None:
    """
    With three mounted consoles, and with idle users asleep: less than half is left.
    """
    run = run_python(CODE.format(examples=str(EXAMPLES)), timeout=60)

    assert (0, "") == (run.returncode, run.stderr)
    _, consoles, idle = run.stdout.splitlines()
    for line, cap in ((consoles, "max_live=3"), (idle, 'hibernate_after="10m"')):
        assert cap in line
        before, after = re.findall(r"([0-9.]+) MiB", line)
        assert float(after) < float(before) / 2
