"""
Forked children: nothing inherited is closed, declarations go on, no lock stays held.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from tests.system._scripts import Script

if TYPE_CHECKING:
    from pathlib import Path

FORKS = 1000
BOUNDED_FORKS = 200
START = """
    import multiprocessing, os, signal, subprocess, sys, threading, time
    import memguard

    def print(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # lines stay whole

    class Thing:
        def __init__(self, name):
            self.name = name

        def close(self):
            print("closed", self.name)

    def in_child(work):
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        status = 1
        try:
            signal.alarm(20)
            work()
            status = 0
        except SystemExit as ending:
            raise
        except BaseException as error:
            print(type(error).__name__, error)
        finally:
            os._exit(status)
"""

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def run(code: str, status: int = 0) -> list[str]:
    """
    What a program prints that ends by itself with *status*.
    """
    options = ("-W", "ignore::DeprecationWarning")
    with Script(START + code, options=options) as script:
        assert status == script.end(), script.text
        return script.lines


@pytest.mark.parametrize("start", ["memguard.install()", "memguard.current().start()"])
def test_child_has_declarations_and_nothing_else(start: str) -> None:
    """
    What was registered belongs to the parent, whatever the child does to its guard.
    """
    code = f"""
    rooms = memguard.emitter("rooms")
    numbers = memguard.cache("numbers", max_entries=10)

    @memguard.timer(every="1h", name="hourly")
    def hourly():
        pass

    guard = {start}
    thing = guard.register(Thing("parent's"))
    scope = guard.scope("request")
    scope.__enter__()
    held = scope.register(Thing("request's"))

    def work():
        kinds = sorted(one.kind for one in memguard.snapshot().nodes)
        print("child", *kinds)
        print(memguard.current() is guard, guard.is_running)
        print(memguard.current_scope() is guard)
        scope.close()
        guard.register(Thing("weak"))
        mine = guard.register(Thing("child's"), keep=True)
        numbers.put(1, 2)
        report = guard.shutdown()
        print("clean" if report.clean else report)
        guard.uninstall()

    print(in_child(work))
    print("parent", *sorted(one.kind for one in memguard.snapshot().nodes))
    scope.__exit__(None, None, None)
    guard.shutdown()
    """
    lines = [line for line in run(code) if "collected" not in line]
    assert [
        "child cache emitter timer",
        "True True",
        "True",
        "closed child's",
        "clean",
        "0",
        "parent cache emitter resource resource scope timer",
        "closed request's",
        "closed parent's",
    ] == [line for line in lines if not line.startswith(" ")]


def test_timers_go_on_in_the_child() -> None:
    """
    Declared timers are armed again, on a thread of the child's own.
    """
    code = """
    ticked = threading.Event()
    pids = set()

    @memguard.timer(every="5ms")
    def tick():
        pids.add(os.getpid())
        ticked.set()

    memguard.install()
    ticked.wait(5)

    def work():
        ticked.clear()
        pids.clear()
        print(ticked.wait(5), pids == {os.getpid()})
        names = {one.name for one in threading.enumerate()}
        print("memguard-scheduler" in names, "memguard-signals" in names)

    print(in_child(work), "parent goes on:", end := ticked.wait(5))
    """
    assert ["True True", "True True", "0 parent goes on: True"] == run(code)


def test_child_that_exits_runs_its_own_exit_hook() -> None:
    """
    The child's things are closed by the child, the parent's by the parent, once each.
    """
    code = """
    guard = memguard.install()
    thing = guard.register(Thing("parent's"))
    pid = os.fork()
    if pid == 0:
        mine = guard.register(Thing("child's"))
        sys.exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    assert ["closed child's", "3", "closed parent's"] == run(code)


JOB = """
import os, memguard

class Thing:
    def __init__(self, name):
        self.name = name

    def close(self):
        os.write(1, f"closed {self.name}\\n".encode())

def job():
    guard = memguard.install()
    guard.register(Thing("child's"), keep=True)
    os.write(1, b"working\\n")
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing(method: str, tmp_path: Path) -> None:
    """
    They leave without atexit on older versions, and close what is theirs all the same.
    """
    # Some methods import the program in the child: it has to be a module.
    (tmp_path / "job.py").write_text(JOB)
    code = f"""
    sys.path.insert(0, {str(tmp_path)!r})
    import job

    if {method == "fork"}:
        guard = memguard.install()
        guard.register(Thing("parent's"), keep=True)
    context = multiprocessing.get_context("{method}")
    process = context.Process(target=job.job)
    process.start()
    process.join(20)
    print(process.exitcode)
    process.close()
    """
    expected = ["working", "closed child's", "0"]
    if method == "fork":
        expected.append("closed parent's")
    assert expected == run(code)


def test_terminated_child_closes_its_own() -> None:
    """
    SIGTERM to a forked child: its guard answers, and the parent does not hear of it.
    """
    code = """
    guard = memguard.install()
    thing = guard.register(Thing("parent's"))

    def endless():
        guard.register(Thing("child's"), keep=True)
        ready.set()
        time.sleep(600)

    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=endless)
    process.start()
    ready.wait(20)
    process.terminate()
    process.join(20)
    print(process.exitcode, guard.is_running)
    process.close()
    """
    assert ["closed child's", f"{-signal.SIGTERM} True", "closed parent's"] == run(code)


def test_children_killed_at_birth_do_not_stop_the_parent() -> None:
    """
    Until its fork hooks have run a child shares the parent's pipe: it must not write.
    """
    code = """
    guard = memguard.install()
    thing = guard.register(Thing("parent's"))
    statuses = set()
    for number in range(150):
        pid = os.fork()
        if pid == 0:
            time.sleep(20)
            os._exit(1)
        # From at once to some milliseconds later.
        deadline = time.perf_counter() + (number % 30) * 1e-4
        while time.perf_counter() < deadline:
            pass
        os.kill(pid, signal.SIGTERM)
        statuses.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    time.sleep(0.3)
    print(statuses, guard.is_running)
    """
    assert [f"{{{-signal.SIGTERM}}} True", "closed parent's"] == run(code)


def test_programs_started_with_a_preexec_function() -> None:
    """
    They run the fork hooks and then become another program.
    """
    code = """
    guard = memguard.install()
    thing = guard.register(Thing("parent's"))
    for _ in range(5):
        subprocess.run(["true"], preexec_fn=os.setsid, check=True, timeout=20)
    print(guard.is_running)
    """
    assert ["True", "closed parent's"] == run(code)


def test_fork_of_a_fork_in_a_thread() -> None:
    """
    The thread that forks is the main thread of its child, and so on.
    """
    code = """
    guard = memguard.install()
    thing = guard.register(Thing("parent's"))

    def grandchild():
        guard.register(Thing("grandchild's"), keep=True)
        guard.shutdown()

    def child():
        print("grandchild", in_child(grandchild))
        guard.register(Thing("child's"), keep=True)
        guard.shutdown()

    def fork():
        print("child", in_child(child))

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
    """
    assert [
        "closed grandchild's",
        "grandchild 0",
        "closed child's",
        "child 0",
        "closed parent's",
    ] == run(code)


def test_guards_beside_the_default_one() -> None:
    """
    Each guard of the parent has its own declarations in the child.
    """
    code = """
    one, two = memguard.Guard("one"), memguard.Guard("two")

    @one.timer(every="1h")
    def hourly():
        pass

    one.start()
    two.start()
    things = [one.register(Thing("one's")), two.register(Thing("two's"))]

    def work():
        print(*(f"{g.name}:{g.is_running}:{len(g.children())}" for g in (one, two)))
        for guard in (one, two):
            guard.shutdown()

    print(in_child(work))
    two.shutdown()
    one.shutdown()
    """
    assert ["one:True:1 two:True:0", "0", "closed two's", "closed one's"] == run(code)


@pytest.mark.stress
def test_forks_from_busy_threads(long_form: bool) -> None:
    """
    Every lock may be held by another thread at the fork: no child ever waits for one.
    """
    forks = FORKS if long_form else BOUNDED_FORKS
    code = f"""
    FORKS, THREADS = {forks}, 8
    rooms = memguard.emitter("rooms", max_listeners=None)
    numbers = memguard.cache("numbers", max_entries=50, ttl="1m")
    history = memguard.ring("history", max_entries=50)
    chat = memguard.sessions("chat", store="memory")  # else all wait for each other

    @memguard.cached(max_entries=20)
    def squared(number):
        return number * number

    @rooms.on("line")
    def heard(number):
        history.append(number)

    @memguard.timer(every="1ms")
    def tick():
        history.append(0)

    guard = memguard.install()
    parents = guard.register(Thing("parent's"))
    stop = threading.Event()

    def use(number):
        with guard.scope(f"work {{number % 5}}") as scope:
            scope.register(Quiet(), keep=True)
            scope.listen(rooms, "line", lambda number: None)
            rooms.emit("line", number)
            numbers.put(number % 80, number)
            numbers.get(number % 80)
            squared(number % 30)
            history.recent(5)
            with chat.open(f"user {{number % 20}}") as session:
                session.data["n"] = number

    class Quiet:
        def close(self):
            pass

    def child():
        signal.alarm(30)
        for number in range(20):
            use(number)
        guard.snapshot()
        memguard.health()
        report = guard.shutdown("5s")
        guard.uninstall()
        if not report.clean:
            print(report)
            os._exit(2)

    statuses = []

    def busy(mine):
        for number in range(mine):
            for step in range(30):
                use(number + step)
            statuses.append(in_child(child))

    threads = [
        threading.Thread(target=busy, args=(FORKS // THREADS,)) for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(statuses), sorted(set(statuses)))
    guard.shutdown()
    """
    options = ("-W", "ignore::DeprecationWarning")
    with Script(START + code, options=options) as script:
        assert 0 == script.end(1800 if long_form else 100), script.text[-4000:]
        assert [f"{forks} [0]", "closed parent's"] == script.lines, script.text[-4000:]
