"""
Adopting built-in containers by the place they lie at: reading, trimming, its end.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from types import ModuleType
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import pytest

from memguard import Guard
from memguard._adopt.containers import ADAPTERS
from memguard.errors import SpecConflict
from memguard.testing import FakeClock

TICK = 1.5
(CONTAINERS,) = ADAPTERS


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that stands still.
    """
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=clock)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """
    A module of an application.
    """
    made = ModuleType("an_application")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


class Service:
    """
    A holder of containers.
    """

    shared: ClassVar[dict[int, int]] = {}

    def __init__(self) -> None:
        self.entries: Any = {}


@pytest.mark.parametrize(
    "container", [{}, [], set(), deque(), OrderedDict(), defaultdict(int), WeakSet()]
)
def test_a_container_by_itself_is_refused(guard: Guard, container: Any) -> None:
    """
    The error names the form by place, and the way to keep it.
    """
    with pytest.raises(TypeError, match=r"place.*REGISTRY.*keep=True"):
        guard.adopt(container)
    with pytest.raises(TypeError, match="REGISTRY"):
        guard.adopt(container, max_entries=3)
    handle = guard.adopt(container, keep=True)
    assert 0 == handle.info().entries
    assert handle is guard.adopt(container, keep=True)
    handle.close()


def test_a_module_a_class_and_an_object_are_places(guard: Guard, module: Any) -> None:
    """
    Each is found again, and told by the name of its holder.
    """
    module.REGISTRY = {1: 1}
    service = Service()
    handles = [
        guard.adopt(module, "REGISTRY"),
        guard.adopt(Service, "shared"),
        guard.adopt(service, "entries"),
    ]
    assert ["an_application.REGISTRY", "Service.shared", "Service.entries"] == [
        one.label for one in handles
    ]
    assert handles == [
        guard.adopt(module, "REGISTRY"),
        guard.adopt(Service, "shared"),
        guard.adopt(service, "entries"),
    ]
    other = Service()
    assert handles[2] is not guard.adopt(other, "entries")
    with pytest.raises(SpecConflict, match="max_entries"):
        guard.adopt(module, "REGISTRY", max_entries=3)


def test_a_place_is_read_each_time(guard: Guard, module: Any, clock: FakeClock) -> None:
    """
    A container that came to lie there later, even of another type, is what counts.
    """
    module.REGISTRY = {key: key for key in range(50)}
    handle = guard.adopt(module, "REGISTRY", max_entries=10)
    with guard:
        clock.advance(TICK)
        assert list(range(40, 50)) == list(module.REGISTRY)
        module.REGISTRY = list(range(30))
        clock.advance(TICK)
        assert list(range(20, 30)) == module.REGISTRY
        module.REGISTRY = set(range(30))
        clock.advance(TICK)
        assert 30 == len(module.REGISTRY)
        assert "order" in handle.info().cannot
        module.REGISTRY = None
        clock.advance(TICK)
        assert handle.info().entries is None
        del module.REGISTRY
        clock.advance(TICK)
        assert not handle.info().alive
    assert 0 == guard.registry.failures.total


def test_its_holder_is_held_weakly(guard: Guard) -> None:
    """
    When the holder is gone the handle is, without a fault.
    """
    service = Service()
    handle = guard.adopt(service, "entries", max_entries=10)
    del service
    gc.collect()
    assert 0 == guard.snapshot().count("container")
    assert handle.closed
    assert not guard.registry.rounds.places


def test_a_holder_that_cannot_be_referenced_weakly_is_kept(guard: Guard) -> None:
    """
    Only when told so.
    """

    class Slotted:
        __slots__ = ("entries",)

        def __init__(self) -> None:
            self.entries = [1]

    holder = Slotted()
    with pytest.raises(TypeError, match="keep=True"):
        guard.adopt(holder, "entries")
    handle = guard.adopt(holder, "entries", keep=True)
    assert handle is guard.adopt(holder, "entries", keep=True)
    assert 1 == handle.info().entries


def test_what_lies_there_may_be_something_else(guard: Guard, module: Any) -> None:
    """
    Of a known type it is adopted itself; of an unknown one it is refused.
    """
    module.queue = deque(maxlen=3)
    module.number = 3
    assert 3 == guard.adopt(module, "queue").info().limit
    with pytest.raises(TypeError, match="no adapter for a int"):
        guard.adopt(module, "number")
    with pytest.raises(TypeError, match="no attribute 'missing'"):
        guard.adopt(module, "missing")
    with pytest.raises(TypeError, match="module an_application"):
        guard.adopt(module)


@pytest.mark.parametrize(
    ("container", "left"),
    [
        ({key: key for key in range(50)}, list(range(45, 50))),
        (OrderedDict.fromkeys(range(50)), list(range(45, 50))),
        (defaultdict(int, {key: key for key in range(50)}), list(range(45, 50))),
        (Counter(range(50)), list(range(45, 50))),
        (list(range(50)), list(range(45, 50))),
        (deque(range(50)), list(range(45, 50))),
        (deque(range(50), maxlen=60), list(range(45, 50))),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_oldest_go_once_a_tick(
    guard: Guard, module: Any, clock: FakeClock, container: Any, left: list[int]
) -> None:
    """
    The keys that came first, the front of a list, the left of a deque.
    """
    module.THINGS = container
    handle = guard.adopt(module, "THINGS", max_entries=5)
    assert 50 == len(container)
    with guard:
        assert 50 == len(container)
        clock.advance(TICK)
        assert left == list(container)
        assert 5 == handle.info().limit
        assert "max_entries=5: the oldest go once a tick" == handle.info().cap
        handle.resize(max_entries=None)
        container.extend([1]) if hasattr(container, "extend") else None
        clock.advance(TICK)
        assert 5 <= len(container)
        assert "" == handle.info().cap
    # It is let go of, not emptied: nobody knows who reads it at the end.
    assert 5 <= len(container)


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({1, 2}, "no order"),
        (WeakSet(), "frees nothing"),
        (WeakKeyDictionary(), "frees nothing"),
        (WeakValueDictionary(), "frees nothing"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_without_an_oldest_a_cap_is_refused(
    guard: Guard, module: Any, container: Any, reason: str
) -> None:
    """
    With a sentence; it can still be measured.
    """
    module.THINGS = container
    with pytest.raises(TypeError, match=reason):
        guard.adopt(module, "THINGS", max_entries=1)
    handle = guard.adopt(module, "THINGS")
    assert len(container) == handle.info().entries
    assert reason in handle.info().cannot


@pytest.mark.parametrize("container", [{}, []], ids=["dict", "list"])
def test_bytes_are_kept_about(
    guard: Guard, module: Any, clock: FakeClock, container: Any
) -> None:
    """
    Down to the cap by the mean of what is there, and no further than a few per cent.
    """
    module.THINGS = container
    for key in range(20_000):
        value = f"{key:0500}"
        if container.__class__ is dict:
            container[key] = value
        else:
            container.append(value)
    handle = guard.adopt(module, "THINGS", max_bytes="2MiB")
    before = handle.info().bytes
    assert before is not None
    assert 10_000_000 < before < 14_000_000
    with guard:
        clock.advance(TICK)
        held = sum(
            map(
                sys.getsizeof,
                container[:] if container.__class__ is list else container.values(),
            )
        )
        assert 1_600_000 < held < 2 << 20
        assert 2 << 20 == handle.info().byte_limit


def test_an_empty_table_is_no_reason_to_take_everything(
    guard: Guard, module: Any, clock: FakeClock
) -> None:
    """
    A dict that was large keeps its table; what is in it stays within the cap.
    """
    module.THINGS = dict.fromkeys(range(200_000))
    for key in range(199_000):
        del module.THINGS[key]
    guard.adopt(module, "THINGS", max_bytes="256KiB")
    with guard:
        clock.advance(TICK)
        assert 1000 == len(module.THINGS)


def test_a_million_go_in_slices(guard: Guard, module: Any) -> None:
    """
    No step takes out more than a part of it, and the last ones stay.
    """
    things = list(range(1_000_000))
    most = 0
    while len(things) > 10:
        taken = CONTAINERS.trim(things, {"max_entries": 10}, 1000)
        assert taken
        most = max(most, len(taken))
    assert 16_000 >= most
    assert list(range(999_990, 1_000_000)) == things
    table = dict.fromkeys(range(5_000))
    assert 1000 == len(CONTAINERS.trim(table, {"max_entries": 10}, 1000))


def test_trimming_survives_what_others_do_meanwhile(module: Any) -> None:
    """
    Two threads fill and empty a dict and a deque while it is trimmed.
    """
    table: dict[int, int] = {}
    line: deque[int] = deque()
    errors: list[BaseException] = []

    def change() -> None:
        for number in range(30_000):
            table[number] = number
            line.append(number)
            if not number % 7:
                table.pop(number - 3, None)
                line.popleft() if len(line) > 20 else None

    def guarded() -> None:
        try:
            change()
        except IndexError:
            return  # of our own race for the last entry
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            CONTAINERS.trim(table, {"max_entries": 50}, 1000)
            CONTAINERS.trim(line, {"max_entries": 50}, 1000)
    finally:
        for thread in threads:
            thread.join(10)
    while CONTAINERS.trim(table, {"max_entries": 50}, 1_000_000):
        pass
    assert [] == errors
    assert 50 >= len(table)


def test_no_lock_is_held_while_user_code_runs(
    guard: Guard, module: Any, clock: FakeClock
) -> None:
    """
    Keys that are hashed and values that end may use the guard, from other threads too.
    """
    seen: list[bool] = []

    def look() -> None:
        done = threading.Event()

        def other() -> None:
            guard.snapshot()
            guard.adopt(module, "OTHER")
            done.set()

        threading.Thread(target=other).start()
        seen.append(done.wait(5))

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            if armed:
                look()
            return self.number

        def __eq__(self, other: object) -> bool:
            return self is other

    class Value:
        def __del__(self) -> None:
            look()

    armed: list[int] = []
    module.OTHER = []
    module.THINGS = {Key(number): Value() for number in range(4)}
    guard.adopt(module, "THINGS", max_entries=2)
    with guard:
        armed.append(1)
        clock.advance(TICK)
        armed.clear()
        assert 2 == len(module.THINGS)
        module.THINGS = {}
    assert {True} == set(seen)
    assert 4 <= len(seen)


def test_keys_that_raise_are_reported_and_the_guard_goes_on(
    guard: Guard, module: Any, clock: FakeClock
) -> None:
    """
    What cannot be trimmed is counted; the others are trimmed.
    """

    class Key:
        broken = False

        def __hash__(self) -> int:
            if Key.broken:
                raise OSError
            return 1

    module.THINGS = {Key(): 1 for _ in range(3)}
    module.OTHERS = list(range(9))
    guard.adopt(module, "THINGS", max_entries=1)
    guard.adopt(module, "OTHERS", max_entries=1)
    with guard:
        Key.broken = True
        clock.advance(TICK)
        assert [8] == module.OTHERS
        assert guard.registry.failures.total
        Key.broken = False
        module.THINGS = {}


def test_subclasses_are_adopted_by_themselves(guard: Guard, clock: FakeClock) -> None:
    """
    A dict of the application's own can be referenced weakly, so it can be adopted.
    """

    class Registry(dict[int, int]):
        pass

    registry = Registry((key, key) for key in range(9))
    handle = guard.adopt(registry, max_entries=2)
    with guard:
        clock.advance(TICK)
        assert [7, 8] == list(registry)
        assert handle.label.endswith(".Registry")


def test_what_nothing_bounds_is_a_risk(guard: Guard, module: Any) -> None:
    """
    A cap, a maxlen and weak references are bounds.
    """
    module.A, module.B, module.C, module.D = {}, deque(maxlen=2), WeakSet(), []
    assert guard.adopt(module, "A").risk() is not None
    assert guard.adopt(module, "B").risk() is None
    assert guard.adopt(module, "C").risk() is None
    capped = guard.adopt(module, "D", max_entries=10)
    assert capped.risk() is None
    capped.resize(max_entries=None)
    assert capped.risk() is not None


def test_rounds_end_with_the_guard_and_begin_again(
    guard: Guard, module: Any, clock: FakeClock
) -> None:
    """
    Nothing is trimmed after a shutdown, and everything after the next start.
    """
    module.THINGS = list(range(9))
    handle = guard.adopt(module, "THINGS", max_entries=3)
    for _ in range(2):
        with guard:
            module.THINGS.extend(range(9))
            clock.advance(TICK)
            assert 3 == len(module.THINGS)
            assert handle is guard.adopt(module, "THINGS")
        module.THINGS.extend(range(9))
        clock.advance(TICK)
        assert 12 == len(module.THINGS)
        guard.uninstall()
