"""
Temporary files: which this process made, where, and which are still there.
"""

from __future__ import annotations

import gc
import os
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memguard._lifecycle import tempfiles
from memguard._lifecycle.origins import Origins, origins
from memguard._lifecycle.tempfiles import TempFiles

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def temp() -> Iterator[TempFiles]:
    """
    One that records, and stops after the test.
    """
    one = TempFiles()
    one.start()
    yield one
    one.stop()


def test_files_and_directories_with_their_places(
    temp: TempFiles, tmp_path: Path
) -> None:
    """
    Each by its path and the line that made it; what is gone is not told.
    """
    number, file = tempfile.mkstemp(dir=tmp_path)
    os.close(number)
    directory = tempfile.mkdtemp(dir=tmp_path)
    with tempfile.NamedTemporaryFile(dir=tmp_path):
        assert 3 == len(temp.left())

    left = dict(temp.left())
    assert {file, directory} == set(left)
    assert all("test_tempfiles.py" in str(site) for site in left.values())
    assert ("file", "directory") == (temp.describe(file), temp.describe(directory))
    Path(file).unlink()
    assert [directory] == [path for path, _ in temp.left()]


def test_bytes_and_relative_paths(
    temp: TempFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Are told as absolute texts, whatever the directory is later.
    """
    number, _ = tempfile.mkstemp(dir=os.fsencode(tmp_path))
    os.close(number)
    monkeypatch.chdir(tmp_path)
    tempfile.mkdtemp(dir=".")
    monkeypatch.chdir("/")

    assert all(path.startswith(str(tmp_path)) for path, _ in temp.left())
    assert 2 == len(temp.left())


def test_nothing_is_recorded_before_and_after(temp: TempFiles, tmp_path: Path) -> None:
    """
    A start forgets, a stop ends; what was recorded can be read after it.
    """
    first = tempfile.mkdtemp(dir=tmp_path)
    temp.stop()
    tempfile.mkdtemp(dir=tmp_path)

    assert [first] == [path for path, _ in temp.left()]
    temp.start()
    assert [] == temp.left()


def test_two_record_beside_each_other(temp: TempFiles, tmp_path: Path) -> None:
    """
    The end of one is not the end of the other.
    """
    other = TempFiles()
    other.start()
    other.stop()
    made = tempfile.mkdtemp(dir=tmp_path)

    assert [made] == [path for path, _ in temp.left()]
    assert [] == other.left()


def test_one_that_was_dropped_is_not_kept() -> None:
    """
    The hook holds nobody.
    """
    one = TempFiles()
    one.start()
    seen = weakref.ref(one)
    del one
    gc.collect()

    assert seen() is None


def test_multiprocessing_takes_its_own_away(temp: TempFiles, tmp_path: Path) -> None:
    """
    At exit, which is after the audit.
    """
    tempfile.mkdtemp(prefix="pymp-", dir=tmp_path)

    assert [] == temp.left()


def test_there_is_a_bound(
    temp: TempFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Places of what is gone are reused; what is beyond the bound is counted.
    """
    monkeypatch.setattr(tempfiles, "_KEPT", 4)
    for _ in range(8):
        Path(tempfile.mkdtemp(dir=tmp_path)).rmdir()
    assert 0 == temp.forgotten
    for _ in range(8):
        tempfile.mkdtemp(dir=tmp_path)

    assert 4 >= len(temp.left()) > 0
    assert 8 == len(temp.left()) + temp.forgotten


def test_an_error_in_the_hook_is_nobodys_but_told(
    temp: TempFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever makes a file must not see it; the audit says that it missed something.
    """

    def fail(one: TempFiles, path: str, site: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(TempFiles, "note", fail)
    assert tempfile.mkdtemp(dir=tmp_path)
    assert "ZeroDivisionError" == origins.trouble
    TempFiles().start()
    temp.stop()
    temp.start()
    assert origins.trouble is None


def test_a_fresh_one_knows_nothing() -> None:
    """
    No hook, no places.
    """
    fresh = Origins()

    assert fresh.made_at("file", "/tmp/x") is None
    assert fresh.database_of(1) is None
    assert fresh.trouble is None
