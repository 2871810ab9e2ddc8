"""
Scopes: entered and left, ended by whoever comes first, with all they own.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

import memguard
from memguard import Guard
from memguard._phases import CLOSED, CLOSING, DRAINING, OPEN
from memguard._scope import Scope
from memguard.errors import MemguardResourceWarning, ScopeClosed, WouldBlockLoop


class Thing:
    """
    Something with an end, that notes when it came and may do more then.
    """

    def __init__(
        self,
        log: list[str] | None = None,
        name: str = "thing",
        then: Callable[[], Any] | None = None,
    ) -> None:
        self.log = [] if log is None else log
        self.name = name
        self.then = then

    def close(self) -> Any:
        self.log.append(self.name)
        return None if self.then is None else self.then()


class Client:
    """
    Something with an asynchronous end.
    """

    def __init__(self, log: list[str] | None = None, name: str = "client") -> None:
        self.log = [] if log is None else log
        self.name = name
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.loop: Any = None
        self.task: Any = None

    async def aclose(self) -> None:
        self.begun.set()
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.current_task()
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        self.log.append(self.name)


def fail(error: BaseException) -> Callable[[], None]:
    """
    A function that raises it.
    """

    def raise_it() -> None:
        raise error

    return raise_it


@pytest.fixture
def guard() -> Iterator[Guard]:
    """
    A running guard, which has to be clean in the end.
    """
    guard = Guard(shutdown_timeout="5s")
    guard.start()
    yield guard
    guard.shutdown()


def failures(guard: Guard) -> dict[str, int]:
    """
    What was recorded, by place.
    """
    counts = guard.registry.failures.counts
    return {where: times for (where, _, _), times in counts.items()}


def in_thread(call: Callable[[], object]) -> threading.Thread:
    """
    A thread that makes one call.
    """
    thread = threading.Thread(target=call)
    thread.start()
    return thread


# -- entering and leaving --------------------------------------------------------------


def test_a_scope_is_current_in_its_block(guard: Guard) -> None:
    """
    Scopes nest; after a block the one around it is current again.
    """
    with guard:
        assert guard is memguard.current_scope()
        with guard.scope("outer") as outer:
            assert outer is memguard.current_scope()
            with outer.scope("inner") as inner:
                assert inner is memguard.current_scope()
            assert outer is memguard.current_scope()
        assert guard is memguard.current_scope()


def test_an_empty_scope_leaves_no_trace(guard: Guard) -> None:
    """
    It is counted as work, and that is all.
    """
    with guard.scope("job") as scope:
        assert [] == guard.children()

    assert (CLOSED, None) == (scope.state, scope.owner)
    assert {"job": 1} == guard.registry.units_of_work()
    assert 0 == guard.registry.tally("scope", "job").created


def test_both_ways_to_make_one_agree(guard: Guard) -> None:
    """
    The fast one sets what the class does.
    """
    made, direct = guard.scope("job"), Scope(guard, "job", True)
    missing = object()

    for kind in Scope.__mro__:
        for slot in getattr(kind, "__slots__", ()):
            if slot != "__weakref__":
                one, other = (getattr(x, slot, missing) for x in (made, direct))
                assert one == other, slot
    assert 2 == guard.registry.units_of_work()["job"]


@pytest.mark.parametrize("name", ["", None, 5, [], b"job"])
@pytest.mark.parametrize("work", [True, False])
def test_a_name_is_a_text(guard: Guard, name: Any, work: bool) -> None:
    """
    Anything else is refused, with its type only.
    """
    with pytest.raises(ValueError, match="non-empty text, not a"):
        guard.scope(name, work=work)

    assert {} == guard.registry.units_of_work()


def test_work_is_counted_by_bounded_names(guard: Guard) -> None:
    """
    Long connections are not; a request may get its name late.
    """
    for number in range(300):
        guard.scope(f"GET /{number}")
    guard.scope("socket", work=False)
    scope = guard.scope("socket", work=False)
    scope.count_as("GET /0")

    units = guard.registry.units_of_work()
    assert (201, 100) == (len(units), units["other"])
    assert 2 == units["GET /0"]
    assert "GET /0" == scope.name


def test_a_scope_is_entered_once(guard: Guard) -> None:
    """
    Neither twice at a time nor after its end.
    """
    scope = guard.scope("job")
    with scope, pytest.raises(ScopeClosed, match="entered already and not left"):
        scope.__enter__()
    with pytest.raises(ScopeClosed, match="is closed"):
        scope.__enter__()
    with pytest.raises(ScopeClosed, match="is closed"):
        scope.begin()


def test_a_closed_scope_takes_nothing(guard: Guard) -> None:
    """
    No registration, no scope, nothing else; closing it again does nothing.
    """
    with guard.scope("job") as scope:
        scope.register(thing := Thing())
    scope.close()

    assert ["thing"] == thing.log
    for call in (
        lambda: scope.register(Thing()),
        lambda: scope.scope("inner"),
        lambda: scope.enter(nothing()),
        lambda: scope.watch(Thing(), "reason"),
        lambda: scope.ring("r"),
        lambda: scope.timer(print, every=1),
    ):
        with pytest.raises(ScopeClosed, match="'job' is closed"):
            call()
    assert (None, None) == (scope.owner, scope._children)


@contextmanager
def nothing() -> Iterator[None]:
    """
    A context that does nothing.
    """
    yield


def test_a_closed_scope_keeps_nothing_alive(guard: Guard) -> None:
    """
    Neither its parent nor what it owned.
    """
    outer = guard.scope("outer")
    inner = outer.scope("inner")
    reference = weakref.ref(inner.register(Thing(), keep=True))
    above = weakref.ref(outer)
    outer.close()
    del outer
    gc.collect()

    assert reference() is None
    assert above() is None
    assert inner.closed


def test_leaving_in_another_context(guard: Guard) -> None:
    """
    Never raises, and leaves the contexts as they are.
    """
    scope = guard.scope("job")
    thing = Thing()
    contextvars.copy_context().run(scope.__enter__)
    scope.register(thing)
    before = memguard.current_scope()

    scope.__exit__(None, None, None)

    assert ["thing"] == thing.log
    assert before is memguard.current_scope()
    guard.scope("never entered").__exit__(None, None, None)


def test_a_generator_that_somebody_else_finishes(guard: Guard) -> None:
    """
    Its scope ends where it is finished.
    """
    thing = Thing()

    def work() -> Iterator[int]:
        with guard.scope("job") as scope:
            scope.register(thing)
            yield 1

    steps = work()
    contextvars.copy_context().run(next, steps)
    steps.close()

    assert ["thing"] == thing.log


def test_the_exception_of_a_block_goes_its_way(guard: Guard) -> None:
    """
    Closing swallows nothing, and failures of closing hide nothing.
    """
    scope = guard.scope("job")
    scope.register(broken := Thing(then=fail(OSError("secret"))))
    with pytest.raises(LookupError), scope:
        raise LookupError
    assert scope.closed
    assert ["thing"] == broken.log
    assert {"closing resource Thing": 1} == failures(guard)


# -- what it owns ----------------------------------------------------------------------

ways = pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixed"])


def fill(scope: Scope, things: list[Any], mixed: bool) -> None:
    """
    Register all; something that is not plain makes the whole scope go the long way.
    """
    for thing in things:
        scope.register(thing)
    if mixed:
        scope.register(early, phase="timers")


early = Thing()


@ways
def test_newest_first(guard: Guard, mixed: bool) -> None:
    """
    As from a stack.
    """
    log: list[str] = []
    things = [Thing(log, name) for name in "abc"]
    with guard.scope("job") as scope:
        fill(scope, things, mixed)

    assert ["c", "b", "a"] == log
    assert scope.closed


@ways
def test_a_failure_stops_nothing(guard: Guard, mixed: bool) -> None:
    """
    The others are closed; the failing one is named, with type and place only.
    """
    log: list[str] = []
    things = [Thing(log, "a"), Thing(log, "b", fail(ValueError("secret")))]
    things.append(Thing(log, "c"))
    events: list[Any] = []
    guard.subscribe(events.append)
    with guard.scope("job") as scope:
        fill(scope, things, mixed)

    assert ["c", "b", "a"] == log
    assert {"closing resource Thing": 1} == failures(guard)
    assert "secret" not in repr(events)
    released = guard.registry.tally("resource", "").released
    assert {"closed": 2 + mixed, "unclosable": 1} == released


@ways
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_comes_when_all_is_closed(
    guard: Guard, mixed: bool, error: type[BaseException]
) -> None:
    """
    It is not lost, and the rest is closed before.
    """
    log: list[str] = []
    things = [Thing(log, "a"), Thing(log, "b", fail(error())), Thing(log, "c")]
    scope = guard.scope("job")
    with pytest.raises(error), scope:
        fill(scope, things, mixed)

    assert ["c", "b", "a"] == log
    assert scope.closed
    assert [] == guard.children()


def test_an_interrupt_in_an_inner_scope(guard: Guard) -> None:
    """
    The outer scope closes what it has, and then raises it.
    """
    log: list[str] = []
    kept = [Thing(log, "a"), Thing(log, "b", fail(KeyboardInterrupt()))]
    outer = guard.scope("outer")
    outer.register(kept[0])
    outer.scope("inner").register(kept[1])
    with pytest.raises(KeyboardInterrupt):
        outer.close()

    assert ["b", "a"] == log
    assert [] == guard.children()


@ways
def test_a_close_that_closes_its_neighbour(guard: Guard, mixed: bool) -> None:
    """
    At once, and once.
    """
    log: list[str] = []
    scope = guard.scope("job")
    first = Thing(log, "first")
    second = Thing(log, "second")
    with scope:
        fill(scope, [first, second], mixed)
        second.then = scope.children()[0].close

    assert ["second", "first"] == log


@ways
def test_a_close_that_releases_its_neighbour(guard: Guard, mixed: bool) -> None:
    """
    Then it has closed that itself.
    """
    log: list[str] = []
    scope = guard.scope("job")
    first = Thing(log, "first")
    second = Thing(log, "second", lambda: log.append(str(scope.release(first))))
    with scope:
        fill(scope, [first, second], mixed)

    assert ["second", "True"] == log


@ways
def test_a_close_that_registers_something(guard: Guard, mixed: bool) -> None:
    """
    That is closed as well.
    """
    log: list[str] = []
    scope = guard.scope("job")
    late = Thing(log, "late")
    with scope:
        fill(scope, [Thing(log, "a"), thing := Thing(log, "b")], mixed)
        thing.then = lambda: scope.register(late) and None
        kept = list(scope.children())

    assert ["b", "late"] == [one for one in log if one != "a"]
    assert kept
    assert scope.closed


def test_a_close_that_registers_itself_for_ever(guard: Guard) -> None:
    """
    Comes to an end: some day the scope takes nothing any more.
    """
    log: list[str] = []
    scope = guard.scope("job")

    def again() -> None:
        scope.register(Thing(log, "again", again), keep=True)

    with scope:
        again()

    assert 10 < len(log) < 1000
    assert scope.closed
    assert [] == guard.children()


@ways
def test_a_close_that_closes_the_scope(guard: Guard, mixed: bool) -> None:
    """
    Somebody closes it already: nothing happens.
    """
    log: list[str] = []
    scope = guard.scope("job")
    things = [Thing(log, "a"), Thing(log, "b", scope.close)]
    with scope:
        fill(scope, things, mixed)

    assert ["b", "a"] == log


def test_what_is_registered_with_a_draining_scope(guard: Guard) -> None:
    """
    What is in hand may still register, until the scope closes.
    """
    scope = guard.scope("job")
    scope.state = DRAINING
    scope.register(thing := Thing())
    scope.state = OPEN
    scope.close()
    assert ["thing"] == thing.log
    scope.state = CLOSING
    with pytest.raises(ScopeClosed, match="is closing"):
        scope.register(Thing())


def test_inner_scopes_end_with_the_outer_one(guard: Guard) -> None:
    """
    Deeper before shallower; a scope that only had inner ones closes plainly.
    """
    log: list[str] = []
    kept = [Thing(log, name) for name in "abcd"]
    with guard.scope("outer") as outer:
        outer.register(kept[0])
        inner = outer.scope("inner")
        inner.register(kept[1])
        inner.scope("innermost").register(kept[2])
        outer.register(kept[3])

    assert ["c", "b", "d", "a"] == log

    with guard.scope("outer") as outer:
        with outer.scope("inner") as inner:
            inner.register(kept[1])
        outer.register(kept[0])
        assert not outer._is_mixed()
    assert ["b", "a"] == log[4:]


def test_a_forked_child_closes_nothing(guard: Guard) -> None:
    """
    What was inherited is forgotten, not closed.
    """
    other = Guard()
    with other.scope("job") as scope:
        scope.register(thing := Thing())
        other.registry.detached = True

    assert [] == thing.log
    assert scope.closed


# -- contexts and watched objects ------------------------------------------------------


def test_entered_contexts_are_left_with_the_scope(guard: Guard) -> None:
    """
    As in an ExitStack: last in, first out, among all that was registered.
    """
    log: list[str] = []

    @contextmanager
    def context(name: str) -> Iterator[str]:
        log.append(f"in {name}")
        yield name
        log.append(f"out {name}")

    thing = Thing(log, "thing")
    with guard.scope("job") as scope:
        assert "a" == scope.enter(context("a"))
        scope.register(thing)
        scope.enter(context("b"))
        assert not scope._is_mixed()

    assert ["in a", "in b", "out b", "thing", "out a"] == log


def test_a_context_that_cannot_be_held_is_left_at_once(guard: Guard) -> None:
    """
    Its scope closed while it was entered.
    """
    log: list[str] = []
    scope = guard.scope("job")

    @contextmanager
    def closing() -> Iterator[None]:
        scope.close()
        yield
        log.append("left")

    with pytest.raises(ScopeClosed):
        scope.enter(closing())
    assert ["left"] == log
    with pytest.raises(TypeError, match="use aenter"):
        guard.scope("job").enter(aclosing_context([]))  # type: ignore[arg-type]


@asynccontextmanager
async def aclosing_context(log: list[Any]) -> AsyncIterator[str]:
    """
    An asynchronous context that notes its tasks.
    """
    log.append(asyncio.current_task())
    yield "value"
    await asyncio.sleep(0)
    log.append(asyncio.current_task())


def test_asynchronous_contexts_are_left_by_the_same_task(guard: Guard) -> None:
    """
    Task groups and cancel scopes insist on that.
    """
    log: list[Any] = []

    async def main() -> None:
        async with guard.scope("job") as scope:
            assert "value" == await scope.aenter(aclosing_context(log))
            scope.register(Client([]), keep=True)

    asyncio.run(main())
    assert 2 == len(log)
    assert log[0] is log[1]


def test_a_watched_object_has_to_be_gone_after_its_scope(guard: Guard) -> None:
    """
    It is expected to die from then on; the audit would name it.
    """
    thing, gone = Thing(), Thing()
    with guard.scope("job") as scope:
        scope.watch(thing, "belongs to the job")
        scope.watch(gone, "belongs to the job")
        del gone

    (expected,) = guard.registry.expected
    assert ("Thing", True) == (expected.name, expected.alive)
    guard.registry.expected.clear()
    with pytest.raises(TypeError, match="cannot be referenced weakly"):
        guard.watch([], "reason")
    with pytest.raises(ValueError, match="non-empty text"):
        guard.watch(thing, "")


# -- several threads -------------------------------------------------------------------


@ways
def test_two_threads_close_one_scope(guard: Guard, mixed: bool) -> None:
    """
    Each thing is closed once, whoever comes first.
    """
    for _ in range(50):
        log: list[str] = []
        scope = guard.scope("job")
        things = [Thing(log, str(number)) for number in range(5)]
        fill(scope, things, mixed)
        threads = [in_thread(scope.close) for _ in range(3)]
        for thread in threads:
            thread.join(10)
        assert ["4", "3", "2", "1", "0"] == log
        assert scope.closed


def test_closing_waits_for_the_block_that_runs_elsewhere(guard: Guard) -> None:
    """
    Work in hand is finished before what it owns is closed.
    """
    log: list[str] = []
    thing = Thing(log, "thing")
    entered, leave = threading.Event(), threading.Event()
    scope = guard.scope("job")

    def work() -> None:
        with scope:
            scope.register(thing)
            entered.set()
            leave.wait(10)
            log.append("work")

    worker = in_thread(work)
    entered.wait(10)
    assert scope.in_hand
    closer = in_thread(scope.close)
    while scope._left is None:
        closer.join(0.001)
    assert [] == log
    leave.set()
    for thread in (worker, closer):
        thread.join(10)

    assert ["work", "thing"] == log
    assert scope.closed


def test_begin_and_finish(guard: Guard) -> None:
    """
    A request whose parts run in several contexts is in hand between the two.
    """
    scope = guard.scope("request")
    scope.begin()
    assert scope.in_hand
    assert {scope} == guard.registry.in_hand
    assert scope is not memguard.current_scope()
    scope.register(thing := Thing())
    scope.finish()

    assert ["thing"] == thing.log
    assert set() == guard.registry.in_hand
    empty = guard.scope("request")
    empty.begin()
    empty.finish()
    assert empty.closed


def test_a_shutdown_waits_for_work_and_leaves_its_things_to_it(guard: Guard) -> None:
    """
    A request in flight keeps what it owns until it is over, and closes that itself.
    """
    log: list[str] = []
    closed_by: list[int] = []
    thing = Thing(log, "transaction", lambda: closed_by.append(threading.get_ident()))
    executor = guard.register(Thing(log, "executor"), phase="work")
    client = guard.register(Thing(log, "client"))
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with guard.scope("request") as scope:
            scope.register(thing)
            entered.set()
            leave.wait(10)
            log.append("answered")

    worker = in_thread(work)
    entered.wait(10)
    stopping = in_thread(guard.shutdown)
    while not guard.control.draining:
        stopping.join(0.001)
    stopping.join(0.05)
    assert [] == log
    leave.set()
    for thread in (worker, stopping):
        thread.join(10)

    assert ["answered", "transaction", "executor", "client"] == log
    assert [worker.ident] == closed_by
    assert executor is not client


# -- loops -----------------------------------------------------------------------------


def test_an_asynchronous_block_awaits(guard: Guard) -> None:
    """
    Newest first, on the loop.
    """
    log: list[str] = []

    async def main() -> None:
        async with guard.scope("job") as scope:
            kept = [Client(log, "a"), Thing(log, "b"), Client(log, "c")]
            for one in kept:
                scope.register(one)
        assert scope.closed

    asyncio.run(main())
    assert ["c", "b", "a"] == log


def test_a_plain_block_in_a_loop_hands_the_waiting_over(guard: Guard) -> None:
    """
    It does not block and does not raise; a task of the loop closes.
    """
    log: list[str] = []

    async def main() -> None:
        client = Client(log)
        with guard.scope("job") as scope:
            scope.register(client)
        assert [] == log
        await asyncio.gather(*guard.registry.tasks)
        assert scope.closed

    asyncio.run(main())
    assert ["client"] == log


def test_what_is_bound_to_this_loop_is_closed_in_it(guard: Guard) -> None:
    """
    A plain close has nothing to wait for, least of all for its own loop.
    """
    log: list[Any] = []
    thing = Thing(then=lambda: log.append(asyncio.get_running_loop()))

    async def main() -> None:
        with guard.scope("job") as scope:
            scope.register(thing, affinity="loop")
        assert [asyncio.get_running_loop()] == log

    asyncio.run(asyncio.wait_for(main(), 10))


def test_closing_in_a_loop_would_block(guard: Guard) -> None:
    """
    The error names the asynchronous form, and nothing was closed.
    """
    client = Client()

    async def main() -> None:
        scope = guard.scope("job")
        scope.register(client)
        with pytest.raises(WouldBlockLoop, match=r"await scope\.aclose\(\)"):
            scope.close()
        assert OPEN == scope.state
        await scope.aclose()
        await scope.aclose()

    asyncio.run(main())
    assert ["client"] == client.log


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_plain_close_that_returns_something_awaitable(
    guard: Guard, asynchronous: bool
) -> None:
    """
    It is awaited all the same: by the block, or by a task where that cannot wait.
    """
    log: list[str] = []
    client = Client(log)
    thing = Thing(log, "thing", client.aclose)
    failing = Thing(log, "failing", lambda: anything(fail(OSError())))

    async def main() -> None:
        scope = guard.scope("job")
        if asynchronous:
            async with scope:
                fill(scope, [thing, failing], mixed=False)
        else:
            with scope:
                fill(scope, [thing, failing], mixed=False)
            await asyncio.gather(*guard.registry.tasks)

    asyncio.run(main())
    assert {"failing", "thing", "client"} == set(log)
    assert {"closing resource Thing": 1} == failures(guard)


async def anything(call: Callable[[], None]) -> None:
    """
    Make the call on a loop.
    """
    await asyncio.sleep(0)
    call()


def test_without_a_loop_one_is_made(guard: Guard) -> None:
    """
    What turns out to be awaitable in a plain program is awaited on a loop of its own.
    """
    log: list[str] = []
    client = Client(log)
    with guard.scope("job") as scope:
        scope.register(client)
        scope.register(thing := Thing(log, "thing", Client(log, "inner").aclose))

    assert ["thing", "inner", "client"] == log
    assert thing is not None


def test_a_cancelled_block_closes_everything_first(guard: Guard) -> None:
    """
    Then the cancellation goes on.
    """
    log: list[str] = []

    async def main() -> None:
        first, second = Client(log, "first"), Client(log, "second")
        second.gate = asyncio.Event()

        async def work() -> None:
            async with guard.scope("job") as scope:
                scope.register(first)
                scope.register(second)

        task = asyncio.ensure_future(work())
        await asyncio.wait_for(second.begun.wait(), 10)
        task.cancel()
        await asyncio.sleep(0)
        assert [] == log
        second.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ["second", "first"] == log

    asyncio.run(main())


def test_what_belongs_to_the_loop_of_another_thread(guard: Guard) -> None:
    """
    Is closed there, and waited for.
    """
    client = Client()
    loop = asyncio.new_event_loop()
    runner = in_thread(loop.run_forever)
    scope = guard.scope("job")

    async def register() -> None:
        scope.register(client)

    asyncio.run_coroutine_threadsafe(register(), loop).result(10)
    scope.close()
    loop.call_soon_threadsafe(loop.stop)
    runner.join(10)
    loop.close()

    assert ["client"] == client.log
    assert loop is client.loop


def test_from_one_loop_to_another(guard: Guard) -> None:
    """
    The loop that closes goes on meanwhile.
    """
    client = Client()
    other = asyncio.new_event_loop()
    runner = in_thread(other.run_forever)
    scope = guard.scope("job")

    async def register() -> None:
        scope.register(client)

    async def main() -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(register(), other))
        await scope.aclose()

    asyncio.run(main())
    other.call_soon_threadsafe(other.stop)
    runner.join(10)
    other.close()
    assert other is client.loop


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_belongs_to_a_closed_loop(guard: Guard, asynchronous: bool) -> None:
    """
    Cannot be closed; where the type offers a way out, that is taken.
    """
    forced = []

    class WithWayOut(Client):
        def force_close(self) -> None:
            forced.append(self)

    scope = guard.scope("job")
    clients = [Client(), WithWayOut()]

    async def register() -> None:
        for client in clients:
            scope.register(client)

    asyncio.run(register())
    if asynchronous:
        asyncio.run(scope.aclose())
    else:
        scope.close()

    assert [clients[1]] == forced
    released = guard.registry.tally("resource", "").released
    assert {"forced": 1, "unclosable": 1} == released
    assert scope.closed


def test_nothing_is_lost_when_a_loop_ends_meanwhile(guard: Guard) -> None:
    """
    What was to be closed on it has an ending, and so has the scope.
    """
    client = Client()
    client.gate = None
    loop = asyncio.new_event_loop()
    scope = guard.scope("job")

    async def register() -> None:
        scope.register(client, close=stopping)

    async def stopping(one: Client) -> None:
        loop.stop()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        one.log.append("after")

    runner = in_thread(
        lambda: (loop.run_until_complete(register()), loop.run_forever())
    )
    while not loop.is_running() or not scope.children():
        runner.join(0.001)
    closer = in_thread(scope.close)
    runner.join(10)
    loop.run_until_complete(asyncio.sleep(0.01))
    closer.join(10)
    loop.close()

    assert scope.closed
    assert ["after"] == client.log


def test_units_of_work_in_other_tasks_are_waited_for(guard: Guard) -> None:
    """
    A connection that closes lets the message in hand end; the loop goes on.
    """
    log: list[str] = []

    async def main() -> None:
        connection = guard.scope("connection", work=False)
        thing = Thing(log, "thing")
        connection.register(thing)
        leave = asyncio.Event()

        async def message() -> None:
            with connection.scope("message") as scope:
                scope.register(thing2)
                await leave.wait()
                log.append("answered")

        thing2 = Thing(log, "thing of the message")
        task = asyncio.ensure_future(message())
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(connection.aclose())
        await asyncio.sleep(0.02)
        assert [] == log
        leave.set()
        await asyncio.gather(task, closing)

    asyncio.run(main())
    assert ["answered", "thing of the message", "thing"] == log


def test_collected_things_are_told_of_at_the_end(guard: Guard) -> None:
    """
    In every way of ending.
    """

    async def leave(scope: Scope) -> None:
        async with scope:
            pass

    for way in (lambda scope: asyncio.run(leave(scope)), Scope.close):
        scope = guard.scope("job")
        scope.register(Thing(), name="lost")
        gc.collect()
        with pytest.warns(MemguardResourceWarning, match="resource lost was collected"):
            way(scope)
