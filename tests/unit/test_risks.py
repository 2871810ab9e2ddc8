"""
The parts of the list of risks: growth, verdicts, sizes, and what each rule says.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import gc
import logging
import queue
import secrets
import sys
import threading
import time
import weakref
from collections import Counter, UserDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

import blinker
import cachetools
import pyee
import pytest

from memguard import Guard, _guard
from memguard._risks import registered
from memguard._risks.bytecode import deeds_of, read
from memguard._risks.growth import Looks
from memguard._risks.measure import entry_bytes, newest
from memguard._risks.pace import Pace
from memguard._risks.report import RiskReport, estimate
from memguard._risks.survey import look
from memguard.testing import FakeClock, FakeProbe

NAME = "parts_app"


@pytest.fixture
def app() -> Iterator[Any]:
    """
    An empty module of the application.
    """
    module = ModuleType(NAME)
    sys.modules[NAME] = module
    yield module
    del sys.modules[NAME]


@pytest.fixture
def clock() -> FakeClock:
    """
    The time of the guard.
    """
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Iterator[Guard]:
    """
    A guard with 256 MiB that is not started.
    """
    made = Guard(clock=clock, probe=FakeProbe(rss="64MiB", limit="256MiB"))
    yield made
    made.shutdown()


def rows(guard: Guard, prefix: str = NAME) -> dict[str, Any]:
    """
    What is listed under names that begin so.
    """
    return {one.name: one for one in guard.risks() if one.name.startswith(prefix)}


# -- growth ----------------------------------------------------------------------------


def test_growth_is_longer_and_never_shorter() -> None:
    """
    One that went up and down is not growing, nor one that was looked at once.
    """
    looks = Looks()
    lengths = {"up": (1, 2, 5), "down": (5, 4, 3), "both": (1, 5, 3), "same": (4, 4, 4)}
    trends = {}
    for number in range(3):
        looks.begin()
        for place, seen in lengths.items():
            trends[place] = looks.note(place, seen[number], 40.0 * number)
        if not number:
            assert not any(one.growing or one.steady for one in trends.values())

    assert ["up"] == [place for place, one in trends.items() if one.growing]
    assert ["down", "both", "same"] == [
        place for place, one in trends.items() if one.steady
    ]
    assert (1, 5, 3, 2, 80.0) == (
        trends["up"].first,
        trends["up"].now,
        trends["up"].looks,
        trends["up"].rises,
        trends["up"].since_s,
    )


def test_the_memory_of_lengths_is_bounded() -> None:
    """
    20,000 places, as numbers; what is gone makes room.
    """
    looks = Looks()
    looks.begin()
    for number in range(30_000):
        looks.note(f"place {number}", number, 0.0)
    assert 20_000 == len(looks)
    for _ in range(3):
        looks.begin()
        looks.note("place 1", 1, 1.0)
    looks.forget_old()

    assert 1 == len(looks)
    assert not any(isinstance(one, str) for one in gc.get_referents(looks._known))


def test_large_and_still_becomes_less_of_a_risk(
    app: Any, guard: Guard, clock: FakeClock
) -> None:
    """
    A table that nobody adds to half a minute later.
    """
    vars(app)["STILL"] = dict.fromkeys(range(20_000))
    assert "medium" == rows(guard)[f"{NAME}.STILL"].impact
    clock.advance("31s")
    row = rows(guard)[f"{NAME}.STILL"]

    assert "low" == row.impact
    assert "has not grown" in row.reason


def test_growth_at_each_look_is_told(app: Any, guard: Guard) -> None:
    """
    With the number of looks; the impact rises with the length.
    """
    grows = vars(app)["GROWS"] = {}
    impacts = []
    for most in (0, 150, 2_000, 20_000):
        grows.update(dict.fromkeys(range(most)))
        row = rows(guard).get(f"{NAME}.GROWS")
        impacts.append(None if row is None else row.impact)

    assert [None, "low", "high", "high"] == impacts
    assert "at each of 3 looks" in row.reason


def test_a_look_in_advance_lets_the_first_report_know(app: Any, guard: Guard) -> None:
    """
    As the one that a guard takes by itself after its start.
    """
    app.TABLE = {}
    guard.looks = Looks()
    look(guard, guard.looks)
    app.TABLE.update(dict.fromkeys(range(500)))

    assert "grew from 0 to 500" in rows(guard)[f"{NAME}.TABLE"].reason


def wait_for(condition: Callable[[], bool]) -> bool:
    """
    True as soon as *condition* holds, within a minute.
    """
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        threading.Event().wait(0.01)
    return condition()


def test_a_guard_takes_its_first_look_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    In the background, once; the next look is then the second one.
    """
    monkeypatch.setattr(_guard, "_FIRST_LOOK_S", 0.01)
    # It rests most of the time, and a process with all tests in it has much to look at.
    monkeypatch.setattr(import_module("memguard._risks.survey"), "_REST_S", 0.0)
    with Guard() as guard:
        assert wait_for(lambda: guard.looks is not None)
        assert 2 == guard.risks().looks


def test_a_shutdown_ends_the_first_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whether it is still to come or in the middle: the shutdown does not wait for it.
    """
    guard = Guard().start()
    assert guard._first_look is not None
    guard.shutdown()
    assert guard._first_look is None
    monkeypatch.setattr(_guard, "_FIRST_LOOK_S", 0.0)
    began = threading.Event()
    real = sys.modules["memguard._risks.survey"]
    rest = real._survey  # type: ignore[attr-defined]

    def endless(scene: Any, guard: Any) -> None:
        began.set()
        while True:
            rest(scene, guard)

    monkeypatch.setattr(real, "_survey", endless)
    guard = Guard().start()
    assert began.wait(10)
    report = guard.shutdown()

    assert report.clean
    assert report.seconds < 2
    assert guard.looks is None


# -- the report ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((1000, 100), {}, "1,000 entries x 100B = 97.7KiB"),
        ((1, 100), {}, "1 entry x 100B = 100B"),
        ((10, 8, 3), {"capped": True}, "up to 10 entries x 8B x 3 instances = 240B"),
        ((10, None), {}, "10 entries, not measured"),
        ((1, None), {"unit": "timers"}, "1 timer"),
        ((0, None), {}, "0 entries"),
        ((None, None), {}, ""),
    ],
)
def test_the_text_of_an_estimate(
    arguments: tuple[Any, ...], options: dict[str, Any], text: str
) -> None:
    """
    Entries x measured bytes x instances.
    """
    assert text == estimate(*arguments, **options)[0]


def test_the_worst_comes_first_and_libraries_last(app: Any, guard: Guard) -> None:
    """
    In the record as in the text; what is safe comes after all that is not.
    """
    app.LARGE, app.JOBS = dict.fromkeys(range(20_000)), queue.Queue()
    app.LINES, app.KEPT = deque(), deque(maxlen=3)
    report = guard.risks()
    order = [one.impact for one in report if not one.library]
    text = str(report)

    assert order == sorted(order, key=["high", "medium", "low", None].index)
    assert text.index(f"{NAME}.LARGE") < text.index(f"{NAME}.LINES")
    assert text.index(f"{NAME}.LINES") < text.index(f"{NAME}.KEPT")
    assert text == report.to_text()
    assert (*report.at_risk, *report.safe) == report.risks
    assert len(report) == len(report.risks)
    assert not report.clean


def test_an_empty_report_is_there() -> None:
    """
    It is true, clean, and says so.
    """
    report = RiskReport("app", (), None, None, 0, 1, 0, 0.0)

    assert report
    assert report.clean
    assert "0 at risk" in str(report)
    assert {"high": 0, "medium": 0, "low": 0, "safe": 0} == report.to_dict()["counts"]


# -- measuring -------------------------------------------------------------------------


def test_bytes_of_an_entry_are_those_of_sizeof() -> None:
    """
    To a quarter, for the usual values.
    """
    for value in (
        [f"{number:0100}" for number in range(50)],
        [{"a": float(number), "b": [number] * 10} for number in range(50)],
        [tuple(f"{one}-{number}" for one in range(5)) for number in range(50)],
    ):
        exact = sum(map(sys.getsizeof, value)) / len(value)
        measured = entry_bytes(newest(value))
        assert measured is not None
        assert measured >= 0.75 * exact


def test_what_entries_share_counts_once() -> None:
    """
    A template that all entries refer to is not multiplied.
    """
    template = "x" * 100_000
    shared = [{"template": template, "number": number} for number in range(50)]
    measured = entry_bytes(newest(shared))

    assert measured is not None
    assert measured < 10_000


def test_the_pace_gives_way_between_slices() -> None:
    """
    As often as slices end, and not after each step.
    """
    pauses: list[float] = []
    pace = Pace(0.0, pause=pauses.append, pause_s=0.5)
    pace.step()
    pace.step()
    lazy = Pace(60.0, pause=pauses.append)
    lazy.step()

    assert [0.5, 0.5] == pauses


# -- code ------------------------------------------------------------------------------


WRITTEN = {
    "fills": (
        "X[key] = value",
        "X[key] += 1",
        "X[key].append(value)",
        "X.append(value)",
        "X.setdefault(key, []).append(value)",
        "X[key, value] = [one for one in value]",
        "X[key] = value if value else 3",
        "X.update({key: value})",
        "X += [value]",
        "heapq.heappush(X, value)",
        "module.X.append(value)",
        "self.X[key] = value",
    ),
    "takes": (
        "del X[key]",
        "X.pop(key)",
        "del X[:-100]",
        "X.clear()",
        "X = {}",
        "heapq.heappop(X)",
    ),
    "measures": ("if len(X) >= 100: return", "while 10 < len(X): print(key)"),
    "": (
        "return X[key]",
        "return X.get(key)",
        "return key in X",
        "X['constant'] = value",
        "X[key.__name__] = value",
        "other[key] = X",
        "print(len(X))",
        "for one in X: print(one)",
        "return value",
    ),
}


@pytest.mark.parametrize(
    ("deed", "line"),
    [(deed, line) for deed, lines in WRITTEN.items() for line in lines],
)
def test_what_code_does_with_a_name(deed: str, line: str) -> None:
    """
    Read off the bytecode, which differs from version to version.
    """
    names: dict[str, Any] = {}
    exec(f"def function(key, value, self, other):\n    global X\n    {line}\n", names)
    code = names["function"].__code__
    deeds = deeds_of(code, read(code), "X")
    told = {name for name in ("fills", "takes", "measures") if getattr(deeds, name)}

    assert ({deed} if deed else set()) == told


def test_what_a_decorator_registers_is_in_the_code() -> None:
    """
    So it is no growth.
    """
    names: dict[str, Any] = {}
    exec("def register(fn):\n    X.append(fn)\n    return fn\n", names)
    code = names["register"].__code__

    assert not deeds_of(code, read(code), "X").fills


# -- containers ------------------------------------------------------------------------


def run(app: Any, text: str) -> None:
    """
    Let the module of the application have that code.
    """
    exec(text, app.__dict__)


def test_code_that_keeps_a_bound_makes_it_safe(app: Any, guard: Guard) -> None:
    """
    Code that fills without end does not, before anything has grown.
    """
    run(
        app,
        """
BOUND, ENDLESS, QUEUE, CONSTANT, HANDLERS = {}, {}, [], {}, {}

def bound(key, value):
    if len(BOUND) >= 100:
        BOUND.pop(next(iter(BOUND)))
    BOUND[key] = value

def endless(key, value):
    ENDLESS[key] = value

def push(value):
    QUEUE.append(value)

def pop():
    return QUEUE.pop()

def constant():
    CONSTANT["state"] = 1

def register(function):
    HANDLERS[function.__name__] = function
    return function
""",
    )
    found = rows(guard)

    assert [f"{NAME}.ENDLESS"] == list(found)
    assert "low" == found[f"{NAME}.ENDLESS"].impact
    assert "in endless, and no code takes" in found[f"{NAME}.ENDLESS"].reason


def test_instances_closures_and_defaults(app: Any, guard: Guard) -> None:
    """
    An attribute of the one instance, a home-made memo, a default that remembers.
    """
    run(
        app,
        """
class Manager:
    def __init__(self):
        self.done = []
        self.active = {}

    def start(self, key):
        self.active[key] = key

    def finish(self, key):
        self.done.append(self.active.pop(key))

manager = Manager()

def memo(function):
    results = {}
    def inner(key):
        if key not in results:
            results[key] = function(key)
        return results[key]
    return inner

@memo
def slow(key):
    return key

def collect(value, seen=[]):
    seen.append(value)
    return seen
""",
    )

    assert {
        f"{NAME}.manager.done",
        f"{NAME}.slow.results",
        f"{NAME}.collect(seen=)",
    } == set(rows(guard))


def test_a_name_that_is_imported_is_told_once(app: Any, guard: Guard) -> None:
    """
    Under the module that makes it, not under those that import it.
    """
    importer = ModuleType("a_parts_importer")
    app.__annotations__ = {"TABLE": "dict"}
    importer.TABLE = app.TABLE = dict.fromkeys(range(20_000))  # type: ignore[attr-defined]
    sys.modules["a_parts_importer"] = importer
    try:
        names = [one.name for one in guard.risks() if one.name.endswith(".TABLE")]
    finally:
        del sys.modules["a_parts_importer"]

    assert [f"{NAME}.TABLE"] == names


def test_a_module_that_gets_more_and_more_names(app: Any, guard: Guard) -> None:
    """
    As when results are kept in globals().
    """
    assert {} == rows(guard)
    vars(app).update((f"result_{number}", number) for number in range(500))
    [row] = rows(guard).values()

    assert (NAME, "growing-module") == (row.name, row.code)
    assert "grew from" in row.reason


def test_the_line_of_a_name_is_found(
    guard: Guard, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    At module level, in a class, and of an attribute.
    """
    (tmp_path / "parts_on_disk.py").write_text(
        "# a comment\n"
        "TABLE: dict = {}\n"
        "class Kind:\n"
        "    shared = []\n"
        "    def __init__(self):\n"
        "        self.own = set()\n"
        "kind = Kind()\n"
        "TABLE.update(dict.fromkeys(range(20_000)))\n"
        "Kind.shared.extend(range(20_000))\n"
        "kind.own.update(range(20_000))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("parts_on_disk")
    found = rows(guard, "parts_on_disk.")
    del sys.modules["parts_on_disk"]

    assert {
        "parts_on_disk.TABLE": "parts_on_disk.py:2",
        "parts_on_disk.Kind.shared": "parts_on_disk.py:4",
        "parts_on_disk.kind.own": "parts_on_disk.py:6",
    } == {name: one.site for name, one in found.items()}


def test_what_says_its_cap_is_safe(app: Any, guard: Guard) -> None:
    """
    A maxlen, a maxsize, a capacity; not one that is below the length.
    """

    class Capped(dict[Any, Any]):
        max_entries = 0

    for name, cap in (("KEPT", 30_000), ("BROKEN", 10)):
        one = Capped(dict.fromkeys(range(20_000)))
        one.max_entries = cap
        setattr(app, name, one)
    app.RECENT = deque(range(20_000), maxlen=20_000)
    verdicts = {name: one.verdict for name, one in rows(guard).items()}

    assert {
        f"{NAME}.KEPT": "SAFE",
        f"{NAME}.BROKEN": "AT RISK",
        f"{NAME}.RECENT": "SAFE",
    } == verdicts


def test_plain_holders_are_looked_into(app: Any, guard: Guard) -> None:
    """
    A namespace, a UserDict, slots, a dictionary of dictionaries.
    """

    class Slotted:
        __slots__ = ("kept", "unset")

    Slotted.__module__ = NAME
    many = range(20_000)
    app.state = SimpleNamespace(users=dict.fromkeys(many))
    app.user = UserDict.fromkeys(many)
    app.slotted = Slotted()
    app.slotted.kept = list(many)
    app.nested = {"counts": Counter(many), "empty": {}}

    assert {
        f"{NAME}.state.users",
        f"{NAME}.user.data",
        f"{NAME}.slotted.kept",
        f"{NAME}.nested[]",
    } == set(rows(guard))


def test_weak_containers_and_caches_of_others(app: Any, guard: Guard) -> None:
    """
    Weak ones are safe, and those of cachetools with a size.
    """
    app.WEAK = weakref.WeakValueDictionary()
    app.BOUND = cachetools.TTLCache(100, 60)
    app.FREE = cachetools.LRUCache(float("inf"))
    verdicts = {name: one.verdict for name, one in rows(guard).items()}

    assert {
        f"{NAME}.WEAK": "SAFE",
        f"{NAME}.BOUND": "SAFE",
        f"{NAME}.FREE": "AT RISK",
    } == verdicts


# -- functions, queues, executors ------------------------------------------------------


def test_cached_functions(app: Any, guard: Guard) -> None:
    """
    No arguments are a bound; `self` in the keys is a risk whatever the bound.
    """
    run(
        app,
        """
import functools

@functools.cache
def settings():
    return 1

@functools.cache
def render(key):
    return key

@functools.lru_cache(maxsize=10)
def bound(key):
    return key

class Page:
    @functools.lru_cache(maxsize=10)
    def method(self):
        return 1

    @staticmethod
    @functools.lru_cache(maxsize=10)
    def static(key):
        return key

    @classmethod
    @functools.lru_cache(maxsize=10)
    def of_class(cls):
        return 1
""",
    )
    for number in range(5):
        app.bound(f"{number:0200}")
    found = rows(guard)

    assert {
        f"{NAME}.settings": ("SAFE", "capped-lru-cache"),
        f"{NAME}.render": ("AT RISK", "unbounded-lru-cache"),
        f"{NAME}.bound": ("SAFE", "capped-lru-cache"),
        f"{NAME}.Page.method": ("AT RISK", "lru-cache-on-method"),
        f"{NAME}.Page.static": ("SAFE", "capped-lru-cache"),
        f"{NAME}.Page.of_class": ("SAFE", "capped-lru-cache"),
    } == {name: (one.verdict, one.code) for name, one in found.items()}
    assert 240 <= found[f"{NAME}.bound"].entry_bytes <= 700


@pytest.mark.parametrize(
    ("free", "bound"),
    [
        (queue.Queue, lambda: queue.Queue(5)),
        (queue.LifoQueue, lambda: queue.LifoQueue(5)),
        (queue.PriorityQueue, lambda: queue.PriorityQueue(5)),
        (queue.SimpleQueue, None),
        (asyncio.Queue, lambda: asyncio.Queue(5)),
    ],
)
def test_queues(free: Any, bound: Any, app: Any, guard: Guard) -> None:
    """
    Without a maxsize at risk, more so when more and more waits; with one safe.
    """
    app.FREE = free()
    if bound is not None:
        app.BOUND = bound()
    first = rows(guard)
    assert "AT RISK" == first[f"{NAME}.FREE"].verdict
    if bound is not None:
        assert "SAFE" == first[f"{NAME}.BOUND"].verdict
    for number in range(50):
        app.FREE.put_nowait(number)
    second = rows(guard)[f"{NAME}.FREE"]

    ranks = ["low", "medium", "high"]
    assert 50 == second.entries
    assert ranks.index(second.impact) > ranks.index(first[f"{NAME}.FREE"].impact)


def test_an_executor_that_no_module_holds(guard: Guard) -> None:
    """
    Is found through its threads, and named after them.
    """
    go = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="parts-hidden") as executor:
        for _ in range(50):
            executor.submit(go.wait, 10)
        found = rows(guard, "(no module)")
        go.set()
    [row] = [one for name, one in found.items() if "parts-hidden" in name]

    assert ("AT RISK", 49) == (row.verdict, row.entries)


# -- listeners, logging, hooks ---------------------------------------------------------


def test_signals_and_emitters_of_others(app: Any, guard: Guard) -> None:
    """
    A few listeners are safe; more and more are not.
    """
    app.signal, app.emitter = blinker.Signal(), pyee.EventEmitter()
    app.signal.connect(print)
    app.emitter.on("event", print)
    before = rows(guard)
    assert {"SAFE"} == {one.verdict for one in before.values()}
    kept = [functools.partial(print, number) for number in range(30)]
    for one in kept:
        app.signal.connect(one)
        app.emitter.on("event", one)
    after = rows(guard)

    assert {"AT RISK"} == {one.verdict for one in after.values()}
    assert {31} == {one.entries for one in after.values()}


def test_a_handler_above_that_writes_to_the_same_place(guard: Guard) -> None:
    """
    Each record is written twice, unless it does not propagate.
    """
    upper, lower = logging.getLogger("parts"), logging.getLogger("parts.lower")
    upper.addHandler(logging.StreamHandler(sys.stdout))
    lower.addHandler(logging.StreamHandler(sys.stdout))
    try:
        [row] = rows(guard, "logger parts").values()
        lower.propagate = False
        assert {} == rows(guard, "logger parts")
    finally:
        upper.handlers.clear()
        lower.handlers.clear()
        lower.propagate = True

    assert ("logger parts.lower", "low") == (row.name, row.impact)


def test_handlers_for_different_places_are_safe(guard: Guard, tmp_path: Any) -> None:
    """
    And so are those that write nothing.
    """
    logger = logging.getLogger("parts.several")
    logger.propagate = False
    files = [logging.FileHandler(tmp_path / name) for name in "ab"]
    for one in (
        *files,
        logging.StreamHandler(sys.stdout),
        logging.StreamHandler(sys.stderr),
        logging.NullHandler(),
        logging.NullHandler(),
    ):
        logger.addHandler(one)
    try:
        assert {} == rows(guard, "logger parts")
    finally:
        logger.handlers.clear()
        for one in files:
            one.close()


def test_functions_for_the_exit(guard: Guard) -> None:
    """
    More of them at each look are a risk.
    """

    def at_exit() -> None: ...

    assert {} == rows(guard, "atexit")
    for _ in range(20):
        atexit.register(at_exit)
    try:
        [row] = rows(guard, "atexit").values()
    finally:
        atexit.unregister(at_exit)

    assert "AT RISK" == row.verdict
    assert "exit functions" in row.estimate


def test_a_callback_that_is_there_twice(guard: Guard) -> None:
    """
    The collector calls it twice.
    """

    def callback(*_: Any) -> None: ...

    gc.callbacks += [callback, callback]
    try:
        [row] = rows(guard, "gc.callbacks").values()
    finally:
        gc.callbacks.remove(callback)
        gc.callbacks.remove(callback)

    assert "duplicate-hook" == row.code


# -- what the guard owns ---------------------------------------------------------------


def test_many_of_one_kind_are_one_row(guard: Guard) -> None:
    """
    Thousands of sessions with a ring each, and what all of them take when full.
    """
    sessions = guard.sessions("chat", max_live=1000)
    for number in range(300):
        with sessions.open(str(number)) as session:
            session.ring("messages", max_entries=10).append(f"{number:0100}")
    [row] = [one for one in guard.risks() if one.kind == "ring"]

    assert ("chat/messages", 300) == (row.name, row.instances)
    assert "300 sessions" in row.estimate


def test_of_very_many_some_stand_for_all(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    By kind: what there is one of is not multiplied.
    """
    monkeypatch.setattr(registered, "_NODES", 400)
    things = [guard.register(threading.Event()) for _ in range(3000)]
    sessions = guard.sessions("chat")
    for number in range(300):
        with sessions.open(str(number)) as session:
            session.ring("messages", max_entries=10)
    found = {one.kind: one for one in guard.risks() if one.kind in ("ring", "resource")}
    events = [one for one in guard.risks() if one.name == "Event"]
    for one in things:
        guard.release(one)

    assert 240 <= found["ring"].instances <= 360
    assert 2900 <= events[0].entries <= 3100


def test_sessions_that_are_never_forgotten(guard: Guard) -> None:
    """
    With neither a ttl nor a greatest age.
    """
    guard.sessions("kept", ttl=None)
    guard.sessions("aged", ttl=None, max_age="1d")
    found = {one.name: one for one in guard.risks() if one.kind == "sessions"}

    assert ("AT RISK", "SAFE") == (found["kept"].verdict, found["aged"].verdict)
    assert "ttl" in found["kept"].fix


def test_sessions_of_which_none_is_awake(guard: Guard) -> None:
    """
    Are estimated by their records.
    """
    sessions = guard.sessions("asleep", max_live=100_000)
    for number in range(5):
        with sessions.open(str(number)) as session:
            session.data["text"] = secrets.token_hex(50_000)
        sessions.hibernate(str(number))
    [row] = [one for one in guard.risks() if one.kind == "sessions"]

    assert ("AT RISK", "high") == (row.verdict, row.impact)
    assert "a record" in row.reason


def test_what_outlived_its_scope(guard: Guard) -> None:
    """
    A watched object that somebody holds; not one that is gone.
    """

    class Request:
        pass

    kept = [Request()]
    with guard.scope("request") as scope:
        scope.watch(kept[0], "belongs to one request")
        scope.watch(Request(), "belongs to one request")
    [row] = [one for one in guard.risks().at_risk if one.kind == "object"]

    assert ("outlived-scope", 1) == (row.code, row.entries)
    assert row.name.endswith("Request")
    kept.clear()
    assert [] == [one for one in guard.risks().at_risk if one.kind == "object"]


def test_what_memguard_made_is_not_told_twice(app: Any, guard: Guard) -> None:
    """
    Its own tables are in its tree, wherever modules name them.
    """
    app.render = guard.cached(max_entries=50_000)(str)
    app.cache = guard.cache("cache", max_entries=50_000)
    app.ring = guard.ring("ring", max_entries=50_000)
    for number in range(20_000):
        app.render(number)
        app.cache.put(number, number)
        app.ring.append(number)

    assert {} == rows(guard)


def test_a_cache_that_wants_more_than_the_budget(guard: Guard) -> None:
    """
    Is at risk by its entries, and safe by a cap of bytes.
    """
    wide = guard.cache("wide", max_entries=10_000_000)
    bound = guard.cache("bound", max_entries=10_000_000, max_bytes="1MiB")
    for number in range(50):
        wide.put(number, f"{number:0100}")
        bound.put(number, f"{number:0100}")
    found = {one.name: one for one in guard.risks() if one.kind == "cache"}

    assert "cache-over-budget" == found["wide"].code
    assert "max_entries=" in found["wide"].fix
    assert "SAFE" == found["bound"].verdict


def test_timers_that_pile_up_at_the_guard(guard: Guard) -> None:
    """
    Those of scopes end with them.
    """
    guard.start()
    for _ in range(20):
        guard.timer(print, every="1h")
    with guard.scope("request") as scope:
        for _ in range(20):
            scope.timer(print, every="1h")
        found = {one.name: one for one in guard.risks() if one.kind == "timer"}

    assert "AT RISK" == found["print"].verdict
    assert "SAFE" == found["request/print"].verdict


def test_listeners_of_an_emitter(guard: Guard) -> None:
    """
    Over the ceiling, without an owner, twice: each has its reason.
    """

    def listener() -> None: ...

    many = guard.emitter("many", max_listeners=None)
    twice = guard.emitter("twice")
    owned = guard.emitter("owned", max_listeners=None)
    with guard.scope("connections") as scope:
        for _ in range(50):
            many.on("event", lambda: None)
            scope.listen(owned, "event", lambda: None)
        twice.on("event", listener)
        twice.on("event", listener)
        found = {one.name: one for one in guard.risks() if one.kind == "emitter"}

    assert "belong to no scope" in found["many"].reason
    assert "duplicate-listener" == found["twice"].code
    assert "SAFE" == found["owned"].verdict


def test_what_was_adopted(app: Any, guard: Guard) -> None:
    """
    At its place with a cap it is safe, without one it is at risk; told once.
    """
    app.CAPPED = dict.fromkeys(range(20_000))
    app.FREE = dict.fromkeys(range(20_000))
    guard.adopt(app, "CAPPED", max_entries=50_000)
    guard.adopt(app, "FREE")
    found = rows(guard)

    assert {f"{NAME}.CAPPED": "SAFE", f"{NAME}.FREE": "AT RISK"} == {
        name: one.verdict for name, one in found.items()
    }
    assert 2 == len([one for one in guard.risks() if one.name.startswith(NAME)])


def test_registered_objects_are_looked_into(guard: Guard) -> None:
    """
    What they keep is listed, under their type.
    """

    class Keeper:
        def __init__(self) -> None:
            self.kept = dict.fromkeys(range(20_000))

        def close(self) -> None: ...

    keeper = guard.register(Keeper())
    found = [one.name for one in guard.risks().at_risk if "Keeper" in one.name]

    assert ["registered Keeper.kept"] == found
    guard.release(keeper)


def test_objects_that_pile_up_at_the_guard(guard: Guard) -> None:
    """
    More of one type from one place at each look.
    """

    class Thing:
        def close(self) -> None: ...

    kept: list[Thing] = []

    def more(count: int) -> None:
        for _ in range(count):
            thing = Thing()
            kept.append(guard.register(thing))

    more(5)
    assert ["SAFE"] == [one.verdict for one in guard.risks() if "Thing" in one.name]
    more(500)
    [row] = [one for one in guard.risks() if "Thing" in one.name]

    assert ("AT RISK", 505) == (row.verdict, row.entries)
    for one in kept:
        guard.release(one)
