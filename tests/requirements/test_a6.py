"""
Logs are bounded in memory, and the growth of their directory is measured.
"""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

import memguard
from memguard.testing import FakeClock


def test_the_newest_lines_are_kept_and_no_more() -> None:
    """
    By number and by bytes, whatever is logged; the counts tell of all.
    """
    logger = logging.getLogger("test.a6")
    logger.propagate = False
    with memguard.Guard(clock=FakeClock()) as guard:
        recent = guard.log_handler("recent", max_entries=100, max_bytes="64KiB")
        logger.addHandler(recent)
        for number in range(1000):
            logger.error("%d %s", number, "x" * (number % 50) * 100)
            assert recent.info().entries <= 100
            assert recent.info().bytes <= 64 << 10
        assert recent.recent(1)[0].message.startswith("999 ")
        assert {"ERROR": 1000} == recent.counts()
        assert 1000 == recent.info().entries + recent.info().dropped
    assert recent not in logger.handlers


def test_the_growth_of_the_directory_is_measured(tmp_path: Path) -> None:
    """
    Files of the standard library's rotating handler, with those it has rotated.
    """
    logger = logging.getLogger("test.a6.files")
    logger.propagate = False
    with memguard.Guard(clock=FakeClock()) as guard:
        recent = guard.log_handler("recent", directory=tmp_path)
        rotating = RotatingFileHandler(
            tmp_path / "app.log", maxBytes=1000, backupCount=2
        )
        guard.register(rotating)
        logger.addHandler(rotating)
        for _ in range(205):
            logger.error("x" * 99)
        size = sum(one.stat().st_size for one in tmp_path.iterdir())
        assert (size, size) == (
            recent.info().directory_bytes,
            recent.info().directory_growth,
        )
        assert 2000 < size <= 3000
