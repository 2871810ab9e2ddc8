"""
The harness itself: what it fails a test for, and that its children end.
"""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import RunPython

HERE = Path(__file__).parent

PLANTED = (
    pytest.param(
        "import threading\n"
        "def test(request):\n"
        "    stop = threading.Event()\n"
        "    threading.Thread(target=stop.wait, args=(1.5,), name='stray').start()\n",
        "left behind: thread 'stray' is alive",
        id="thread",
    ),
    pytest.param(
        "import signal\n"
        "def test():\n"
        "    signal.signal(signal.SIGTERM, print)\n"
        "def test_next():\n"
        "    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n",
        "left behind: SIGTERM is handled by",
        id="handler",
    ),
    pytest.param(
        "import os, signal\n"
        "def test():\n"
        "    _, end = os.pipe2(os.O_NONBLOCK)\n"
        "    signal.set_wakeup_fd(end)\n",
        "left behind: signals wake descriptor",
        id="wake-up descriptor",
    ),
)


@pytest.mark.parametrize(("text", "complaint"), PLANTED)
def test_a_test_that_leaves_something_fails(
    text: str, complaint: str, tmp_path: Path, run_python: RunPython
) -> None:
    """
    The test itself passes, its teardown is the one error, the next test is well.
    """
    (tmp_path / "test_planted.py").write_text(text)
    done = run_python(
        "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))",
        *("-p", "conftest", "-p", "no:cacheprovider", "-q", str(tmp_path)),
        env={"PYTHONPATH": str(HERE)},
        cwd=tmp_path,
    )
    assert complaint in done.stdout
    assert f"{text.count('def ')} passed, 1 error" in done.stdout
    assert 1 == done.returncode


def test_a_thread_that_is_about_to_end_is_waited_for() -> None:
    """
    A thread that was told to stop is no leak, if it stops.
    """
    threading.Timer(0.05, int).start()


def test_the_check_costs_less_than_a_millisecond(pytestconfig: pytest.Config) -> None:
    """
    Looking at threads and handlers is cheap enough to do it around every test.
    """
    harness = pytestconfig.pluginmanager.get_plugin(str(HERE / "conftest.py"))
    assert harness is not None
    rounds = 100
    started = perf_counter()
    for _ in range(rounds):
        before = set(threading.enumerate())
        harness.handlers()
        harness.wakeup_descriptor()
        harness.left_threads(before)
    assert perf_counter() - started < rounds * 0.001


def test_run_python_gives_output_status_and_source(run_python: RunPython) -> None:
    """
    The child sees the source, its arguments and its input, and no settings.
    """
    os.environ["MEMGUARD_TICK"] = "3s"
    try:
        done = run_python(
            "import memguard, os, sys\n"
            "print(sys.argv[1], sys.stdin.read(), os.environ.get('MEMGUARD_TICK'))\n"
            "print(os.environ['EXTRA'], file=sys.stderr)\n"
            "sys.exit(3)",
            "argument",
            env={"EXTRA": "extra"},
            stdin="input",
        )
    finally:
        del os.environ["MEMGUARD_TICK"]
    assert ("argument input None\n", "extra\n") == (done.stdout, done.stderr)
    assert 3 == done.returncode


def test_run_python_ends_the_children_of_its_child(run_python: RunPython) -> None:
    """
    At the deadline the whole group goes, and what was printed is not lost.
    """
    child = "import time; time.sleep(60)"
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "print('started', flush=True)\n"
        "time.sleep(60)\n"
    )
    started = perf_counter()
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        run_python(code, timeout=1.0)
    assert "started\n" == caught.value.output
    # The grandchild holds the pipe: the output has an end only because it was killed.
    assert perf_counter() - started < 30
