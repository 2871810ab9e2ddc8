"""
The bounded log handler: text only, bounded, counted, and gone with its guard.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memguard import BoundedLogHandler, Guard
from memguard.errors import SpecConflict
from memguard.testing import FakeClock


@pytest.fixture
def logger(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """
    A logger of this test alone.
    """
    found = logging.getLogger(f"test.{request.node.name}")
    found.setLevel(logging.DEBUG)
    found.propagate = False
    yield found
    for handler in list(found.handlers):
        found.removeHandler(handler)
        handler.close()


def unknown_logger() -> logging.Logger:
    """
    One that the test runner does not know, whose handler would keep all records.
    """
    return logging.Logger("test")  # noqa: LOG001


@pytest.fixture
def guard() -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=FakeClock())


def messages(handler: BoundedLogHandler) -> list[str]:
    """
    What it has kept.
    """
    return [one.message for one in handler.recent(10_000)]


def test_records_are_kept_as_text(logger: logging.Logger) -> None:
    """
    With their time, level, logger, place, message and traceback.
    """
    handler = BoundedLogHandler()
    logger.addHandler(handler)
    logger.info("%s of %d", "one", 2)
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("failed")
    first, second = handler.recent(10)
    assert ("INFO", logging.INFO, "one of 2") == (
        first.level,
        first.levelno,
        first.message,
    )
    assert (logger.name, None) == (first.logger, first.exception)
    assert first.where.startswith("test_log_handler.py:")
    assert first.time <= second.time
    assert second.exception is not None
    assert second.exception.endswith("ZeroDivisionError: division by zero\n")
    assert "1 / 0" in second.exception
    assert second.to_dict()["exception"] == second.exception
    assert [second] == handler.recent(10, "ERROR")
    assert [second] == handler.recent(1)
    assert [] == handler.recent(0)


def test_the_newest_stay_and_all_are_counted(logger: logging.Logger) -> None:
    """
    By number and by bytes; counts by level survive.
    """
    handler = BoundedLogHandler(max_entries=3, max_bytes=None)
    logger.addHandler(handler)
    for number in range(10):
        logger.log(logging.ERROR if number % 3 == 0 else logging.INFO, number)
    assert ["7", "8", "9"] == messages(handler)
    assert {"ERROR": 4, "INFO": 6} == handler.counts()
    info = handler.info()
    assert (3, 10, 7) == (info.entries, info.handled, info.dropped)
    handler.clear()
    assert (0, 0, 10) == (
        handler.info().entries,
        handler.info().bytes,
        handler.info().handled,
    )


def test_bytes_are_bounded(logger: logging.Logger) -> None:
    """
    One huge message is cut, many make room for each other.
    """
    handler = BoundedLogHandler(max_entries=None, max_bytes="20KiB")
    logger.addHandler(handler)
    logger.info("x" * 1_000_000)
    assert 4096 == len(messages(handler)[0])
    for number in range(200):
        logger.info("%0200d", number)
        assert handler.info().bytes == handler.memory_bytes() <= 20 << 10
    assert messages(handler)[-1].endswith("199")
    assert 20 < handler.info().entries < 100


def test_levels_told_apart_are_bounded(logger: logging.Logger) -> None:
    """
    Level names may be made from anything.
    """
    handler = BoundedLogHandler()
    for number in range(80):
        record = logging.LogRecord("a", 10, "b.py", 1, "c", (), None)
        record.levelname = f"level {number}"
        handler.handle(record)
    assert (51, 30) == (len(handler.counts()), handler.counts()["other"])


class Thing:
    """
    Something of the application that is logged.
    """

    def __str__(self) -> str:
        return "a thing"


def test_nothing_that_was_logged_is_kept_alive() -> None:
    """
    Neither arguments, nor messages that are objects, nor exceptions and their frames.
    """
    logger = unknown_logger()
    handler = BoundedLogHandler()
    logger.addHandler(handler)

    def log() -> list[weakref.ref[Any]]:
        thing, message, local = Thing(), Thing(), Thing()
        try:
            raise KeyError(local)
        except KeyError:
            logger.exception(message)
            logger.info("%s", thing)
            return [weakref.ref(one) for one in (thing, message, local)]

    refs = log()
    gc.collect()
    assert [None] * 3 == [ref() for ref in refs]
    assert ["a thing", "a thing"] == messages(handler)


def test_what_cannot_be_formatted_is_said_so(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    As logging does: to its own error handling, and never to who logs.
    """
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = BoundedLogHandler()
    logger.addHandler(handler)
    logger.info("%d", "three")
    assert ["(formatting it raised TypeError)"] == messages(handler)


def test_formatters_filters_and_levels_hold(logger: logging.Logger) -> None:
    """
    As for any handler.
    """
    handler = BoundedLogHandler(level="WARNING")
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    logger.addHandler(handler)
    logger.info("quiet")
    logger.warning("loud")
    logger.error("secret")
    assert ["WARNING: loud"] == messages(handler)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters replace since 3.12")
def test_a_filter_may_replace_the_record(logger: logging.Logger) -> None:
    """
    Then that one is kept.
    """
    handler = BoundedLogHandler()

    def masked(record: logging.LogRecord) -> logging.LogRecord:
        return logging.LogRecord("a", 10, "b.py", 1, "masked", (), None)

    handler.addFilter(masked)  # type: ignore[arg-type, unused-ignore]
    logger.addHandler(handler)
    logger.info("secret")
    assert ["masked"] == messages(handler)


def test_messages_that_log_themselves() -> None:
    """
    No lock is held while a message is made, so another thread may log meanwhile.
    """
    logger = unknown_logger()
    handler = BoundedLogHandler()
    logger.addHandler(handler)

    class Chatty:
        def __str__(self) -> str:
            other = threading.Thread(target=logger.info, args=("from another thread",))
            other.start()
            other.join(5)
            assert not other.is_alive()
            logger.info("from within")
            return "chatty"

    logger.info("%s", Chatty())
    assert ["from another thread", "from within", "chatty"] == messages(handler)


def test_a_destructor_that_logs_in_the_middle(logger: logging.Logger) -> None:
    """
    Its record comes after the one it interrupted.
    """
    handler = BoundedLogHandler()
    logger.addHandler(handler)

    def interrupted() -> None:
        logger.info("destructor")
        handler.clear()
        assert [] == handler.recent(1)

    handler._locked(interrupted)
    assert ["destructor"] == messages(handler)


def test_many_threads(logger: logging.Logger) -> None:
    """
    Each record is counted once.
    """
    handler = BoundedLogHandler(max_entries=50)
    logger.addHandler(handler)

    def log() -> None:
        for number in range(500):
            logger.info("%d", number)

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    info = handler.info()
    assert (50, 2000, 1950) == (info.entries, info.handled, info.dropped)
    handler.clear()
    assert 0 == handler.info().bytes


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_entries": None, "max_bytes": None}, "would have no cap"),
        ({"max_entries": 0}, "max_entries"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"level": "LOUD"}, "LOUD"),
    ],
)
def test_options_are_checked_at_the_door(options: dict[str, Any], text: str) -> None:
    """
    With errors that name them.
    """
    with pytest.raises(ValueError, match=text):
        BoundedLogHandler(**options)
    with pytest.raises(ValueError, match=text):
        Guard().log_handler("recent", **options)


def test_arguments_of_recent_are_checked() -> None:
    """
    The number, and the level.
    """
    handler = BoundedLogHandler()
    with pytest.raises(ValueError, match="n must be a whole number"):
        handler.recent(-1)
    with pytest.raises(ValueError, match="level must be a number or the name"):
        handler.recent(1, "LOUD")


# -- owned -----------------------------------------------------------------------------


def test_one_of_a_name(guard: Guard, tmp_path: Path) -> None:
    """
    Get-or-create, with the error of all containers.
    """
    handler = guard.log_handler("recent", directory=tmp_path)
    assert handler is guard.log_handler("recent", directory=str(tmp_path))
    with pytest.raises(SpecConflict, match="level"):
        guard.log_handler("recent", directory=tmp_path, level="INFO")
    with pytest.raises(TypeError, match="directory must be a path"):
        guard.log_handler("other", directory=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name of a log handler"):
        guard.log_handler("")


def test_it_ends_with_its_guard(logger: logging.Logger) -> None:
    """
    Late, so that what closings log is kept until then; it leaves its loggers.
    """
    with Guard(clock=FakeClock()) as guard:
        handler = guard.log_handler("recent")
        logger.addHandler(handler)
        guard.on_shutdown(phase="clients")(lambda: logger.info("closing"))
        kept: list[list[str]] = []
        guard.on_shutdown(phase="telemetry")(lambda: kept.append(messages(handler)))
        logger.info("before")
        row = next(one for one in guard.snapshot().nodes if one.kind == "log_handler")
        assert (handler.memory_bytes(), "recent") == (row.bytes_held, row.name)
    assert [["before", "closing"]] == kept
    assert handler not in logger.handlers
    logger.info("after")
    handler.handle(logging.LogRecord("a", 10, "b.py", 1, "late", (), None))
    assert (0, 0) == (handler.info().entries, handler.memory_bytes())


def test_a_declared_one_stays_at_its_loggers(
    guard: Guard, logger: logging.Logger
) -> None:
    """
    Its content goes at a shutdown; a later start goes on with it.
    """
    handler = guard.log_handler("recent")
    logger.addHandler(handler)
    with guard:
        logger.info("first")
    assert [] == messages(handler)
    with guard:
        logger.info("second")
        assert ["second"] == messages(handler)


def test_a_logger_does_not_keep_the_guard_alive(
    logger: logging.Logger, tmp_path: Path
) -> None:
    """
    Only the handler, which works on.
    """
    guard = Guard(clock=FakeClock())
    handler = guard.log_handler("recent", directory=tmp_path)
    logger.addHandler(handler)
    ref = weakref.ref(guard)
    del guard
    gc.collect()
    assert ref() is None
    logger.info("still")
    assert ["still"] == messages(handler)


def test_growth_of_the_log_directory(guard: Guard, tmp_path: Path) -> None:
    """
    Measured when it is asked for, since the handler was made.
    """
    logs = tmp_path / "logs"
    handler = guard.log_handler("recent", directory=logs)
    assert (0, 0) == (
        handler.info().directory_bytes,
        handler.info().directory_growth,
    )
    logs.mkdir()
    (logs / "a.log").write_bytes(b"x" * 100)
    (logs / "old").mkdir()
    (logs / "old" / "b.log").write_bytes(b"x" * 20)
    assert 120 == handler.info().directory_bytes
    later = guard.log_handler("later", directory=logs)
    (logs / "a.log").write_bytes(b"x" * 150)
    assert (170, 50) == (later.info().directory_bytes, later.info().directory_growth)
    assert None is guard.log_handler("none").info().directory_bytes


def test_a_forked_child_begins_empty(guard: Guard, logger: logging.Logger) -> None:
    """
    With a lock of its own, whoever held the other at the fork.
    """
    handler = guard.log_handler("recent")
    logger.addHandler(handler)
    logger.info("of the parent")
    with handler._own_lock:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                logger.info("of the child")
                status = int(messages(handler) != ["of the child"])
            finally:
                os._exit(status)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ["of the parent"] == messages(handler)
