"""
Signals in real processes: who is called, when the process ends, and with what status.
"""

from __future__ import annotations

import signal
from time import monotonic

import pytest
from tests.system._scripts import Script

pytestmark = pytest.mark.system

LATE_S = 0.25  # above the budget
START = """
    import os, signal, sys, threading, time
    import memguard

    def print(*words):
        os.write(1, (" ".join(words) + "\\n").encode())  # lines stay whole

    class Thing:
        def close(self):
            print("closed")

    thing = Thing()
"""


def test_sigterm_ends_the_process_as_without_memguard() -> None:
    """
    Everything is closed, once, and the status is that of the signal.
    """
    code = (
        START
        + """
    memguard.install().register(thing)
    print("ready")
    while True:
        time.sleep(60)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert -signal.SIGTERM == script.end()
        assert 1 == script.lines.count("closed")


def test_previous_handler_is_called_once_and_decides() -> None:
    """
    With a handler of its own the program says when and how it ends.
    """
    code = (
        START
        + """
    stopping = threading.Event()

    def terminate(number, frame):
        print("previous")
        stopping.set()

    signal.signal(signal.SIGTERM, terminate)
    memguard.install().register(thing)
    print("ready")
    stopping.wait()
    print("own end")
    sys.exit(3)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert 3 == script.end()
        assert ["ready", "previous", "own end", "closed"] == script.lines


def test_previous_handler_that_raises_is_heard() -> None:
    """
    A handler may raise to end the program (SystemExit is the classic): it still can.
    """
    code = (
        START
        + """
    def terminate(number, frame):
        raise SystemExit(5)

    signal.signal(signal.SIGTERM, terminate)
    memguard.install().register(thing)
    print("ready")
    while True:
        time.sleep(60)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert 5 == script.end()
        assert ["ready", "closed"] == script.lines


@pytest.mark.parametrize("where", ["exit", "block", "loop"])
def test_handler_that_raises_in_the_middle_of_the_shutdown(where: str) -> None:
    """
    The main thread closes; what a handler raises there waits until all is closed.
    """
    code = (
        START
        + f"""
    import asyncio

    class Slow:
        def close(self):
            print("closing")
            time.sleep(0.3)
            print("slowly closed")

    slow = Slow()

    def terminate(number, frame):
        raise SystemExit(5)

    signal.signal(signal.SIGTERM, terminate)

    def own(guard):
        guard.register(slow, affinity="thread" if {where == "exit"} else "any")
        guard.register(thing, phase="process")

    async def main():
        async with memguard.install() as guard:
            own(guard)

    if {where == "loop"}:
        asyncio.run(main())
    elif {where == "block"}:
        with memguard.install() as guard:
            own(guard)
    else:
        own(memguard.install())
    """
    )
    with Script(code) as script:
        script.wait_for("closing")
        script.signal()
        # At the exit of the interpreter nobody is left to take it.
        assert (0 if where == "exit" else 5) == script.end(), script.text
        assert {"slowly closed", "closed"} <= set(script.lines)


def test_ignored_signal_stays_ignored() -> None:
    """
    Somebody wants SIGTERM ignored: memguard does not think otherwise.
    """
    code = (
        START
        + """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    memguard.install().register(thing)
    print("ready")
    threading.Event().wait(0.5)
    print(str(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN))
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert 0 == script.end()
        assert ["ready", "True", "closed"] == script.lines


@pytest.mark.parametrize(
    "busy",
    [
        pytest.param("hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)", id="C call"),
        pytest.param("threading.Lock().acquire() and lock.acquire()", id="lock"),
        pytest.param("os.read(os.pipe()[0], 1)", id="read"),
        pytest.param("threading.Event().wait()", id="event"),
        pytest.param("[None for _ in iter(int, 1)]", id="loop"),
    ],
)
def test_main_thread_that_never_comes_back(busy: str) -> None:
    """
    The shutdown does not need the main thread, and the process ends with the signal.

    In a C call no handler of Python runs: the interpreter's wake-up descriptor tells.
    """
    code = (
        START
        + f"""
    import hashlib, os
    lock = threading.Lock()
    lock.acquire()
    memguard.install(shutdown_timeout="3s", grace="4s").register(thing)
    print("ready")
    {busy}
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        sent = script.signal()
        assert -signal.SIGTERM == script.end()
        assert monotonic() - sent < 3.0 + LATE_S
        assert 1 == script.lines.count("closed")


def test_c_call_that_holds_the_interpreter() -> None:
    """
    While a sort holds the GIL nobody can act; right after it everything is closed.
    """
    code = (
        START
        + """
    import random
    values = [random.random() for _ in range(1_500_000)]
    memguard.install(shutdown_timeout="3s", grace="4s").register(thing)
    print("ready")
    while True:
        sorted(values)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert -signal.SIGTERM == script.end()
        assert 1 == script.lines.count("closed")


def test_second_signal_cuts_the_deadlines() -> None:
    """
    A drain that would take its whole share has two seconds from the second signal.
    """
    code = (
        START
        + """
    guard = memguard.install(shutdown_timeout="60s", grace="70s")
    guard.register(thing)

    def work():
        with guard.scope("endless"):
            time.sleep(600)

    threading.Thread(target=work, daemon=True).start()
    guard.subscribe(lambda event: print(type(event).__name__))
    print("ready")
    while True:
        time.sleep(60)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        script.wait_for("ShutdownStarted")
        # Anything closer together is one request of a supervisor and its helpers.
        script.process.poll()
        pause(0.3)
        second = script.signal()
        assert -signal.SIGTERM == script.end()
        assert monotonic() - second < 2.0 + LATE_S
        assert 1 == script.lines.count("closed")


def test_third_signal_ends_at_once() -> None:
    """
    Whoever signals three times does not want to wait any more.
    """
    code = (
        START
        + """
    class Hangs:
        def close(self):
            print("hangs")
            time.sleep(600)

    hangs = Hangs()
    guard = memguard.install(shutdown_timeout="60s", grace="70s")
    guard.register(hangs, timeout="50s")
    print("ready")
    while True:
        time.sleep(60)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        script.wait_for("hangs")
        pause(0.3)
        script.signal()
        pause(0.3)
        third = script.signal()
        assert -signal.SIGTERM == script.end()
        assert monotonic() - third < 0.25 + LATE_S


def test_burst_of_signals_is_one() -> None:
    """
    A supervisor signals the group, the master its workers: nobody is impatient.
    """
    code = (
        START
        + """
    class Slow:
        def close(self):
            time.sleep(2.5)
            print("slowly closed")

    slow = Slow()
    guard = memguard.install(shutdown_timeout="20s", grace="30s")
    guard.register(slow, timeout="5s")
    print("ready")
    while True:
        time.sleep(60)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        for _ in range(5):
            script.signal()
        assert -signal.SIGTERM == script.end()
        assert "slowly closed" in script.lines


def test_sigint_is_not_hooked_unless_asked() -> None:
    """
    Ctrl-C stays what it is; with signals= it shuts down first and is then raised.
    """
    code = (
        START
        + """
    names = sys.argv[1:]
    guard = memguard.install(**({"signals": names} if names else {}))
    guard.register(thing)
    before = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    print("default" if before else "hooked")
    try:
        print("ready")
        while True:
            time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", "closed" if guard.closed else "open")
        sys.exit(4)
    """
    )
    for names, expected in (
        ((), ["default", "ready", "interrupted open", "closed"]),
        (("SIGTERM", "SIGINT"), ["hooked", "ready", "closed", "interrupted closed"]),
    ):
        with Script(code, *names) as script:
            script.wait_for("ready")
            script.signal(signal.SIGINT)
            assert 4 == script.end(), script.text
            assert expected == script.lines


def test_displaced_handler_is_reported_once_and_never_stolen_back() -> None:
    """
    Asyncio replaces handlers silently; memguard says so and relies on the loop's.
    """
    code = (
        START
        + """
    import asyncio

    async def main():
        guard = memguard.install()
        guard.register(thing)
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        theirs = signal.getsignal(signal.SIGTERM)
        displaced = asyncio.Event()

        def told(event):
            if type(event).__name__ == "HandlerDisplaced":
                print("displaced", event.signal)
                loop.call_soon_threadsafe(displaced.set)

        guard.subscribe(told)
        await asyncio.wait_for(displaced.wait(), 10)
        await asyncio.sleep(1.3)  # one more heartbeat
        print("theirs" if signal.getsignal(signal.SIGTERM) is theirs else "stolen")
        print("ready")
        await stopping.wait()
        print("stopped")

    asyncio.run(main())
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert 0 == script.end()
        told = [line for line in script.lines if "replaced by" in line]
        assert 1 == len(told)
        shown = [line for line in script.lines if "replaced by" not in line]
        assert ["displaced SIGTERM", "theirs", "ready", "stopped", "closed"] == shown


def test_loops_own_handler_below_ours_is_still_called() -> None:
    """
    add_signal_handler before install(): the loop's call-back runs, once.
    """
    code = (
        START
        + """
    import asyncio

    async def main():
        stopping = asyncio.Event()

        def stop():
            print("called")
            stopping.set()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        async with memguard.install() as guard:
            guard.register(thing)
            print("ready")
            await stopping.wait()
        print("after")

    if sys.argv[1] == "uvloop":
        import uvloop
        uvloop.run(main())
    else:
        asyncio.run(main())
    """
    )
    for loop in ("asyncio", "uvloop"):
        with Script(code, loop) as script:
            script.wait_for("ready")
            script.signal()
            assert 0 == script.end(), script.text
            assert ["ready", "called", "closed", "after"] == script.lines


def test_install_outside_the_main_thread_says_so() -> None:
    """
    CPython allows handlers in the main thread only; the exit hook still closes.
    """
    code = (
        START
        + """
    def install():
        memguard.install().register(thing)

    thread = threading.Thread(target=install)
    thread.start()
    thread.join()
    print(str(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL))
    """
    )
    with Script(code) as script:
        assert 0 == script.end()
        assert 1 == sum("signals are not handled" in line for line in script.lines)
        assert ["True", "closed"] == script.lines[-2:]


def test_uninstall_in_another_thread_leaves_a_process_that_can_be_stopped() -> None:
    """
    The handler cannot be taken down there; it then lets the signal do its own.
    """
    code = (
        START
        + """
    guard = memguard.install()
    guard.register(thing)

    def uninstall():
        guard.shutdown()
        guard.uninstall()

    thread = threading.Thread(target=uninstall)
    thread.start()
    thread.join()
    print("ready")
    while True:
        time.sleep(60)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert -signal.SIGTERM == script.end()
        assert ["closed", "ready"] == script.lines


def test_server_that_restores_our_handler_gets_the_default_back() -> None:
    """
    Some servers replace our handler, restore it at their end, and raise the signal.
    """
    code = (
        START
        + """
    guard = memguard.install()
    guard.register(thing)
    stopping = threading.Event()
    ours = signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    print("ready")
    stopping.wait()
    guard.shutdown()
    signal.signal(signal.SIGTERM, ours)
    print("raising")
    signal.raise_signal(signal.SIGTERM)
    print("never")
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert -signal.SIGTERM == script.end()
        shown = [line for line in script.lines if "replaced by" not in line]
        assert ["ready", "closed", "raising"] == shown


def test_interrupted_calls_go_on_where_a_server_wants_that() -> None:
    """
    Servers have system calls restarted for requests in hand; our handler keeps that.
    """
    code = (
        START
        + """
    from memguard._probes.libc import restarts_calls

    signal.signal(signal.SIGTERM, lambda number, frame: None)
    signal.siginterrupt(signal.SIGTERM, False)
    guard = memguard.install()
    print(str(restarts_calls(signal.SIGTERM)))
    guard.shutdown()
    guard.uninstall()
    print(str(restarts_calls(signal.SIGTERM)))
    signal.siginterrupt(signal.SIGTERM, True)
    memguard.install()
    print(str(restarts_calls(signal.SIGTERM)))
    """
    )
    with Script(code) as script:
        assert 0 == script.end()
        assert ["True", "True", "False"] == script.lines


def test_strict_failures_do_not_keep_the_process_alive() -> None:
    """
    Strict mode raises from shutdown(); in the answer to a signal nobody could take it.
    """
    code = (
        START
        + """
    class Fails:
        def close(self):
            raise ZeroDivisionError

    fails = Fails()
    guard = memguard.install(strict=True)
    guard.register(fails)
    guard.register(thing)
    print("ready")
    while True:
        time.sleep(60)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert -signal.SIGTERM == script.end()
        assert "closed" in script.lines
        assert "BackgroundFailures" in script.text


def test_many_open_descriptors() -> None:
    """
    `select` cannot look at descriptors above 1023; the watching thread can.
    """
    code = (
        START
        + """
    import os, resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    memguard.install().register(thing)
    print("ready")
    while True:
        time.sleep(60)
    """
    )
    with Script(code) as script:
        script.wait_for("ready")
        script.signal()
        assert -signal.SIGTERM == script.end()
        assert 1 == script.lines.count("closed")


def pause(seconds: float) -> None:
    """
    Let real time pass between two signals to another process.
    """
    import threading

    threading.Event().wait(seconds)
