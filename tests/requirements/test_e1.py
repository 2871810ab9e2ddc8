"""
A native leak is told from a leak of objects, and both from memory that is only kept.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import RunPython

MIB = 1 << 20
# What grows, and what has to be said about it. Each in a process of its own.
CAUSES = {
    "python": "[{'k': [i]} for i in range(200_000)]",
    "native, small": "[take(200) for _ in range(200_000)][:0]",
    "native, large": "[take(MIB) for _ in range(40)][:0]",
    "python, buffers": "[bytes(2_000) for _ in range(20_000)]",
    "malloc-retained": "[bytes(1_500) for _ in range(40_000)][::40]",
    "pymalloc-retained": "[float(i) for i in range(2_000_000)][::800]",
    "mmap": "mapped(mmap.MAP_SHARED)",
    # Beyond the seven: the same by other means.
    "python, large buffers": "[b'x' * MIB for _ in range(40)]",
    "python, one buffer": "b'x' * (40 * MIB)",
    "python, one table": "{number: None for number in range(1_000_000)}",
    "python, middle buffers": "[b'x' * 100_000 for _ in range(400)]",
    "native, middle": "[take(9_000) for _ in range(5_000)][:0]",
    "mmap, private": "mapped(mmap.MAP_PRIVATE)",
    "stable": "None",
}
CODE = """
import ctypes, gc, json, mmap
import memguard

MIB = 1 << 20
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = (ctypes.c_size_t,)
library.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)

def take(size):
    library.memset(library.malloc(size), 1, size)

def mapped(kind):
    found = mmap.mmap(-1, 40 * MIB, flags=kind | mmap.MAP_ANONYMOUS)
    found.write(b"x" * (40 * MIB))
    return found

guard = memguard.Guard()
guard.footprint()
gc.collect()
before = guard.footprint()
kept = {cause}
gc.collect()
verdict = guard.footprint(since=before).verdict
print(json.dumps(verdict.to_dict()))
"""


def verdict_of(cause: str, run_python: RunPython) -> dict[str, Any]:
    """
    What two looks say about a process in which *cause* was evaluated between them.
    """
    done = run_python(CODE.replace("{cause}", cause))
    assert "" == done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", CAUSES)
def test_each_cause_is_named_and_explained(name: str, run_python: RunPython) -> None:
    """
    The right word for each, with at least 95 % of the bytes explained.
    """
    found = verdict_of(CAUSES[name], run_python)
    expected = name.partition(",")[0]
    assert expected == found["verdict"], found
    if expected == "stable":
        assert found["bytes"] < MIB
        return
    assert found["bytes"] > 30 * MIB
    assert found["explained_ratio"] >= 0.95
    assert found["causes"][expected] >= 0.9 * found["bytes"]
    assert found["bytes"] == found["explained_bytes"] + found["unexplained_bytes"]


def test_what_cannot_be_told_is_not_guessed(run_python: RunPython) -> None:
    """
    Without Python's allocator nobody counts its blocks: then that is said.
    """
    code = CODE.replace("{cause}", CAUSES["python, buffers"])
    done = run_python(code, env={"PYTHONMALLOC": "malloc"})
    found = json.loads(done.stdout)
    assert ("cannot-tell", "low") == (found["verdict"], found["confidence"])
    assert "Python's allocator does not tell" in found["reason"]
    assert found["unexplained_bytes"] > 30 * MIB
