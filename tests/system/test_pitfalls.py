"""
Traps that shutdown and memory code falls into, one test each; docs/pitfalls.md has all.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from tests.system._scripts import Script

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
START = """
    import gc, logging, os, signal, sys, threading, time, weakref
    import memguard

    def print(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # lines stay whole

    class Thing:
        def close(self):
            print("closed")
"""


def run(code: str, status: int = 0) -> list[str]:
    """
    What a program prints that ends by itself with *status*.
    """
    with Script(START + code) as script:
        assert status == script.end(), script.text
        return script.lines


@pytest.mark.parametrize("host", [False, True], ids=["default", "handler"])
def test_p4_handler_takes_no_lock(host: bool) -> None:
    """
    The signal comes while the main thread holds every lock there is, logging's too.
    """
    code = f"""
    if {host}:
        signal.signal(signal.SIGTERM, lambda number, frame: None)
    guard = memguard.install(grace="60s")
    thing = guard.register(Thing())
    handler = logging.StreamHandler()
    logging.getLogger("memguard").addHandler(handler)
    locks = [
        guard.registry.lock,
        guard.control.lock,
        guard.registry.failures._lock,
        guard.registry.scheduler._life,
        handler.lock,
        logging._lock,
    ]
    signal.alarm(20)
    for lock in locks:
        lock.acquire()
    signal.raise_signal(signal.SIGTERM)
    print("handler returned")
    for lock in locks:
        lock.release()
    if not {host}:
        time.sleep(20)
    """
    lines = run(code, 0 if host else -signal.SIGTERM)
    assert ["handler returned", "closed"] == lines


def test_p5_destructors_and_weak_references_wait_for_nobody() -> None:
    """
    Objects die in a thread while another one holds every lock of memguard's.
    """
    code = """
    import warnings
    warnings.simplefilter("ignore")
    guard = memguard.Guard().start()
    rooms = guard.emitter("rooms")
    timers = [guard.timer(print, every="1h") for _ in range(3)]

    class Listener:
        def heard(self, *arguments):
            pass

    things = [guard.register(Thing()) for _ in range(100)]
    listeners = [Listener() for _ in range(5)]
    for one in listeners:
        rooms.on("line", one.heard)
    held, over = threading.Event(), threading.Event()

    def hold():
        with guard.registry.lock, guard.control.lock, guard.registry.failures._lock:
            held.set()
            over.wait(20)

    threading.Thread(target=hold).start()
    held.wait(20)
    signal.alarm(10)
    del things, listeners, one
    gc.collect()
    print("died")
    signal.alarm(0)
    over.set()
    guard.shutdown()
    """
    assert "died" in run(code)


def test_p9_idle_threads_keep_nothing_alive_and_end_in_time() -> None:
    """
    Frames of memguard's threads hold no object of the application while they wait.
    """
    code = """
    class Big:
        def __init__(self):
            self.ran = threading.Event()

        def tick(self):
            self.ran.set()

    guard = memguard.install()
    big = Big()
    dead = weakref.ref(big)
    guard.timer(big.tick, after="1ms")
    guard.registry.scheduler.submit(big.tick)
    guard.control.workers.submit(big.tick)
    big.ran.wait(10)
    time.sleep(0.2)
    del big
    gc.collect()
    print("dead" if dead() is None else gc.get_referrers(dead()))
    ours = [one for one in threading.enumerate() if one.name.startswith("memguard")]
    print(all(one.daemon for one in ours), len(ours) > 1)
    guard.shutdown()
    guard.uninstall()
    print([one.name for one in ours if one.is_alive()])
    """
    assert ["dead", "True True", "[]"] == run(code)


def test_p10_loop_that_is_closed() -> None:
    """
    What is bound to a loop that is gone is forced where that is possible, else named.
    """
    code = """
    import asyncio

    class Bound:
        async def aclose(self):
            print("never")

    class Forced(Bound):
        def force_close(self):
            print("forced")

    bound, forced = Bound(), Forced()
    guard = memguard.Guard().start()

    async def main():
        guard.register(bound)
        guard.register(forced)

    asyncio.run(main())
    for one in guard.shutdown().resources:
        print(one.name, one.outcome)
        if one.outcome == "unclosable":
            print(one.reason)
    """
    lines = [line for line in run(code) if not line.startswith((" ", "memguard"))]
    assert [
        "forced",
        "Forced forced",
        "Bound unclosable",
        "its event loop is closed",
    ] == lines


def test_p10_loop_of_another_thread() -> None:
    """
    A close that has to be awaited runs on the loop it belongs to, wherever that is.
    """
    code = """
    import asyncio

    class Bound:
        async def aclose(self):
            print(asyncio.get_running_loop() is loop)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    guard = memguard.Guard().start()
    bound = Bound()

    async def register():
        guard.register(bound)

    asyncio.run_coroutine_threadsafe(register(), loop).result(10)
    print(guard.shutdown().outcomes["closed"])
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
    """
    lines = [line for line in run(code) if not line.startswith((" ", "memguard"))]
    assert ["True", "1"] == lines


def test_p12_fork_hooks_are_registered_once() -> None:
    """
    They cannot be taken back: not one for each guard, and none for a dead one.
    """
    code = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    registered = []
    register = os.register_at_fork

    def counted(**hooks):
        registered.append(hooks)
        register(**hooks)

    os.register_at_fork = counted
    refs = []
    for _ in range(30):
        refs.append(weakref.ref(memguard.Guard()))
        guard = memguard.install()
        guard.shutdown()
        guard.uninstall()
    gc.collect()
    print(len(registered) <= 2, sum(one() is not None for one in refs))
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    print(os.waitpid(pid, 0)[1])
    """
    assert ["True 0", "0"] == run(code)


def test_p14_memory_is_that_of_now_and_not_the_peak() -> None:
    """
    The system's own peak does not go down; the reading has to.
    """
    code = """
    import resource
    guard = memguard.Guard()
    before = guard.memory().rss
    block = bytearray(150_000_000)
    during = guard.memory().rss
    del block
    after = guard.memory().rss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(during - before > 140_000_000, after - before < 20_000_000)
    print(peak - before > 140_000_000)
    """
    assert ["True True", "True"] == run(code)


def test_p18_reading_memory_opens_no_file() -> None:
    """
    Opening costs twenty times the reading, and smaps_rollup two thousand times.
    """
    code = """
    guard = memguard.Guard()
    guard.memory()
    opened = []

    def heard(event, arguments):
        if event in ("open", "os.listdir", "os.scandir"):
            opened.append(str(arguments[0]))

    sys.addaudithook(heard)
    for _ in range(100):
        guard.probe.memory()
    print(len(opened))
    for _ in range(100):
        guard.memory()
        guard.health()
    print(sum("smaps" in one for one in opened))
    """
    assert ["0", "0"] == run(code)


def test_p19_descriptors_are_listed_for_audits_only() -> None:
    """
    A listing of ten thousand costs some 30 ms: not in a request, not for the health.
    """
    code = """
    from memguard.integrations.wsgi import Middleware
    listed = []

    def heard(event, arguments):
        if event in ("os.listdir", "os.scandir") and "/fd" in str(arguments[0]):
            listed.append(str(arguments[0]))

    guard = memguard.Guard().start()
    sys.addaudithook(heard)

    def app(environ, start_response):
        scope = memguard.current_scope()
        scope.register(Quiet())
        scope.timer(print, every="1h")
        start_response("200 OK", [])
        return [b"ok"]

    class Quiet:
        def close(self):
            pass

    served = Middleware(app, guard=guard, health="/healthz")
    for path in ("/", "/healthz") * 50:
        environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET"}
        body = served(environ, lambda status, headers: None)
        getattr(body, "close", lambda: None)()
    guard.snapshot()
    print(len(listed))
    guard.audit()
    print(len(listed) > 0)
    """
    assert ["0", "True"] == run(code)


def test_every_pitfall_has_its_test() -> None:
    """
    The table in the documentation names tests that exist, and all of the pitfalls.
    """
    table = (ROOT / "docs" / "pitfalls.md").read_text()
    rows = re.findall(r"^\| (P\d+) \|.*$", table, re.MULTILINE)
    expected = [f"P{number}" for number in (*range(1, 15), 18, 19, 20, 22)]
    assert expected == rows
    missing = []
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", table):
        file = ROOT / path
        if not file.exists() or f"def {name}(" not in file.read_text():
            missing.append(f"{path}::{name}")
    assert [] == missing
