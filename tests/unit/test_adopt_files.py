"""
Adopted files, memory maps and temporary directories.
"""

from __future__ import annotations

import io
import mmap
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memguard import Guard
from memguard.errors import MemguardResourceWarning

if TYPE_CHECKING:
    from collections.abc import Callable


class Journal(io.FileIO):
    """
    A subclass of an application's.
    """


MAKERS: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: path.open("w"),
    "bytes": lambda path: path.open("wb"),
    "raw": lambda path: path.open("wb", buffering=0),
    "subclass": lambda path: Journal(path, "w"),
    "temporary": lambda path: tempfile.NamedTemporaryFile(  # noqa: SIM115 - the guard closes it
        dir=path.parent
    ),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_file_tells_its_size_on_disk(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    """
    It grows with what is written, whatever kind of file it is.
    """
    with Guard() as guard:
        file = make(tmp_path / "file")
        handle = guard.adopt(file)
        assert ("file", 1) == (handle.kind, handle.info().entries)
        assert 0 == handle.info().details["disk_bytes"]
        file.write("12345" if isinstance(file, io.TextIOBase) else b"12345")
        file.flush()
        assert 5 == handle.info().details["disk_bytes"]
        report = guard.shutdown()
    assert report.clean, report
    assert file.closed
    assert handle.info().entries is None


def test_what_was_buffered_is_written_by_the_shutdown(tmp_path: Path) -> None:
    """
    A close is a flush.
    """
    path = tmp_path / "file"
    with Guard() as guard:
        file = path.open("w")
        guard.adopt(file)
        file.write("the last line")
    assert "the last line" == path.read_text()


def test_a_file_in_memory_tells_its_bytes_and_may_grow_meanwhile() -> None:
    """
    Looking does not lock its buffer.
    """
    file = io.BytesIO()
    handle = Guard().adopt(file)
    before = handle.info().bytes
    assert before is not None
    file.write(bytes(100_000))
    after = handle.info().bytes
    assert after is not None
    assert after - before >= 100_000
    assert after == handle.memory_bytes()
    file.write(b"more")
    file.close()
    assert (0, 0) == (handle.info().entries, handle.info().bytes)


def test_a_standard_stream_is_flushed_and_stays_open() -> None:
    """
    Who closes it silences everybody, this test run included.
    """
    stream = sys.__stderr__
    assert stream is not None
    with Guard() as guard:
        guard.adopt(stream)
        report = guard.shutdown()
    assert report.clean, report
    assert not stream.closed


def test_a_memory_map_tells_its_bytes() -> None:
    """
    And is closed.
    """
    with Guard() as guard:
        mapped = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        handle = guard.adopt(mapped)
        assert ("mmap", 2 * mmap.PAGESIZE) == (handle.kind, handle.info().bytes)
        report = guard.shutdown()
    assert report.clean, report
    assert mapped.closed


def test_a_temporary_directory_is_removed() -> None:
    """
    With all that is in it.
    """
    with Guard() as guard:
        directory = tempfile.TemporaryDirectory()
        path = Path(directory.name)
        (path / "file").write_text("text")
        handle = guard.adopt(directory)
        assert ("tempfile", 1) == (handle.kind, handle.info().entries)
        report = guard.shutdown()
    assert report.clean, report
    assert not path.exists()
    assert not handle.is_open()


def test_one_that_is_collected_unclosed_is_told(tmp_path: Path) -> None:
    """
    With the place of its adoption, besides what the interpreter says.
    """
    guard = Guard()
    file = (tmp_path / "file").open("w")
    guard.adopt(file)
    with warnings.catch_warnings():
        # A recorded warning would keep the file.
        warnings.simplefilter("ignore", ResourceWarning)
        del file
    with pytest.warns(MemguardResourceWarning, match="test_adopt_files"):
        assert 0 == guard.snapshot().count("file")


def test_none_of_them_takes_a_cap() -> None:
    """
    The sentence says what rotates files.
    """
    file = io.BytesIO()
    with pytest.raises(TypeError, match=r"memguard\.sink"):
        Guard().adopt(file, max_bytes=10)
    file.close()
