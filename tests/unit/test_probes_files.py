"""
The size of a directory, looked at within bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memguard._probes.files import directory_size
from memguard._probes.readings import DirectoryReading

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_all_files_below_it(tmp_path: Path) -> None:
    """
    Links are not followed; what is not there holds nothing.
    """
    assert DirectoryReading(0, 0, whole=True) == directory_size(str(tmp_path / "no"))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"12345")
    (tmp_path / "two").write_bytes(b"123")
    assert DirectoryReading(8, 2, whole=True) == directory_size(str(tmp_path))
    link = tmp_path / "a" / "link"
    link.symlink_to(tmp_path)
    found = directory_size(str(tmp_path))
    assert found is not None
    assert (3, 8 + link.lstat().st_size) == (found.files, found.bytes)


def test_it_stops_at_its_limit(tmp_path: Path) -> None:
    """
    And says that there is more.
    """
    for number in range(5):
        (tmp_path / str(number)).write_bytes(b"1")
    assert DirectoryReading(3, 3, whole=False) == directory_size(str(tmp_path), limit=3)
    assert DirectoryReading(5, 5, whole=True) == directory_size(str(tmp_path), limit=5)


def test_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Is not the same as nothing.
    """

    def refuses(_: str) -> None:
        raise PermissionError

    monkeypatch.setattr("memguard._probes.files.os.scandir", refuses)
    assert None is directory_size(str(tmp_path))
