"""
Registered objects: how they are held, closed, found, and refused.
"""

from __future__ import annotations

import asyncio
import gc
import io
import socket
import threading
import warnings
import weakref
from collections import UserList
from typing import Any

import pytest

from memguard import Guard
from memguard._kinds import closers
from memguard._kinds.references import find_resource
from memguard._kinds.resource import Resource
from memguard._phases import Phase
from memguard.errors import MemguardResourceWarning, OrderError, ScopeClosed


class Thing:
    """
    Something with an end.
    """

    def __init__(self) -> None:
        self.closed: list[str] = []

    def close(self) -> None:
        self.closed.append("close")

    def stop(self) -> None:
        self.closed.append("stop")


class Equal(Thing):
    """
    Says that it equals everything, and cannot be hashed.
    """

    def __eq__(self, other: object) -> bool:
        pytest.fail("user code was called")

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def guard() -> Guard:
    """
    A guard that was not started.
    """
    return Guard()


def node_of(guard: Guard, obj: object) -> Resource:
    """
    The resource behind *obj*.
    """
    found = find_resource(guard.registry, obj)
    assert isinstance(found, Resource)
    return found


# -- how it is held --------------------------------------------------------------------


def test_the_object_is_returned_and_held_weakly(guard: Guard) -> None:
    """
    Nobody but its user keeps it alive.
    """
    thing = Thing()
    assert thing is guard.register(thing)

    reference = weakref.ref(thing)
    del thing
    gc.collect()
    assert reference() is None
    with pytest.warns(MemguardResourceWarning):
        guard.registry.settle_collected()
    assert [] == guard.children()


def test_what_is_kept_lives_until_its_scope_ends(guard: Guard) -> None:
    """
    And not a moment longer.
    """
    reference = weakref.ref(guard.scope("s").register(Thing(), keep=True))
    gc.collect()
    thing = reference()
    assert thing is not None
    scope = guard.children()[0]
    del thing
    scope.close()
    gc.collect()
    assert reference() is None
    assert {} == guard.registry.objects


@pytest.mark.parametrize("value", [[], {}, b"", 5, None, bytearray()])
def test_what_cannot_be_referenced_weakly_has_to_be_kept(
    guard: Guard, value: Any
) -> None:
    """
    The TypeError says so, and nothing is registered.
    """
    with pytest.raises(TypeError, match="keep=True"):
        guard.register(value)

    assert [] == guard.children()
    if value is not None:
        assert value is guard.register(value, keep=True)


def test_a_refused_registration_leaves_nothing(guard: Guard) -> None:
    """
    The object may die afterwards without anybody being warned.
    """
    thing = Thing()
    with pytest.raises(ValueError, match="no method 'shut'"):
        guard.register(thing, close="shut")
    with guard.scope("s") as scope:
        pass
    with pytest.raises(ScopeClosed):
        scope.register(thing)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del thing
        gc.collect()
        guard.registry.settle_collected()
    assert 0 == guard.registry.live("resource")


def test_no_user_code_is_called(guard: Guard) -> None:
    """
    Neither equality nor hashes matter: objects are told apart by identity.
    """
    first, second = Equal(), Equal()
    guard.register(first)
    guard.register(second, keep=True)

    assert find_resource(guard.registry, Equal()) is None
    assert guard.release(first)
    assert guard.release(second)
    assert not guard.release(Equal())


# -- how it is closed ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("close", "expected"),
    [
        (None, "close"),
        ("close", "close"),
        ("stop", "stop"),
        (lambda thing: thing.stop(), "stop"),
        (Thing.stop, "stop"),
    ],
)
def test_ways_to_close(guard: Guard, close: Any, expected: str) -> None:
    """
    The type decides, a name does, or a callable that takes the object.
    """
    thing = Thing()
    with guard.scope("s") as scope:
        scope.register(thing, close=close)

    assert [expected] == thing.closed


def test_a_bound_method_of_the_object_keeps_it_not_alive(guard: Guard) -> None:
    """
    It is unwrapped: a name, or the function behind.
    """
    thing = Thing()
    guard.register(thing, close=thing.stop)
    other = Thing()
    other.close = thing.stop  # type: ignore[method-assign]  # of another object
    guard.register(other, close=other.close)

    reference = weakref.ref(other)
    del other
    gc.collect()
    assert reference() is None
    with pytest.warns(MemguardResourceWarning):
        guard.registry.settle_collected()

    scope = guard.scope("s")
    scope.register(thing, close=thing.stop)
    scope.close()
    assert ["stop"] == thing.closed


def test_a_close_that_is_none_of_both(guard: Guard) -> None:
    """
    A TypeError names what would do.
    """
    with pytest.raises(TypeError, match="a method's name or a callable"):
        guard.register(Thing(), close=5)  # type: ignore[arg-type]


def test_a_subclass_of_text_is_a_name(guard: Guard) -> None:
    """
    Text of any type.
    """

    class Name(str):
        __slots__ = ()

    thing = Thing()
    with guard.scope("s") as scope:
        scope.register(thing, close=Name("stop"))
    assert ["stop"] == thing.closed


def test_types_that_are_known(guard: Guard) -> None:
    """
    By the name of the type or of a base, found without importing anything.
    """

    class Mine(io.BytesIO):
        pass

    with socket.socket() as sock, Mine() as file:
        thread = threading.Thread(target=print)
        timer = threading.Timer(1, print)
        for obj in (sock, file, thread, timer):
            guard.register(obj)
        told = [(node.kind, node.phase, node.affinity) for node in guard.children()]
        for obj in (sock, file, thread, timer):
            guard.release(obj)
    assert [
        ("socket", Phase.CLIENTS, "any"),
        ("file", Phase.CLIENTS, "any"),
        ("thread", Phase.WORK, "any"),
        ("timer", Phase.TIMERS, "any"),
    ] == told


def test_types_that_are_not_known(guard: Guard) -> None:
    """
    The first closing method they have; without one there is nothing to close.
    """

    class Stops:
        def stop(self) -> None: ...

    class Nothing:
        pass

    kept = [guard.register(one) for one in (Stops(), Nothing())]
    assert ["resource", "object"] == [node.kind for node in guard.children()]
    del kept
    gc.collect()
    with pytest.warns(MemguardResourceWarning) as caught:
        guard.registry.settle_collected()
    assert 1 == len(caught)


def test_a_class_made_at_run_time_is_not_kept_alive(guard: Guard) -> None:
    """
    What is known of a type goes with it.
    """
    kind = type("Local", (Thing,), {})
    key = closers.identity(kind)
    scope = guard.scope("s")
    thing = scope.register(kind())
    assert "Local" == closers.known[key].type_name
    scope.close()

    reference = weakref.ref(kind)
    del kind, thing
    gc.collect()
    assert reference() is None
    assert key not in closers.known


def test_a_metaclass_that_hashes_as_it_likes(guard: Guard) -> None:
    """
    Types are told apart by identity, too.
    """

    class Meta(type):
        def __eq__(cls, other: object) -> bool:
            pytest.fail("user code was called")

        __hash__ = None  # type: ignore[assignment]

    class Odd(Thing, metaclass=Meta):
        pass

    thing = guard.register(Odd())
    assert guard.release(thing)


# -- options ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"kind": ""}, ValueError, "kind must be a non-empty text"),
        ({"kind": 5}, ValueError, "kind must be a non-empty text"),
        ({"affinity": "moon"}, ValueError, "any, thread, loop, not 'moon'"),
        ({"phase": "later"}, ValueError, "phase must be one of stop_intake, .*'later'"),
        ({"timeout": "soon"}, ValueError, "timeout"),
        ({"timeout": -1}, ValueError, "timeout"),
        ({"memory": "much"}, ValueError, "memory"),
        ({"uses": "db"}, TypeError, "uses must be a sequence"),
        ({"uses": 5}, TypeError, "uses must be a sequence"),
        ({"uses": [Thing()]}, ValueError, "uses a Thing that is not registered"),
    ],
)
def test_options_are_checked_at_the_door(
    guard: Guard, options: Any, error: type[Exception], text: str
) -> None:
    """
    The error names the option, what was given, and what would do.
    """
    with pytest.raises(error, match=text):
        guard.register(Thing(), **options)

    assert [] == guard.children()


def test_options_are_what_the_plan_reads(guard: Guard) -> None:
    """
    Each in its place; the rest is as the type says.
    """
    used, thing = guard.register(Thing()), Thing()
    guard.register(
        thing,
        kind="pool",
        name="db",
        uses=[used],
        phase="emitters",
        timeout="2s",
        memory="1KiB",
        affinity="thread",
    )
    node = node_of(guard, thing)

    assert ("pool", "db", "db") == (node.kind, node.name, node.label)
    assert Phase.EMITTERS is node.phase
    assert 2.0 == node.timeout
    assert 1024 == node.memory_bytes()
    assert "thread" == node.affinity
    assert (node_of(guard, used),) == node.uses
    assert node.options is not None
    assert threading.get_ident() == node.options.thread
    assert 1 == guard.registry.live("pool")


def test_without_options_the_type_decides(guard: Guard) -> None:
    """
    A label of its own as well.
    """
    thing = guard.register(Thing())
    node = node_of(guard, thing)

    assert (None, "Thing") == (node.name, node.label)
    assert (None, (), "any") == (node.timeout, node.uses, node.affinity)
    assert node.memory_bytes() is None
    assert not node.forces
    assert not node.awaits
    assert node.plain


def test_bytes_of_an_object(guard: Guard) -> None:
    """
    What was declared, what a function says, what the object says itself.
    """

    class Heavy(Thing):
        def memory_bytes(self) -> int:
            return 7

    things: list[Any] = [Heavy(), Heavy(), Heavy()]
    guard.register(things[0])
    guard.register(things[1], memory=5)
    guard.register(things[2], memory=lambda one: len(one.closed) + 3)

    assert [7, 5, 3] == [node_of(guard, one).memory_bytes() for one in things]
    things.clear()
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [] == [n for n in guard.children() if n.memory_bytes() not in (None, 5)]
        guard.registry.settle_collected()


def test_a_coroutine_close_belongs_to_its_loop(guard: Guard) -> None:
    """
    The loop of the registration is remembered, weakly.
    """

    class Client:
        closed_in: Any = None

        async def aclose(self) -> None:
            self.closed_in = asyncio.get_running_loop()

    client = Client()

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        async with guard.scope("s") as scope:
            scope.register(client)
            node = node_of(guard, client)
            assert node.awaits
            assert not node.plain
            assert "loop" == node.affinity
            assert loop is node.loop()  # type: ignore[misc]
        return loop

    loop = asyncio.run(main())
    assert loop is client.closed_in


def test_a_user_that_closes_later_is_refused(guard: Guard) -> None:
    """
    By its own wish; by default it moves.
    """
    used = guard.register(Thing(), phase="work")
    user = guard.register(Thing(), uses=[used])
    assert Phase.WORK is node_of(guard, user).phase

    with pytest.raises(OrderError):
        guard.register(Thing(), uses=[used], phase=Phase.TELEMETRY)
    early = guard.register(Thing(), uses=[used], phase="timers")
    assert Phase.TIMERS is node_of(guard, early).phase


def test_uses_may_be_nodes(guard: Guard) -> None:
    """
    A scope, a ring, a timer.
    """
    ring = guard.ring("r")
    thing = guard.register(Thing(), uses=[ring])

    assert (ring,) == node_of(guard, thing).uses


def test_a_node_used_in_itself_is_a_ring(guard: Guard) -> None:
    """
    Registering something again that is used already cannot make it its own user.
    """
    first = guard.register(Thing())
    second = guard.register(Thing(), uses=[first])

    with pytest.raises(OrderError, match="would use itself"):
        guard.register(first, uses=[second])


# -- finding and releasing -------------------------------------------------------------


def test_released_means_nobody_closes_it(guard: Guard) -> None:
    """
    Its user did; releasing twice tells.
    """
    thing = Thing()
    scope = guard.scope("s")
    scope.register(thing)

    assert guard.release(thing)
    assert not guard.release(thing)
    scope.close()
    assert [] == thing.closed


def test_registered_twice_is_closed_twice(guard: Guard) -> None:
    """
    Each scope answers for its own; the newest is found first.
    """
    thing = Thing()
    outer = guard.scope("outer")
    outer.register(thing, name="first")
    inner = guard.scope("inner")
    inner.register(thing, name="second")
    assert "second" == node_of(guard, thing).label

    inner.close()
    assert "first" == node_of(guard, thing).label
    outer.close()
    assert ["close", "close"] == thing.closed
    assert find_resource(guard.registry, thing) is None


def test_guards_do_not_find_each_others(guard: Guard) -> None:
    """
    Each has a registry of its own.
    """
    other = Guard("other")
    thing = guard.register(Thing())

    assert find_resource(other.registry, thing) is None
    assert not other.release(thing)


def test_a_container_that_can_be_referenced(guard: Guard) -> None:
    """
    Its content is not looked at.
    """
    things = guard.register(UserList([1]), close=lambda one: one.clear())
    guard.children()[0].close()

    assert [] == things


# -- objects that die ------------------------------------------------------------------


def test_collected_before_the_scope_ends(guard: Guard) -> None:
    """
    The scope's end warns, and counts it as not closed.
    """
    scope = guard.scope("s")
    scope.register(Thing(), name="lost")
    gc.collect()

    with pytest.warns(MemguardResourceWarning, match="resource lost was collected"):
        scope.close()
    assert {"unclosable": 1} == guard.registry.tally("resource", "lost").released


def test_collected_by_the_close_of_another(guard: Guard) -> None:
    """
    In the middle of the end of its scope: warned about as well, once.
    """

    class Holder(Thing):
        held: Any = None

        def close(self) -> None:
            self.held = None

    holder = Holder()
    scope = guard.scope("s")
    holder.held = scope.register(Thing(), name="held")
    scope.register(holder)
    with pytest.warns(MemguardResourceWarning) as caught:
        scope.close()
    guard.registry.settle_collected()

    assert ["resource held"] == [str(one.message).split(" was")[0] for one in caught]
    assert {"unclosable": 1} == guard.registry.tally("resource", "held").released


def test_closing_a_node_whose_object_is_gone(guard: Guard) -> None:
    """
    Nothing is called; it is a warning and an ending of its own.
    """
    node = (guard.register(Thing()), guard.children()[0])[1]
    gc.collect()
    with pytest.warns(MemguardResourceWarning):
        node.close()
    assert node.ending is not None
    assert "collected before it was closed" == node.ending.reason


def test_is_open(guard: Guard) -> None:
    """
    For the audit: what can say that it is closed is believed, a failure is recorded.
    """

    class Bad(io.BytesIO):
        @property
        def closed(self) -> bool:
            raise RuntimeError

    file, bad, thing = io.BytesIO(), Bad(), Thing()
    nodes = []
    for obj in (file, bad, thing):
        guard.register(obj)
        nodes.append(node_of(guard, obj))
    file.close()

    assert [False, True, True] == [node.is_open() for node in nodes]
    assert "closed-check" in {where for where, _, _ in guard.registry.failures.counts}
    guard.release(thing)
    assert not nodes[2].is_open()
    for obj in (file, bad):
        guard.release(obj)


def test_force_close_is_a_way_out(guard: Guard) -> None:
    """
    Where the type has one, it is used when the close fails.
    """

    class Stubborn(Thing):
        def close(self) -> None:
            raise OSError

        def force_close(self) -> None:
            self.closed.append("forced")

    thing = Stubborn()
    with guard.scope("s") as scope:
        scope.register(thing)

    assert ["forced"] == thing.closed
    assert {"forced": 1} == guard.registry.tally("resource", "").released
