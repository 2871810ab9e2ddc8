"""
The scheduler's thread and its workers, with real threads and events, without sleeps.
"""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Iterator
from functools import partial
from time import monotonic

import pytest

from memguard._clock import SystemClock
from memguard._scheduler import ThreadScheduler
from memguard._workers import Workers

SOON = 5.0  # seconds a test waits at most for another thread


class Errors:
    """
    Keeps what is reported to it.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.came = threading.Event()

    def __call__(self, where: str, error: BaseException) -> None:
        self.seen.append((where, type(error).__name__))
        self.came.set()


@pytest.fixture
def errors() -> Errors:
    """
    What was reported.
    """
    return Errors()


@pytest.fixture
def scheduler(errors: Errors) -> Iterator[ThreadScheduler]:
    """
    A scheduler that is not started, and that must leave no thread.
    """
    made = ThreadScheduler(SystemClock(), "memguard-test", on_error=errors)
    yield made
    made.stop(SOON)
    assert our_threads() == []


@pytest.fixture
def workers(errors: Errors) -> Iterator[Workers]:
    """
    Two workers at most, which must leave no thread.
    """
    made = Workers("memguard-test", limit=2, idle_s=60, on_error=errors)
    yield made
    made.close(SOON)
    assert our_threads() == []


def our_threads() -> list[str]:
    """
    Names of the threads that this file has memguard start.

    Those of guards are left out: a test before this may have left one to hang.
    """
    return [t.name for t in threading.enumerate() if t.name.startswith("memguard-test")]


def wait_until(condition: object) -> None:
    """
    Waits for what another thread does without telling anybody.
    """
    assert callable(condition)
    end = monotonic() + SOON
    pause = threading.Event()
    while not condition():
        assert monotonic() < end
        pause.wait(0.001)


class Thing:
    """
    Something to hold by a function, and to see die.
    """


def test_no_thread_before_start(scheduler: ThreadScheduler) -> None:
    """
    Making a scheduler and scheduling with it starts nothing.
    """
    scheduler.call_at(0.0, list)
    scheduler.submit(list)

    assert our_threads() == []


def test_runs_what_was_scheduled_before_start(scheduler: ThreadScheduler) -> None:
    """
    Calls and jobs handed in early run once the scheduler has started.
    """
    called, submitted = threading.Event(), threading.Event()
    scheduler.call_at(0.0, called.set)
    scheduler.submit(submitted.set)

    scheduler.start()

    assert called.wait(SOON)
    assert submitted.wait(SOON)


def test_runs_in_time_order(scheduler: ThreadScheduler) -> None:
    """
    What is due earlier runs first; equals run in the order in which they came.
    """
    order: list[str] = []
    done = threading.Event()
    now = monotonic()
    scheduler.call_at(now - 1, partial(order.append, "third"))
    scheduler.call_at(now - 2, partial(order.append, "first"))
    scheduler.call_at(now - 2, partial(order.append, "second"))
    scheduler.call_at(now, done.set)

    scheduler.start()

    assert done.wait(SOON)
    assert ["first", "second", "third"] == order


def test_an_earlier_call_wakes_the_thread(scheduler: ThreadScheduler) -> None:
    """
    A thread that sleeps until a far call hears of a nearer one.
    """
    scheduler.start()
    scheduler.call_at(monotonic() + 3600, list)
    run = scheduler._run
    assert run is not None
    wait_until(lambda: 0 < run.asleep_until < float("inf"))
    near = threading.Event()

    scheduler.call_at(monotonic() + 0.01, near.set)

    assert near.wait(SOON)


def test_not_before_its_time(scheduler: ThreadScheduler) -> None:
    """
    A call never runs early.
    """
    scheduler.start()
    ran_at: list[float] = []
    done = threading.Event()
    when = monotonic() + 0.05

    scheduler.call_at(when, lambda: (ran_at.append(monotonic()), done.set()))

    assert done.wait(SOON)
    assert ran_at[0] >= when


def test_cancel_drops_the_function_at_once(scheduler: ThreadScheduler) -> None:
    """
    The function dies with `cancel`, though the dead entry still lies in the heap.
    """
    thing = Thing()
    alive = weakref.ref(thing)
    handle = scheduler.call_at(monotonic() + 3600, partial(id, thing))
    del thing

    handle.cancel()
    handle.cancel()

    assert alive() is None


def test_nothing_is_kept_after_a_call(scheduler: ThreadScheduler) -> None:
    """
    The sleeping thread and the idle workers hold no function that has run.
    """
    scheduler.start()
    ran, submitted = threading.Event(), threading.Event()
    things = [Thing(), Thing()]
    alive = [weakref.ref(thing) for thing in things]

    def use(thing: Thing, event: threading.Event) -> None:
        event.set()

    handle = scheduler.call_at(0.0, partial(use, things[0], ran))
    scheduler.submit(partial(use, things[1], submitted))
    del things

    assert ran.wait(SOON)
    assert submitted.wait(SOON)
    wait_until(lambda: [one() for one in alive] == [None, None])
    handle.cancel()


def test_a_failing_function_is_reported(
    scheduler: ThreadScheduler, errors: Errors
) -> None:
    """
    Whatever a function raises, the thread goes on.
    """

    def leave() -> None:
        raise SystemExit

    after = threading.Event()
    scheduler.call_at(1.0, partial(int, "no number"))
    scheduler.call_at(2.0, leave)
    scheduler.call_at(3.0, after.set)

    scheduler.start()

    assert after.wait(SOON)
    assert [("scheduler", "ValueError"), ("scheduler", "SystemExit")] == errors.seen


def test_a_failing_reporter_does_not_end_the_thread(
    scheduler: ThreadScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    When even the report fails, the interpreter's own hook is told.
    """
    told: list[str] = []
    monkeypatch.setattr(
        threading, "excepthook", lambda args: told.append(args.exc_type.__name__)
    )
    after = threading.Event()

    def fail(where: str, error: BaseException) -> None:
        raise KeyError(where)

    scheduler.on_error = fail
    scheduler.call_at(1.0, partial(int, "no number"))
    scheduler.call_at(2.0, after.set)

    scheduler.start()

    assert after.wait(SOON)
    assert ["KeyError"] == told


def test_the_default_reporter_logs(caplog: pytest.LogCaptureFixture) -> None:
    """
    Without `on_error` a failure is one line in the log.
    """
    scheduler = ThreadScheduler(SystemClock(), "memguard-test")
    after = threading.Event()
    scheduler.call_at(1.0, partial(int, "no number"))
    scheduler.call_at(2.0, after.set)

    scheduler.start()
    assert after.wait(SOON)
    scheduler.stop(SOON)

    assert ["memguard: scheduler failed with ValueError"] == caplog.messages


def test_start_and_stop_are_idempotent(scheduler: ThreadScheduler) -> None:
    """
    Starting twice makes one thread; stopping twice, or before a start, is nothing.
    """
    scheduler.stop(SOON)
    scheduler.start()
    scheduler.start()

    assert ["memguard-test"] == our_threads()
    scheduler.stop(SOON)
    scheduler.stop(SOON)
    assert [] == our_threads()


def test_what_is_not_due_survives_a_stop(scheduler: ThreadScheduler) -> None:
    """
    A call that was not due at the stop runs after the next start.
    """
    event = threading.Event()
    scheduler.start()
    first = scheduler.call_at(monotonic() + 0.05, event.set)
    scheduler.stop(SOON)
    assert not event.is_set()

    scheduler.start()

    assert event.wait(SOON)
    first.cancel()


@pytest.mark.stress
def test_a_thousand_restarts(scheduler: ThreadScheduler) -> None:
    """
    Starting and stopping again and again leaves no thread and drops no job.
    """
    ran: list[int] = []
    for number in range(1000):
        scheduler.start()
        scheduler.call_at(0.0, partial(ran.append, number))
        if number % 10 == 0:
            scheduler.submit(partial(ran.append, number))
        scheduler.stop(SOON)

    assert our_threads() == []
    scheduler.start()
    wait_until(lambda: len(ran) == 1100)


def test_stop_does_not_wait_for_ever(scheduler: ThreadScheduler) -> None:
    """
    A call that hangs costs `stop` its timeout; the thread's successor takes over.
    """
    hang, inside, later = threading.Event(), threading.Event(), threading.Event()

    def hanging() -> None:
        inside.set()
        hang.wait(SOON)

    scheduler.start()
    scheduler.call_at(1.0, hanging)
    scheduler.call_at(monotonic() + 0.01, later.set)
    assert inside.wait(SOON)
    begun = monotonic()

    scheduler.stop(0.02)

    assert monotonic() - begun < 1
    scheduler.start()
    assert not later.is_set()
    hang.set()  # only now does the old thread hand back what it had
    assert later.wait(SOON)


def test_stop_from_its_own_thread(scheduler: ThreadScheduler) -> None:
    """
    A scheduled call, or a job, may stop the scheduler that runs it.
    """
    for schedule in (partial(scheduler.call_at, 0.0), scheduler.submit):
        stopped = threading.Event()

        def stop(stopped: threading.Event = stopped) -> None:
            scheduler.stop(SOON)
            stopped.set()

        scheduler.start()
        schedule(stop)
        assert stopped.wait(SOON)
        wait_until(lambda: our_threads() == [])


def test_slow_jobs_do_not_hold_up_calls(scheduler: ThreadScheduler) -> None:
    """
    While every worker is busy the thread still calls what is due; jobs are counted.
    """
    hang, called = threading.Event(), threading.Event()
    scheduler.start()
    for _ in range(6):
        scheduler.submit(lambda: hang.wait(SOON))

    scheduler.call_at(0.0, called.set)

    assert called.wait(SOON)
    assert 2 == scheduler.waiting
    hang.set()
    wait_until(lambda: scheduler.waiting == 0)


def test_without_workers_jobs_run_on_the_thread(
    scheduler: ThreadScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    When no thread can be started, a job runs on the scheduler's own.
    """
    scheduler.start()

    def refuse(self: threading.Thread) -> None:
        msg = "can't create new thread at interpreter shutdown"
        raise RuntimeError(msg)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = threading.Event()
    ran_on: list[str] = []

    scheduler.submit(
        lambda: (ran_on.append(threading.current_thread().name), done.set())
    )

    assert done.wait(SOON)
    assert ["memguard-test"] == ran_on


def test_a_start_that_fails_leaves_it_stopped(
    scheduler: ThreadScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    When the thread cannot be had the caller is told, and may try again.
    """

    def refuse(self: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            scheduler.start()
    event = threading.Event()
    scheduler.call_at(0.0, event.set)

    scheduler.start()

    assert event.wait(SOON)


@pytest.mark.parametrize("running", [False, True])
def test_cancelled_calls_are_thrown_out(
    scheduler: ThreadScheduler, running: bool
) -> None:
    """
    When many are dead their entries go, without waiting for their time.
    """
    if running:
        scheduler.start()
    far = monotonic() + 3600
    gc.collect()
    kept = [scheduler.call_at(far, list) for _ in range(10)]
    dead = [scheduler.call_at(far, list) for _ in range(5000)]
    alive = [type(one) for one in dead[:1]]
    for handle in dead:
        handle.cancel()
    del dead, handle

    def entries() -> int:
        return sum(type(one) in alive for one in gc.get_objects())

    wait_until(lambda: entries() < 600)
    assert entries() >= len(kept)


@pytest.mark.stress
def test_memory_of_cancelled_timers_returns(
    scheduler: ThreadScheduler, long_form: bool
) -> None:
    """
    Scheduling and cancelling over and over holds only a bounded number of entries.
    """
    scheduler.start()
    far = monotonic() + 3600
    most = 0
    rounds = 1_000_000 if long_form else 100_000
    for number in range(rounds):
        scheduler.call_at(far, list).cancel()
        if number % 10_000 == 0:
            most = max(most, len(scheduler._incoming))

    wait_until(lambda: len(scheduler._incoming) < 2000)
    assert most < rounds / 2


@pytest.mark.stress
def test_many_threads_schedule_and_cancel(scheduler: ThreadScheduler) -> None:
    """
    Of what many threads schedule at once, everything not cancelled runs, once.
    """
    ran: list[int] = []
    cancelled: list[int] = []
    scheduler.start()

    def work(base: int) -> None:
        for number in range(base, base + 2000):
            handle = scheduler.call_at(
                monotonic() + number % 3 * 0.001, partial(ran.append, number)
            )
            if number % 5 == 0 and handle.fn is not None:
                handle.cancel()
                cancelled.append(number)

    threads = [threading.Thread(target=work, args=(i * 2000,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)

    wait_until(lambda: len(set(ran) | set(cancelled)) == 8000)
    assert len(ran) == len(set(ran))


def test_a_destructor_may_schedule_and_cancel(scheduler: ThreadScheduler) -> None:
    """
    Dropping a function may run a destructor that uses the scheduler again.
    """
    seen = threading.Event()

    class Last:
        def __init__(self) -> None:
            self.handle = scheduler.call_at(monotonic() + 3600, list)

        def __del__(self) -> None:
            self.handle.cancel()
            scheduler.call_at(0.0, seen.set)

    scheduler.start()
    handle = scheduler.call_at(monotonic() + 3600, partial(id, Last()))
    handle.cancel()

    assert seen.wait(SOON)


def test_a_forked_child_does_not_join(scheduler: ThreadScheduler) -> None:
    """
    Stopping an inherited scheduler returns at once, even if its lock is held.
    """
    scheduler.start()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            # As if another thread of the parent held it at the fork.
            scheduler._life = threading.Lock()  # type: ignore[assignment]
            scheduler._life.acquire()
            workers = scheduler._workers
            scheduler.stop(60)
            assert workers is not None
            code = 0 if workers.close(60) == [] else 2
        finally:
            os._exit(code)

    _, status = os.waitpid(child, 0)

    assert 0 == os.waitstatus_to_exitcode(status)


class TestWorkers:
    """
    The pool on its own.
    """

    def test_starts_threads_only_when_needed(self, workers: Workers) -> None:
        """
        One job after the other needs one thread.
        """
        assert 0 == workers.alive
        for _ in range(5):
            done = threading.Event()
            assert workers.submit(done.set)
            assert done.wait(SOON)
            wait_until(lambda: len(workers._idle) == 1)

        assert 1 == workers.alive

    def test_limit_and_waiting(self, workers: Workers) -> None:
        """
        Never more threads than the limit; the rest waits, and runs in its order.
        """
        hang = threading.Event()
        order: list[int] = []
        for _ in range(2):
            workers.submit(lambda: hang.wait(SOON))
        for number in range(5):
            workers.submit(partial(order.append, number))

        assert 2 == workers.alive
        assert 5 == workers.waiting
        hang.set()
        wait_until(lambda: len(order) == 5)
        assert 0 == workers.waiting

    def test_without_a_limit_nothing_waits(self, errors: Errors) -> None:
        """
        Each job gets a thread at once, however many hang.
        """
        workers = Workers("memguard-test", on_error=errors)
        hang = threading.Event()
        for _ in range(20):
            workers.submit(lambda: hang.wait(SOON))
        assert (20, 0) == (workers.alive, workers.waiting)
        hang.set()
        workers.close(SOON)
        assert [] == our_threads()

    def test_idle_threads_end(self, errors: Errors) -> None:
        """
        A thread without work goes away by itself, and the next job gets a new one.
        """
        workers = Workers("memguard-test", idle_s=0.005, on_error=errors)
        for _ in range(3):
            done = threading.Event()
            assert workers.submit(done.set)
            assert done.wait(SOON)
            wait_until(lambda: workers.alive == 0)
        assert [] == workers.close(SOON)

    def test_spare_threads_stay(self, errors: Errors) -> None:
        """
        Spare threads wait for ever, and serve when no thread can be started.
        """
        workers = Workers("memguard-test", limit=3, idle_s=0.001, on_error=errors)

        assert 2 == workers.spare(2)
        assert 1 == workers.spare(5)
        assert 3 == workers.alive
        wait_until(lambda: len(workers._idle) == 3)
        done = threading.Event()
        assert workers.submit(done.set)
        assert done.wait(SOON)
        wait_until(lambda: len(workers._idle) == 3)
        workers.close(SOON)
        assert [] == our_threads()

    def test_false_when_no_thread_can_be_had(
        self, errors: Errors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Without a thread and without an idle one the caller is told.
        """
        workers = Workers("memguard-test", limit=2, on_error=errors)
        workers.spare(1)
        wait_until(lambda: len(workers._idle) == 1)

        def refuse(self: threading.Thread) -> None:
            msg = "can't create new thread at interpreter shutdown"
            raise RuntimeError(msg)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        hang = threading.Event()
        assert workers.submit(lambda: hang.wait(SOON))
        assert not workers.submit(list)
        assert 0 == workers.spare(1)
        hang.set()
        workers.close(SOON)

    def test_close_is_bounded_and_hands_back(self, errors: Errors) -> None:
        """
        A hung job costs its timeout; what waited comes back; afterwards it is shut.
        """
        workers = Workers("memguard-test", limit=1, on_error=errors)
        hang = threading.Event()
        workers.submit(lambda: hang.wait(SOON))
        workers.submit(list)
        begun = monotonic()

        assert [list] == workers.close(0.02)

        assert monotonic() - begun < 1
        assert not workers.submit(list)
        hang.set()
        wait_until(lambda: workers.alive == 0)

    def test_errors_are_reported(self, workers: Workers, errors: Errors) -> None:
        """
        A failing job ends no thread.
        """
        workers.submit(partial(int, "no number"))

        assert errors.came.wait(SOON)
        wait_until(lambda: len(workers._idle) == 1)
        assert [("worker", "ValueError")] == errors.seen

    @pytest.mark.stress
    def test_no_job_is_stranded(self, errors: Errors) -> None:
        """
        With threads that end all the time, and many that submit, every job runs.
        """
        workers = Workers("memguard-test", limit=3, idle_s=0.0001, on_error=errors)
        ran: list[int] = []
        rounds = 1500

        def submit(base: int) -> None:
            pause = threading.Event()
            for number in range(base, base + rounds):
                assert workers.submit(partial(ran.append, number))
                if number % 7 == 0:
                    pause.wait(0.0001)

        threads = [
            threading.Thread(target=submit, args=(i * rounds,)) for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)

        wait_until(lambda: len(ran) == 4 * rounds)
        assert len(set(ran)) == len(ran)
        assert [] == workers.close(SOON)
        assert [] == our_threads()
