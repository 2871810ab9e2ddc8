"""
What every test has: a clean process before and after, and fresh interpreters to use.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests._http import HttpServer
    from tests._redis import RedisServer

SOURCE = Path(__file__).parents[1] / "src"

# What memguard or a host may hook. SIGALRM is left out: the test timeout uses it.
WATCHED_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)

_NUMBERS = count(1)

# A thread that was told to stop may need a moment; waited for only when one is left.
LAST_THREADS_END = 1.0


class RunPython(Protocol):
    """
    Runs a fresh interpreter to its end; see the fixture `run_python`.
    """

    def __call__(
        self,
        code_or_path: str | Path,
        *args: str,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 30.0,
        options: tuple[str, ...] = (),
        cwd: Path | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """
        Starts, waits, and returns what the interpreter printed and its status.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    Adds `--long`: system and stress tests in their long form.
    """
    parser.addoption(
        "--long",
        action="store_true",
        help="run system and stress tests with as many rounds as their bars ask for",
    )


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """
    Lets a long form take its time: one hour a test unless it names a limit itself.
    """
    if not config.getoption("--long"):
        return
    for item in items:
        long_form = item.get_closest_marker("system") or item.get_closest_marker(
            "stress"
        )
        if long_form and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def long_form(request: pytest.FixtureRequest) -> bool:
    """
    True with `--long`: a test then does the full number of rounds.
    """
    return bool(request.config.getoption("--long"))


def child_environment(env: Mapping[str, str | None] | None) -> dict[str, str]:
    """
    This environment with the source first on the path, and without settings.

    A variable that `env` maps to None is removed.
    """
    path = os.environ.get("PYTHONPATH")
    merged: dict[str, str | None] = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MEMGUARD_", "OTEL_"))
    }
    merged["PYTHONPATH"] = os.pathsep.join([str(SOURCE), *([path] if path else [])])
    merged.update(env or {})
    return {name: value for name, value in merged.items() if value is not None}


@pytest.fixture
def run_python() -> RunPython:
    """
    Runs code or a script in a fresh interpreter of this version, to its end.

    The child has a process group of its own, so that at the deadline its children go
    with it: then `subprocess.TimeoutExpired` carries what was printed until there. The
    exit status is the caller's to look at.
    """

    def run(
        code_or_path: str | Path,
        *args: str,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 30.0,
        options: tuple[str, ...] = (),
        cwd: Path | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        what = (
            [str(code_or_path)]
            if isinstance(code_or_path, Path)
            else ["-c", code_or_path]
        )
        command = [sys.executable, *options, *what, *args]
        with subprocess.Popen(
            command,
            env=child_environment(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as child:
            try:
                out, err = child.communicate(stdin, timeout)
            except BaseException as error:
                os.killpg(child.pid, signal.SIGKILL)
                out, err = child.communicate()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise subprocess.TimeoutExpired(
                        command, timeout, out, err
                    ) from None
                raise
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    return run


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """
    A Redis server of this test's own; it fails in CI where there is no binary.
    """
    # Not above: this file is also used on its own, by the tests of itself.
    from tests._redis import RedisServer

    server = RedisServer(tmp_path)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    """
    An HTTP server of this test's own, which keeps connections and counts them.
    """
    from tests._http import HttpServer

    with HttpServer() as server:
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """
    A file system of one MiB; needs the right to mount.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        missing = "a full disk needs the right to mount one: run as root"
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    yield disk
    subprocess.run(["umount", disk], check=True)


def handlers() -> list[object]:
    """
    The handlers of the watched signals, as Python knows them.
    """
    return [signal.getsignal(number) for number in WATCHED_SIGNALS]


def wakeup_descriptor() -> int:
    """
    The descriptor that signals are written to, -1 without one; main thread only.
    """
    descriptor = signal.set_wakeup_fd(-1)
    if descriptor != -1:
        signal.set_wakeup_fd(descriptor)
    return descriptor


def left_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    """
    Threads a process would have to wait for at its exit and that were not there.
    """
    return [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and thread not in before
    ]


@pytest.fixture(autouse=True)
def nothing_is_kept_at_home(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Gives each test a state directory of its own: guards that are installed use it.

    It is only named here; most tests keep nothing.
    """
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    place = factory.getbasetemp() / "state" / str(next(_NUMBERS))
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


@pytest.fixture(autouse=True)
def outside_of_every_scope() -> None:
    """
    Begins each test outside of every scope: a test may leave them out of order.
    """
    tree = sys.modules.get("memguard._tree")
    if tree is not None:
        tree.current.set(None)


@pytest.fixture(autouse=True)
def leaves_the_process_as_it_was() -> Iterator[None]:
    """
    Fails a test that leaves a non-daemon thread or another signal handler behind.

    Handlers are put back, so that one careless test does not fail the next one too.
    """
    threads = set(threading.enumerate())
    signals = handlers()
    wakeup = wakeup_descriptor()
    yield
    problems = []

    if left := left_threads(threads):
        deadline = monotonic() + LAST_THREADS_END
        for thread in left:
            thread.join(max(0.0, deadline - monotonic()))
        problems += [
            f"thread {thread.name!r} is alive" for thread in left_threads(threads)
        ]

    if handlers() != signals:
        for number, old in zip(WATCHED_SIGNALS, signals, strict=True):
            new = signal.getsignal(number)
            if new != old:
                problems.append(f"{number.name} is handled by {new!r}, was {old!r}")
                put_back(number, old)
    if (now := wakeup_descriptor()) != wakeup:
        problems.append(f"signals wake descriptor {now}, was {wakeup}")
        signal.set_wakeup_fd(wakeup)

    if problems:
        pytest.fail("left behind: " + "; ".join(problems), pytrace=False)


def put_back(number: signal.Signals, handler: object) -> None:
    """
    Sets a handler that `getsignal` returned; one that C code set cannot be set.
    """
    if handler is not None:
        signal.signal(number, handler)  # type: ignore[arg-type]
