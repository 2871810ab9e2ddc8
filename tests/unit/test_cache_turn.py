"""
Whose turn it is: taken by one, given back whatever happens, and found out about.

Longer than 300 lines because each way to be interrupted is a test of its own.
"""

from __future__ import annotations

import gc
import linecache
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from memguard._kinds.cache import (
    Cache,
    cache as verbs,
    exclusive,
    turn as turns,
)
from memguard._kinds.cache.turn import is_taken, new_turn, runs_in
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.errors import ScopeClosed
from memguard.testing import FakeClock

SOON = 10.0
HOME = os.path.dirname(verbs.__file__)
# Lines that no signal can come before: what is before them is not a call, or the end of
# the `try` that they are the `finally` of.
SAFE = {"try:", "break", "self._holder = me", "self._holder = 0", "turn.append(None)"}


class Root(Branch):
    """
    The least that can own a cache.
    """

    __slots__ = ()

    def __init__(self) -> None:
        clock = FakeClock(start=0.0)
        registry = Registry(clock, clock)
        super().__init__(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        self.owner = None
        self._children = {}


@pytest.fixture
def cache() -> Cache[Any, Any]:
    """
    A plain cache in virtual time.
    """
    return Cache(Root(), "turns", max_entries=50).attach()


def in_order(cache: Cache[Any, Any]) -> None:
    """
    Its turn is free and its books are right.
    """
    assert not is_taken(cache._turn)
    assert not cache._is_inside()
    engine: Any = cache._engine
    table = engine.table
    assert set(engine.front) | engine.seen <= set(table)
    assert all(table[key] is value for key, value in engine.front.items())
    assert set(table) <= set(engine.probation) | set(engine.main)
    assert len(table) == len(cache)


# -- the list --------------------------------------------------------------------------


def test_is_taken_by_one_at_a_time() -> None:
    """
    Taking it twice is an IndexError, and giving it back makes it free.
    """
    turn = new_turn()
    assert not is_taken(turn)
    del turn[1]
    assert is_taken(turn)
    with pytest.raises(IndexError):
        del turn[1]
    turn.append(None)
    assert not is_taken(turn)


def test_eight_threads_take_turns(cache: Cache[Any, Any]) -> None:
    """
    A count that is read and written in two steps is right in the end.
    """
    count = 0

    def step() -> None:
        nonlocal count
        before = count
        list(range(5))
        count = before + 1

    def work() -> None:
        for _ in range(400):
            cache._locked(step)

    threads = [threading.Thread(target=work) for _ in range(8)]
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
    finally:
        sys.setswitchinterval(often)
    assert 3200 == count
    in_order(cache)


def test_who_waits_too_long_is_told(
    cache: Cache[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A thread that was stopped in the middle of a change does not stop the others.
    """
    monkeypatch.setattr(exclusive, "TRIES", 5)
    del cache._turn[1]
    with pytest.raises(TimeoutError, match=r"'turns'.*stopped in the middle"):
        cache.clear()
    cache._turn.append(None)
    cache.clear()


def test_pauses_grow_to_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    At first others are only let through.
    """
    pauses: list[float] = []
    monkeypatch.setattr(turns, "give_way", pauses.append)
    for tried in (0, 19, 21, 100, 50_000):
        turns.pause(tried)
    assert [0.0, 0.0, 0.00005, 0.001, 0.001] == [round(one, 6) for one in pauses]


# -- who is inside ---------------------------------------------------------------------


class Standing:
    """
    Something with a method that one can stand in.
    """

    def outer(self, inner: Callable[[], bool]) -> tuple[bool, bool, bool]:
        """
        Before the variable, with it, and after.
        """
        before = inner()
        marked = None
        during = inner()
        del marked
        return before, during, inner()


def test_where_a_thread_stands_is_found_out() -> None:
    """
    Only between the lines of that method of that very object.
    """
    one, other = Standing(), Standing()
    code = Standing.outer.__code__
    assert (False, True, False) == one.outer(lambda: runs_in(code, one, "marked"))
    assert (False,) * 3 == one.outer(lambda: runs_in(code, other, "marked"))
    assert not runs_in(code, one, "marked")

    def nested() -> bool:
        return other.outer(lambda: runs_in(code, one, "marked"))[1]

    assert one.outer(nested)[1]
    found: list[bool] = []

    def elsewhere() -> bool:
        thread = threading.Thread(
            target=lambda: found.append(runs_in(code, one, "marked"))
        )
        thread.start()
        thread.join(SOON)
        return True

    one.outer(elsewhere)
    assert [False] * 3 == found


def test_a_busy_turn_is_waited_for(cache: Cache[Any, Any]) -> None:
    """
    A put while another thread is inside of one is done when it returns, not later.
    """
    inside, go_on = threading.Event(), threading.Event()
    admit = cache._engine.fill

    def slow(key: Any, *rest: Any) -> None:
        if key == "slow":
            inside.set()
            assert go_on.wait(SOON)
        admit(key, *rest)

    class Slow(type(cache._engine)):  # type: ignore[misc]
        __slots__ = ()
        fill = staticmethod(slow)

    cache._engine.__class__ = Slow
    thread = threading.Thread(target=lambda: cache.put("slow", 1))
    thread.start()
    assert inside.wait(SOON)
    threading.Timer(0.05, go_on.set).start()
    assert cache.put("quick", 2)
    assert (2, None) == (cache.get("quick"), cache._later)
    thread.join(SOON)
    assert 1 == cache.get("slow")


def test_what_a_new_value_destroys_may_use_the_cache(cache: Cache[Any, Any]) -> None:
    """
    It dies after the turn was given back: nothing of it is put off, even while another
    thread is inside.
    """
    seen: list[Any] = []

    class Last:
        def __del__(self) -> None:
            del cache._turn[1]
            try:
                seen.append(cache._is_inside())
            finally:
                cache._turn.append(None)
            cache.put("after", 1)
            seen.append((cache.get("after"), cache.invalidate("gone")))
            seen.append(cache.get("gone"))

    cache.put("gone", 1)
    cache.put("key", Last())
    cache.put("key", 2)
    assert [False, (1, True), None] == seen
    in_order(cache)


# -- signals ---------------------------------------------------------------------------


class Stop(BaseException):
    """
    Raised by a signal handler, as KeyboardInterrupt is.
    """


@pytest.fixture
def alarm() -> Iterator[Callable[[Any], None]]:
    """
    Sets a handler for a signal that then comes again and again.
    """
    before = signal.getsignal(signal.SIGALRM)

    def begin(handler: Any) -> None:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)

    yield begin
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def use(cache: Cache[Any, Any], number: int) -> None:
    """
    All that changes a cache, once or more often.
    """
    for key in range(number, number + 5):
        cache.put(key % 80, key)
        cache.fast(key % 70)
        cache.put(key % 80, -key)
    cache.invalidate(number % 80)
    cache.pop((number + 1) % 80, None)


def test_a_handler_that_raises_spoils_nothing(
    cache: Cache[Any, Any], alarm: Callable[[Any], None]
) -> None:
    """
    Wherever it strikes: the turn comes back, and the books are right.
    """
    cache._counted = 0
    raised = 0
    armed = True

    def handler(number: int, frame: FrameType | None) -> None:
        if armed and frame is not None and frame.f_code.co_filename.startswith(HOME):
            raise Stop

    alarm(handler)
    number = 0
    while raised < 150:
        number += 1
        try:
            use(cache, number)
        except Stop:
            raised += 1
            armed = False
            in_order(cache)
            cache.put("again", number)
            assert number == cache.get("again")
            armed = True
    armed = False
    in_order(cache)


def test_a_handler_may_use_the_cache(
    cache: Cache[Any, Any], alarm: Callable[[Any], None]
) -> None:
    """
    In the middle of a put it is put off; it never waits for itself.
    """
    calls = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal calls
        calls += 1
        cache.put("handler", calls)
        cache.get("handler")
        cache.invalidate(3)
        len(cache)

    alarm(handler)
    number = 0
    while calls < 200:
        number += 1
        use(cache, number)
    signal.setitimer(signal.ITIMER_REAL, 0)
    in_order(cache)
    assert cache._later is None


@pytest.mark.parametrize("place", ["put", "clear"])
def test_every_line_may_be_the_last(cache: Cache[Any, Any], place: str) -> None:
    """
    An exception before each line of memguard's code in turn, as a signal would raise
    it: the turn comes back, and what is in the cache can be found and evicted.
    """
    lines: list[str] = []
    for stop_at in range(1, 600):
        left = stop_at
        lines.clear()

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left
            if not frame.f_code.co_filename.startswith(HOME):
                return None
            # After the turn was taken and until it is given back.
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
            if event == "line" and line not in SAFE and is_taken(cache._turn):
                left -= 1
                if left == 0:
                    lines.append(line)
                    raise Stop
            return trace

        cache._counted = 0
        for key in range(49):
            cache.put(key, key)
        for key in range(0, 49, 3):
            cache.get(key)
        was = sys.gettrace()
        try:
            sys.settrace(trace)
            if place == "put":
                cache.put("one", 1)
                cache.put("two", 2)
                cache.put("one", 3)
                cache.fast("one")
                cache.put("three", 3, ttl=5)
                cache.put((1, "two"), 2)
            else:
                cache.invalidate(5)
                cache.resize(max_entries=47)
                cache.clear()
        except Stop:
            pass
        finally:
            sys.settrace(was)
        assert not is_taken(cache._turn), lines
        in_order(cache)
        cache.resize(max_entries=50)
        for key in range(200, 260):
            cache.put(key, key)
        in_order(cache)
        assert 50 == len(cache)
        if left > 0:
            break
    assert 0 < left


# -- collections and forks -------------------------------------------------------------


def test_a_storm_of_collections(cache: Cache[Any, Any]) -> None:
    """
    Destructors that use the cache at every moment a collection may come.
    """
    died = 0

    class Cycle:
        def __init__(self, number: int) -> None:
            self.number = number
            self.itself = self

        def __del__(self) -> None:
            nonlocal died
            died += 1
            cache.put(self.number % 60, self.number)
            cache.get(self.number % 50)
            cache.invalidate((self.number + 1) % 60)

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(600):
            cache.put(number % 70, Cycle(number))
            cache.get(number % 30)
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert died > 400
    in_order(cache)
    assert cache._later is None


def test_a_destructor_may_close_the_cache(cache: Cache[Any, Any]) -> None:
    """
    In the middle of a change: it ends when that is over.
    """

    class Last:
        def __del__(self) -> None:
            cache.close()

    last: Any = Last()

    def step() -> None:
        nonlocal last
        last = None
        assert cache._is_inside()

    cache.put("a", 1)
    cache._locked(step)
    assert 0 == len(cache)
    with pytest.raises(ScopeClosed):
        cache.put("b", 1)
    assert not is_taken(cache._turn)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_in_the_middle_of_puts(cache: Cache[Any, Any]) -> None:
    """
    The child can use the cache, by a `fast` of before too, and the parent goes on.
    """
    stop = threading.Event()
    cache._counted = 0
    fast = cache.fast

    def work(first: int) -> None:
        number = first
        while not stop.is_set():
            number += 1
            cache.put(number % 80, number)
            cache.get(number % 60)
            cache.invalidate(number % 50)

    threads = [threading.Thread(target=work, args=(one,)) for one in range(3)]
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    statuses: list[int] = []
    try:
        for thread in threads:
            thread.start()
        for number in range(25):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    signal.alarm(10)
                    registry = Registry(FakeClock(), FakeClock())
                    cache._after_fork(registry)
                    for key in range(300):
                        cache.put(key, (key, number))
                        assert (key, number) == cache.get(key) == fast(key)
                        cache.put(key, key)
                        assert key == cache.get(key) == fast(key)
                        cache.invalidate(key - 1)
                        assert fast(key - 1) is cache.get(key - 1) is None
                    in_order(cache)
                    status = 0
                finally:
                    os._exit(status)
            statuses.append(os.waitpid(child, 0)[1])
    finally:
        stop.set()
        for thread in threads:
            thread.join(SOON)
        sys.setswitchinterval(often)
    assert [0] * 25 == statuses
    in_order(cache)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_in_the_middle_leaves_one_turn(cache: Cache[Any, Any]) -> None:
    """
    The child that goes on in the section where it was forked gives its old turn back.
    """

    def step() -> None:
        cache._after_fork(cache.registry)

    cache._locked(step)
    assert [None, None] == cache._turn
    cache.put("a", 1)
    assert [None, None] == cache._turn
