"""
Adopting handlers of logging: what waits in them, who has them, and their end.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from memguard import Guard
from memguard.testing import FakeClock


@pytest.fixture
def guard() -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=FakeClock())


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """
    A logger of its own.
    """
    made = logging.getLogger("an application that is adopted")
    made.propagate = False
    yield made
    for handler in list(made.handlers):
        made.removeHandler(handler)
        handler.close()


def test_a_file_handler_leaves_its_logger_and_closes(
    guard: Guard, logger: logging.Logger, tmp_path: Path
) -> None:
    """
    Otherwise the next record would open the file again.
    """
    handler = logging.FileHandler(tmp_path / "log")
    logger.addHandler(handler)
    handle = guard.adopt(handler)
    assert {"loggers": 1, "duplicates": 0} == handle.info().details
    assert "telemetry" == handle.phase
    handle.close()
    logger.error("into nothing")
    assert handler not in logger.handlers
    assert handler.stream is None
    assert "" == (tmp_path / "log").read_text()


def test_a_handler_added_again_and_again_is_a_risk(
    guard: Guard, logger: logging.Logger, tmp_path: Path
) -> None:
    """
    Same type, same file, same records: seen on the logger and above it.
    """
    first, other = (logging.FileHandler(tmp_path / name) for name in ("log", "other"))
    logger.addHandler(first)
    logger.addHandler(other)
    handle = guard.adopt(first)
    assert handle.risk() is None
    logger.addHandler(logging.FileHandler(tmp_path / "log"))
    assert 1 == handle.info().details["duplicates"]
    risk = handle.risk()
    assert risk is not None
    assert "again" in risk.reason
    below = logger.getChild("below")
    below.addHandler(first)
    assert {"loggers": 2, "duplicates": 3} == handle.info().details
    below.removeHandler(first)


def test_the_buffer_of_a_memory_handler_is_measured_and_capped(
    guard: Guard, logger: logging.Logger
) -> None:
    """
    Its capacity is looked at with each record, so it can be lowered any time.
    """
    target = logging.handlers.BufferingHandler(1000)
    handler = logging.handlers.MemoryHandler(100, logging.CRITICAL, target)
    logger.addHandler(handler)
    for _ in range(20):
        logger.error("something")
    handle = guard.adopt(handler)
    assert (20, 100) == (handle.info().entries, handle.info().limit)
    handle.resize(max_entries=10)
    logger.error("something")
    assert (0, 10) == (handle.info().entries, handle.info().limit)
    assert 21 == len(target.buffer)
    with pytest.raises(ValueError, match="capacity"):
        handle.resize(max_entries=None)


def test_a_memory_handler_without_a_target_is_a_risk(guard: Guard) -> None:
    """
    It keeps every record, whatever its capacity.
    """
    handler = logging.handlers.MemoryHandler(2)
    handle = guard.adopt(handler)
    risk = handle.risk()
    assert risk is not None
    assert "target" in risk.reason
    with pytest.raises(TypeError, match="target"):
        handle.resize(max_entries=10)


def test_the_queue_of_a_handler_is_measured(guard: Guard) -> None:
    """
    A queue without a bound is a risk, one with a bound is none.
    """
    endless = logging.handlers.QueueHandler(queue.Queue())
    bounded = logging.handlers.QueueHandler(queue.Queue(10))
    record = logging.makeLogRecord({})
    for handler in (endless, bounded):
        handler.enqueue(record)
    assert (1, None) == (
        guard.adopt(endless).info().entries,
        guard.adopt(endless).info().limit,
    )
    assert 10 == guard.adopt(bounded).info().limit
    risk = guard.adopt(endless).risk()
    assert risk is not None
    assert "no bound" in risk.reason
    assert guard.adopt(bounded).risk() is None


def test_a_queue_listener_is_stopped(guard: Guard) -> None:
    """
    What waits is handled, and its thread ends with the guard.
    """
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(10)
    target = logging.handlers.BufferingHandler(10)
    listener = logging.handlers.QueueListener(waiting, target)
    with guard:
        handle = guard.adopt(listener)
        listener.start()
        assert handle.is_open()
        waiting.put(logging.makeLogRecord({}))
    assert not handle.is_open()
    assert 1 == len(target.buffer)
