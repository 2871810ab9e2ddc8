"""
Where a report goes: the log, and one line of a file.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from memguard import Guard
from memguard._lifecycle.report import (
    AuditReport,
    Finding,
    ResourceReport,
    ShutdownReport,
)
from memguard._lifecycle.telling import tell

CLEAN = ShutdownReport("shop", "test", 0.5, 25.0)
LEAKY = ShutdownReport(
    "shop", "test", 0.5, 25.0, audit=AuditReport((Finding("fd", "file 7", "leaked"),))
)
FORCED = ShutdownReport(
    "shop",
    "test",
    0.5,
    25.0,
    (ResourceReport("socket", "s", "work", "forced", "hung", 1.0, None, ""),),
)


@pytest.mark.parametrize(
    ("report", "level"),
    [(CLEAN, "INFO"), (LEAKY, "WARNING"), (FORCED, "WARNING")],
)
def test_the_log_gets_the_text(
    report: ShutdownReport, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    As a warning if there is something to be seen to.
    """
    with caplog.at_level(logging.INFO, "memguard"):
        tell(report, None)

    (entry,) = caplog.records
    assert (level, str(report)) == (entry.levelname, entry.getMessage())


def test_the_file_gets_one_line_a_shutdown(tmp_path: Path) -> None:
    """
    Appended, and readable by its owner alone.
    """
    path = tmp_path / "report.jsonl"
    tell(CLEAN, str(path))
    tell(LEAKY, str(path))
    first, second = map(json.loads, path.read_text().splitlines())

    assert (True, False) == (first["clean"], second["clean"])
    assert "memguard.shutdown/1" == first["schema"]
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_several_workers_share_a_file(tmp_path: Path) -> None:
    """
    Their lines stay whole.
    """
    path = tmp_path / "report.jsonl"
    threads = [
        threading.Thread(target=lambda: [tell(LEAKY, str(path)) for _ in range(20)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    lines = path.read_text().splitlines()
    assert 160 == len(lines)
    assert all(json.loads(line)["guard"] == "shop" for line in lines)


@pytest.mark.parametrize("where", ["no/such/directory", "directory", "pipe"])
def test_a_file_that_cannot_be_written_is_a_warning(
    where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    And nothing waits for it: not for the reader of a pipe either.
    """
    path = tmp_path / where
    if where == "directory":
        path.mkdir()
    elif where == "pipe":
        os.mkfifo(path)
    tell(CLEAN, str(path))

    (entry,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "report_file" in entry.getMessage()
    assert str(tmp_path) not in entry.getMessage()


def test_a_full_disk_is_a_warning(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Half a line is not silence.
    """
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:10]))
    tell(CLEAN, str(tmp_path / "report"))

    assert "no space left" in caplog.text


def test_a_guard_tells_its_reports(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Each shutdown one line, named by the setting.
    """
    path = tmp_path / "report.jsonl"
    guard: Any = Guard("shop", report_file=path)
    with caplog.at_level(logging.INFO, "memguard"):
        for _ in range(2):
            with guard:
                pass

    assert 2 == len(path.read_text().splitlines())
    assert 2 == caplog.text.count("memguard shutdown of 'shop'")
