"""
The list of risks: everything registered, adopted, and held by modules, with a verdict.
"""

from __future__ import annotations

import functools
import json
import logging
import queue
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest

from memguard import Guard
from memguard.testing import FakeClock, FakeProbe
from memguard.typing import JSON

MANY = 12_000


class Planted:
    """
    A module of the application that is loaded for one test, and what has to end.
    """

    def __init__(self, name: str) -> None:
        self.module: Any = ModuleType(name)
        self.name = name
        self.ends = ExitStack()

    def plant(self, **names: Any) -> None:
        for name, value in names.items():
            setattr(self.module, name, value)


@pytest.fixture
def planted() -> Iterator[Planted]:
    """
    An empty module called `planted_app`.
    """
    made = Planted("planted_app")
    sys.modules[made.name] = made.module
    with made.ends:
        yield made
    del sys.modules[made.name]


@pytest.fixture
def guard() -> Iterator[Guard]:
    """
    A guard with 256 MiB that is not started.
    """
    made = Guard("app", clock=FakeClock(), probe=FakeProbe(rss="64MiB", limit="256MiB"))
    yield made
    made.shutdown()


class Registry:
    """
    A class whose instances share a table.
    """

    entries: Any


class Manager:
    """
    A class of which there is one instance, which keeps things.
    """

    def __init__(self, kept: Any) -> None:
        self.kept = kept


def fill(container: Any) -> Any:
    """
    The container with many entries.
    """
    numbers = range(MANY)
    if isinstance(container, dict):
        container.update((number, str(number)) for number in numbers)
    elif isinstance(container, set):
        container.update(numbers)
    else:
        container.extend(numbers)
    return container


def cached(bound: int | None) -> Callable[[int], str]:
    """
    A function that remembers its results.
    """

    @functools.lru_cache(maxsize=bound)
    def render(number: int) -> str:
        return str(number)

    for number in range(200):
        render(number)
    return render


def class_with_cached_method() -> type:
    """
    A class that caches a method by the usual mistake.
    """

    class Page:
        @functools.lru_cache(maxsize=64)  # noqa: B019 - that is the point
        def rendered(self) -> int:
            return 1

    Page().rendered()
    return Page


def class_with_cached_property() -> type:
    """
    The same, without keeping instances alive.
    """

    class Page:
        @functools.cached_property
        def rendered(self) -> int:
            return 1

    return Page


def logger_with(planted: Planted, count: int) -> None:
    """
    A logger that got so many handlers for one stream.
    """
    logger = logging.getLogger("planted_app.log")
    logger.propagate = False
    for _ in range(count):
        handler = logging.StreamHandler(sys.stdout)
        logger.addHandler(handler)
        planted.ends.callback(logger.removeHandler, handler)


def executor_with(planted: Planted, jobs: int) -> None:
    """
    An executor with one worker that is busy, and jobs that wait for it.
    """
    go = threading.Event()
    executor = ThreadPoolExecutor(max_workers=1)
    planted.ends.callback(executor.shutdown)
    planted.ends.callback(go.set)
    for _ in range(jobs):
        executor.submit(go.wait, 10.0)
    planted.plant(executor=executor)


def emitter_with(guard: Guard, count: int) -> None:
    """
    An emitter to which one function was added so often.
    """
    bus = guard.emitter("bus", max_listeners=None)

    def listener() -> None: ...

    for _ in range(count):
        bus.on("event", listener)


def sessions_with(guard: Guard, max_live: int) -> None:
    """
    Sessions with a history each, of which so many may be live.
    """
    sessions = guard.sessions("chat", max_live=max_live)
    with sessions.open("somebody") as session:
        history = session.ring("messages", of=dict, max_entries=1000)
        for number in range(20):
            history.append({"text": f"{number:0200}"})


def in_class(value: Any) -> type:
    """
    A class of the planted module that has *value* for an attribute.
    """
    kind = type("Registry", (Registry,), {"entries": value})
    kind.__module__ = "planted_app"
    return kind


Plant = Callable[[Planted, Guard], None]

# What it is, the planted one, its bounded twin, and part of the name it is listed by.
PATTERNS: dict[str, tuple[Plant, Plant, str]] = {
    "dict": (
        lambda app, _: app.plant(REGISTRY=fill({})),
        lambda app, _: app.plant(REGISTRY={"a": 1, "b": 2}),
        "planted_app.REGISTRY",
    ),
    "list": (
        lambda app, _: app.plant(EVENTS=fill([])),
        lambda app, _: app.plant(EVENTS=["a", "b"]),
        "planted_app.EVENTS",
    ),
    "deque": (
        lambda app, _: app.plant(LINES=deque()),
        lambda app, _: app.plant(LINES=deque(maxlen=100)),
        "planted_app.LINES",
    ),
    "set": (
        lambda app, _: app.plant(SEEN=fill(set())),
        lambda app, _: app.plant(SEEN={1, 2, 3}),
        "planted_app.SEEN",
    ),
    "lru_cache without bound": (
        lambda app, _: app.plant(render=cached(None)),
        lambda app, _: app.plant(render=cached(64)),
        "planted_app.render",
    ),
    "lru_cache on a method": (
        lambda app, _: app.plant(Page=class_with_cached_method()),
        lambda app, _: app.plant(Page=class_with_cached_property()),
        "planted_app.Page.rendered",
    ),
    "log handler twice": (
        lambda app, _: logger_with(app, 2),
        lambda app, _: logger_with(app, 1),
        "logger planted_app.log",
    ),
    "executor": (
        lambda app, _: executor_with(app, 200),
        lambda app, _: executor_with(app, 2),
        "planted_app.executor",
    ),
    "queue": (
        lambda app, _: app.plant(JOBS=queue.Queue()),
        lambda app, _: app.plant(JOBS=queue.Queue(maxsize=10)),
        "planted_app.JOBS",
    ),
    "nested containers": (
        lambda app, _: app.plant(
            Registry=in_class(fill(OrderedDict())), manager=Manager(fill(Counter()))
        ),
        lambda app, _: app.plant(
            Registry=in_class(OrderedDict()), manager=Manager(defaultdict(list))
        ),
        "planted_app.Registry.entries",
    ),
    "listeners": (
        lambda _, guard: emitter_with(guard, 3),
        lambda _, guard: emitter_with(guard, 1),
        "bus",
    ),
    "sessions": (
        lambda _, guard: sessions_with(guard, 10_000),
        lambda _, guard: sessions_with(guard, 50),
        "chat",
    ),
}


def at_risk(guard: Guard) -> dict[str, Any]:
    """
    The application's rows that are at risk, by name.
    """
    return {one.name: one for one in guard.risks().at_risk if not one.library}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_planted_risk_is_named(
    pattern: str, planted: Planted, guard: Guard
) -> None:
    """
    With verdict, impact, reason and fix.
    """
    risky, _, name = PATTERNS[pattern]
    risky(planted, guard)
    row = at_risk(guard)[name]

    assert "AT RISK" == row.verdict
    assert row.impact in ("high", "medium", "low")
    assert row.reason
    assert row.fix


@pytest.mark.parametrize("pattern", PATTERNS)
def test_its_bounded_twin_is_not(pattern: str, planted: Planted, guard: Guard) -> None:
    """
    Nothing of the planted module or the guard is at risk.
    """
    _, bounded, name = PATTERNS[pattern]
    bounded(planted, guard)
    found = at_risk(guard)

    assert name not in found
    assert [] == [one for one in found if one.startswith("planted_app")]


def test_growth_is_seen_from_the_second_look_on(planted: Planted, guard: Guard) -> None:
    """
    A dictionary too small for the first look is named by the second one.
    """
    planted.plant(SMALL=dict.fromkeys(range(10)), STILL=dict.fromkeys(range(10)))
    # Other tests of the same process have their own modules.
    before = at_risk(guard)
    assert [] == [one for one in before if one.startswith("planted_app")]
    planted.module.SMALL.update(dict.fromkeys(range(500)))
    found = at_risk(guard)

    assert ["planted_app.SMALL"] == [one for one in found if one not in before]
    assert "grew from 10 to 500 entries" in found["planted_app.SMALL"].reason


def test_the_estimate_is_entries_times_bytes_times_instances(guard: Guard) -> None:
    """
    Measured bytes of the entries there are, for all instances, each full.
    """
    for name in "abc":
        scope = guard.scope(name)
        ring = scope.ring("lines", max_entries=100)
        ring.extend(f"{number:01000}" for number in range(5))
    rows = [one for one in guard.risks() if one.kind == "ring"]

    assert [("SAFE", None)] * 3 == [(one.verdict, one.impact) for one in rows]
    for one in rows:
        assert one.entry_bytes is not None
        assert one.bytes is not None
        assert 1000 <= one.entry_bytes <= 1400
        assert one.bytes == one.entry_bytes * 100 * one.instances


def test_everything_of_the_guard_is_listed(guard: Guard) -> None:
    """
    Containers, timers, listeners, sessions, resources and what was adopted.
    """
    guard.ring("ring")
    guard.cache("cache")
    guard.series("series")
    guard.pool("pool", object)
    guard.limiter("limiter")
    guard.log_handler("log")
    guard.timer(print, every="1h", name="timer")
    guard.listen(guard.emitter("bus"), "event", print)
    guard.sessions("chat")
    guard.register(threading.Event(), keep=True)
    render = cached(64)
    guard.adopt(render, "adopted")
    rows = guard.risks().safe
    kinds = {one.kind for one in rows}

    wanted = {"ring", "cache", "series", "pool", "limiter", "log_handler", "timer"}
    assert set() == (wanted | {"emitter", "listener", "sessions"}) - kinds
    assert {"adopted", "Event"} <= {one.name for one in rows}


def test_the_report_is_text_and_json(planted: Planted, guard: Guard) -> None:
    """
    Both name the same, and neither shows a key or a value.
    """
    planted.plant(USERS={f"secret-{number}": "hidden" for number in range(MANY)})
    report = guard.risks()
    text, data = str(report), json.dumps(report.to_dict())
    told: dict[str, JSON] = json.loads(data)

    assert "memguard.risks/1" == told["schema"]
    for shown in (text, data):
        assert "planted_app.USERS" in shown
        assert "12,000 entries x" in shown
        assert "secret" not in shown
        assert "hidden" not in shown
