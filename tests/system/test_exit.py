"""
The end of real processes: the exit hook, budgets that hold, and nothing piling up.
"""

from __future__ import annotations

import signal
import socket
from time import monotonic

import pytest
from tests.system._scripts import Script

pytestmark = pytest.mark.system

LATE_S = 0.25  # above the budget
BUDGET_S = 3.0
START = """
    import os, signal, sys, threading, time
    import memguard

    def print(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # lines stay whole

    class Thing:
        def close(self):
            print("closed")

    thing = Thing()
    tight = {"shutdown_timeout": "3s", "grace": "4s"}
"""


def run(code: str, status: int, *, options: tuple[str, ...] = ()) -> list[str]:
    """
    What a program prints that ends by itself with *status*.
    """
    with Script(START + code, options=options) as script:
        assert status == script.end(), script.text
        return script.lines


# -- the exit hook ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("", 0),
        ("sys.exit(5)", 5),
        ("raise SystemExit('told')", 1),
        ("1 / 0", 1),
    ],
    ids=["end", "exit", "message", "exception"],
)
def test_exit_closes_once_and_keeps_the_status(ending: str, status: int) -> None:
    """
    Whichever way the main thread ends.
    """
    code = f"""
    memguard.install().register(thing)
    {ending}
    """
    assert 1 == run(code, status).count("closed")


def test_exit_without_exit_functions_closes_nothing() -> None:
    """
    `os._exit` and SIGKILL run nothing: never rely on the exit hook alone.
    """
    code = """
    memguard.install().register(thing)
    {ending}
    """
    assert [] == run(code.format(ending="os._exit(0)"), 0)
    ending = "os.kill(os.getpid(), signal.SIGKILL)"
    assert [] == run(code.format(ending=ending), -signal.SIGKILL)


def test_threads_that_only_a_shutdown_ends_do_not_hang_the_exit() -> None:
    """
    The interpreter joins non-daemon threads before it runs atexit functions.
    """
    code = """
    stop = threading.Event()

    class Consumer:
        def close(self):
            stop.set()
            print("stopped")

    consumer = Consumer()
    memguard.install().register(consumer)
    threading.Thread(target=stop.wait).start()
    """
    assert ["stopped"] == run(code, 0)


def test_executors_still_work_while_the_exit_hook_runs() -> None:
    """
    A close may hand its last work to an executor: they are shut down after us.
    """
    code = """
    from concurrent.futures import ThreadPoolExecutor

    executor = ThreadPoolExecutor(1)
    executor.submit(int).result()  # 3.12 starts no thread at its exit

    class Flushes:
        def close(self):
            print(executor.submit(lambda: "flushed").result(5))

    flushes = Flushes()
    memguard.install().register(flushes)
    """
    assert "flushed" in run(code, 0)


def test_other_exit_functions_run_whatever_happens_in_ours() -> None:
    """
    What a strict shutdown raises at exit is logged, and keeps nobody from running.
    """
    code = """
    import atexit

    class Fails:
        def close(self):
            raise ZeroDivisionError

    fails = Fails()
    atexit.register(lambda: print("theirs"))
    memguard.install(strict=True).register(fails)
    """
    lines = run(code, 0)
    assert "theirs" in lines
    assert any("shutdown at exit ended with BackgroundFailures" in one for one in lines)


def test_uninstalled_guard_does_nothing_at_exit() -> None:
    """
    The exit hook goes with the installation.
    """
    code = """
    guard = memguard.install()
    guard.register(thing)
    guard.shutdown()
    guard.uninstall()
    guard.start()
    guard.register(thing)
    """
    assert ["closed"] == run(code, 0)


def test_exit_while_a_signals_shutdown_runs_waits_for_it() -> None:
    """
    The main thread ends meanwhile: it joins, and the status is that of the signal.
    """
    code = (
        START
        + """
    leaving = threading.Event()

    class Slow:
        def close(self):
            leaving.set()
            time.sleep(0.5)
            print("slowly closed")

    slow = Slow()
    memguard.install().register(slow)
    print("ready")
    leaving.wait()
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert -signal.SIGTERM == script.end()
        assert ["ready", "slowly closed"] == script.lines


def test_installing_while_the_interpreter_ends() -> None:
    """
    Too late for the hook before the joins; atexit is what is left, and nothing breaks.
    """
    code = """
    import atexit

    @atexit.register
    def late():
        try:
            memguard.install().register(thing)
        except RuntimeError as error:
            print(error)
    """
    lines = run(code, 0)
    # From 3.12 on no thread can be started any more, which is told.
    assert lines == [] or all("thread" in line for line in lines)


# -- budgets ---------------------------------------------------------------------------

HANGS = """
    class Hangs:
        def __init__(self, name):
            self.name = name

        def close(self):
            print("hangs")
            time.sleep(600)
"""


@pytest.mark.parametrize("way", ["signal", "exit"])
def test_hung_resources(way: str) -> None:
    """
    What hangs is abandoned; everything else is closed, and the process ends in time.
    """
    code = (
        START
        + HANGS
        + f"""
    guard = memguard.install(**tight)
    hung = [guard.register(Hangs(str(n)), timeout="10s") for n in range(3)]
    guard.register(thing, phase="process")
    print("ready")
    if {way == "signal"}:
        time.sleep(600)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        sent = script.signal() if way == "signal" else monotonic()
        status = script.end()
        assert monotonic() - sent < BUDGET_S + LATE_S
        assert (-signal.SIGTERM if way == "signal" else 0) == status
        assert 1 == script.lines.count("closed")
        assert "3 abandoned" in script.text or script.text.count("- abandoned") == 3


def test_hung_thread() -> None:
    """
    A thread that never ends holds nobody up beyond its time.
    """
    code = (
        START
        + """
    guard = memguard.install(**tight)
    stuck = threading.Thread(target=time.sleep, args=(600,), name="stuck")
    stuck.start()
    guard.register(stuck)
    guard.register(thing, phase="process")
    print("ready")
    time.sleep(600)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        sent = script.signal()
        assert -signal.SIGTERM == script.end()
        assert monotonic() - sent < BUDGET_S + LATE_S
        assert 1 == script.lines.count("closed")
        assert "stuck" in script.text


def test_work_that_never_ends() -> None:
    """
    A request that hangs has its share, and a timer's call as well.
    """
    code = (
        START
        + """
    guard = memguard.install(**tight)

    @memguard.timer(every="10ms")
    def endless():
        time.sleep(600)

    def request():
        with guard.scope("GET /endless"):
            time.sleep(600)

    threading.Thread(target=request, daemon=True).start()
    guard.register(thing, phase="process")
    time.sleep(0.1)
    print("ready")
    time.sleep(600)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        sent = script.signal()
        assert -signal.SIGTERM == script.end()
        assert monotonic() - sent < BUDGET_S + LATE_S
        assert 1 == script.lines.count("closed")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_loop_that_hangs(loop: str) -> None:
    """
    The guard's loop is blocked: what does not need it is closed in time.
    """
    code = (
        START
        + f"""
    import asyncio

    async def main():
        async with memguard.install(**tight) as guard:
            guard.register(thing)
            asyncio.get_running_loop().call_later(0.1, time.sleep, 600)
            print("ready")
            await asyncio.sleep(0.05)
            await guard.stopped()

    if {loop == "uvloop"}:
        import uvloop
        uvloop.run(main())
    else:
        asyncio.run(main())
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        pause(0.3)
        sent = script.signal()
        assert -signal.SIGTERM == script.end()
        assert monotonic() - sent < BUDGET_S + LATE_S
        assert 1 == script.lines.count("closed")


def test_loop_that_hangs_in_the_middle_of_the_shutdown() -> None:
    """
    A close that blocks the loop it is bound to: the process still ends in time.
    """
    code = (
        START
        + """
    import asyncio

    class Blocks:
        async def aclose(self):
            print("blocks")
            time.sleep(600)

    blocks = Blocks()

    async def main():
        async with memguard.install(**tight) as guard:
            guard.register(blocks)
            print("ready")
            await guard.stopped()

    asyncio.run(main())
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        sent = script.signal()
        assert -signal.SIGTERM == script.end()
        assert monotonic() - sent < BUDGET_S + LATE_S
        assert "blocks" in script.lines


def test_cancelled_clean_up_is_finished() -> None:
    """
    Whoever waits for the shutdown is cancelled; the shutdown goes on to its end.
    """
    code = (
        START
        + """
    import asyncio

    class Slow:
        async def aclose(self):
            print("closing")
            await asyncio.sleep(0.5)
            print("slowly closed")

    slow = Slow()

    async def main():
        async with memguard.install(**tight) as guard:
            guard.register(thing)
            guard.register(slow)
            print("ready")

    async def impatient():
        task = asyncio.ensure_future(main())
        await asyncio.sleep(0.2)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            print("cancelled")

    asyncio.run(impatient())
    """
    )
    with Script(code) as script:
        assert 0 == script.end(), script.text
        assert {"closing", "slowly closed", "closed"} <= set(script.lines)
        assert "cancelled" == script.lines[-1]


@pytest.mark.parametrize("way", ["signal", "exit"])
def test_dead_collector(way: str) -> None:
    """
    An OTLP collector that accepts and never answers costs no more than the budget.
    """
    with socket.create_server(("127.0.0.1", 0)) as collector:
        port = collector.getsockname()[1]
        code = (
            START
            + f"""
    from opentelemetry import metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
        OTLPMetricExporter,
    )
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = OTLPMetricExporter("http://127.0.0.1:{port}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    provider = MeterProvider([reader], shutdown_on_exit={way == "signal"})
    metrics.set_meter_provider(provider)
    guard = memguard.install(**tight)
    guard.register(provider, close="shutdown", phase="telemetry")
    guard.register(thing, phase="process")
    print("ready")
    if {way == "signal"}:
        time.sleep(600)
    """
        )
        with Script(code) as script:
            script.wait_for("ready")
            sent = script.signal() if way == "signal" else monotonic()
            status = script.end()
            assert monotonic() - sent < BUDGET_S + LATE_S
            assert (-signal.SIGTERM if way == "signal" else 0) == status
            assert 1 == script.lines.count("closed")


# -- again and again -------------------------------------------------------------------

FIGURES = """
    import asyncio, atexit, gc

    def figures():
        gc.collect()
        return {
            "handlers": [signal.getsignal(n) for n in (2, 15)],
            "wakeup": signal.set_wakeup_fd(-1),
            "threads": threading.active_count(),
            "exit": atexit._ncallbacks(),
            "before join": len(threading._threading_atexits),
            "fds": len(os.listdir("/proc/self/fd")),
        }

    @memguard.timer(every="1h")
    def hourly():
        pass

    memguard.cache("numbers", max_entries=10)
    rooms = memguard.emitter("rooms")
    memguard.sessions("chat")

    def cycles(once, many):
        for _ in range(100):
            once()
        before = figures()
        window = many // 5
        grown = []
        for _ in range(5):
            blocks = sys.getallocatedblocks()
            for _ in range(window):
                once()
            after = figures()
            grown.append(sys.getallocatedblocks() - blocks)
        print("same" if before == after else (before, after))
        # The interpreter's own pools grow now and then. A leak of one object a cycle
        # shows in every window.
        print("memory same" if min(grown) < window // 2 else grown)
"""


@pytest.mark.parametrize(
    ("once", "bounded"),
    [
        pytest.param(
            "memguard.current().start(); memguard.shutdown()",
            1000,
            id="start and shutdown",
        ),
        pytest.param(
            "g = memguard.install(); g.shutdown(); g.uninstall()",
            1000,
            id="install and uninstall",
        ),
        pytest.param("with memguard.install(): pass", 300, id="block"),
        pytest.param("asyncio.run(block())", 300, id="block of a loop"),
        pytest.param("memguard.Guard().start().shutdown()", 300, id="new guards"),
    ],
)
def test_again_and_again(once: str, bounded: int, long_form: bool) -> None:
    """
    Handlers, threads, exit functions, descriptors and memory are as before.
    """
    code = (
        FIGURES
        + f"""
    async def block():
        async with memguard.install():
            pass

    def once():
        {once}

    cycles(once, {1000 if long_form else bounded})
    """
    )
    assert ["same", "memory same"] == run(code, 0)


def pause(seconds: float) -> None:
    """
    Let real time pass for another process.
    """
    import threading

    threading.Event().wait(seconds)
