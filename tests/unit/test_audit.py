"""
The audit: it names what was left behind, it is silent when nothing was, and it keeps
and tells nothing that belongs to a user.
"""

from __future__ import annotations

import _thread
import asyncio
import functools
import gc
import json
import multiprocessing
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from memguard import Guard
from memguard._lifecycle import inventory
from memguard._lifecycle.report import AuditReport, Finding

SECRET = "alice@example.com"
# A leak is waited for until the budget of the shutdown is spent.
SHORT = "150ms"


class Thing:
    """
    Something that nothing can close.
    """


class Looping(threading.Thread):
    """
    A thread with its own `run`.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()

    def run(self) -> None:
        self.over.wait(20)


class Planting:
    """
    Plants one leak, and takes it away again after the audit.
    """

    def __init__(self, folder: Path, undo: ExitStack) -> None:
        self.folder = folder
        self.undo = undo
        self.guard: Guard

    def later(self, call: Callable[..., Any], *args: Any) -> None:
        self.undo.callback(call, *args)

    def path(self) -> str:
        return str(self.folder / f"{SECRET}.log")

    # Each says what it expects: kind, verdict, and a part of the finding's text.

    def descriptor(self) -> tuple[str, str, str]:
        self.later(os.close, os.open(self.path(), os.O_CREAT | os.O_RDWR))
        return "fd", "leaked", "*.log"

    def file(self) -> tuple[str, str, str]:
        file = open(self.path(), "w")  # noqa: SIM115 - it is a leak
        self.later(file.close)
        return "fd", "leaked", "held by a file object"

    def deleted_file(self) -> tuple[str, str, str]:
        file = open(self.path(), "w")  # noqa: SIM115
        Path(self.path()).unlink()
        self.later(file.close)
        return "fd", "leaked", "(deleted)"

    def socket(self) -> tuple[str, str, str]:
        left = socket.socket()
        self.later(left.close)
        return "socket", "leaked", "held by a socket object"

    def subclass_of_socket(self) -> tuple[str, str, str]:
        class Special(socket.socket):
            def fileno(self) -> int:
                raise AssertionError(SECRET)

        left = Special()
        self.later(left.close)
        return "socket", "leaked", "Special"

    def pipe(self) -> tuple[str, str, str]:
        for end in os.pipe():
            self.later(os.close, end)
        return "fd", "unattributed", "pipe"

    def connection_pair(self) -> tuple[str, str, str]:
        for end in multiprocessing.Pipe():
            self.later(end.close)
        return "socket", "leaked", "held by a Connection"

    def database(self) -> tuple[str, str, str]:
        connection = sqlite3.connect(self.folder / f"{SECRET}.db")
        connection.execute("create table t (x)")
        self.later(connection.close)
        return "fd", "leaked", "*.db"

    def thread(self) -> tuple[str, str, str]:
        over = threading.Event()

        def work() -> None:
            over.wait(20)

        threading.Thread(target=work, daemon=True, name="left").start()
        self.later(over.set)
        return "thread", "leaked", "left (runs Planting.thread.<locals>.work)"

    def thread_with_a_run(self) -> tuple[str, str, str]:
        thread = Looping()
        thread.start()
        self.later(thread.over.set)
        return "thread", "leaked", "runs Looping.run"

    def thread_of_a_c_function(self) -> tuple[str, str, str]:
        lock = threading.Lock()
        lock.acquire()
        threading.Thread(target=lock.acquire, args=(True, 20), daemon=True).start()
        self.later(lock.release)
        return "thread", "leaked", "runs lock.acquire"

    def thread_without_an_object(self) -> tuple[str, str, str]:
        over, ended = threading.Event(), threading.Event()

        def work() -> None:
            over.wait(20)
            ended.set()

        _thread.start_new_thread(work, ())
        self.later(ended.wait, 5)
        self.later(over.set)
        return "thread", "leaked", "work"

    def loop_in_a_thread(self) -> tuple[str, str, str]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        self.later(loop.close)
        self.later(thread.join, 5)
        self.later(loop.call_soon_threadsafe, loop.stop)
        return "thread", "leaked", "run_forever"

    def loop_never_closed(self) -> tuple[str, str, str]:
        loop = asyncio.new_event_loop()
        self.later(loop.close)
        return "fd", "leaked", "EventLoop"

    def executor(self) -> tuple[str, str, str]:
        pool = ThreadPoolExecutor(1)
        pool.submit(int).result(5)
        self.later(pool.shutdown)
        return "thread", "leaked", "of a ThreadPoolExecutor"

    def timer(self) -> tuple[str, str, str]:
        timer = threading.Timer(20, print)
        timer.daemon = True
        timer.start()
        self.later(timer.join, 5)
        self.later(timer.cancel)
        return "timer", "leaked", "runs print"

    def child(self) -> tuple[str, str, str]:
        child = subprocess.Popen(["sleep", "20"])
        self.later(child.wait, 5)
        self.later(child.kill)
        return "process", "leaked", "running"

    def zombie(self) -> tuple[str, str, str]:
        child = subprocess.Popen(["true"])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self.later(child.wait, 5)
        return "process", "leaked", "nobody waited for it"

    def forked_child(self) -> tuple[str, str, str]:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
        self.later(os.waitpid, pid, 0)
        self.later(os.close, writing)
        return "process", "leaked", "running"

    def temporary_file(self) -> tuple[str, str, str]:
        number, path = tempfile.mkstemp(prefix=SECRET, suffix=".json")
        os.close(number)
        self.later(os.unlink, path)
        return "tempfile", "leaked", "*.json (file)"

    def named_temporary_file(self) -> tuple[str, str, str]:
        with tempfile.NamedTemporaryFile(delete=False) as file:
            self.later(os.unlink, file.name)
        return "tempfile", "leaked", "(file)"

    def temporary_directory(self) -> tuple[str, str, str]:
        self.later(os.rmdir, tempfile.mkdtemp(suffix=SECRET))
        return "tempfile", "leaked", "(directory)"

    def watched(self) -> tuple[str, str, str]:
        thing = Thing()
        self.later(id, thing)
        self.guard.watch(thing, "its request is over")
        return "object", "leaked", "Thing (its request is over)"

    def registered(self) -> tuple[str, str, str]:
        thing = Thing()
        self.later(id, thing)
        self.guard.register(thing)
        return "object", "leaked", "Thing (registered; its type has no close"

    def registered_in_a_scope(self) -> tuple[str, str, str]:
        thing = Thing()
        self.later(id, thing)
        with self.guard.scope("job") as scope:
            scope.register(thing, name="plan")
        return "object", "leaked", "plan (registered"

    def listener(self) -> tuple[str, str, str]:
        bus = Guard("other").emitter("bus")

        def hear() -> None: ...

        bus.on("event", hear)
        self.later(bus.close)
        return "listener", "leaked", "hear (of emitter 'bus'"

    def hanging(self) -> tuple[str, str, str]:
        over = threading.Event()
        thing = Thing()
        self.later(id, thing)
        self.guard.register(thing, close=lambda _: over.wait(20), timeout=0.02)
        self.later(over.set)
        return "object", "leaked", "Thing (abandoned: "

    def failing(self) -> tuple[str, str, str]:
        def close(_: object) -> None:
            raise ValueError(SECRET)

        thing = Thing()
        self.later(id, thing)
        self.guard.register(thing, close=close)
        return "object", "leaked", "Thing (unclosable: ValueError at "


PLANTS = [name for name in vars(Planting) if name not in ("later", "path")]
PLANTS = [name for name in PLANTS if not name.startswith("_")]
# Nothing tells where a pipe or a selector was made, and before 3.12 where a thread was
# started: then it is the place of what it runs, if that is Python.
NO_PLACE = {"pipe", "connection_pair", "loop_never_closed"}
if sys.version_info < (3, 12):
    NO_PLACE |= {"thread_of_a_c_function", "loop_in_a_thread", "executor", "timer"}


@pytest.fixture
def planting(tmp_path: Path) -> Iterator[Planting]:
    """
    A leak that is taken away when the test is over.
    """
    with ExitStack() as undo:
        yield Planting(tmp_path, undo)


def faults(report: AuditReport) -> list[Finding]:
    """
    What makes a report unclean.
    """
    return [one for one in report.findings if one.verdict != "host"]


# -- leaks -----------------------------------------------------------------------------


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_leak_is_named(planting: Planting, plant: str) -> None:
    """
    By its kind, its type or name, and the place where it was made.
    """
    guard = planting.guard = Guard(shutdown_timeout=SHORT).start()
    kind, verdict, text = getattr(planting, plant)()
    report = guard.shutdown()

    found = [one for one in faults(report.audit) if text in str(one)]
    assert found, report.audit
    assert (kind, verdict) == (found[0].kind, found[0].verdict)
    if plant not in NO_PLACE:
        assert "test_audit.py" in found[0].site, found
    assert not report.clean
    for told in (str(report), repr(report), json.dumps(report.to_dict())):
        assert SECRET not in told


def test_one_leak_is_one_finding(planting: Planting) -> None:
    """
    Nothing else is blamed with it.
    """
    guard = Guard(shutdown_timeout=SHORT).start()
    planting.socket()

    assert 1 == len(faults(guard.shutdown().audit))


@pytest.mark.parametrize(
    ("plant", "kind", "text"),
    [
        ("forever", "task", "forever"),
        ("sleep", "task", "sleep"),
        ("function", "timer", "noise"),
        ("method", "timer", "Event.set"),
        ("built-in", "timer", "print"),
        ("partial", "timer", "partial"),
    ],
)
def test_what_is_left_on_the_loop_is_named(plant: str, kind: str, text: str) -> None:
    """
    Tasks and scheduled calls of the application, asyncio's functions among them.
    """

    def noise() -> None: ...

    async def forever() -> None:
        await asyncio.Event().wait()

    async def main() -> AuditReport:
        guard = Guard(shutdown_timeout=SHORT)
        async with guard:
            loop = asyncio.get_running_loop()
            left: Any
            if plant == "forever":
                left = loop.create_task(forever())
            elif plant == "sleep":
                left = loop.create_task(asyncio.sleep(20))
            else:
                call: Callable[..., Any] = {
                    "function": noise,
                    "method": asyncio.Event().set,
                    "built-in": print,
                    "partial": functools.partial(noise),
                }[plant]
                left = loop.call_later(20, call)
            await asyncio.sleep(0)
        report = await guard.ashutdown()
        left.cancel()
        return report.audit

    (finding,) = faults(asyncio.run(main()))
    assert (kind, "leaked") == (finding.kind, finding.verdict)
    assert text in finding.name
    if plant in ("forever", "function", "partial"):
        assert "test_audit.py" in finding.site


def test_a_child_of_the_loop_is_named() -> None:
    """
    Once as a child; what the loop needs to wait for it is the host's.
    """

    async def main() -> AuditReport:
        guard = Guard(shutdown_timeout=SHORT)
        async with guard:
            child = await asyncio.create_subprocess_exec("sleep", "20")
        report = await guard.ashutdown()
        child.kill()
        await child.wait()
        return report.audit

    (finding,) = faults(asyncio.run(main()))
    assert ("process", "sleep") == (finding.kind, finding.name)


# -- clean -----------------------------------------------------------------------------


def test_a_hundred_plain_runs_are_clean() -> None:
    """
    With something of each kind that is closed in time.
    """
    for _ in range(100):
        with Guard() as guard:
            guard.register(socket.socket(), keep=True)
            guard.timer(int, every="1h")
            with guard.scope("job") as scope:
                scope.watch(Thing(), "gone at once")
                scope.register(Thing(), keep=True)
        report = guard.shutdown()
        assert report.clean, report.audit
        assert not report.audit.findings


def test_a_hundred_runs_on_a_loop_are_clean() -> None:
    """
    With tasks, scheduled calls, a server and a connection to it.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guard_of_run.register(writer)
        await reader.read()

    async def main() -> None:
        nonlocal guard_of_run
        async with Guard() as guard:
            guard_of_run = guard
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            guard.register(server, phase="stop_intake")
            _, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname()[:2]
            )
            guard.register(writer)
            guard.spawn(asyncio.sleep(20))
            guard.timer(asyncio.Event().wait, every="1h")
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        report = await guard.ashutdown()
        assert report.clean, report.audit

    guard_of_run = Guard()
    for _ in range(100):
        asyncio.run(main())


def test_registered_pools_are_clean() -> None:
    """
    Their threads end with them.
    """
    for _ in range(100):
        with Guard() as guard:
            pool = guard.register(ThreadPoolExecutor(2))
            pool.submit(int).result(5)
        report = guard.shutdown()
        assert report.clean, report.audit


def test_registered_children_are_clean(long_form: bool) -> None:
    """
    They are ended and waited for.
    """
    for _ in range(100 if long_form else 20):
        with Guard() as guard:
            guard.register(subprocess.Popen(["sleep", "20"]), keep=True)
        report = guard.shutdown()
        assert report.clean, report.audit


def test_what_closes_late_is_waited_for() -> None:
    """
    A thread that needs a moment to let go of its socket is no leak.
    """
    guard = Guard().start()

    def work() -> None:
        with socket.socket():
            assert guard.control.begun.wait(5)
            threading.Event().wait(0.03)

    threading.Thread(target=work).start()
    report = guard.shutdown()

    assert report.clean, report.audit
    assert report.audit.attempts > 1


def test_what_only_a_cycle_holds_is_no_leak() -> None:
    """
    One collection is made before anything is called a leak.
    """
    gc.disable()
    try:
        with Guard() as guard:
            thing = Thing()
            thing.itself = thing  # type: ignore[attr-defined]
            guard.register(thing)
            del thing
        assert guard.shutdown().clean
    finally:
        gc.enable()


def test_what_was_there_before_the_start_is_the_hosts() -> None:
    """
    Whatever it is.
    """
    over = threading.Event()
    threading.Thread(target=over.wait, args=(20,)).start()
    with socket.socket(), subprocess.Popen(["sleep", "20"]) as child:
        with Guard() as guard:
            pass
        assert guard.shutdown().clean
        child.kill()
    over.set()


def test_threads_of_the_loops_own_executor_are_the_hosts() -> None:
    """
    They end with the loop, not before.
    """

    async def main() -> AuditReport:
        async with Guard() as guard:
            await asyncio.to_thread(int)
        return (await guard.ashutdown()).audit

    report = asyncio.run(main())
    assert report.clean
    assert ["host"] == [one.verdict for one in report.findings]


def test_a_loop_that_started_after_the_guard_is_the_hosts() -> None:
    """
    Its selector and the sockets it wakes itself up with.
    """
    guard = Guard().start()

    async def main() -> AuditReport:
        return (await guard.ashutdown()).audit

    report = asyncio.run(main())
    assert report.clean, report


def test_the_keeper_of_shared_memory_is_the_hosts() -> None:
    """
    Multiprocessing starts a process of its own and keeps a pipe to it.
    """
    from multiprocessing import resource_tracker

    guard = Guard().start()
    resource_tracker.ensure_running()
    report = guard.shutdown()

    assert report.clean, report.audit


# -- live ------------------------------------------------------------------------------


def test_a_live_audit_passes_over_what_is_owned(tmp_path: Path) -> None:
    """
    Registered, entered, pooled or kept: with everything that hangs on it.
    """
    with Guard() as guard:
        guard.register(socket.socket(), keep=True)
        guard.enter(open(tmp_path / "file", "w"))  # noqa: SIM115
        guard.enter(tempfile.NamedTemporaryFile())  # noqa: SIM115
        guard.enter(tempfile.TemporaryDirectory())
        pool = guard.register(ThreadPoolExecutor(1))
        pool.submit(int).result(5)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        child = guard.register(subprocess.Popen(["cat"], **pipes), keep=True)  # type: ignore[call-overload]
        guard.register(
            sqlite3.connect(tmp_path / "data.db", check_same_thread=False), keep=True
        ).execute("create table t (x)")
        number = guard.register(
            os.open(tmp_path / "raw", os.O_CREAT), keep=True, close=os.close
        )
        with guard.pool(
            "sockets", socket.socket, dispose=socket.socket.close
        ).acquire():
            report = guard.audit()
        assert child.stdin
        assert number

    assert report.clean, report
    assert 1 == report.attempts
    report = guard.shutdown().audit
    assert report.clean, report


def test_a_live_audit_passes_over_registered_processes() -> None:
    """
    With the pipes that they are watched through.
    """
    context = multiprocessing.get_context("fork")
    with Guard() as guard:
        process = context.Process(target=threading.Event().wait, args=(20,))
        process.start()
        guard.register(process, keep=True)
        assert guard.audit().clean, guard.audit()
        del process

    assert guard.shutdown().clean


def test_a_live_audit_on_a_loop_passes_over_what_is_owned() -> None:
    """
    Servers, connections, tasks, asynchronous timers and listeners.
    """
    ticking = asyncio.Event

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guard.register(writer)
        await reader.read()

    async def main() -> None:
        ticked = ticking()

        async def tick() -> None:
            ticked.set()
            await asyncio.Event().wait()

        async with guard:
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            guard.register(server, phase="stop_intake")
            address = server.sockets[0].getsockname()[:2]
            _, writer = await asyncio.open_connection(*address)
            guard.register(writer)
            guard.spawn(asyncio.sleep(20))
            guard.timer(tick, every=0.01)
            guard.emitter("bus").on("event", print)
            await asyncio.wait_for(ticked.wait(), 5)
            report = guard.audit()
            assert report.clean, report
            left = asyncio.ensure_future(asyncio.sleep(20))
            assert ["sleep"] == [one.name for one in faults(guard.audit())]
            left.cancel()

    guard = Guard(shutdown_timeout=SHORT)
    asyncio.run(main())


@pytest.mark.parametrize(
    "plant", ["descriptor", "file", "socket", "thread", "timer", "child", "executor"]
)
def test_a_live_audit_names_what_nobody_owns(planting: Planting, plant: str) -> None:
    """
    Also while something of the same kind is owned.
    """
    with Guard(shutdown_timeout=SHORT) as guard:
        guard.register(socket.socket(), keep=True)
        kind, verdict, text = getattr(planting, plant)()
        report = guard.audit()

        assert [(kind, verdict)] == [(one.kind, one.verdict) for one in faults(report)]
        assert text in str(report)
        planting.undo.close()


def test_a_live_audit_before_the_start_finds_nothing() -> None:
    """
    There is nothing to compare with.
    """
    report = Guard().audit()

    assert report.clean
    assert not report.findings


# -- what is ignored, what cannot be seen ----------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "is_ignored"),
    [
        ("fd", True),
        ("f?", True),
        ("fd:file *", True),
        ("file *", True),
        ("*/audited/*.log", True),
        ("fd:*/audited/*", True),
        ("socket", False),
        ("fd:pipe *", False),
        ("*.txt", False),
    ],
)
def test_patterns_of_audit_ignore(
    tmp_path: Path, pattern: str, is_ignored: bool
) -> None:
    """
    A kind, a name, a path, or a kind with either.
    """
    (tmp_path / "audited").mkdir()
    guard = Guard(shutdown_timeout=SHORT, audit_ignore=[pattern]).start()
    with open(tmp_path / "audited/app.log", "w"):
        report = guard.shutdown()

    assert is_ignored == report.clean
    ignored, found = len(report.audit.ignored), len(faults(report.audit))
    assert (1, 0) == ((ignored, found) if is_ignored else (found, ignored))


@pytest.mark.parametrize(
    ("reader", "told"),
    [
        ("descriptors", "descriptors"),
        ("native_threads", "native threads"),
        ("children", "children"),
    ],
)
@pytest.mark.parametrize("when", ["always", "at the start", "at the end"])
def test_what_the_system_does_not_tell_is_unseen(
    monkeypatch: pytest.MonkeyPatch, reader: str, told: str, when: str
) -> None:
    """
    That is neither a leak nor silence: the report says what it could not see.
    """
    real = getattr(inventory, reader)
    guard = Guard(shutdown_timeout=SHORT)
    if when != "at the end":
        monkeypatch.setattr(inventory, reader, lambda: None)
    guard.start()
    blind = (lambda: None) if when != "at the start" else real
    monkeypatch.setattr(inventory, reader, blind)
    report = guard.shutdown()

    assert report.clean, report.audit
    assert (told,) == report.audit.unseen
    assert told in str(report)
    assert [told] == report.to_dict()["audit"]["unseen"]


def test_everything_unseen_still_finds_what_python_knows(
    monkeypatch: pytest.MonkeyPatch, planting: Planting
) -> None:
    """
    Threads of Python, tasks, temporary files and objects need no operating system.
    """
    for reader in ("descriptors", "native_threads", "children"):
        monkeypatch.setattr(inventory, reader, lambda: None)
    guard = planting.guard = Guard(shutdown_timeout=SHORT).start()
    planting.thread()
    planting.temporary_file()
    planting.watched()

    found = {one.kind for one in faults(guard.shutdown().audit)}
    assert {"thread", "tempfile", "object"} == found


def test_a_process_without_descriptors_shuts_down(
    run_python: Any, tmp_path: Path
) -> None:
    """
    What cannot be opened is unseen or not written; everything is closed all the same.
    """
    run = run_python(
        "import memguard, os, resource, sys\n"
        "class Thing:\n"
        "    def close(self): print('closed')\n"
        "thing, seen = Thing(), []\n"
        "guard = memguard.install(report_file=sys.argv[1], shutdown_timeout='1s')\n"
        "guard.register(thing)\n"
        "guard.on_shutdown()(lambda: seen.append(guard.health().status))\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "left = []\n"
        "try:\n"
        "    while True: left.append(os.dup(1))\n"
        "except OSError: pass\n"
        "report = guard.shutdown()\n"
        "for one in left: os.close(one)\n"
        "print(seen, report.audit.unseen, [one.name for one in report.failing()])",
        str(tmp_path / "report"),
    )

    assert ["closed", "['fail'] ('descriptors', 'native threads', 'children') []"] == (
        run.stdout.splitlines()
    ), run.stderr
    assert "report could not be written" in run.stderr


# -- what it keeps ---------------------------------------------------------------------


def test_nothing_of_the_application_is_kept_alive(planting: Planting) -> None:
    """
    Neither by the report nor by the guard.
    """

    class Pipe(socket.socket):
        pass

    guard = Guard(shutdown_timeout=SHORT).start()
    thing, left, thread = Thing(), Pipe(), Looping()
    thread.start()
    guard.watch(thing, "over")
    seen = [weakref.ref(one) for one in (thing, left, thread)]
    report = guard.shutdown()
    kinds = {one.kind for one in faults(report.audit)}
    thread.over.set()
    thread.join(5)
    left.close()
    del thing, left, thread
    gc.collect()

    assert {"object", "socket", "thread"} == kinds
    assert [None, None, None] == [one() for one in seen]
    assert guard.state
    assert report.audit.findings


def test_a_live_audit_keeps_nothing_alive() -> None:
    """
    It looks at what the tree owns, and forgets it.
    """
    with Guard() as guard:
        left = guard.register(socket.socket())
        report = guard.audit()
        seen = weakref.ref(left)
        left.close()
        guard.release(left)
        del left

        assert seen() is None
        assert report.clean


def test_ten_thousand_descriptors() -> None:
    """
    They are listed before and after; none of them is held up for a leak.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_200 if hard == resource.RLIM_INFINITY else min(hard, 10_200)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    many = min(10_000, max(soft, wanted) - 200)
    with open(os.devnull) as first, ExitStack() as undo:
        numbers = [os.dup(first.fileno()) for _ in range(many)]
        undo.callback(lambda: [os.close(number) for number in numbers])
        with Guard() as guard:
            pass
        report = guard.shutdown().audit
        assert report.clean, report
        assert report.counts["fd"] > many
        assert 1 == report.attempts

        guard = Guard(shutdown_timeout=SHORT).start()
        left = os.dup(first.fileno())
        report = guard.shutdown().audit
        os.close(left)
        assert [f"other {left}"] == [one.name for one in faults(report)]
