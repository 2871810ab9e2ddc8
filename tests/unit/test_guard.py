"""
The guard: its life, its shutdown, and what it says to who uses it wrongly.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

import memguard
from memguard import Guard, Phase
from memguard._phases import CLOSED, NEW, OPEN
from memguard.errors import (
    BackgroundFailures,
    OrderError,
    ScopeClosed,
    SpecConflict,
    WouldBlockLoop,
)


class Thing:
    """
    Something with an end, that notes when it came.
    """

    def __init__(self, log: list[str] | None = None, name: str = "thing") -> None:
        self.log = [] if log is None else log
        self.name = name

    def close(self) -> None:
        self.log.append(self.name)


class Broken(Thing):
    """
    Something that cannot be closed.
    """

    def close(self) -> None:
        msg = "secret of a user"
        raise ValueError(msg)


class Hanging(Thing):
    """
    Something whose close waits for the test.
    """

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def close(self) -> None:
        self.release.wait(20)


def test_life_of_a_guard() -> None:
    """
    A guard is new, open in its block, closed after it, and may start again.
    """
    guard = Guard("g")

    assert NEW == guard.state

    with guard as entered:
        assert guard is entered
        assert OPEN == guard.state
        assert guard is memguard.current()

    assert CLOSED == guard.state
    assert guard.start() is guard
    assert guard.shutdown().clean


def test_everything_registered_is_closed_newest_first() -> None:
    """
    The order of equals is the one of a stack.
    """
    log: list[str] = []
    things = [Thing(log, str(number)) for number in range(5)]
    with Guard() as guard:
        for thing in things:
            assert thing is guard.register(thing)

    assert ["4", "3", "2", "1", "0"] == log


def test_users_close_before_what_they_use() -> None:
    """
    `uses` beats age.
    """
    log: list[str] = []
    user, used = Thing(log, "user"), Thing(log, "used")
    with Guard() as guard:
        guard.register(used)
        first = Thing(log, "first")
        guard.register(user, uses=[used])
        guard.register(first)

    assert log.index("user") < log.index("used")


def test_an_explicit_later_phase_than_that_of_a_used_thing_is_refused() -> None:
    """
    The error names both and the cure, and nothing is registered.
    """
    guard = Guard()
    used, user = Thing(), Thing()
    guard.register(used, phase="work")

    with pytest.raises(OrderError, match="leave out `phase`"):
        guard.register(user, phase="clients", uses=[used])

    assert 1 == len(guard.snapshot().nodes)


def test_a_cycle_of_uses_is_refused() -> None:
    """
    No order could close both.
    """
    guard = Guard()
    one, two = Thing(), Thing()
    guard.register(one)
    guard.register(two, uses=[one])

    with pytest.raises(OrderError, match="would use itself"):
        guard.register(one, uses=[two])


def test_registering_on_an_ended_guard_or_scope_says_so() -> None:
    """
    Nothing is silently lost.
    """
    guard = Guard()
    with guard:
        scope = guard.scope("job")
        scope.close()
        with pytest.raises(ScopeClosed, match="'job'"):
            scope.register(Thing())

    for attempt in (
        lambda: guard.register(Thing()),
        lambda: guard.scope("late"),
        lambda: guard.timer(print, every=1),
        lambda: guard.emitter("late"),
    ):
        with pytest.raises(ScopeClosed):
            attempt()


def test_weak_by_default() -> None:
    """
    A registered object dies with its last user, and that is a warning.
    """
    guard = Guard()
    thing = Thing()
    guard.register(thing)
    seen = weakref.ref(thing)
    del thing
    gc.collect()

    assert seen() is None
    with pytest.warns(ResourceWarning, match="test_guard.py"):
        guard.snapshot()
    assert 0 == guard.snapshot().count("resource")


def test_keep_is_strong_until_the_scope_closes() -> None:
    """
    What cannot be weakly referenced needs `keep`, and the error says so.
    """
    with Guard() as guard:
        with pytest.raises(TypeError, match="keep=True"):
            guard.register([1, 2])
        with guard.scope("job") as scope:
            thing = Thing()
            seen = weakref.ref(thing)
            scope.register(thing, keep=True)
            del thing
            gc.collect()
            assert seen() is not None
        gc.collect()
        assert seen() is None


def test_a_bound_method_of_the_object_does_not_keep_it_alive() -> None:
    """
    `close=obj.close` is unwrapped.
    """
    guard = Guard()
    thing = Thing()
    guard.register(thing, close=thing.close)
    seen = weakref.ref(thing)
    del thing
    gc.collect()

    assert seen() is None
    with pytest.warns(ResourceWarning):
        guard.snapshot()


def test_failing_closes_are_named_without_their_text() -> None:
    """
    The report tells type and place, never what a user's value says.
    """
    guard = Guard()
    with guard:
        broken = guard.register(Broken())
        healthy = guard.register(Thing())

    report = guard.shutdown()
    failing = report.failing()
    assert ["healthy"] == ["healthy" for _ in healthy.log]
    assert ["Broken"] == [one.name for one in failing]
    assert "unclosable" == failing[0].outcome
    assert failing[0].reason.startswith("ValueError at ")
    assert "secret" not in str(report)
    assert not report.clean
    assert broken is not None


def test_what_hangs_is_abandoned_with_its_stack() -> None:
    """
    Its second over, it is named, and everything else is closed.
    """
    guard = Guard()
    hanging, thing = Hanging(), Thing()
    guard.start()
    guard.register(thing)
    guard.register(hanging, timeout=0.05)
    report = guard.shutdown()
    hanging.release.set()

    assert ["thing"] == thing.log
    (row,) = report.failing()
    assert "abandoned" == row.outcome
    assert "in Hanging.close" in row.stack or "in close" in row.stack
    assert not report.clean


def test_force_close_ends_what_does_not_close() -> None:
    """
    A ManagedResource that fails is forced, which is an outcome of its own.
    """

    class Managed(Broken):
        forced = False

        def force_close(self) -> None:
            self.forced = True

        def memory_bytes(self) -> int:
            return 4096

    guard = Guard()
    thing = Managed()
    guard.start()
    guard.register(thing)
    assert 4096 == guard.snapshot().nodes[0].bytes_held
    report = guard.shutdown()

    assert thing.forced
    assert "forced" == report.failing()[0].outcome
    assert 4096 == report.resources[0].bytes_held
    assert report.clean


def test_phases_are_kept() -> None:
    """
    Each phase ends before the next begins, whatever the age.
    """
    log: list[str] = []
    with Guard() as guard:
        for phase in Phase:
            guard.register(Thing(log, phase.value), phase=phase, keep=True)

    assert [phase.value for phase in Phase] == log


def test_hooks_run_in_their_phase_in_every_shutdown() -> None:
    """
    A hook declared before the start survives a restart.
    """
    log: list[str] = []
    guard = Guard()

    @guard.on_shutdown(phase="telemetry")
    def last() -> None:
        log.append("last")

    for _ in range(2):
        guard.start()
        guard.register(Thing(log, "thing"), keep=True)
        assert guard.shutdown().clean

    assert ["thing", "last", "thing", "last"] == log


def test_shutdown_inside_a_loop_names_the_asynchronous_form() -> None:
    """
    A loop is never blocked.
    """

    async def main() -> None:
        async with Guard() as guard:
            with pytest.raises(WouldBlockLoop, match="ashutdown"):
                guard.shutdown()

    asyncio.run(main())


def test_asynchronous_closes_are_awaited() -> None:
    """
    On the loop that made them.
    """
    log: list[Any] = []

    class Client:
        async def aclose(self) -> None:
            await asyncio.sleep(0)
            log.append(asyncio.get_running_loop())

    async def main() -> None:
        async with Guard() as guard:
            client = guard.register(Client())
            report_of = guard
        assert [asyncio.get_running_loop()] == log
        assert (await report_of.ashutdown()).clean
        assert client is not None

    asyncio.run(main())


def test_a_second_shutdown_returns_the_same_report() -> None:
    """
    Closing twice closes once.
    """
    thing = Thing()
    guard = Guard().start()
    guard.register(thing)
    first = guard.shutdown()

    assert first is guard.shutdown()
    assert ["thing"] == thing.log


def test_threads_that_join_a_shutdown_get_its_report() -> None:
    """
    Single flight.
    """
    guard = Guard().start()
    hanging = Hanging()
    guard.register(hanging, timeout=5)
    reports = []
    threads = [
        threading.Thread(target=lambda: reports.append(guard.shutdown()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert guard.control.begun.wait(5)
    hanging.release.set()
    for thread in threads:
        thread.join(10)

    assert 4 == len(reports)
    assert 1 == len({id(report) for report in reports})


def test_containers_are_made_once_and_their_spec_is_kept() -> None:
    """
    The error names what differs and where the first was made.
    """
    guard = Guard()
    ring = guard.ring("lines", max_entries=3)

    assert ring is guard.ring("lines", max_entries=3)
    with pytest.raises(SpecConflict, match=r"max_entries.*test_guard\.py"):
        guard.ring("lines", max_entries=4)


def test_strict_mode_raises_background_failures() -> None:
    """
    What nobody could see is raised together at the end.
    """
    guard = Guard(strict=True).start()
    guard.register(Broken(), keep=True)

    with pytest.raises(BackgroundFailures) as caught:
        guard.shutdown()

    assert [ValueError] == [type(one) for one in caught.value.exceptions]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"close": "no_such_method"}, ValueError),
        ({"close": 3}, TypeError),
        ({"phase": "never"}, ValueError),
        ({"timeout": -1}, ValueError),
        ({"timeout": "soon"}, ValueError),
        ({"affinity": "moon"}, ValueError),
        ({"kind": ""}, ValueError),
        ({"memory": "lots"}, ValueError),
        ({"uses": [object()]}, ValueError),
    ],
)
def test_bad_options_of_register_are_refused_at_the_door(
    options: dict[str, Any], error: type[Exception]
) -> None:
    """
    And nothing is registered.
    """
    guard = Guard()
    with pytest.raises(error):
        guard.register(Thing(), **options)

    assert () == guard.snapshot().nodes


def test_watched_objects_that_live_on_are_named() -> None:
    """
    With the reason the caller gave.
    """

    class Request:
        pass

    guard = Guard()
    with guard:
        alive, dead = Request(), Request()
        with guard.scope("GET /") as scope:
            scope.watch(alive, "the request is answered")
            scope.watch(dead, "the request is answered")
        del dead

    (finding,) = guard.shutdown().audit.findings
    assert ("object", "Request", "leaked") == (
        finding.kind,
        finding.name.rpartition(".")[2],
        finding.verdict,
    )
    assert "the request is answered" == finding.detail
    assert alive is not None


def test_enter_is_exit_stack() -> None:
    """
    Managers are left when the scope closes, newest first.
    """
    log: list[str] = []

    class Manager:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> str:
            return self.name

        def __exit__(self, *_: object) -> None:
            log.append(self.name)

    with Guard() as guard, guard.scope("job") as scope:
        assert "a" == scope.enter(Manager("a"))
        assert "b" == scope.enter(Manager("b"))

    assert ["b", "a"] == log


def test_release_forgets_what_its_user_closed() -> None:
    """
    No warning, and no second close.
    """
    guard = Guard().start()
    thing = Thing()
    guard.register(thing)

    assert guard.release(thing)
    assert not guard.release(thing)
    guard.shutdown()
    assert [] == thing.log


def test_a_thousand_starts_and_shutdowns_leave_nothing() -> None:
    """
    Threads and registered things are as before.
    """
    guard = Guard()
    ticks: list[int] = []
    guard.timer(lambda: ticks.append(1), every="1h", name="tick")
    before = threading.active_count()
    for _ in range(1000):
        guard.start()
        guard.register(Thing(), keep=True)
        guard.shutdown()

    assert before == threading.active_count()
    assert 1 == len(guard.children())


def test_current_scope_follows_blocks() -> None:
    """
    The innermost one, and after it the one before.
    """
    with Guard() as guard:
        assert guard is memguard.current_scope()
        with guard.scope("outer") as outer:
            with outer.scope("inner") as inner:
                assert inner is memguard.current_scope()
            assert outer is memguard.current_scope()
        assert guard is memguard.current_scope()


def test_work_is_counted_under_bounded_names() -> None:
    """
    200 names, then `other`.
    """
    guard = Guard()
    for number in range(250):
        with guard.scope(f"job {number}"):
            pass
    work = guard.snapshot().work

    assert 201 == len(work)
    assert 50 == work["other"]


def test_the_report_is_data_and_text() -> None:
    """
    Both name what was closed and what the audit says.
    """
    guard = Guard("shop").start()
    thing = guard.register(Thing(), name="stock")
    report = guard.shutdown()
    data = report.to_dict()

    assert thing.log
    assert "memguard.shutdown/1" == data["schema"]
    assert ["stock"] == [row["name"] for row in data["resources"]]
    assert "test_guard.py" in data["resources"][0]["site"]
    assert data["clean"]
    assert "audit: clean" in str(report)
