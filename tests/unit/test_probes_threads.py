from __future__ import annotations

import _thread
import gc
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

import pytest

from memguard._probes.children import Child, children
from memguard._probes.libc import default_disposition
from memguard._probes.threads import PythonThread, native_threads, python_threads

if TYPE_CHECKING:
    from conftest import RunPython


class Waiter:
    """
    Something whose method, and whose call, a thread can run.
    """

    def __init__(self) -> None:
        self.go = threading.Event()

    def wait(self) -> None:
        self.go.wait(5)

    __call__ = wait


class Overridden(threading.Thread):
    """
    A thread that does its work in `run`.
    """

    def __init__(self, waiter: Waiter) -> None:
        super().__init__(daemon=True)
        self.waiter = waiter

    def run(self) -> None:
        self.waiter.wait()


HERE = __name__


def described(thread: threading.Thread, waiter: Waiter) -> PythonThread:
    """
    The record of a thread, made while it runs.
    """
    thread.start()
    try:
        found = python_threads()
    finally:
        waiter.go.set()
        thread.join(5)
    assert thread.ident is not None
    return found[thread.ident]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (lambda waiter: waiter.wait, f"{HERE}.Waiter.wait"),
        (lambda waiter: partial(partial(waiter.wait)), f"{HERE}.Waiter.wait"),
        (lambda waiter: waiter, f"{HERE}.Waiter"),
        (lambda waiter: waiter.go.wait, "threading.Event.wait"),
    ],
)
def test_a_thread_says_what_it_runs(target: object, expected: str) -> None:
    """
    Functions, methods, partials and callable objects by their qualified name.
    """
    waiter = Waiter()
    thread = threading.Thread(target=target(waiter), name="worker")  # type: ignore[operator]
    found = described(thread, waiter)
    assert (
        PythonThread(
            ident=thread.ident or 0,
            native_id=thread.native_id,
            name="worker",
            daemon=False,
            target=expected,
            kind="threading.Thread",
        )
        == found
    )


def test_a_timer_says_what_it_will_run() -> None:
    """
    Its function stands in another attribute than a thread's.
    """
    timer = threading.Timer(60, os.getpid)
    timer.start()
    try:
        found = python_threads()[timer.ident or 0]
    finally:
        timer.cancel()
        timer.join(5)
    assert ("threading.Timer", "posix.getpid") == (found.kind, found.target)


def test_a_thread_that_overrides_run_is_known_by_its_class() -> None:
    """
    It has no target.
    """
    waiter = Waiter()
    found = described(Overridden(waiter), waiter)
    assert (f"{HERE}.Overridden", None, True) == (
        found.kind,
        found.target,
        found.daemon,
    )


def test_a_thread_without_an_object_is_foreign() -> None:
    """
    `_thread` starts threads that `threading` does not know.
    """
    waiter, done = Waiter(), threading.Event()
    started = threading.Event()

    def run() -> None:
        _set(started)
        waiter.go.wait(5)
        done.set()

    # Event.set asks for no Thread object, unlike Event.wait on some versions.
    _set = threading.Event.set
    ident = _thread.start_new_thread(run, ())
    try:
        assert started.wait(5)
        found = python_threads()[ident]
        assert ident == found.ident
        assert found.kind in ("foreign", "threading._DummyThread")
    finally:
        waiter.go.set()
        assert done.wait(5)


def test_records_keep_nothing_alive() -> None:
    """
    Neither the thread nor what it ran outlives them because somebody looked.
    """
    waiter = Waiter()
    thread = threading.Thread(target=waiter.wait)
    record = described(thread, waiter)
    gone = ref(waiter), ref(thread)
    del waiter, thread
    gc.collect()
    assert [None, None] == [one() for one in gone]
    assert record.target == f"{HERE}.Waiter.wait"


def test_native_threads_are_listed_by_name(tmp_path: Path) -> None:
    """
    The real ones, those of a fake tree, and None where there is no /proc.
    """
    waiter = Waiter()
    before = native_threads()
    thread = threading.Thread(target=waiter.wait)
    thread.start()
    during = native_threads()
    waiter.go.set()
    thread.join(5)
    assert before is not None
    assert during is not None
    assert {thread.native_id} <= set(during) - set(before)
    comm = tmp_path / "proc/self/task/17/comm"
    comm.parent.mkdir(parents=True)
    comm.write_text("pool worker\n")
    (tmp_path / "proc/self/task/18").mkdir()
    assert {17: "pool worker"} == native_threads(str(tmp_path))
    assert native_threads(str(tmp_path / "none")) is None


# -- children --------------------------------------------------------------------------

LINE = "{pid} ({name}) {state} {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0\n"


def fake_process(root: Path, pid: int | str, parent: int, **fields: object) -> None:
    """
    One process of a fake tree, started 50 s after boot.
    """
    number = fields.pop("number", pid)
    ticks = 50 * os.sysconf("SC_CLK_TCK")
    text = LINE.format_map(
        {"pid": number, "parent": parent, "ticks": ticks, "name": "x", "state": "S"}
        | fields
    )
    path = root / "proc" / str(pid) / "stat"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_children_are_listed_for_every_thread(tmp_path: Path) -> None:
    """
    A child belongs to the thread that started it; one that is gone is left out.
    """
    fake_process(tmp_path, "self", 1, number=10)
    fake_process(tmp_path, 20, 10, name="a worker)", state="Z")
    fake_process(tmp_path, 21, 10)
    for thread, pids in ((10, "20 99 "), (11, "21 ")):
        path = tmp_path / f"proc/self/task/{thread}/children"
        path.parent.mkdir(parents=True)
        path.write_text(pids)
    assert {
        20: Child(20, "Z", "a worker)", 50.0),
        21: Child(21, "S", "x", 50.0),
    } == children(str(tmp_path))


def test_without_the_kernels_list_all_processes_are_searched(tmp_path: Path) -> None:
    """
    By their parent, which the process's own line names in the same numbering.
    """
    fake_process(tmp_path, "self", 1, number=10)
    fake_process(tmp_path, 10, 1)
    fake_process(tmp_path, 20, 10)
    fake_process(tmp_path, 30, 1)
    (tmp_path / "proc/self/task/10").mkdir(parents=True)
    assert {20: Child(20, "S", "x", 50.0)} == children(str(tmp_path))
    assert children(str(tmp_path / "none")) is None


def test_a_real_child_and_its_zombie_are_seen() -> None:
    """
    Running, then ended and not waited for, then gone.
    """
    before = children()
    assert before is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as child:
        running = (children() or {})[child.pid]
        assert not running.zombie
        assert child.stdin is not None
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        ended = (children() or {})[child.pid]
        assert ended.zombie
        assert running.start_time == ended.start_time
    assert before == children()


# -- the C library ---------------------------------------------------------------------


def test_a_signal_is_given_back_from_another_thread(run_python: RunPython) -> None:
    """
    The process then dies of the signal although Python still names a handler.
    """
    code = """
import os, signal, threading
from memguard._probes.libc import default_disposition
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
thread = threading.Thread(target=default_disposition, args=(signal.SIGTERM,))
thread.start()
thread.join()
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
threading.Event().wait(5)
"""
    done = run_python(code)
    assert ("ready\n", -signal.SIGTERM) == (done.stdout, done.returncode)


@pytest.mark.parametrize("number", [signal.SIGKILL, 12345])
def test_what_cannot_be_given_back_is_an_error(number: int) -> None:
    """
    The C library's refusal, as OSError.
    """
    with pytest.raises(OSError, match="Invalid argument"):
        default_disposition(number)
