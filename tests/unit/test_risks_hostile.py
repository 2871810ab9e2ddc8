"""
The list of risks reads what is not made to be read: it runs no line of foreign code.
"""

from __future__ import annotations

import gc
import importlib.util
import logging
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from memguard import Guard
from memguard.testing import FakeClock, FakeProbe

NAME = "hostile_app"
touched: list[str] = []


def touch(what: str) -> NoReturn:
    """
    Note that foreign code ran, and make it fail.
    """
    touched.append(what)
    raise RuntimeError(what)


def trap(what: str) -> Any:
    """
    A method that must not be called.
    """

    def method(*_: Any, **__: Any) -> Any:
        touch(what)

    return method


TRAPS = (
    *("__len__", "__iter__", "__bool__", "__eq__", "__hash__", "__repr__", "__str__"),
    *("__contains__", "__getitem__", "__sizeof__", "__getattr__", "__format__"),
    *("__getattribute__", "__dir__", "__call__", "__reversed__", "__index__"),
    *("keys", "values", "items", "get", "nbytes", "memory_bytes", "qsize", "info"),
)


class Meta(type):
    """
    A metaclass that answers nothing.
    """


for trapped in ("__hash__", "__eq__", "__len__", "__iter__", "__bool__", "__call__"):
    if trapped != "__call__":
        setattr(Meta, trapped, trap(f"Meta.{trapped}"))


def hostile(*bases: type, **more: Any) -> type:
    """
    A class of which every method is a trap, and every attribute too.
    """
    names: dict[str, Any] = {name: trap(f"{bases}.{name}") for name in TRAPS}
    names["__class__"] = property(trap("__class__"))
    names["__dict__"] = property(trap("__dict__"))
    names["maxsize"] = property(trap("maxsize"))
    names["__module__"] = NAME
    return Meta("Hostile", bases, {**names, **more})


@pytest.fixture
def app() -> Iterator[Any]:
    """
    An empty module of the application.
    """
    module = ModuleType(NAME)
    sys.modules[NAME] = module
    touched.clear()
    yield module
    del sys.modules[NAME]


@pytest.fixture
def guard() -> Iterator[Guard]:
    """
    A guard that is not started.
    """
    made = Guard(clock=FakeClock(), probe=FakeProbe(rss="64MiB", limit="256MiB"))
    yield made
    made.shutdown()


def look_twice(guard: Guard) -> Any:
    """
    The second report, where all of it was read: nothing raised that is planted here.

    Other tests may have left something behind that cannot be read, in their modules.
    """
    planted = sys.modules.pop(NAME, None)
    other = Guard(clock=FakeClock(), probe=FakeProbe(rss="64MiB", limit="256MiB"))
    left = other.risks().unread
    other.shutdown()
    if planted is not None:
        sys.modules[NAME] = planted
    first, report = guard.risks(), guard.risks()
    assert (left, left, []) == (first.unread, report.unread, touched)
    return report


@pytest.mark.parametrize(
    "base", [object, dict, list, set, deque, OrderedDict, bytearray, str, int, tuple]
)
def test_instances_and_entries(base: type, app: Any, guard: Guard) -> None:
    """
    At module level, in classes, in instances, as entries and as keys.
    """
    kind = hostile(base)
    one = base.__new__(kind)
    app.one = one
    app.entries = {number: base.__new__(kind) for number in range(40)}
    app.listed = [base.__new__(kind) for _ in range(40)]
    app.Holder = type("Holder", (), {"held": one, "__module__": NAME})
    app.holder = type("Single", (), {"__module__": NAME})()
    app.holder.held = one
    guard.register(app.holder, keep=True)
    ring = guard.ring("ring")
    ring.append(one)
    touched.clear()
    look_twice(guard)

    assert [] == touched
    guard.release(app.holder)


def test_the_length_is_that_of_the_built_in_base(app: Any, guard: Guard) -> None:
    """
    Whatever a subclass says it is.
    """
    kind = hostile(dict)
    table = dict.__new__(kind)
    dict.update(table, {number: str(number) for number in range(20_000)})
    app.TABLE = table
    touched.clear()
    [row] = [one for one in look_twice(guard) if one.name == f"{NAME}.TABLE"]

    assert [] == touched
    assert ("AT RISK", 20_000) == (row.verdict, row.entries)


def test_functions_descriptors_and_classes(app: Any, guard: Guard) -> None:
    """
    Properties are not read, callables not called, class attributes not bound.
    """

    class Descriptor:
        __get__ = trap("__get__")

    app.Kind = type(
        "Kind",
        (),
        {"__module__": NAME, "trap": Descriptor(), "read": property(trap("property"))},
    )
    app.kind = app.Kind()
    app.function = trap("function")
    app.function.__globals__  # noqa: B018 - it is this module's
    app.Meta = hostile(object)
    touched.clear()
    look_twice(guard)

    assert [] == touched


def test_a_lazy_module_stays_asleep(
    guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Its loader is not run.
    """
    (tmp_path / "sleeping.py").write_text("raise SystemExit('woken')")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = importlib.util.find_spec("sleeping")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sleeping", module)
    spec.loader.exec_module(module)
    look_twice(guard)

    assert "LazyModule" in type(module).__qualname__


def test_what_is_no_module(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Anything may stand in `sys.modules`, under any name.
    """
    kind = hostile(object)
    monkeypatch.setitem(sys.modules, "no_module", object.__new__(kind))
    monkeypatch.setitem(sys.modules, "none_there", None)
    monkeypatch.setitem(sys.modules, "odd", 3)  # type: ignore[arg-type]
    odd = hostile(ModuleType)
    module = ModuleType.__new__(odd)
    monkeypatch.setitem(sys.modules, "odd_module", module)
    touched.clear()
    look_twice(guard)

    assert [] == touched


def test_loggers_and_handlers(guard: Guard, app: Any) -> None:
    """
    Handlers with traps for attributes.
    """
    logger = logging.getLogger(NAME)

    class Handler(logging.Handler):
        stream = property(trap("stream"))
        baseFilename = property(trap("baseFilename"))  # noqa: N815
        __eq__ = trap("__eq__")
        __hash__ = logging.Handler.__hash__

    handlers = [Handler(), Handler()]
    logger.handlers.extend(handlers)
    touched.clear()
    report = look_twice(guard)
    logger.handlers.clear()

    assert [] == touched
    assert [f"logger {NAME}"] == [
        one.name for one in report.at_risk if one.kind == "log handler"
    ]


def test_nothing_is_kept_alive(guard: Guard, app: Any) -> None:
    """
    After a look everything dies as if nobody had looked.
    """

    class Thing:
        pass

    Thing.__module__ = NAME
    app.Thing = Thing
    app.things = {number: Thing() for number in range(200)}
    app.single = Thing()
    app.single.inner = Thing()
    seen = [
        weakref.ref(app.things[0]),
        weakref.ref(app.single),
        weakref.ref(app.single.inner),
        weakref.ref(Thing),
    ]
    gc.collect()
    gc.disable()
    try:
        report = look_twice(guard)
        app.things.clear()
        del app.single
        assert [None] * 3 == [one() for one in seen[:3]]
    finally:
        gc.enable()
    del app.Thing, Thing
    gc.collect()

    assert seen[3]() is None
    assert report.looks == 2


def test_what_changes_while_it_is_read(guard: Guard, app: Any) -> None:
    """
    Other threads go on filling and emptying; the look ends, and nothing is raised.
    """
    app.table, app.queue, app.items = {}, deque(), []
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.wait(0.00001):
            number += 1
            app.table[number % 977] = number
            app.table.pop(number * 7 % 977, None)
            app.queue.append(number)
            app.items.append(number)
            if number % 1000 == 0:
                app.queue.clear()
                app.items.clear()
                setattr(app, f"name{number % 5000}", {})
            guard.ring(f"ring {number % 300}")

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            guard.risks()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_names_of_attributes_are_not_those_of_users(guard: Guard, app: Any) -> None:
    """
    What was set under a name that no code would have is not told.
    """
    app.__dict__["secret of ann"] = dict.fromkeys(range(20_000))
    app.state = {"secret of bob": dict.fromkeys(range(20000))}
    text = str(look_twice(guard))

    assert "secret" not in text
    assert f"{NAME}.[str]" in text
    assert f"{NAME}.state[]" in text
