"""
Pools: lending, waiting in line, reset, check, idle expiry, bounds, and their end.
"""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from memguard._kinds.lease import drive
from memguard._kinds.members import MAKE, Members
from memguard._kinds.pool import Pool, _inherited
from memguard._phases import DRAINING, NEW
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.errors import (
    PoolExhausted,
    ScopeClosed,
    UseAfterRelease,
    WouldBlockLoop,
)
from memguard.testing import FakeClock

if TYPE_CHECKING:
    from typing_extensions import Self

SOON = 5.0


class Connection:
    """
    What pools are made for; counts what happens to it.
    """

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.number = type(self).made
        self.closed = 0
        self.resets = 0
        self.checks = 0
        self.well: Any = True

    def close(self) -> None:
        self.closed += 1

    def reset(self) -> None:
        self.resets += 1

    def check(self) -> Any:
        self.checks += 1
        if isinstance(self.well, BaseException):
            raise self.well
        return self.well


class AsyncConnection(Connection):
    """
    The same for event loops.
    """

    @classmethod
    async def connect(cls) -> AsyncConnection:
        await asyncio.sleep(0)
        return cls()

    async def close(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.loop = asyncio.get_running_loop()
        self.closed += 1

    async def reset(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.resets += 1

    async def check(self) -> Any:
        await asyncio.sleep(0)
        return super().check()


class Root(Branch):
    """
    The least that can own a pool.
    """

    __slots__ = ()

    def __init__(self, clock: FakeClock) -> None:
        registry = Registry(clock, clock)
        super().__init__(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        self.owner = None
        self._children = {}

    def pool(self, factory: Any = Connection, **options: Any) -> Pool[Any]:
        """
        A pool that is in the tree, but not armed.
        """
        options = {"acquire_timeout": SOON, **options}
        return Pool(self, "db", factory, **options).attach()

    @property
    def failures(self) -> list[tuple[str, str]]:
        """
        Background failures: where, and of which type.
        """
        return [key[:2] for key in self.registry.failures.counts]


@pytest.fixture(autouse=True)
def numbers_from_one() -> None:
    """
    Each test counts its own connections.
    """
    Connection.made = AsyncConnection.made = 0


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that starts at zero.
    """
    return FakeClock(start=0.0)


@pytest.fixture
def root(clock: FakeClock) -> Root:
    """
    An owner in virtual time.
    """
    return Root(clock)


def sizes(pool: Pool[Any]) -> tuple[int, int, int]:
    """
    How many members there are, idle, and used.
    """
    stats = pool.stats()
    return stats.size, stats.idle, stats.used


# -- lending ---------------------------------------------------------------------------


def test_members_are_made_on_demand_and_used_again(root: Root) -> None:
    """
    The one that came back last is lent first.
    """
    pool = root.pool()
    with pool.acquire() as one, pool.acquire() as two:
        assert (1, 2) == (one.number, two.number)
        assert (2, 0, 2) == sizes(pool)
    assert (2, 2, 0) == sizes(pool)
    with pool.acquire() as again:
        assert one is again
    assert (2, 0) == (Connection.made, one.closed)


def test_a_member_comes_back_from_a_failed_block(root: Root) -> None:
    """
    The block's exception goes its way.
    """
    pool = root.pool()
    with pytest.raises(ZeroDivisionError), pool.acquire():
        raise ZeroDivisionError
    assert (1, 1, 0) == sizes(pool)


def test_a_lease_is_for_one_block(root: Root) -> None:
    """
    A second block asks for a lease of its own.
    """
    lease = root.pool().acquire()
    with lease:
        pass
    with pytest.raises(RuntimeError, match=r"call acquire\(\) for each block"), lease:
        pass


def test_members_may_be_equal_or_even_the_same(root: Root) -> None:
    """
    A pool of numbers, or of one shared thing, keeps its books all the same.
    """
    pool = root.pool(lambda: 7)
    with pool.acquire() as one, pool.acquire() as two:
        assert (7, 7, (2, 0, 2)) == (one, two, sizes(pool))
    assert (2, 2, 0) == sizes(pool)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"factory": 7}, TypeError, "factory"),
        ({"reset": "x"}, TypeError, "reset"),
        ({"min_size": -1}, ValueError, "min_size"),
        ({"max_size": 0}, ValueError, "max_size"),
        ({"max_size": 2.0}, ValueError, "max_size"),
        ({"min_size": 5, "max_size": 3}, ValueError, "min_size"),
        ({"idle_timeout": 0}, ValueError, "idle_timeout"),
        ({"acquire_timeout": "x"}, ValueError, "acquire_timeout"),
    ],
)
def test_a_bad_option_is_refused_at_the_door(
    root: Root, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    """
    The error names the option that is wrong.
    """
    with pytest.raises(error, match=told):
        root.pool(**options)


def test_the_defaults_are_those_of_the_contract(root: Root) -> None:
    """
    Ten members, idle for 10 s, waits of 2 s; a resize does not change the spec.
    """
    pool: Pool[Connection] = Pool(root, "db", Connection)
    pool.resize(5)
    assert (0, 10, 10.0, 2.0) == tuple(
        pool.spec[name]
        for name in ("min_size", "max_size", "idle_timeout", "acquire_timeout")
    )


# -- reset, check, factory, dispose ----------------------------------------------------


def test_a_member_is_reset_when_it_comes_back(root: Root) -> None:
    """
    Once for each return; who cannot be reset is ended and reported.
    """
    fails: list[bool] = []

    def reset(member: Connection) -> None:
        member.reset()
        if fails:
            raise ZeroDivisionError

    pool = root.pool(reset=reset)
    for _ in range(2):
        with pool.acquire() as one:
            pass
    assert (2, (1, 1, 0)) == (one.resets, sizes(pool))
    fails.append(True)
    with pool.acquire():
        pass
    assert (1, (0, 0, 0)) == (one.closed, sizes(pool))
    assert (1, 1) == (pool.stats().failed_resets, pool.stats().disposed)
    assert [("reset of pool db", "ZeroDivisionError")] == root.failures


@pytest.mark.parametrize("well", [False, 0, ZeroDivisionError()])
def test_who_is_not_well_is_replaced(root: Root, well: Any) -> None:
    """
    An idle member is checked before it is lent, a fresh one is not.
    """
    pool = root.pool(check=Connection.check, max_size=1)
    with pool.acquire() as one:
        assert 0 == one.checks
    one.well = well
    with pool.acquire() as two:
        assert (1, 2, 0) == (one.closed, two.number, two.checks)
    with pool.acquire() as three:
        assert (two, 1) == (three, two.checks)
    assert (1, 1, 2) == (
        pool.stats().failed_checks,
        pool.stats().disposed,
        pool.stats().created,
    )


def test_a_check_that_says_nothing_is_content(root: Root) -> None:
    """
    A check that returns None has not raised, which is its way to say yes.
    """
    pool = root.pool(check=lambda member: None)
    with pool.acquire() as one:
        pass
    with pool.acquire() as two:
        assert one is two


def test_a_factory_that_fails_leaves_its_place(root: Root) -> None:
    """
    What it raises reaches the caller; the next one may try again.
    """
    fails = [ZeroDivisionError(), KeyboardInterrupt()]

    def factory() -> Connection:
        if fails:
            raise fails.pop(0)
        return Connection()

    pool = root.pool(factory, max_size=1)
    with pytest.raises(ZeroDivisionError), pool.acquire():
        pass
    with pytest.raises(KeyboardInterrupt), pool.acquire():
        pass
    assert (0, 0, 0) == sizes(pool)
    with pool.acquire() as one:
        assert 1 == one.number


@pytest.mark.parametrize("where", ["reset", "check"])
def test_an_interrupt_loses_no_place(root: Root, where: str) -> None:
    """
    A KeyboardInterrupt in the middle of a reset or a check ends the member.
    """
    interrupts: list[bool] = []

    def interrupted(member: Connection) -> bool:
        if interrupts:
            raise KeyboardInterrupt
        return True

    pool = root.pool(max_size=1, **{where: interrupted})
    with pool.acquire() as one:
        pass
    interrupts.append(True)
    with pytest.raises(KeyboardInterrupt), pool.acquire():
        pass
    interrupts.clear()
    assert ((0, 0, 0), 1) == (sizes(pool), one.closed)
    with pool.acquire():
        pass


def test_an_interrupt_in_a_dispose_loses_no_place(root: Root) -> None:
    """
    Also while one that was not well is being replaced.
    """

    def dispose(member: Connection) -> None:
        raise KeyboardInterrupt

    pool = root.pool(max_size=1, check=lambda member: False, dispose=dispose)
    with pool.acquire():
        pass
    with pytest.raises(KeyboardInterrupt), pool.acquire():
        pass
    assert (0, 0, 0) == sizes(pool)
    with pool.acquire():
        pass


def test_a_dispose_of_ones_own(root: Root) -> None:
    """
    It is used instead of the type's close; what it raises is reported.
    """
    ended: list[Connection] = []

    def dispose(member: Connection) -> None:
        ended.append(member)
        raise ZeroDivisionError

    pool = root.pool(dispose=dispose)
    with pool.acquire() as one, pool.acquire() as two:
        pass
    pool.close()
    assert ({one, two}, 0) == (set(ended), one.closed)
    assert [("dispose of pool db", "ZeroDivisionError")] == root.failures


def test_what_has_no_close_is_just_let_go(root: Root) -> None:
    """
    Plain buffers can be pooled.
    """

    class Buffer(bytearray):
        __slots__ = ("__weakref__",)

    pool = root.pool(lambda: Buffer(10))
    with pool.acquire() as buffer:
        watch = weakref.ref(buffer)
    del buffer
    pool.close()
    assert watch() is None


# -- foreign releases ------------------------------------------------------------------


def test_releasing_early_and_twice_and_what_is_foreign(root: Root) -> None:
    """
    Ignored and counted; nothing is lent to two at a time.
    """
    pool = root.pool(max_size=1)
    with pool.acquire() as one:
        assert (True, False) == (pool.release(one), pool.release(one))
        with pool.acquire() as two:
            assert one is two
            assert (1, 0, 1) == sizes(pool)
    assert pool.release(Connection()) is False
    # The second release, the exit of the outer block, and the stranger.
    assert ((1, 1, 0), 3) == (sizes(pool), pool.stats().foreign_releases)


def test_a_member_that_is_on_its_way_back_cannot_be_given_back(root: Root) -> None:
    """
    Neither by name nor by a second exit, while its reset runs.
    """
    second: list[bool] = []

    def reset(value: Connection) -> None:
        (member,) = pool._members.used
        second.append(pool.release(value))
        second.append(drive(pool.give_back_steps(member, member.turn), "db"))

    pool = root.pool(reset=reset)
    with pool.acquire():
        pass
    assert ([False, False], (1, 1, 0)) == (second, sizes(pool))
    assert 2 == pool.stats().foreign_releases


# -- waiting in line -------------------------------------------------------------------


class Line:
    """
    Threads that want a member each, one after the other.
    """

    def __init__(self, pool: Pool[Any]) -> None:
        self.pool = pool
        self.order: list[Any] = []
        self.threads: list[threading.Thread] = []

    def join_in(self, who: Any, then: Callable[[], object] = lambda: None) -> None:
        """
        Add one, and come back when it waits.
        """
        waiting = self.pool.stats().waiting

        def work() -> None:
            try:
                with self.pool.acquire() as member:
                    self.order.append((who, member.number))
                    then()
            except BaseException as error:
                self.order.append((who, type(error)))

        thread = threading.Thread(target=work)
        self.threads.append(thread)
        thread.start()
        wait_until(lambda: self.pool.stats().waiting > waiting)

    def finish(self) -> list[Any]:
        """
        Wait for all of them.
        """
        for thread in self.threads:
            thread.join(SOON)
            assert not thread.is_alive()
        return self.order


def wait_until(condition: Callable[[], bool]) -> None:
    """
    Look again and again, for a while.
    """
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError


def test_first_come_first_served(root: Root) -> None:
    """
    A member that comes back goes to who has waited longest.
    """
    pool = root.pool(max_size=1)
    line = Line(pool)
    with pool.acquire():
        for number in range(5):
            line.join_in(number)
        assert 5 == pool.stats().waiting
    assert [(number, 1) for number in range(5)] == line.finish()
    assert (1, 1, 0) == sizes(pool)


def test_nobody_overtakes_the_line(root: Root) -> None:
    """
    Who comes while others wait goes to the end, even if a member has just come back.
    """
    pool = root.pool(max_size=1)
    line = Line(pool)
    with pool.acquire():
        line.join_in("first", lambda: pool.resize(1))
        line.join_in("second")
    assert ["first", "second"] == [who for who, _ in line.finish()]


def test_a_wait_has_an_end(root: Root) -> None:
    """
    The error tells what the pool looked like; nobody is left in the line.
    """
    pool = root.pool(max_size=1, acquire_timeout=0.02)
    with (
        pool.acquire(),
        pytest.raises(PoolExhausted, match="1 of at most 1 are lent") as told,
        pool.acquire(),
    ):
        pass
    assert isinstance(told.value, TimeoutError)
    assert (1, 0) == (pool.stats().timeouts, pool.stats().waiting)
    with pool.acquire():
        pass


def test_a_place_that_gets_free_goes_to_who_waits(root: Root) -> None:
    """
    When a member ends instead of coming back, the next in line makes a new one.
    """
    pool = root.pool(max_size=1, reset=lambda member: 1 / 0)
    line = Line(pool)
    with pool.acquire():
        line.join_in("a")
        line.join_in("b")
    assert [("a", 2), ("b", 3)] == line.finish()


def test_a_failing_factory_does_not_stop_the_line(root: Root) -> None:
    """
    The permission to make one goes on to the next.
    """
    outcomes = [0, 1, 0]

    def factory() -> Connection:
        if outcomes.pop(0):
            raise ZeroDivisionError
        return Connection()

    pool = root.pool(factory, max_size=1, reset=lambda member: 1 / 0)
    line = Line(pool)
    with pool.acquire():
        line.join_in("a")
        line.join_in("b")
    assert [("a", ZeroDivisionError), ("b", 2)] == line.finish()


def test_growing_serves_who_waits(root: Root) -> None:
    """
    A larger pool has room at once.
    """
    pool = root.pool(max_size=1)
    line = Line(pool)
    with pool.acquire():
        line.join_in("a")
        line.join_in("b")
        pool.resize(3)
        served = line.finish()
    assert ({"a", "b"}, {2, 3}) == ({who for who, _ in served}, {n for _, n in served})
    assert (3, 3, 0) == sizes(pool)


def test_closing_sends_the_line_away(root: Root) -> None:
    """
    Nobody waits for a pool that has ended.
    """
    pool = root.pool(max_size=1)
    line = Line(pool)
    with pool.acquire() as one:
        line.join_in("a")
        pool.close()
        assert [("a", ScopeClosed)] == line.finish()
        assert 0 == one.closed
    assert (1, (0, 0, 0)) == (one.closed, sizes(pool))


# -- idle members ----------------------------------------------------------------------


def test_idle_members_end_by_themselves(root: Root, clock: FakeClock) -> None:
    """
    After their time, one after the other, down to the least number.
    """
    pool = root.pool(idle_timeout=10, min_size=1)
    pool._arm()
    with pool.acquire() as one:
        with pool.acquire() as two:
            pass
        clock.advance(4)
        with pool.acquire() as again:
            assert two is again
    clock.advance(9)
    assert (2, 2, 0) == sizes(pool)
    clock.advance(1)
    assert (0, 1, 1) == (one.closed, two.closed, pool.stats().size)
    clock.advance(100)
    assert (1, 1, 0) == sizes(pool)
    assert 0 == clock.pending


def test_without_a_guard_idle_members_end_at_the_next_use(
    root: Root, clock: FakeClock
) -> None:
    """
    A connection that lay for an hour is not lent.
    """
    pool = root.pool(idle_timeout=10)
    with pool.acquire() as one:
        pass
    clock.advance(3600)
    with pool.acquire() as two:
        assert one is not two
    assert (1, 1) == (one.closed, pool.stats().disposed)


def test_members_without_an_idle_time_stay(root: Root, clock: FakeClock) -> None:
    """
    `idle_timeout=None` keeps them.
    """
    pool = root.pool(idle_timeout=None)
    pool._arm()
    with pool.acquire():
        pass
    assert 0 == clock.pending
    clock.advance(10**6)
    assert (1, 1, 0) == sizes(pool)


def test_the_least_number_is_made_at_the_start(root: Root) -> None:
    """
    So that the first requests need not wait; a factory that fails then is reported.
    """
    pool = root.pool(min_size=3)
    assert (0, 0, 0) == sizes(pool)
    pool._arm()
    assert ((3, 3, 0), 3) == (sizes(pool), Connection.made)
    broken = root.pool(lambda: 1 / 0, min_size=3)
    broken._arm()
    assert (0, 0, 0) == sizes(broken)
    assert [("factory of pool db", "ZeroDivisionError")] == root.failures


def test_resize(root: Root) -> None:
    """
    Idle members beyond the new bound end now, lent ones when they come back.
    """
    pool = root.pool()
    leases = [pool.acquire() for _ in range(4)]
    members = [lease.__enter__() for lease in leases]
    for lease in leases[:2]:
        lease.__exit__(None, None, None)
    pool.resize(1)
    assert ([1, 1, 0, 0], (2, 0, 2)) == ([one.closed for one in members], sizes(pool))
    for lease in leases[2:]:
        lease.__exit__(None, None, None)
    assert ([1, 1, 1, 0], (1, 1, 0)) == ([one.closed for one in members], sizes(pool))
    pool.resize(3, min_size=2)
    assert (2, 3) == (pool.stats().min_size, pool.stats().max_size)
    with pytest.raises(ValueError, match="min_size"):
        pool.resize(1)


# -- on a loop -------------------------------------------------------------------------


def async_pool(root: Root, **options: Any) -> Pool[Any]:
    """
    A pool all of whose functions are asynchronous.
    """
    return root.pool(
        AsyncConnection.connect,
        reset=AsyncConnection.reset,
        check=AsyncConnection.check,
        **options,
    )


def test_asynchronous_functions(root: Root) -> None:
    """
    Factory, reset, check and close are awaited.
    """
    pool = async_pool(root)

    async def main() -> None:
        async with pool.acquire() as one:
            assert (1, 0) == (one.number, one.resets)
        async with pool.acquire() as two:
            assert (one, 1, 1) == (two, one.resets, one.checks)
        one.well = False
        async with pool.acquire() as three:
            assert (2, 1) == (three.number, one.closed)
        assert await pool.arelease(three) is False
        await pool.aclose()
        assert 1 == three.closed

    asyncio.run(main())
    assert [] == root.failures


def test_tasks_wait_in_the_same_line(root: Root) -> None:
    """
    And the loop goes on meanwhile.
    """
    pool = async_pool(root, max_size=2)
    order: list[int] = []
    most: list[int] = []

    async def work(number: int) -> None:
        async with pool.acquire():
            order.append(number)
            most.append(pool.stats().used)
            await asyncio.sleep(0.001)

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(10)))
        await pool.aclose()

    asyncio.run(main())
    assert (list(range(10)), 2) == (order, max(most))


def test_a_wait_on_a_loop_has_an_end(root: Root) -> None:
    """
    PoolExhausted, as in a thread.
    """
    pool = async_pool(root, max_size=1, acquire_timeout=0.02)

    async def main() -> None:
        async with pool.acquire():
            with pytest.raises(PoolExhausted):
                async with pool.acquire():
                    pass
        await pool.aclose()

    asyncio.run(main())
    assert 1 == pool.stats().timeouts


def test_a_cancelled_wait_loses_nothing(root: Root) -> None:
    """
    A member that was handed to who is cancelled at the same time goes to the next.
    """
    pool = async_pool(root, max_size=1)

    async def work() -> int:
        async with pool.acquire() as member:
            return int(member.number)

    async def main() -> Any:
        lease = pool.acquire()
        await lease.__aenter__()
        tasks = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        await asyncio.sleep(0)
        # Handed to the second, which is cancelled before it can run.
        await lease.__aexit__(None, None, None)
        tasks[1].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        stats = pool.stats()
        await pool.aclose()
        return results, stats

    results, stats = asyncio.run(main())
    assert [asyncio.CancelledError] * 2 == [type(one) for one in results[:2]]
    assert (1, 1, 0, 0) == (results[2], stats.size, stats.used, stats.waiting)


@pytest.mark.parametrize("where", ["factory", "reset", "check"])
def test_a_cancelled_call_loses_no_place(root: Root, where: str) -> None:
    """
    Whatever the pool was at when its task was cancelled, the place is free again.
    """
    hangs: list[bool] = []

    async def factory() -> AsyncConnection:
        if hangs and where == "factory":
            await asyncio.sleep(SOON)
        return AsyncConnection()

    async def maybe(member: AsyncConnection) -> bool:
        if hangs:
            await asyncio.sleep(SOON)
        return True

    functions = {} if where == "factory" else {where: maybe}
    pool = root.pool(factory, max_size=1, **functions)

    async def use() -> None:
        async with pool.acquire():
            pass

    async def main() -> None:
        if where != "factory":
            await use()
        hangs.append(True)
        task = asyncio.create_task(use())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hangs.clear()
        await asyncio.sleep(0.01)
        assert (0, 0, 0) == sizes(pool)
        await asyncio.wait_for(use(), SOON)
        await pool.aclose()

    asyncio.run(main())
    assert [] == root.failures


def test_a_task_that_is_thrown_away_loses_no_place(root: Root) -> None:
    """
    Also when its loop ends in the middle of a reset.
    """
    hangs: list[bool] = []

    async def reset(member: AsyncConnection) -> None:
        if hangs:
            await asyncio.Event().wait()

    pool = root.pool(AsyncConnection.connect, reset=reset, max_size=1)

    async def use() -> None:
        async with pool.acquire():
            pass

    async def main() -> None:
        hangs.append(True)
        task = asyncio.ensure_future(use())
        await asyncio.sleep(0.01)
        assert not task.done()

    asyncio.run(main())
    gc.collect()
    assert (0, 0, 0) == sizes(pool)


def test_plain_functions_on_a_loop(root: Root) -> None:
    """
    `async with` works for every pool.
    """
    pool = root.pool(check=Connection.check, reset=Connection.reset)

    async def main() -> None:
        async with pool.acquire() as one:
            pass
        async with pool.acquire() as two:
            assert (one, 1, 1) == (two, one.resets, one.checks)
        await pool.aclose()
        assert 1 == one.closed

    asyncio.run(main())


def test_inside_a_loop_with_never_waits(root: Root) -> None:
    """
    It lends what is there; else the error names the other form, and the line is as
    before.
    """
    pool = root.pool(max_size=1)

    async def main() -> None:
        with (
            pool.acquire(),
            pytest.raises(WouldBlockLoop, match="async with"),
            pool.acquire(),
        ):
            pass

    asyncio.run(main())
    assert (0, 1) == (pool.stats().waiting, pool.stats().idle)


def test_asynchronous_functions_need_async_with(root: Root) -> None:
    """
    Known or found out: an error that says so, and nothing lost.
    """
    known = async_pool(root)
    found_out = root.pool(partial(AsyncConnection.connect), max_size=1)
    for pool in (known, found_out):
        for _ in range(2):
            with pytest.raises(TypeError, match="`async with"), pool.acquire():
                pass
        assert (0, 0, 0) == sizes(pool)


def test_a_member_is_lent_on_its_own_loop_only(root: Root) -> None:
    """
    What was made on a loop that is gone is not lent on the next one.
    """
    pool = root.pool(AsyncConnection.connect, idle_timeout=None)

    async def use() -> int:
        async with pool.acquire() as member:
            return int(member.number)

    assert (1, 2) == (asyncio.run(use()), asyncio.run(use()))
    assert [("dispose of pool db", "RuntimeError")] == root.failures
    assert (1, 1) == (pool.stats().size, pool.stats().disposed)


def test_idle_members_end_on_their_own_loop(root: Root, clock: FakeClock) -> None:
    """
    The scheduler's thread hands the closing over.
    """
    pool = root.pool(AsyncConnection.connect, idle_timeout=10)
    pool._arm()

    async def main() -> None:
        async with pool.acquire() as member:
            pass
        thread = threading.Thread(target=clock.advance, args=(10,))
        thread.start()
        await asyncio.to_thread(thread.join, SOON)
        await asyncio.sleep(0.01)
        assert (1, asyncio.get_running_loop()) == (member.closed, member.loop)

    asyncio.run(main())
    assert ([], (0, 0, 0)) == (root.failures, sizes(pool))


def test_asynchronous_members_are_made_at_the_start(root: Root) -> None:
    """
    On the loop of the guard, if it runs; else on demand.
    """
    pool = root.pool(AsyncConnection.connect, min_size=2)
    pool._arm()
    assert (0, 0, 0) == sizes(pool)

    async def main() -> None:
        root.registry.loop = weakref.ref(asyncio.get_running_loop())
        pool._arm()
        await asyncio.sleep(0.01)
        assert (2, 2, 0) == sizes(pool)
        await pool.aclose()

    asyncio.run(main())
    assert [] == root.failures


# -- life ------------------------------------------------------------------------------


def test_a_closed_pool_lends_nothing(root: Root, clock: FakeClock) -> None:
    """
    Idle members end with it, and the error says why there are none.
    """
    pool = root.pool()
    pool._arm()
    with pool.acquire() as one:
        pass
    assert 1 == clock.pending
    pool.close()
    pool.close()
    assert (1, 0) == (one.closed, clock.pending)
    with pytest.raises(ScopeClosed, match="pool 'db' is closed"), pool.acquire():
        pass


def test_draining_waits_for_who_has_a_member(root: Root) -> None:
    """
    No new loans meanwhile; what comes back is ended.
    """
    pool = root.pool(max_size=2)
    assert not pool.drains
    assert pool._drain() is None
    lease = pool.acquire()
    member = lease.__enter__()
    assert pool.drains
    pool.state = DRAINING
    threading.Timer(0.05, lease.__exit__, (None, None, None)).start()
    pool._drain()
    assert (1, False) == (member.closed, pool.drains)
    with pytest.raises(ScopeClosed), pool.acquire():
        pass


def test_draining_on_a_loop(root: Root) -> None:
    """
    There it is awaited.
    """
    pool = async_pool(root)

    async def main() -> None:
        lease = pool.acquire()
        member = await lease.__aenter__()
        assert (True, "loop") == (pool.awaits, pool.affinity)
        assert asyncio.get_running_loop() is pool.loop()
        pool.state = DRAINING

        async def later() -> None:
            await asyncio.sleep(0.01)
            await lease.__aexit__(None, None, None)

        await asyncio.gather(pool._drain(), later())
        assert 1 == member.closed

    asyncio.run(main())


def test_a_drain_gives_up_at_last(root: Root) -> None:
    """
    A member that never comes back does not hold the shutdown for ever.
    """
    pool = root.pool()
    root.registry.drain_s = 0.02
    lease = pool.acquire()
    lease.__enter__()
    pool.state = DRAINING
    pool._drain()
    assert pool.drains
    lease.__exit__(None, None, None)


def test_a_disarmed_pool_can_be_used_again(root: Root) -> None:
    """
    What was lent before the shutdown is ended when it comes back, and not lent again.
    """
    pool = root.pool()
    pool._arm()
    with pool.acquire() as idle:
        pass
    with pool.acquire() as one, pool.acquire() as two:
        pool.release(two)
        pool._disarm()
        pool.state = NEW
        assert (1, 0) == (two.closed, one.closed)
        with pool.acquire() as three:
            assert three not in (idle, one, two)
    assert (1, (1, 1, 0)) == (one.closed, sizes(pool))


def test_closing_from_a_thread_ends_members_on_their_loop(root: Root) -> None:
    """
    Nobody waits, and nothing is left unawaited.
    """
    pool = async_pool(root)

    async def main() -> None:
        async with pool.acquire() as member:
            pass
        await asyncio.to_thread(pool.close)
        await asyncio.sleep(0.01)
        assert 1 == member.closed

    asyncio.run(main())
    assert [] == root.failures


def test_a_forked_child_leaves_the_members_to_its_parent(root: Root) -> None:
    """
    They are neither closed, nor lent, nor even destroyed in the child.
    """
    pool = root.pool()
    lease = pool.acquire()
    lent = lease.__enter__()
    with pool.acquire() as idle:
        pass
    known = len(_inherited)
    pool._lock.acquire()
    pool._after_fork(Registry(FakeClock(), FakeClock()))
    assert (known + 2, (0, 0, 0)) == (len(_inherited), sizes(pool))
    with pool.acquire() as fresh:
        assert fresh not in (lent, idle)
    lease.__exit__(None, None, None)
    pool.close()
    assert (0, 0, 1) == (lent.closed, idle.closed, fresh.closed)
    del _inherited[known:]


def test_a_pool_of_the_parent_is_not_touched(root: Root) -> None:
    """
    One that was not declared has ended in the child: leaving a block does nothing.
    """
    pool = root.pool()
    lease = pool.acquire()
    member = lease.__enter__()
    root.registry.detached = True
    pool._lock.acquire()
    lease.__exit__(None, None, None)
    with pytest.raises(ScopeClosed, match="fork"), pool.acquire():
        pass
    assert (0, 0) == (member.closed, pool.stats().foreign_releases)


def test_a_destructor_inside_the_locked_section(root: Root) -> None:
    """
    Giving back is put off, asking for a member is refused: nobody waits for itself.
    """
    pool = root.pool()
    lease = pool.acquire()
    lease.__enter__()
    seen: list[Any] = []

    def in_the_middle() -> None:
        lease.__exit__(None, None, None)
        pool.resize(5)
        seen.append(pool.stats().idle)
        try:
            pool.acquire().__enter__()
        except PoolExhausted as error:
            seen.append("destructor" in str(error))

    pool._locked(in_the_middle)
    assert ([0, True], 1, 5) == (seen, pool.stats().idle, pool.stats().max_size)


def test_no_foreign_code_runs_under_the_lock(root: Root) -> None:
    """
    Every function may use the pool, from another thread as well.
    """
    seen: dict[str, bool] = {}

    def look(who: str) -> bool:
        thread = threading.Thread(target=pool.stats)
        thread.start()
        thread.join(SOON)
        seen[who] = not thread.is_alive()
        return True

    pool = root.pool(
        lambda: look("factory") and Connection(),
        reset=lambda member: look("reset"),
        check=lambda member: look("check"),
        dispose=lambda member: look("dispose"),
    )
    for _ in range(2):
        with pool.acquire():
            pass
    pool.close()
    assert dict.fromkeys(("factory", "reset", "check", "dispose"), True) == seen


def test_the_books_alone() -> None:
    """
    Permissions to make one are passed on, and never more than there is room for.
    """
    members: Members[Any] = Members(0, 2)
    assert [MAKE, MAKE] == [members.next(), members.next()]
    waiters = [members.next() for _ in range(3)]
    members.not_made()
    assert [True, False, False] == [one.filled for one in waiters]
    members.max_size = 3
    members.pass_place()
    assert [True, True, False] == [one.filled for one in waiters]
    assert (3, 1) == (members.size, members.stats().waiting)
    assert MAKE is members.leave_line(waiters[0])
    assert members.leave_line(waiters[2]) is None
    assert 0 == members.stats().waiting


@pytest.mark.stress
def test_threads_never_share_a_member(root: Root) -> None:
    """
    Eight threads, three members, some of which break: no member is lent twice.
    """
    in_use: set[int] = set()
    failed: list[BaseException] = []
    pool = root.pool(
        max_size=3,
        check=lambda member: member.resets < 7,
        reset=Connection.reset,
        acquire_timeout=20,
    )

    def work() -> None:
        try:
            for _ in range(150):
                with pool.acquire() as member:
                    assert id(member) not in in_use
                    assert not member.closed
                    in_use.add(id(member))
                    assert len(in_use) <= 3
                    in_use.remove(id(member))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    stats = pool.stats()
    assert ([], 0, 0, 0) == (failed, stats.used, stats.waiting, stats.timeouts)
    assert stats.created - stats.disposed == stats.size == stats.idle
    pool.close()
    assert Connection.made == stats.created


# -- turns and stand-ins ---------------------------------------------------------------


def test_a_lease_that_is_over_does_not_take_it_from_the_next(root: Root) -> None:
    """
    Given back early, a member may be somebody else's when the first block ends.
    """
    pool = root.pool(max_size=1)
    first, second = pool.acquire(), pool.acquire()
    pool.release(first.__enter__())
    second.__enter__()
    first.__exit__(None, None, None)
    assert ((1, 0, 1), 1) == (sizes(pool), pool.stats().foreign_releases)
    second.__exit__(None, None, None)
    assert (1, 1, 0) == sizes(pool)


def test_not_strict_the_member_itself_is_lent(root: Root) -> None:
    """
    Nothing stands in between.
    """
    pool = root.pool()
    lease = pool.acquire()
    with lease as member:
        assert type(member) is Connection
        assert member is lease.value
    with pytest.raises(RuntimeError, match="has no member"):
        _ = lease.value


@pytest.fixture
def strict(root: Root) -> Root:
    """
    An owner whose pools lend stand-ins.
    """
    root.registry.failures.strict = True
    return root


def test_a_use_after_the_release_tells_both_places(strict: Root) -> None:
    """
    Reading, writing, deleting and calling; the member is not kept alive by it.
    """
    pool = strict.pool(max_size=1)
    with pool.acquire() as member:
        member.note = "mine"
        assert ("mine", True) == (member.note, isinstance(member, Connection))
        del member.note
        assert "number" in dir(member)
    uses: list[Callable[[], object]] = [
        lambda: member.number,
        lambda: setattr(member, "note", 1),
        lambda: delattr(member, "note"),
        lambda: dir(member),
        member_equals(member),
    ]
    for use in uses:
        with pytest.raises(UseAfterRelease) as caught:
            use()
        text = str(caught.value)
        assert "Connection of pool 'db' was used at" in text
        assert 3 == text.count("test_pool.py")
        assert "test_a_use_after_the_release_tells_both_places" in text
    assert "<Connection of pool 'db', given back>" == repr(member)
    assert isinstance(member, Connection)


def member_equals(member: Any) -> Callable[[], object]:
    """
    A comparison, which the interpreter looks up on the type.
    """
    return lambda: member == 1


def test_the_next_one_has_a_stand_in_of_his_own(strict: Root) -> None:
    """
    The stale one is refused, the new one works, for the same member.
    """
    pool = strict.pool(max_size=1)
    with pool.acquire() as stale:
        number = stale.number
    lease = pool.acquire()
    with lease as fresh:
        assert (number, number) == (fresh.number, lease.value.number)
        assert pool.release(stale) is False
        assert (1, 0, 1) == sizes(pool)
        with pytest.raises(UseAfterRelease):
            _ = stale.number
        assert pool.release(fresh) is True
        with pytest.raises(UseAfterRelease):
            _ = fresh.number


class Everything:
    """
    A member with operators.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.items: list[Any] = [3, 1, 2]
        self.entered = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Everything) and self.items == other.items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Any:
        return iter(self.items)

    def __getitem__(self, at: Any) -> Any:
        return self.items[at]

    def __setitem__(self, at: Any, value: Any) -> None:
        self.items[at] = value

    def __contains__(self, item: object) -> bool:
        return item in self.items

    def __iadd__(self, other: Any) -> Self:
        self.items += other
        return self

    def __add__(self, other: Any) -> list[Any]:
        return [*self.items, *other]

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return args, keywords

    def __enter__(self) -> Self:
        self.entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.entered -= 1

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "everything"

    async def __aenter__(self) -> int:
        return 7

    async def __aexit__(self, *_: object) -> None:
        return None


def test_a_stand_in_does_what_its_member_does(strict: Root) -> None:
    """
    Operators, calls and blocks; and it is of its type.
    """
    pool = strict.pool(Everything)
    with pool.acquire() as one, pool.acquire() as other:
        assert one == other
        assert not one
        assert (3, 3, [3, 1, 2]) == (len(one), one[0], list(one))
        one[0] = 9
        assert 9 in one
        assert one != other
        same = one
        one += [4]
        assert one is same
        assert [9, 1, 2, 4, 3, 1, 2] == one + other
        assert (((1,), {"a": 2}), "everything") == (one(1, a=2), f"{one!s}")
        with one as inner:
            assert (inner is one, one.entered) == (True, 1)
        with pytest.raises(TypeError, match="unhashable"):
            hash(one)
        assert isinstance(one, Everything)
        assert weakref.ref(one)() is one

        async def block() -> int:
            async with one as seven:
                return int(seven)

        assert 7 == asyncio.run(block())


def test_a_stand_in_has_only_what_its_member_has(strict: Root) -> None:
    """
    What is not callable, iterable or sized does not look so.
    """
    pool = strict.pool()
    with pool.acquire() as member:
        assert not callable(member)
        assert not hasattr(member, "__iter__")
        assert bool(member)
        assert hash(member) == hash(member)
        with pytest.raises(TypeError):
            len(member)


def test_stand_ins_on_a_loop(strict: Root) -> None:
    """
    With `async with` the same.
    """

    async def main() -> Any:
        pool = async_pool(strict)
        async with pool.acquire() as member:
            assert member.number
        with pytest.raises(UseAfterRelease):
            _ = member.number
        await pool.aclose()

    asyncio.run(main())


def test_an_exhausted_pool_tells_who_has_its_members(strict: Root) -> None:
    """
    In strict mode; the place with most of them first.
    """
    pool = strict.pool(max_size=3, acquire_timeout=0.01)
    one, *others = (pool.acquire() for _ in range(3))
    with one:
        for lease in others:
            lease.__enter__()
        with pytest.raises(PoolExhausted) as caught, pool.acquire():
            pass
    where = r"\(lent: 2 at \S+:\d+ in .*, 1 at \S+:\d+ in test_an_exhausted_pool"
    assert re.search(where, str(caught.value))


def test_a_reset_gets_the_member_itself(strict: Root) -> None:
    """
    It runs when the stand-in is refused already.
    """
    types: list[type] = []
    pool = strict.pool(reset=lambda member: types.append(type(member)))
    with pool.acquire():
        pass
    assert [Connection] == types


# -- bounds that change ----------------------------------------------------------------


def idle_members(pool: Pool[Any], number: int) -> list[Any]:
    """
    Make *number* members and give them all back.
    """
    leases = [pool.acquire() for _ in range(number)]
    members = [lease.__enter__() for lease in leases]
    for lease in leases:
        lease.__exit__(None, None, None)
    return members


def test_tightened_and_restored(root: Root) -> None:
    """
    Idle members end at once, lent ones on their return; then all is as it was.
    """
    pool = root.pool(max_size=10, min_size=2)
    members = idle_members(pool, 6)
    lease = pool.acquire()
    lease.__enter__()
    assert 5 == pool.tighten(0.3)
    assert (0, 3) == (pool.stats().min_size, pool.stats().max_size)
    assert 5 == sum(one.closed for one in members)
    lease.__exit__(None, None, None)
    assert (1, 1, 0) == sizes(pool)
    pool.restore()
    assert (2, 10) == (pool.stats().min_size, pool.stats().max_size)


def test_tightening_again_is_not_tightening_more(root: Root) -> None:
    """
    Shares are of the bounds that were asked for; one member is always allowed.
    """
    pool = root.pool(max_size=10)
    pool.tighten(0.5)
    pool.tighten(0.5)
    assert 5 == pool.stats().max_size
    pool.tighten(0)
    assert 1 == pool.stats().max_size
    pool.resize(4)
    assert 1 == pool.stats().max_size
    pool.restore()
    assert 4 == pool.stats().max_size


def test_restoring_serves_who_waits(root: Root) -> None:
    """
    Who came while the pool was tight gets a member when it is no more.
    """
    pool = root.pool(max_size=2)
    pool.tighten(0.5)
    line = Line(pool)
    with pool.acquire():
        line.join_in("second")
        pool.restore()
        assert "second" == line.finish()[0][0]


def test_restoring_fills_up_to_the_least(root: Root, clock: FakeClock) -> None:
    """
    An armed pool has its least number again.
    """
    pool = root.pool(max_size=4, min_size=2)
    pool._arm()
    clock.advance("1ms")
    assert 2 == pool.tighten(0.25)
    assert 0 == pool.stats().size
    pool.restore()
    clock.advance("1ms")
    assert (2, 2, 0) == sizes(pool)


@pytest.mark.parametrize("share", [-0.1, 1.1, "half", None, True])
def test_a_share_is_a_share(root: Root, share: Any) -> None:
    """
    Anything else is refused.
    """
    with pytest.raises(ValueError, match="share of a pool"):
        root.pool().tighten(share)


def test_a_new_idle_time(root: Root, clock: FakeClock) -> None:
    """
    It holds for members that are idle already, without being asked.
    """
    pool = root.pool(idle_timeout="1m")
    pool._arm()
    idle_members(pool, 2)
    pool.resize(10, idle_timeout="5s")
    clock.advance("5s")
    assert 0 == pool.stats().size
    pool.resize(10, idle_timeout=None)
    idle_members(pool, 2)
    clock.advance("1h")
    assert 2 == pool.stats().size


def test_a_function_made_twice_is_the_same(root: Root) -> None:
    """
    Lambdas over the same values, bound methods, partials; not over other values.
    """

    def specs(value: object) -> list[object]:
        options: list[Any] = [
            lambda: value,
            partial(Connection.check, value),
            root.pool,
            Connection,
        ]
        return [Pool(root, "x", one).spec for one in options]

    shared = object()
    assert specs(shared) == specs(shared)
    different = zip(specs(shared), specs(object()), strict=True)
    assert [False, False, True, True] == [one == other for one, other in different]
