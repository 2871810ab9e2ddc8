"""
Shutdowns with real threads and loops: what hangs, what fails, and where things run.

Nothing sleeps: what hangs waits for an event that the test sets in the end.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memguard import Guard
from memguard._kinds.hook import ShutdownHook
from memguard._lifecycle import drivers as module
from memguard._lifecycle.batch import Abandon, At, Batch
from memguard._lifecycle.budget import Budget
from memguard._lifecycle.drivers import arun_plan, run_plan
from memguard._lifecycle.order import closing_order
from memguard._lifecycle.plan import plan
from memguard._lifecycle.report import ResourceReport, ShutdownReport
from memguard._phases import DRAINING, Phase
from memguard._tree import Branch, Node
from memguard.testing import FakeClock

PATIENCE_S = 20.0
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


class Thing:
    """
    Something whose close does what it is told, and notes where it ran.
    """

    def __init__(self, then: Callable[[], Any] | None = None) -> None:
        self.then = then
        self.closed_in: int | None = None

    def close(self) -> Any:
        self.closed_in = threading.get_ident()
        return None if self.then is None else self.then()


class Client:
    """
    As Thing, asynchronously.
    """

    def __init__(self, then: Callable[[], Any] | None = None) -> None:
        self.then = then
        self.loop: Any = None
        self.cancelled = False

    async def aclose(self) -> None:
        self.loop = asyncio.get_running_loop()
        try:
            if self.then is not None:
                await self.then()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


class Sink(Node):
    """
    A leaf with something to finish before its close.
    """

    __slots__ = ("calls", "close_step", "drain_step")

    kind = "sink"
    drains = True
    phase = Phase.TELEMETRY

    def __init__(
        self,
        owner: Branch,
        drain: Callable[[], Any] | None = None,
        close: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(owner, "sink")
        self.drain_step, self.close_step = drain, close
        self.calls: list[str] = []

    def _drain(self) -> Any:
        self.calls.append("drain")
        return None if self.drain_step is None else self.drain_step()

    def _release(self) -> Any:
        self.calls.append("close")
        return None if self.close_step is None else self.close_step()


class Forced(Sink):
    """
    One that can be ended at once.
    """

    __slots__ = ()
    forces = True
    drains = False

    def _force(self) -> None:
        self.calls.append("force")


class Stage:
    """
    A running guard, and an event that lets everything go on that hangs.
    """

    def __init__(self, timeout: str = "10s", **options: Any) -> None:
        self.go_on = threading.Event()
        self.guard = Guard(shutdown_timeout=timeout, **options)
        self.guard.start()
        self.kept: list[Any] = []

    def hang(self) -> None:
        self.go_on.wait(PATIENCE_S)

    def put(self, thing: Any, **options: Any) -> Any:
        self.kept.append(thing)
        return self.guard.register(thing, **options)

    def rows(self, report: ShutdownReport) -> dict[str, ResourceReport]:
        found = {row.name: row for row in report.resources}
        assert len(found) == len(report.resources)
        return found


@pytest.fixture
def stage() -> Iterator[Stage]:
    """
    A stage; in the end nothing hangs any more.
    """
    stage = Stage()
    yield stage
    stage.go_on.set()
    if stage.guard.is_running:
        stage.guard.shutdown()


def shut_down(stage: Stage, asynchronously: bool) -> ShutdownReport:
    """
    By the one driver or by the other.
    """
    if asynchronously:
        return asyncio.run(stage.guard.ashutdown())
    return stage.guard.shutdown()


drivers = pytest.mark.parametrize(
    "asynchronously", [False, True], ids=["sync", "async"]
)


# -- what hangs ------------------------------------------------------------------------


@drivers
def test_a_hanging_close_is_abandoned_with_its_stack(
    stage: Stage, asynchronously: bool
) -> None:
    """
    The report says where it hangs; what is well was closed, and all in time.
    """
    stage.put(Thing(stage.hang), name="hangs", timeout=0.05)
    well = stage.put(Thing(), name="well")

    report = shut_down(stage, asynchronously)

    row = stage.rows(report)["hangs"]
    assert ("abandoned", "hangs in close") == (row.outcome, row.reason)
    assert "in Stage.hang" in row.stack or "in hang" in row.stack
    assert "test_drivers.py" in row.site
    assert 40 < row.ms < 1000
    assert well.closed_in is not None
    assert "closed" == stage.rows(report)["well"].outcome
    assert not report.clean
    assert report.seconds < 5


def test_a_hanging_coroutine_is_abandoned_with_its_stack(stage: Stage) -> None:
    """
    Its own line is named, and its task is cancelled.
    """
    client = Client()

    async def hang() -> None:
        await asyncio.Event().wait()

    client.then = hang

    async def main() -> ShutdownReport:
        stage.put(client, name="hangs", timeout=0.05)
        report = await stage.guard.ashutdown()
        assert client.cancelled
        return report

    report = asyncio.run(main())
    row = stage.rows(report)["hangs"]
    assert "abandoned" == row.outcome
    assert "aclose" in row.stack
    assert "hang" in row.stack


@drivers
def test_what_can_be_forced_is_forced(stage: Stage, asynchronously: bool) -> None:
    """
    After its time, with the stack of the close that hangs.
    """
    node = Forced(stage.guard, close=stage.hang)
    node.__class__ = Quick
    node.attach()

    report = shut_down(stage, asynchronously)

    row = stage.rows(report)["sink"]
    assert ("forced", "did not close in time") == (row.outcome, row.reason)
    assert "hang" in row.stack
    assert ["close", "force"] == node.calls
    assert node.closed


class Quick(Forced):
    """
    One with little patience.
    """

    __slots__ = ()
    timeout = 0.05


@drivers
def test_a_hanging_drain_is_followed_by_the_close(asynchronously: bool) -> None:
    """
    Its share of the budget is spent; closed it is all the same, and once.
    """
    stage = Stage("0.4s")
    node = Sink(stage.guard, drain=stage.hang).attach()

    report = shut_down(stage, asynchronously)

    row = stage.rows(report)["sink"]
    assert ("closed", "its drain did not end in time") == (row.outcome, row.reason)
    assert "hang" in row.stack
    assert ["drain", "close"] == node.calls
    stage.go_on.set()


@drivers
def test_the_budget_is_kept(asynchronously: bool) -> None:
    """
    Whatever hangs, and whatever holds it up; a thousand others are named.
    """
    stage = Stage("0.5s")
    first = stage.put(Thing(stage.hang), name="0", timeout=10)
    for number in range(1, 50):
        first = stage.put(Thing(stage.hang), name=str(number), timeout=10, uses=[first])

    report = shut_down(stage, asynchronously)
    stage.go_on.set()

    assert report.seconds < 0.75
    assert 50 == report.outcomes["abandoned"]
    reasons = [row.reason for row in report.resources]
    assert "the budget was spent before its turn" in reasons


def test_a_clock_that_stands_still_does_not_stop_a_shutdown() -> None:
    """
    Under a fake clock what hangs is given up after real time.
    """
    stage = Stage(clock=FakeClock())
    stage.put(Thing(stage.hang), name="hangs", timeout=0.05)

    report = stage.guard.shutdown()
    stage.go_on.set()

    assert "abandoned" == stage.rows(report)["hangs"].outcome


# -- what fails ------------------------------------------------------------------------


@drivers
def test_a_failing_close_is_named_and_the_rest_closes(
    stage: Stage, asynchronously: bool
) -> None:
    """
    Type and place of the error, never its text.
    """

    def fail() -> None:
        msg = "secret"
        raise ValueError(msg)

    well = [stage.put(Thing(), name="before")]
    stage.put(Thing(fail), name="fails")
    well.append(stage.put(Thing(), name="after"))

    report = shut_down(stage, asynchronously)

    row = stage.rows(report)["fails"]
    assert "unclosable" == row.outcome
    assert row.reason.startswith("ValueError at ")
    assert "in test_a_failing_close" in row.reason or "in fail" in row.reason
    assert "secret" not in str(report.to_dict())
    assert all(one.closed_in for one in well)
    assert 1 == stage.guard.registry.failures.total


@drivers
@pytest.mark.parametrize("step", ["drain", "close", "both"])
def test_failing_drains_and_closes(
    stage: Stage, asynchronously: bool, step: str
) -> None:
    """
    A failing drain does not spare it the close; each failure is told.
    """

    def fail() -> None:
        raise OSError

    node = Sink(
        stage.guard,
        fail if step in ("drain", "both") else None,
        fail if step in ("close", "both") else None,
    ).attach()

    row = stage.rows(shut_down(stage, asynchronously))["sink"]

    assert ["drain", "close"] == node.calls
    assert ("closed" if step == "drain" else "unclosable") == row.outcome
    assert ("its drain failed: OSError at" in row.reason) == (step != "close")
    assert (step == "both") + 1 == stage.guard.registry.failures.total


def test_a_failing_force_is_told_as_well(stage: Stage) -> None:
    """
    Both reasons are in the report.
    """

    class Stubborn(Thing):
        def force_close(self) -> None:
            raise LookupError

    def fail() -> None:
        raise OSError

    stage.put(Stubborn(fail), name="stubborn")

    row = stage.rows(stage.guard.shutdown())["stubborn"]
    assert "unclosable" == row.outcome
    assert "OSError" in row.reason
    assert "forcing it: LookupError" in row.reason


def test_failing_memory_bytes_is_no_reason_not_to_close(stage: Stage) -> None:
    """
    The bytes are unknown then.
    """

    class Heavy(Thing):
        def memory_bytes(self) -> int:
            raise OSError

    heavy = stage.put(Heavy(), name="heavy")
    fat = stage.put(Thing(), name="fat", memory="1MiB")

    rows = stage.rows(stage.guard.shutdown())
    assert (None, 1 << 20) == (rows["heavy"].bytes_held, rows["fat"].bytes_held)
    assert heavy.closed_in
    assert fat.closed_in


@drivers
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_close_comes_at_the_end(
    stage: Stage, asynchronously: bool, error: type[BaseException]
) -> None:
    """
    Everything is closed, reported, and then it is raised.
    """

    def fail() -> None:
        raise error

    well = stage.put(Thing(), name="well")
    stage.put(Thing(fail), name="fails")
    stage.put(Thing(fail), name="bound", affinity="thread")

    with pytest.raises(error):
        shut_down(stage, asynchronously)

    assert well.closed_in is not None
    rows = stage.rows(stage.guard.shutdown())
    assert "unclosable" == rows["fails"].outcome
    assert "closed" == rows["well"].outcome


def test_an_impatient_user_waits_no_longer_than_two_seconds() -> None:
    """
    Ctrl-C while something hangs: the budget is cut, and it is raised at the end.
    """

    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if entered.is_set() and not asked:
                asked.append(True)
                raise KeyboardInterrupt
            return super().wait(timeout)

    entered, asked = threading.Event(), []
    stage = Stage()
    guard = stage.guard

    def hang() -> None:
        entered.set()
        stage.hang()

    stage.put(Thing(hang), timeout=9.0, phase="work")
    budget = Budget(guard.registry.now(), 9.0)
    steps = plan(closing_order(guard.children()), budget, budget.start)
    hurried: list[float] = []

    def hurry() -> None:
        hurried.append(budget.end)
        budget.cut(guard.registry.now(), 0.1)

    desk = module._Desk.__init__

    def impatient(self: Any, *arguments: Any) -> None:
        desk(self, *arguments)
        self.moved = Impatient()

    module._Desk.__init__ = impatient  # type: ignore[method-assign]
    try:
        interrupt = run_plan(steps, guard.registry.now, guard.control.workers, hurry)
    finally:
        module._Desk.__init__ = desk  # type: ignore[method-assign]
        stage.go_on.set()

    assert isinstance(interrupt, KeyboardInterrupt)
    assert 1 == len(hurried)
    assert guard.registry.now() < budget.start + 2.0
    guard.shutdown()


# -- where things run ------------------------------------------------------------------


def test_each_where_it_belongs(stage: Stage) -> None:
    """
    Bound to a thread: there. Bound to a loop: on it. Anything else: elsewhere, so that
    the loop stays free.
    """
    bound, free = Thing(), Thing()
    client = Client()
    loop_bound = Thing(lambda: loops.append(asyncio.get_running_loop()))
    loops: list[Any] = []

    async def main() -> None:
        stage.put(bound, name="bound", affinity="thread")
        stage.put(free, name="free")
        stage.put(client, name="client")
        stage.put(loop_bound, name="loop bound", affinity="loop")
        await stage.guard.ashutdown()
        assert asyncio.get_running_loop() is client.loop
        assert [asyncio.get_running_loop()] == loops

    asyncio.run(main())
    assert threading.get_ident() == bound.closed_in
    assert threading.get_ident() == loop_bound.closed_in
    assert threading.get_ident() != free.closed_in


def test_the_loop_stays_responsive() -> None:
    """
    While something closes slowly in a thread, other tasks go on.
    """
    stage = Stage(audit_ignore=("task",))
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            ticks.append(1)
            if len(ticks) == 20:
                stage.go_on.set()
            await asyncio.sleep(0.001)

    async def main() -> None:
        stage.put(Thing(stage.hang))
        ticking = asyncio.ensure_future(tick())
        await stage.guard.ashutdown()
        ticking.cancel()

    asyncio.run(main())
    assert len(ticks) >= 20


def test_a_synchronous_shutdown_closes_on_the_loop_of_another_thread() -> None:
    """
    And waits for it.
    """
    stage = Stage(audit_ignore=("*",))
    client = Client()
    loop = asyncio.new_event_loop()
    runner = threading.Thread(target=loop.run_forever)
    runner.start()

    async def register() -> None:
        stage.put(client)

    asyncio.run_coroutine_threadsafe(register(), loop).result(PATIENCE_S)
    stage.guard.shutdown()
    loop.call_soon_threadsafe(loop.stop)
    runner.join(PATIENCE_S)
    loop.close()

    assert loop is client.loop


@drivers
def test_what_belongs_to_a_closed_loop(stage: Stage, asynchronously: bool) -> None:
    """
    Is unclosable, and says why.
    """
    client = Client()

    async def register() -> None:
        stage.put(client, name="client")

    asyncio.run(register())

    row = stage.rows(shut_down(stage, asynchronously))["client"]
    assert ("unclosable", "its event loop is closed") == (row.outcome, row.reason)
    assert client.loop is None


def test_without_threads_everything_is_closed_here(stage: Stage) -> None:
    """
    At interpreter exit no thread can be had: then this one does it.
    """

    class Nobody:
        def submit(self, fn: Callable[[], object]) -> bool:
            return False

    thing = stage.put(Thing())
    now = stage.guard.registry.now
    steps = plan(closing_order(stage.guard.children()), Budget(now(), 5.0), now())

    assert run_plan(steps, now, Nobody()) is None
    assert threading.get_ident() == thing.closed_in


@drivers
def test_closes_see_the_context_of_whoever_shuts_down(
    stage: Stage, asynchronously: bool
) -> None:
    """
    In whatever thread they run.
    """
    seen: list[str] = []
    stage.put(Thing(lambda: seen.append(variable.get())))
    token = variable.set("mine")
    try:
        shut_down(stage, asynchronously)
    finally:
        variable.reset(token)

    assert ["mine"] == seen


# -- together with others --------------------------------------------------------------


@drivers
def test_a_close_that_somebody_else_has_in_hand_is_waited_for(
    stage: Stage, asynchronously: bool
) -> None:
    """
    What is used is not taken away while its user still closes in another thread.
    """
    log: list[str] = []
    closing = threading.Event()

    def slowly() -> None:
        closing.set()
        stage.hang()
        log.append("user")

    used = stage.put(Thing(lambda: log.append("used")), name="used")
    stage.put(Thing(slowly), name="user", uses=[used], timeout=PATIENCE_S)
    node = stage.guard.children()[-1]
    closer = threading.Thread(target=node.close)
    closer.start()
    closing.wait(PATIENCE_S)
    threading.Timer(0.05, stage.go_on.set).start()

    rows = stage.rows(shut_down(stage, asynchronously))

    closer.join(PATIENCE_S)
    assert ["user", "used"] == log
    assert "closed" == rows["user"].outcome


def test_what_is_given_up_is_not_closed_later(stage: Stage) -> None:
    """
    A close that comes back after it was abandoned changes nothing.
    """
    stage.put(Thing(stage.hang), name="hangs", timeout=0.05)
    node = stage.guard.children()[0]
    stage.guard.shutdown()
    ending = node.ending

    stage.go_on.set()
    stage.guard.control.workers.close(1.0)

    assert ending is node.ending
    assert ending is not None
    assert "abandoned" == ending.outcome.value
    assert {"abandoned": 1} == stage.guard.registry.tally("resource", "hangs").released


def test_work_in_hand_is_one_row(stage: Stage) -> None:
    """
    A request that does not end: its drain and its close are told together.
    """
    stage = Stage("0.6s")
    scope = stage.guard.scope("request")
    scope.begin()
    scope.register(stage.put(Thing(), name="other"), name="thing")

    rows = stage.rows(stage.guard.shutdown())

    row = rows["request"]
    assert ("abandoned", "hangs in drain") == (row.outcome, row.reason)
    assert "closed" == rows["thing"].outcome
    scope.finish()


def test_hooks_run_in_their_phase_and_again(stage: Stage) -> None:
    """
    A declared node is disarmed, not closed; the next shutdown does it again.
    """
    guard = Guard()
    calls: list[str] = []
    guard.on_shutdown(phase="timers")(lambda: calls.append("hook"))
    thing = Thing(lambda: calls.append("thing"))
    for _ in range(2):
        guard.start()
        guard.register(thing)
        guard.shutdown()

    assert ["hook", "thing"] * 2 == calls
    (node,) = guard.children()
    assert isinstance(node, ShutdownHook)


def test_a_sink_that_drains_is_draining(stage: Stage) -> None:
    """
    While it finishes what it has it takes nothing new.
    """
    states: list[int] = []
    node = Sink(stage.guard, drain=lambda: states.append(node.state)).attach()
    stage.guard.shutdown()

    assert [DRAINING] == states


def test_a_runner_that_fails_loses_no_entry(stage: Stage) -> None:
    """
    Whatever happens to a driver, its entry has an ending.
    """
    thing = stage.put(Thing(), name="thing")
    stage.put(Thing(), name="other")
    now = stage.guard.registry.now
    entries = closing_order(stage.guard.children())
    perform = module.perform_in_thread
    failed: list[str] = []

    def failing(entry: Any, batch: Any, *rest: Any) -> None:
        if not failed:
            failed.append(entry.label)
            batch.at = At(entry, "close", now())
            raise RuntimeError
        perform(entry, batch, *rest)

    module.perform_in_thread = failing  # type: ignore[assignment]
    try:
        run_plan(plan(entries, Budget(now(), 5.0), now()), now, _Quiet(stage))
    finally:
        module.perform_in_thread = perform

    endings = {one.label: one.ending for one in entries}
    assert "other" == failed[0]
    assert "its driver failed" == endings["other"].reason  # type: ignore[union-attr]
    assert "closed" == endings["thing"].outcome.value  # type: ignore[union-attr]
    assert thing.closed_in is not None


class _Quiet:
    """
    Threads that swallow what a runner raises.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def submit(self, fn: Callable[[], object]) -> bool:
        def run() -> None:
            try:
                fn()
            except RuntimeError:
                self.stage.kept.append("failed")

        threading.Thread(target=run).start()
        return True


def test_abandoning_what_was_never_begun(stage: Stage) -> None:
    """
    It has no stack and took no time.
    """
    stage.put(Thing(), name="thing")
    (entry,) = closing_order(stage.guard.children())

    def steps() -> Any:
        yield Abandon(None, entry, "no time")

    now = stage.guard.registry.now
    asyncio.run(arun_plan(steps(), now, stage.guard.control.workers))

    assert entry.ending is not None
    assert ("no time", 0.0, "") == (
        entry.ending.reason,
        entry.ending.ms,
        entry.ending.stack,
    )
    assert stage.guard.children() == []


def test_what_was_not_begun_can_be_taken_back() -> None:
    """
    In its order.
    """
    batch = Batch(deque([1, 2, 3]), "any")  # type: ignore[list-item]
    assert [1, 2, 3] == batch.take_back()
    assert [] == batch.take_back()
