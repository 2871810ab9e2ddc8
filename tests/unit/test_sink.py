"""
Sinks: lines of JSON, the buffer, rotation, torn lines, full disks, loops, forks, ends.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from memguard import Guard
from memguard._kinds.linefile import LineFile
from memguard.errors import ScopeClosed, SinkFull, SpecConflict, WouldBlockLoop
from memguard.testing import FakeClock

SOON = 5.0


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that stands still.
    """
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=clock)


@pytest.fixture
def running(guard: Guard) -> Iterator[Guard]:
    """
    The same guard, started.
    """
    with guard:
        yield guard


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    Where the sink writes.
    """
    return tmp_path / "events.jsonl"


def records(path: Path) -> list[Any]:
    """
    What is in the file: whole lines only.
    """
    if not path.exists():
        return []
    text = path.read_bytes()
    assert text.endswith(b"\n") or not text
    return [json.loads(line) for line in text.splitlines()]


class Disk:
    """
    Stands for `os.write`: takes so many bytes, and then fails as a full disk does.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.error: BaseException = OSError(errno.ENOSPC, "full")
        self._write: Callable[..., int] = os.write
        monkeypatch.setattr("memguard._kinds.linefile.os.write", self)

    def __call__(self, fd: int, data: Any) -> int:
        if self.room is None:
            return self._write(fd, data)
        if not self.room:
            raise self.error
        part = bytes(data)[: self.room]
        self.room -= len(part)
        return self._write(fd, part)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """
    A disk that can be full.
    """
    return Disk(monkeypatch)


# -- lines -----------------------------------------------------------------------------


def test_records_are_lines_of_json(guard: Guard, path: Path) -> None:
    """
    As they are, in their order, in a file for its owner alone.
    """
    sink = guard.sink(path)
    assert not path.exists()  # nothing is opened before it is needed
    said = [{"a": [1, None, "ä\n\u2028"]}, "\ud800", 3, [], True]
    for one in said:
        sink.write(one)
    assert said == records(path)
    assert 5 == path.read_bytes().count(b"\n")
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    info = sink.info()
    assert (5, path.stat().st_size, 0) == (info.records, info.bytes, info.buffered)


class Odd(dict):  # type: ignore[type-arg]
    """
    A dictionary that cannot be read.
    """

    def items(self) -> Any:
        msg = "secret"
        raise TypeError(msg)


def circle() -> list[Any]:
    """
    A list that contains itself.
    """
    found: list[Any] = []
    found.append(found)
    return found


def deep() -> list[Any]:
    """
    Lists in lists.
    """
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("record", "error", "text"),
    [
        ({"secret"}, TypeError, "cannot write this record: a set is not JSON"),
        ({"a": b"secret"}, TypeError, "a bytes is not JSON"),
        ({("secret", 1): 2}, TypeError, "keys must be str, .*not tuple"),
        (Odd(secret=1), TypeError, "reading it raised TypeError"),
        ([float("nan")], ValueError, "JSON has no NaN and no infinities"),
        (float("-inf"), ValueError, "JSON has no NaN and no infinities"),
        (circle, ValueError, "contains itself"),
        (deep, ValueError, "nested too deeply"),
        (10**5000, ValueError, "one of its values cannot be put into JSON"),
    ],
    ids=range(9),
)
def test_what_is_not_json_is_refused(
    guard: Guard, path: Path, record: Any, error: type[Exception], text: str
) -> None:
    """
    With the type in the error and never the value; the next record is written.
    """
    sink = guard.sink(path)
    record = record() if callable(record) else record
    with pytest.raises(error, match=text) as refused:
        sink.write(record)
    assert "secret" not in str(refused.value)
    sink.write("next")
    assert (["next"], 1) == (records(path), sink.info().refused)


def test_a_record_larger_than_a_file_is_refused(guard: Guard, path: Path) -> None:
    """
    It could only be written by breaking the bound.
    """
    sink = guard.sink(path, rotate_bytes=10)
    sink.write("1234567")
    with pytest.raises(ValueError, match="a record of 11 bytes does not fit"):
        sink.write("12345678")
    assert (["1234567"], 1) == (records(path), sink.info().refused)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rotate_bytes": None}, "rotate_bytes of a sink must not be None"),
        ({"rotate_bytes": 0}, "rotate_bytes must be more than 0"),
        ({"keep": None}, "keep of a sink must not be None"),
        ({"keep": -1}, "keep must be a whole number"),
        ({"buffer_bytes": 0}, "buffer_bytes"),
        ({"flush_every": 0}, "flush_every"),
    ],
)
def test_options_are_checked_at_the_door(
    guard: Guard, path: Path, options: dict[str, Any], text: str
) -> None:
    """
    With errors that name them.
    """
    with pytest.raises(ValueError, match=text):
        guard.sink(path, **options)


def test_paths_are_checked_at_the_door(
    guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Each error says what is wrong with it.
    """
    with pytest.raises(FileNotFoundError, match=r"the folder of sink .* is not there"):
        guard.sink(tmp_path / "missing" / "a.jsonl")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        guard.sink(tmp_path)
    for wrong in (3, b"a.jsonl", ""):
        with pytest.raises(TypeError, match="takes the path of a file, not a"):
            guard.sink(wrong)  # type: ignore[arg-type]
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="cannot be written by this user"):
        guard.sink(tmp_path / "a.jsonl")


def test_one_sink_of_a_file(guard: Guard, path: Path) -> None:
    """
    However its path is written; with other options it is a conflict.
    """
    sink = guard.sink(path)
    assert sink is guard.sink(os.path.relpath(path))
    assert str(path) == sink.filename
    with pytest.raises(SpecConflict, match="keep"):
        guard.sink(path, keep=1)


# -- the buffer ------------------------------------------------------------------------


def test_buffered_for_at_most_a_second(
    running: Guard, clock: FakeClock, path: Path
) -> None:
    """
    Counted from the first record of a batch.
    """
    sink = running.sink(path)
    sink.write(1)
    clock.advance(0.9)
    sink.write(2)
    assert ([], 2, 4) == (records(path), sink.info().buffered, sink.memory_bytes())
    clock.advance(0.1)
    assert ([1, 2], 0) == (records(path), sink.info().buffered_bytes)
    sink.write(3)
    sink.flush()
    assert [1, 2, 3] == records(path)
    sink.write(4)
    clock.advance(1)
    assert [1, 2, 3, 4] == records(path)


def test_a_full_batch_is_written_at_once(running: Guard, path: Path) -> None:
    """
    By the one who fills it, in one piece: half of the buffer, or 64 KiB.
    """
    sink = running.sink(path, buffer_bytes=32)
    for _ in range(4):
        sink.write("12345")
    assert (4, 0) == (sink.info().records, sink.info().buffered)
    sink.write("x" * 100)  # larger than the buffer: it goes straight through
    assert 5 == sink.info().records


def test_declared_before_the_start(guard: Guard, path: Path) -> None:
    """
    Written through before the start and after the shutdown, buffered in between.
    """
    sink = guard.sink(path)
    for number in range(2):
        sink.write(number)
        assert sink.info().buffered == 0
        with guard:
            sink.write("buffered")
            assert 1 == sink.info().buffered
    assert [0, "buffered", 1, "buffered"] == records(path)


def test_many_threads(running: Guard, path: Path) -> None:
    """
    Each record once and whole, those of one thread in their order.
    """
    sink = running.sink(path, buffer_bytes=200)

    def write(thread: int) -> None:
        for number in range(300):
            sink.write([thread, number])

    with ThreadPoolExecutor(6) as threads:
        for job in [threads.submit(write, thread) for thread in range(6)]:
            job.result(SOON)
    sink.flush()
    found = records(path)
    for thread in range(6):
        assert list(range(300)) == [n for one, n in found if one == thread]
    assert 1800 == sink.info().records


# -- rotation --------------------------------------------------------------------------


def test_files_are_rotated_and_bounded(guard: Guard, path: Path) -> None:
    """
    The newest in `path`, older ones numbered, none too large, not too many.
    """
    sink = guard.sink(path, rotate_bytes=10, keep=2)
    for number in range(10, 30):
        sink.write(number)
    names = sorted(one.name for one in path.parent.iterdir())
    assert ["events.jsonl", "events.jsonl.1", "events.jsonl.2"] == names
    assert [28, 29] == records(path)
    assert [25, 26, 27] == records(path.with_name("events.jsonl.1"))
    assert [22, 23, 24] == records(path.with_name("events.jsonl.2"))
    assert 6 == sink.info().rotations


def test_one_batch_may_fill_several_files(running: Guard, path: Path) -> None:
    """
    It is cut between lines.
    """
    sink = running.sink(path, rotate_bytes=10, keep=9)
    for number in range(10, 30):
        sink.write(number)
    sink.flush()
    older = [path.with_name(f"events.jsonl.{number}") for number in range(6, 0, -1)]
    found = [one for file in (*older, path) for one in records(file)]
    assert list(range(10, 30)) == found


def test_keeping_none_and_keeping_fewer_than_before(guard: Guard, path: Path) -> None:
    """
    What is beyond the number goes at the next rotation.
    """
    for number in range(1, 5):
        path.with_name(f"events.jsonl.{number}").write_text("0\n")
    sink = guard.sink(path, rotate_bytes=3, keep=0)
    for number in (10, 11, 12):
        sink.write(number)
    assert [path] == list(path.parent.iterdir())
    assert [12] == records(path)


def test_rotated_or_removed_by_somebody_else(guard: Guard, path: Path) -> None:
    """
    The next record goes where the path is, in a new file if need be.
    """
    sink = guard.sink(path)
    sink.write(1)
    moved = path.rename(path.with_name("moved"))
    sink.write(2)
    assert ([1], [2]) == (records(moved), records(path))
    path.unlink()
    sink.write(3)
    assert [3] == records(path)


def test_two_sinks_on_one_file(tmp_path: Path, path: Path) -> None:
    """
    As two workers have them: nothing is lost, and the bound holds.
    """
    sinks = [Guard(name).sink(path, rotate_bytes=100, keep=99) for name in "ab"]
    for number in range(100):
        sinks[number % 2].write(number)
    files = list(tmp_path.iterdir())
    assert list(range(100)) == sorted(one for file in files for one in records(file))
    assert max(file.stat().st_size for file in files) <= 100


# -- what a crash leaves ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (b'{"a":1}\n{"b":', [{"a": 1}, "next"]),
        (b'{"a":1}\n{"b":2}', [{"a": 1}, {"b": 2}, "next"]),
        (b"1\n12", [1, "next"]),  # may be half of 123
        (b"\xff\xfe", ["next"]),
        (b"[" * 100_000, ["next"]),
        (b"1\n", [1, "next"]),
        (b"", ["next"]),
    ],
)
def test_a_torn_last_line_is_ended(
    guard: Guard, path: Path, left: bytes, expected: list[Any]
) -> None:
    """
    Cut off, or closed if it is whole; nothing before it is touched.
    """
    path.write_bytes(left)
    sink = guard.sink(path)
    sink.write("next")
    assert expected == records(path)
    assert (left[-1:] not in (b"\n", b"")) == sink.info().torn


def test_a_very_long_torn_line_is_closed(guard: Guard, path: Path) -> None:
    """
    Nobody reads megabytes to find out whether it is whole; nothing is thrown away.
    """
    path.write_bytes(b'1\n"' + b"x" * (1 << 21))
    sink = guard.sink(path)
    sink.write(2)
    lines = path.read_bytes().splitlines()
    assert (b"1", b"2", 3) == (lines[0], lines[2], len(lines))


def test_what_another_process_left_torn_meanwhile(guard: Guard, path: Path) -> None:
    """
    It is seen by the next one who writes, not only at the start.
    """
    sink = guard.sink(path)
    sink.write(1)
    with path.open("ab") as other:
        other.write(b'{"half')
    sink.write(2)
    assert ([1, 2], 1) == (records(path), sink.info().torn)


# -- a full disk -----------------------------------------------------------------------


def test_a_full_disk_is_an_error_once_the_buffer_is_full(
    running: Guard, clock: FakeClock, path: Path, disk: Disk
) -> None:
    """
    It is counted, told in the background, and over when there is room again.
    """
    sink = running.sink(path, buffer_bytes=20)
    disk.room = 3
    for number in range(10, 16):
        sink.write(number)
    clock.advance(1)
    assert ([10], 5) == (records(path), sink.info().buffered)
    sink.write(16)
    with pytest.raises(SinkFull, match=r"ENOSPC: No space left on device.*was refused"):
        sink.write(17)
    with pytest.raises(SinkFull, match="its records wait in the buffer"):
        sink.flush()
    info = sink.info()
    assert (6, 18, 1) == (info.buffered, info.buffered_bytes, info.refused)
    assert 0 < info.failures
    assert [("flush of sink " + str(path), "SinkFull")] == [
        key[:2] for key in running.registry.failures.counts
    ]
    disk.room = None
    clock.advance(1)
    assert [10, 11, 12, 13, 14, 15, 16] == records(path)
    sink.write(17)
    assert (1, 0) == (sink.info().buffered, sink.info().lost)


def test_half_a_line_of_a_full_disk_is_taken_back(
    guard: Guard, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also if that cannot be done at once.
    """
    sink = guard.sink(path)
    disk.room = 9
    for text in ("abc", "def", "ghi"):
        sink.write(text)
    assert ["abc"] == records(path)
    disk.room = 3
    with monkeypatch.context() as broken:

        def ftruncate(*_: Any) -> None:
            raise OSError(errno.EIO, "broken")

        broken.setattr("memguard._kinds.linefile.os.ftruncate", ftruncate)
        sink.write("jkl")
        assert path.read_bytes() == b'"abc"\n"de'
    disk.room = None
    sink.flush()
    assert ["abc", "def", "ghi", "jkl"] == records(path)


def test_an_interrupt_writes_nothing_twice(
    guard: Guard, path: Path, disk: Disk
) -> None:
    """
    A KeyboardInterrupt reaches the caller, and the rest is written later.
    """
    sink = guard.sink(path)
    disk.room = 3
    disk.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        sink.write([1, 2])
    disk.room = None
    sink.write(3)
    assert [[1, 2], 3] == records(path)


def test_not_a_file(guard: Guard, tmp_path: Path) -> None:
    """
    A pipe keeps no lines; it says so instead of waiting for a reader.
    """
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    sink = guard.sink(pipe)
    with pytest.raises(SinkFull, match="cannot write"):
        sink.flush() or sink.write(1) or sink.flush()


def test_a_file_that_others_hold_locked(
    guard: Guard, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nobody waits for ever: the record stays in the buffer.
    """
    monkeypatch.setattr("memguard._kinds.linefile._LOCK_S", 0.01)
    other = LineFile(str(path), 100, 1)
    sink = guard.sink(path)
    with other._locked():
        sink.write(1)
        with pytest.raises(SinkFull, match="EAGAIN"):
            sink.flush()
    sink.flush()
    assert [1] == records(path)


# -- loops -----------------------------------------------------------------------------


def test_inside_a_loop_nothing_waits(running: Guard, path: Path, disk: Disk) -> None:
    """
    Plain verbs buffer, or name the asynchronous form; that one uses a thread.
    """
    sink = running.sink(path, buffer_bytes=20)
    threads: list[str] = []
    append = LineFile.append

    def noted(self: LineFile, lines: Any) -> Any:
        threads.append(threading.current_thread().name)
        return append(self, lines)

    async def main() -> None:
        sink.write(1)
        with pytest.raises(WouldBlockLoop, match=r"await sink\.aflush"):
            sink.flush()
        disk.room = 0
        for _ in range(3):
            await sink.awrite("abc")
        with pytest.raises(WouldBlockLoop, match=r"await sink\.awrite"):
            sink.write("abc")
        with pytest.raises(SinkFull):
            await sink.awrite("abc")
        with pytest.raises(SinkFull):
            await sink.aflush()
        disk.room = None
        await sink.aflush()
        await sink.awrite("d")
        await sink.aflush()
        assert "MainThread" not in threads[-2:]

    LineFile.append = noted  # type: ignore[method-assign]
    try:
        asyncio.run(main())
    finally:
        LineFile.append = append  # type: ignore[method-assign]
    assert [1, "abc", "abc", "abc", "d"] == records(path)[:1] + records(path)[-4:]
    assert 2 == sink.info().refused


def test_a_batch_inside_a_loop_is_left_to_a_worker(path: Path) -> None:
    """
    A plain write asks for it and goes on.
    """

    async def main() -> None:
        async with Guard() as guard:
            sink = guard.sink(path, flush_every="1h")
            sink.write("x" * (1 << 16))
            for _ in range(500):
                if sink.info().records:
                    break
                await asyncio.sleep(0.01)
            assert (1, 0) == (sink.info().records, sink.info().buffered)
            await sink.awrite("y" * (1 << 16))
            await sink.aflush()

    asyncio.run(main())
    assert 2 == len(records(path))


def test_inside_a_loop_before_the_start(guard: Guard, path: Path) -> None:
    """
    Both forms write through.
    """
    sink = guard.sink(path)

    async def main() -> None:
        sink.write(1)
        assert [1] == records(path)
        await sink.awrite(2)
        assert [1, 2] == records(path)

    asyncio.run(main())


# -- its end ---------------------------------------------------------------------------


def test_a_shutdown_writes_what_is_buffered(path: Path) -> None:
    """
    In the phase of clients, and closes the file; nothing is taken afterwards.
    """
    with Guard() as guard:
        sink = guard.sink(path)
        sink.write(1)
        hook: list[Any] = []
        guard.on_shutdown(phase="sessions")(lambda: hook.append(sink.write(2)))
        report = guard.shutdown()
    assert report.clean
    assert [1, 2] == records(path)
    with pytest.raises(ScopeClosed):
        sink.write(3)
    row = next(one for one in report.resources if one.kind == "sink")
    assert ("clients", "closed") == (str(row.phase), str(row.outcome))


def test_an_asynchronous_shutdown_does_too(path: Path) -> None:
    """
    Without holding up the loop.
    """

    async def main() -> None:
        async with Guard() as guard:
            guard.sink(path).write(1)
            assert (await guard.ashutdown()).clean

    asyncio.run(main())
    assert [1] == records(path)


def test_closing_on_a_full_disk_says_what_is_lost(
    running: Guard, path: Path, disk: Disk
) -> None:
    """
    The count is in the error and in the figures; the file is closed all the same.
    """
    sink = running.sink(path)
    for number in range(3):
        sink.write(number)
    disk.room = 0
    with pytest.raises(SinkFull, match="3 records of its buffer are lost"):
        sink.close()
    assert (3, 0, 0) == (sink.info().lost, sink.info().buffered, sink.memory_bytes())
    assert -1 == sink._file.descriptor


def test_a_forked_child_writes_its_own_records_only(guard: Guard, path: Path) -> None:
    """
    The buffer is the parent's; both append to one file.
    """
    sink = guard.sink(path)
    with guard:
        sink.write("of the parent")
        pid = os.fork()
        if not pid:
            status = 1
            try:
                sink.write("of the child")
                guard.shutdown()
                status = sink.info().records - 1
            finally:
                os._exit(status)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert ["of the child"] == records(path)
    assert ["of the child", "of the parent"] == records(path)


def test_destructors_in_the_middle_of_its_work(
    guard: Guard, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Under the lock of the buffer, or while the file is written: kept for later.
    """
    sink = guard.sink(path)
    append = LineFile.append

    def appending(self: LineFile, lines: Any) -> Any:
        monkeypatch.undo()
        sink.write("while writing")
        return append(self, lines)

    monkeypatch.setattr(LineFile, "append", appending)
    sink.write(1)
    assert [1, "while writing"] == records(path)

    def destructor() -> None:
        sink.write("inside")
        assert 0 == sink.info().buffered

    sink._locked(destructor)
    sink.flush()
    assert "inside" == records(path)[-1]


def test_a_destructor_that_finds_the_buffer_full(
    running: Guard, path: Path, disk: Disk
) -> None:
    """
    Its record is refused and counted; there is nobody to tell.
    """
    sink = running.sink(path, buffer_bytes=10)
    disk.room = 0
    sink.write("1234")
    sink._locked(lambda: sink.write("123456"))
    assert (1, 1) == (sink.info().buffered, sink.info().refused)


def test_a_batch_has_a_quarter_of_a_megabyte(running: Guard, path: Path) -> None:
    """
    What is joined for one write takes memory, which may be short.
    """
    sink = running.sink(path, buffer_bytes="4MiB")
    written: list[int] = []
    append = os.write

    def write(fd: int, data: Any) -> int:
        written.append(len(data))
        return append(fd, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("memguard._kinds.linefile.os.write", write)
        with sink._file_lock:  # nobody writes meanwhile
            for _ in range(100):
                sink._keep(b"x" * 10_239 + b"\n")
        sink._flush()
    assert [26 * 10_240] * 3 + [22 * 10_240] == written


def test_its_open_file_is_no_leak(path: Path) -> None:
    """
    A live audit knows whose it is; dropped with its guard it is closed.
    """
    with Guard() as guard:
        sink = guard.sink(path)
        sink.write(1)
        sink.flush()
        assert () == guard.audit().findings
    alone = Guard().sink(path)
    alone.write(2)
    descriptor = alone._file.descriptor
    os.fstat(descriptor)
    del alone
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
