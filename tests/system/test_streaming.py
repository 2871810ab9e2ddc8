"""
A stream a hundred times larger than what its process may grow by.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import RunPython

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's"),
]

PROGRAM = Path(__file__).parent / "programs" / "streaming.py"
MIB = 1 << 20
RECORD = 32 << 10


@pytest.fixture
def limit_mib(long_form: bool) -> int:
    """
    What the process may grow by: the stream is a hundred times larger.
    """
    return 64 if long_form else 8


def outcome(run_python: RunPython, *arguments: Any) -> dict[str, Any]:
    """
    What the program tells.
    """
    # Few arenas: what threads have freed is to be used again by others.
    arenas = {"MALLOC_ARENA_MAX": "2"}
    ended = run_python(PROGRAM, *map(str, arguments), timeout=900, env=arenas)
    assert 0 == ended.returncode, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("what", ["stream", "astream"])
def test_a_stream_100_times_larger_than_the_limit(
    run_python: RunPython, tmp_path: Path, limit_mib: int, what: str
) -> None:
    """
    Source, map and sink, in threads or on a loop: all of it, and resident memory stays
    flat; on disk are the newest two files.
    """
    total = 100 * limit_mib
    found = outcome(run_python, what, tmp_path, limit_mib, total)
    assert total * MIB == found["done"]
    assert total * MIB // RECORD + 64 == found["records"]
    assert 0 == found["lost"]
    assert found["grown"] <= limit_mib * MIB
    files = sorted(one.name for one in tmp_path.iterdir())
    assert ["out.jsonl", "out.jsonl.1"] == files
    last = (tmp_path / "out.jsonl").read_text().splitlines()[-1]
    assert total * MIB // RECORD - 1 == int(json.loads(last)["text"][:9])


def test_a_list_dies_of_it(
    run_python: RunPython, tmp_path: Path, limit_mib: int
) -> None:
    """
    The same without a bound: twice the limit is enough to be out of memory.
    """
    found = outcome(run_python, "list", tmp_path, limit_mib, 2 * limit_mib)
    assert {"died": "MemoryError"} == found
