"""
Sessions used by several threads and tasks at once: who waits, and on what.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from random import Random
from time import monotonic
from typing import Any

import pytest

from memguard import Guard, current_scope
from memguard._kinds.ring import Ring
from memguard._sessions import ExpiredSession, Session, Sessions
from memguard._sessions.stores import MemoryStore
from memguard.errors import ScopeClosed, SessionsFull, WouldBlockLoop
from memguard.testing import FakeClock

SOON = 5.0


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that starts at zero.
    """
    return FakeClock(start=0.0)


@pytest.fixture
def guard(clock: FakeClock) -> Iterator[Guard]:
    """
    A running guard in virtual time.
    """
    with Guard(clock=clock) as guard:
        yield guard


@pytest.fixture
def chat(guard: Guard) -> Sessions:
    """
    Sessions with the defaults.
    """
    return guard.sessions("chat")


@contextmanager
def elsewhere(
    *jobs: Callable[[], object], patience: float = SOON
) -> Iterator[list[object]]:
    """
    Run each job in a thread of its own; on leaving, wait for all, and raise what
    they raised.
    """
    results: list[object] = []
    errors: list[BaseException] = []

    def work(job: Callable[[], object]) -> None:
        try:
            results.append(job())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    yield results
    for thread in threads:
        thread.join(patience)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def asleep(sessions: Sessions, id: str, **data: Any) -> None:
    """
    Leave a sleeping session of that id behind.
    """
    with sessions.open(id) as session:
        session.data.update(data)
    assert sessions.hibernate(id)


class Slow:
    """
    Something that takes an await, or a loop, to close.
    """

    def __init__(self) -> None:
        self.closed_on: object = None
        self.gate = asyncio.Event()

    @classmethod
    def opened(cls) -> Slow:
        """
        One that closes at once.
        """
        slow = cls()
        slow.gate.set()
        return slow

    async def aclose(self) -> None:
        await self.gate.wait()
        self.closed_on = asyncio.get_running_loop()

    def raise_(self, error: Exception) -> None:
        raise error


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """
    Run *main* on a fresh loop, not longer than it should take.
    """
    return asyncio.run(asyncio.wait_for(main(), SOON))


async def until(true: Callable[[], bool]) -> None:
    """
    Let the loop go on until it is so; `run` bounds it.
    """
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


# -- threads -----------------------------------------------------------------------


def test_a_restore_is_done_once_for_all_who_ask(chat: Sessions) -> None:
    """
    Eight threads open a sleeping session: one restores it, all share the object.
    """
    entered, go = threading.Event(), threading.Event()
    restored: list[Session] = []

    @chat.on_restore
    def rebuild(session: Session) -> None:
        entered.set()
        assert go.wait(SOON)
        restored.append(session)

    asleep(chat, "ann", a=1)

    def use() -> Session:
        with chat.open("ann") as session:
            assert 1 == session.data["a"]
            return session

    with elsewhere(*[use] * 8) as results:
        assert entered.wait(SOON)
        go.set()
    assert 1 == len(restored)
    assert 8 == len(results)
    assert {id(restored[0])} == {id(one) for one in results}


def test_when_a_restore_fails_the_next_in_line_tries(chat: Sessions) -> None:
    """
    The error belongs to whoever led; who waited gets a restore of its own.
    """
    waiting, faults = threading.Event(), [OSError("once")]

    @chat.on_restore
    def rebuild(session: Session) -> None:
        assert waiting.wait(SOON)
        if faults:
            raise faults.pop()

    asleep(chat, "ann", a=1)

    def use() -> str:
        try:
            with chat.open("ann") as session:
                return str(session.data["a"])
        except OSError as error:
            return str(error)

    with elsewhere(use, use) as results:
        waiting.set()
    assert ["1", "once"] == sorted(map(str, results))


def test_no_lock_is_held_while_foreign_code_runs(guard: Guard) -> None:
    """
    Codec, store, hooks and closes may use the sessions, from any thread.
    """
    calls: list[str] = []

    def check(where: str) -> None:
        def look() -> None:
            assert chat.core.table.lock.acquire(timeout=SOON)
            chat.core.table.lock.release()
            chat.info("somebody")

        with elsewhere(look):
            pass
        calls.append(where)

    class Codec:
        def dumps(self, content: Any) -> bytes:
            check("dumps")
            return repr(content).encode()

        def loads(self, raw: bytes) -> Any:
            check("loads")
            return eval(raw)

    class Store(MemoryStore):
        __slots__ = ()

        def put(self, id: str, record: bytes) -> None:
            check("put")
            super().put(id, record)

        def get(self, id: str) -> bytes | None:
            check("get")
            return super().get(id)

        def delete(self, id: str) -> None:
            check("delete")
            super().delete(id)

    class Thing:
        def close(self) -> None:
            check("close")

    chat = guard.sessions("chat", codec=Codec(), store=Store())
    chat.on_restore(lambda session: check("on_restore"))
    chat.on_expire(lambda expired: check("on_expire"))
    thing = Thing()
    with chat.open("ann") as session:
        session.register(thing)
    assert chat.hibernate("ann")
    with chat.open("ann"):
        pass
    chat.end("ann")
    asleep(chat, "bob", a=1)
    guard._clock.advance("1h")  # type: ignore[attr-defined]
    assert {
        "dumps",
        "loads",
        "put",
        "get",
        "delete",
        "close",
        "on_restore",
        "on_expire",
    } == set(calls)


def test_saves_of_one_session_follow_one_another(guard: Guard) -> None:
    """
    Two threads save; what was written last is what the newest data were.
    """
    inside, go = threading.Event(), threading.Event()
    puts: list[bytes] = []

    class Store(MemoryStore):
        __slots__ = ()
        persistent = True

        def put(self, id: str, record: bytes) -> None:
            if not puts:
                inside.set()
                assert go.wait(SOON)
            puts.append(record)
            super().put(id, record)

    chat = guard.sessions("chat", store=Store())
    with chat.open("ann") as session:
        session.data["n"] = 1
        with elsewhere(session.save):
            assert inside.wait(SOON)
            session.data["n"] = 2
            with elsewhere(session.save):
                go.set()
        assert 2 == len(puts)
        assert b'"n":2' in puts[-1]
        assert not session.dirty


def test_ending_waits_for_a_save(guard: Guard) -> None:
    """
    A save that is under way cannot bring an ended session back.
    """
    inside, go = threading.Event(), threading.Event()

    class Store(MemoryStore):
        __slots__ = ()

        def put(self, id: str, record: bytes) -> None:
            inside.set()
            assert go.wait(SOON)
            super().put(id, record)

    store = Store()
    chat = guard.sessions("chat", store=store)
    with chat.open("ann") as session:
        with elsewhere(session.save):
            assert inside.wait(SOON)
            with elsewhere(lambda: chat.end("ann")) as ended:
                go.set()
        assert [True] == ended
        with pytest.raises(ScopeClosed):
            session.save()
    assert 0 == len(store)
    assert 0 == len(chat)


def test_who_wants_a_session_that_falls_asleep_waits_for_it(
    chat: Sessions,
) -> None:
    """
    It is put out whole and then brought in again, with everything saved.
    """
    closing, go = threading.Event(), threading.Event()

    class Thing:
        def close(self) -> None:
            closing.set()
            assert go.wait(SOON)

    thing = Thing()
    with chat.open("ann") as first:
        first.data["a"] = 1
        first.register(thing)

    def use() -> Session:
        with chat.open("ann") as session:
            assert {"a": 1} == session.data
            return session

    with elsewhere(lambda: chat.hibernate("ann")):
        assert closing.wait(SOON)
        with elsewhere(use) as results:
            assert 0 == chat.live
            go.set()
    assert [first] != results
    assert 1 == chat.live


def test_a_block_left_by_a_destructor_inside_a_locked_section(
    chat: Sessions,
) -> None:
    """
    A collection may close a generator with an open block anywhere, even there.
    """

    def use() -> Iterator[Session]:
        with chat.open("ann") as session:
            yield session

    generator = use()
    next(generator)
    with chat.core.table.lock:
        del generator
    assert not chat.info("ann").pinned  # type: ignore[union-attr]


# -- loops -------------------------------------------------------------------------


def test_blocks_in_tasks_share_the_session_and_keep_their_scopes(
    chat: Sessions,
) -> None:
    """
    As in threads: one object, each task its own current scope.
    """

    async def use(id: str) -> Session:
        async with chat.open(id) as session:
            await asyncio.sleep(0)
            assert current_scope() is session
            return session

    async def main() -> None:
        first, second, other = await asyncio.gather(*map(use, ["a", "a", "b"]))
        assert first is second
        assert other is not first

    run(main)


def test_tasks_wait_for_a_restore_without_stopping_the_loop(chat: Sessions) -> None:
    """
    An asynchronous hook restores once; the others wait, the loop goes on.
    """
    asleep(chat, "ann", a=1)
    restored: list[Session] = []
    beats: list[int] = []

    async def main() -> None:
        go = asyncio.Event()

        @chat.on_restore
        async def rebuild(session: Session) -> None:
            await go.wait()
            restored.append(session)

        async def use() -> Session:
            async with chat.open("ann") as session:
                return session

        users = [asyncio.ensure_future(use()) for _ in range(5)]
        for beat in range(10):
            await asyncio.sleep(0)
            beats.append(beat)
        go.set()
        found = await asyncio.gather(*users)
        assert 1 == len(set(map(id, found)))

    run(main)
    assert (1, 10) == (len(restored), len(beats))


def test_a_task_waits_for_a_thread_that_restores(chat: Sessions) -> None:
    """
    And `with` in that loop would stop it: WouldBlockLoop names `async with`.
    """
    asleep(chat, "ann", a=1)
    inside, go = threading.Event(), threading.Event()

    @chat.on_restore
    def rebuild(session: Session) -> None:
        inside.set()
        assert go.wait(SOON)

    def use() -> None:
        with chat.open("ann"):
            pass

    async def main() -> None:
        assert inside.is_set()
        with pytest.raises(WouldBlockLoop, match="async with"):
            chat.open("ann").__enter__()
        with pytest.raises(WouldBlockLoop, match="ahibernate"):
            chat.hibernate("ann")
        with pytest.raises(WouldBlockLoop, match="aend"):
            chat.end("ann")
        asyncio.get_running_loop().call_soon(go.set)
        async with chat.open("ann") as session:
            assert {"a": 1} == session.data

    with elsewhere(use):
        assert inside.wait(SOON)
        run(main)
    assert not chat.info("ann").pinned  # type: ignore[union-attr]


def test_a_synchronous_block_inside_a_loop_is_fine(chat: Sessions) -> None:
    """
    With everything in memory nothing waits: open, restore, sleep, end.
    """

    async def main() -> None:
        with chat.open("ann") as session:
            session.data["a"] = 1
            session.ring("r", of=int).append(1)
        assert chat.hibernate("ann")
        with chat.connect("ann") as conn:
            assert {"a": 1} == conn.session.data
        assert chat.end("ann")

    run(main)


def test_an_async_hook_refuses_a_synchronous_block_inside_a_loop(
    chat: Sessions,
) -> None:
    """
    The session stays asleep and can be opened the right way.
    """
    asleep(chat, "ann", a=1)
    hooked: list[str] = []

    @chat.on_restore
    async def rebuild(session: Session) -> None:
        hooked.append(session.id)

    async def main() -> None:
        with pytest.raises(WouldBlockLoop, match="async with"):
            chat.open("ann").__enter__()
        assert "hibernated" == chat.info("ann").state  # type: ignore[union-attr]
        async with chat.open("ann") as session:
            assert {"a": 1} == session.data

    run(main)
    assert ["ann"] == hooked


def test_async_hooks_run_without_a_loop_too(chat: Sessions, clock: FakeClock) -> None:
    """
    In a thread without one they get a loop of their own.
    """
    hooked: list[str] = []

    @chat.on_restore
    async def rebuild(session: Session) -> None:
        await asyncio.sleep(0)
        hooked.append(session.id)

    @chat.on_expire
    async def told(expired: ExpiredSession) -> None:
        await asyncio.sleep(0)
        hooked.append(f"{expired.id} is gone")

    asleep(chat, "ann", a=1)
    with chat.open("ann"):
        pass
    clock.advance("1h")
    assert ["ann", "ann is gone"] == hooked


def test_a_cancelled_restore_leaves_the_session_asleep(chat: Sessions) -> None:
    """
    The next one restores it.
    """
    asleep(chat, "ann", a=1)

    async def main() -> None:
        gates = [asyncio.Event()]

        @chat.on_restore
        async def rebuild(session: Session) -> None:
            if gates:
                await gates.pop().wait()

        async def use() -> dict[str, Any]:
            async with chat.open("ann") as session:
                return dict(session.data)

        first = asyncio.ensure_future(use())
        await asyncio.sleep(0)
        second = asyncio.ensure_future(use())
        await asyncio.sleep(0)
        first.cancel()
        assert {"a": 1} == await second
        assert first.cancelled()
        assert 1 == chat.live

    run(main)
    assert not chat.info("ann").pinned  # type: ignore[union-attr]


def test_end_inside_a_loop_is_refused_where_it_must_await(chat: Sessions) -> None:
    """
    Nothing is closed then; `aend` does it, even if it is cancelled meanwhile.
    """

    async def main() -> None:
        slow = Slow()
        async with chat.open("ann") as session:
            session.register(slow)
        with pytest.raises(WouldBlockLoop, match="aend"):
            chat.end("ann")
        assert "live" == chat.info("ann").state  # type: ignore[union-attr]
        session.save()
        with pytest.raises(WouldBlockLoop, match=r"session\.aclose"):
            session.close()
        ending = asyncio.ensure_future(chat.aend("ann"))
        await asyncio.sleep(0)
        ending.cancel()
        await asyncio.sleep(0)
        slow.gate.set()
        await until(lambda: not len(chat))
        assert slow.closed_on is asyncio.get_running_loop()
        assert not await chat.aend("ann")

    run(main)


def test_hibernate_inside_a_loop_hands_the_waiting_over(chat: Sessions) -> None:
    """
    It returns at once; a task closes, and whoever opens the session waits for that.
    """

    async def main() -> None:
        slow = Slow()
        async with chat.open("ann") as session:
            session.data["a"] = 1
            session.register(slow)
        assert chat.hibernate("ann")
        assert 0 == chat.live
        with pytest.raises(WouldBlockLoop):
            chat.open("ann").__enter__()
        asyncio.get_running_loop().call_later(0.01, slow.gate.set)
        async with chat.open("ann") as again:
            assert again is not session
            assert {"a": 1} == again.data
        assert slow.closed_on is not None

    run(main)


@pytest.mark.parametrize("how", ["hibernate", "expire"])
def test_a_task_that_is_cancelled_before_it_began_leaves_the_session_usable(
    guard: Guard, clock: FakeClock, how: str
) -> None:
    """
    As the end of a loop does it. What was handed over was not done, nobody waits for
    it, and it is done later.
    """
    after = "10m" if how == "hibernate" else None
    chat = guard.sessions("chat", hibernate_after=after)

    async def main() -> None:
        with chat.open("ann") as session:
            session.data["a"] = 1
            session.register(Slow.opened(), keep=True)
        if how == "hibernate":
            assert chat.hibernate("ann")
        else:
            clock.advance("1h")
        assert 0 == chat.live
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if "arun" in repr(task):
                task.cancel()
        await asyncio.sleep(0.001)
        assert 1 == chat.live
        if how == "hibernate":
            async with chat.open("ann") as session:
                assert {"a": 1} == session.data
        clock.advance("1h")
        await until(lambda: chat.live == 0)

    run(main)


@pytest.mark.parametrize("lasting", [True, False])
def test_a_loop_waits_for_no_store_and_no_save(guard: Guard, lasting: bool) -> None:
    """
    `hibernate` inside a loop hands over what has to wait for the store, or for a
    thread that is saving the session.
    """
    inside, go = threading.Event(), threading.Event()
    threads: list[int] = []

    class Store(MemoryStore):
        __slots__ = ()
        persistent = lasting

        def put(self, id: str, record: bytes) -> None:
            threads.append(threading.get_ident())
            inside.set()
            assert go.wait(SOON)
            super().put(id, record)

    chat = guard.sessions("chat", store=Store())

    async def main() -> None:
        async with chat.open("ann") as session:
            pass
        if lasting:
            go.set()
            assert chat.hibernate("ann")
            await until(lambda: bool(chat.stats().slept))
            assert threading.get_ident() not in threads
            return
        with elsewhere(session.save):
            assert inside.wait(SOON)
            assert chat.hibernate("ann")
            go.set()
            await until(lambda: bool(chat.stats().slept))

    run(main)
    assert 0 == guard.registry.failures.total


def test_ahibernate_comes_back_when_all_is_closed(chat: Sessions) -> None:
    """
    As `hibernate`, with the waiting in it.
    """

    async def main() -> None:
        slow = Slow()
        async with chat.open("ann") as session:
            session.register(slow)
            assert not await chat.ahibernate("ann")
        asyncio.get_running_loop().call_soon(slow.gate.set)
        assert await chat.ahibernate("ann")
        assert slow.closed_on is not None
        assert not await chat.ahibernate("nobody")

    run(main)


def test_the_least_recent_sleeps_in_a_task_of_its_own(guard: Guard) -> None:
    """
    Cancelling who needed the place does not leave the other session half closed.
    """
    chat = guard.sessions("chat", max_live=1)

    async def main() -> None:
        slow = Slow()
        async with chat.open("ann") as session:
            session.data["a"] = 1
            session.register(slow)

        async def use() -> None:
            async with chat.open("bob"):
                pass

        user = asyncio.ensure_future(use())
        await asyncio.sleep(0.01)
        user.cancel()
        await asyncio.wait([user])
        assert user.cancelled()
        slow.gate.set()
        async with chat.open("ann") as again:
            assert {"a": 1} == again.data
        assert 1 == chat.live
        assert ("ann",) == chat.ids()

    run(main)


def test_an_async_connection_awaits_its_end(chat: Sessions, clock: FakeClock) -> None:
    """
    `async with connect` closes asynchronous things; so does `adisconnect`.
    """

    async def main() -> None:
        slow, other = Slow(), Slow()
        slow.gate.set()
        other.gate.set()
        async with chat.connect("ann") as conn:
            conn.register(slow)
        assert slow.closed_on is not None
        async with chat.connect("ann") as conn:
            conn.register(other)
            assert 1 == await chat.adisconnect("ann")
            assert other.closed_on is not None
        assert 0 == chat.info("ann").connections  # type: ignore[union-attr]

    run(main)
    clock.advance("30s")
    assert 0 == chat.live


def test_a_synchronous_connection_inside_a_loop_is_closed_by_a_task(
    chat: Sessions,
) -> None:
    """
    Leaving `with` cannot wait; the block's own error is not hidden.
    """

    async def main() -> None:
        slow = Slow()
        fault = OSError("mine")
        with pytest.raises(OSError, match="mine"), chat.connect("ann") as conn:
            conn.register(slow).raise_(fault)
        assert 1 == chat.info("ann").connections  # type: ignore[union-attr]
        slow.gate.set()
        await until(lambda: conn.closed)
        assert 0 == chat.info("ann").connections  # type: ignore[union-attr]

    run(main)


def test_what_belongs_to_a_loop_is_closed_on_it_by_the_clocks() -> None:
    """
    The grace ends in a worker thread; an asynchronous close runs on its own loop.
    """

    async def main() -> None:
        async with Guard() as guard:
            chat = guard.sessions("chat", grace="20ms")
            slow = Slow()
            slow.gate.set()
            async with chat.connect("ann") as conn:
                conn.session.register(slow)
            await until(lambda: slow.closed_on is not None)
            assert slow.closed_on is asyncio.get_running_loop()
            await until(lambda: bool(chat.stats().slept))
            assert "hibernated" == chat.info("ann").state  # type: ignore[union-attr]

    run(main)


def test_a_store_that_takes_time_is_asked_in_a_thread(guard: Guard) -> None:
    """
    Inside a loop `async with` works and `with` is refused.
    """
    threads: list[int] = []

    class Store(MemoryStore):
        __slots__ = ()
        persistent = True

        def get(self, id: str) -> bytes | None:
            threads.append(threading.get_ident())
            return super().get(id)

        def put(self, id: str, record: bytes) -> None:
            threads.append(threading.get_ident())
            super().put(id, record)

    chat = guard.sessions("chat", store=Store())

    async def main() -> None:
        with pytest.raises(WouldBlockLoop, match="async with"):
            chat.open("ann").__enter__()
        assert 0 == len(chat)
        async with chat.open("ann") as session:
            session.data["a"] = 1
            await session.asave()
            session.data["a"] = 2
            with pytest.raises(WouldBlockLoop, match="asave"):
                session.save()
        assert not session.dirty
        with pytest.raises(WouldBlockLoop, match="aend"):
            chat.end("ann")
        assert "live" == chat.info("ann").state  # type: ignore[union-attr]
        # Live as it is, leaving it would have to save it.
        with pytest.raises(WouldBlockLoop, match="async with"):
            chat.connect("ann").__enter__()
        with pytest.raises(WouldBlockLoop, match="async with"):
            chat.open("ann").__enter__()

    run(main)
    assert 3 == len(threads)
    assert threading.get_ident() not in threads


# -- several loops -----------------------------------------------------------------


class Bound:
    """
    Something that has to be closed on its loop, without awaiting.
    """

    def __init__(self) -> None:
        self.closed_in = 0

    def close(self) -> None:
        self.closed_in = threading.get_ident()


@contextmanager
def loop_in_a_thread() -> Iterator[tuple[asyncio.AbstractEventLoop, int]]:
    """
    A running loop, and the thread it runs in.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert thread.ident
    try:
        yield loop, thread.ident
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SOON)
        loop.close()


def test_what_is_bound_to_another_loop_is_not_waited_for(chat: Sessions) -> None:
    """
    A loop hands the closing over instead of standing still for the other one.
    """
    with loop_in_a_thread() as (other, thread):
        bound = Bound()
        held = threading.Event()

        async def elsewhere() -> None:
            with chat.open("ann") as session:
                session.register(bound, affinity="loop")

        async def main() -> None:
            asyncio.run_coroutine_threadsafe(elsewhere(), other).result(SOON)
            with pytest.raises(WouldBlockLoop, match="aend"):
                chat.end("ann")
            other.call_soon_threadsafe(held.wait, SOON)  # it is busy now
            assert chat.hibernate("ann")
            held.set()
            await until(lambda: bool(chat.stats().slept))

        run(main)
        assert thread == bound.closed_in


def test_a_loop_does_not_wait_for_a_timer_that_runs() -> None:
    """
    A call in a worker takes its time; ending its session is refused meanwhile.
    """
    inside, go = threading.Event(), threading.Event()

    def tick() -> None:
        inside.set()
        assert go.wait(SOON)

    async def main() -> None:
        async with Guard() as guard:
            chat = guard.sessions("chat")
            async with chat.open("ann") as session:
                session.timer(tick, after="1ms")
            await until(inside.is_set)
            with pytest.raises(WouldBlockLoop, match="aend"):
                chat.end("ann")
            asyncio.get_running_loop().call_soon(go.set)
            assert await chat.aend("ann")
            assert 0 == len(chat.children())

    run(main)


def test_a_hook_whose_loop_ends_is_not_waited_for() -> None:
    """
    The restore fails at once, not after half a minute, and the session sleeps on.
    """
    guard = Guard().start()
    chat = guard.sessions("chat")
    asleep(chat, "ann", a=1)
    inside = threading.Event()

    async def hang(session: Session) -> None:
        inside.set()
        await asyncio.Event().wait()

    def use() -> None:
        with pytest.raises(RuntimeError, match="has ended"), chat.open("ann"):
            pass

    chat.on_restore(hang)
    with loop_in_a_thread() as (loop, _):
        guard.registry.loop = weakref.ref(loop)
        block = elsewhere(use)
        block.__enter__()
        assert inside.wait(SOON)
    block.__exit__(None, None, None)
    assert "hibernated" == chat.info("ann").state  # type: ignore[union-attr]
    guard.shutdown()


def test_one_close_that_hangs_does_not_stop_the_clocks() -> None:
    """
    Another worker goes on with the other sessions.
    """
    hanging, go = threading.Event(), threading.Event()

    class Hanging:
        def close(self) -> None:
            hanging.set()
            assert go.wait(SOON)

    thing = Hanging()
    guard = Guard().start()
    chat = guard.sessions("chat", hibernate_after="30ms")
    with chat.open("bob"), chat.open("ann") as session:
        session.register(thing)
    assert hanging.wait(SOON)
    deadline = monotonic() + SOON
    while chat.info("bob").state == "live":  # type: ignore[union-attr]
        assert monotonic() < deadline
        hanging.wait(0)
    assert "live" == chat.info("ann").state  # type: ignore[union-attr]
    go.set()
    assert guard.shutdown().clean


def test_an_expiring_session_is_nobodys_victim(guard: Guard, clock: FakeClock) -> None:
    """
    What is being closed already is not chosen once more to make room.
    """
    closing, go = threading.Event(), threading.Event()

    class Thing:
        def close(self) -> None:
            closing.set()
            assert go.wait(SOON)

    thing = Thing()
    chat = guard.sessions("chat", max_live=1, ttl="1m")
    with chat.open("ann") as session:
        session.register(thing)
    with elsewhere(lambda: clock.advance("1m")):
        assert closing.wait(SOON)
        with chat.open("bob"), pytest.raises(SessionsFull), chat.open("eve"):
            pass
        go.set()
    assert ("bob",) == chat.ids()


def test_an_empty_session_leaves_the_tree_in_a_loop(chat: Sessions) -> None:
    """
    It owns nothing, and its end is seen all the same.
    """

    async def main() -> None:
        for verb in (chat.aend, chat.ahibernate):
            async with chat.open("ann"):
                pass
            assert 1 == len(chat.children())
            assert await verb("ann")
            assert 0 == len(chat.children())

    run(main)


# -- everything at once ------------------------------------------------------------


class Writers:
    """
    Threads and tasks that append numbers to logs of sessions, and note each.
    """

    names = tuple(f"user-{number}" for number in range(9))

    def __init__(self, chat: Sessions, rounds: int) -> None:
        self.chat = chat
        self.rounds = rounds
        self.written: list[tuple[str, int]] = []  # append is atomic
        self.refused: list[str] = []
        self.threads = 4
        self.counting = threading.Lock()
        self.next_entry = count().__next__

    def log(self, session: Session) -> Ring[int]:
        """
        The log of one session.
        """
        return session.ring("log", of=int, max_entries=100_000)

    def write(self, session: Session) -> None:
        """
        One entry, which nobody else writes.
        """
        entry = self.next_entry()
        self.log(session).append(entry)
        self.written.append((session.id, entry))

    def in_thread(self, seed: int) -> None:
        """
        Open, connect and hibernate, in any order.
        """
        random = Random(seed)
        for _ in range(self.rounds):
            name = random.choice(self.names)
            verb = random.choice([self.open, self.connect, self.chat.hibernate])
            try:
                verb(name)
            except SessionsFull:
                self.refused.append(name)
        with self.counting:
            self.threads -= 1

    def open(self, name: str) -> None:
        with self.chat.open(name) as session:
            self.write(session)

    def connect(self, name: str) -> None:
        with self.chat.connect(name) as conn:
            conn.timer(int, every="1h")
            self.write(conn.session)

    async def in_task(self, seed: int) -> None:
        """
        The same, with sessions that take an await to close.
        """
        random = Random(seed)
        for _ in range(self.rounds):
            name = random.choice(self.names)
            try:
                async with self.chat.open(name) as session:
                    self.write(session)
                    await asyncio.sleep(0)
                    session.register(Slow.opened(), keep=True)
            except SessionsFull:
                self.refused.append(name)
            if random.random() < 0.1:
                await self.chat.ahibernate(random.choice(self.names))

    async def in_tasks(self) -> None:
        """
        Three of them on one loop, which is there until nothing is bound to it.
        """
        await asyncio.gather(*(self.in_task(seed) for seed in range(3)))
        await until(lambda: self.threads == 0)
        for name in self.names:
            await self.chat.ahibernate(name)

    def found(self) -> list[tuple[str, int]]:
        """
        What the logs hold in the end.
        """
        entries: list[tuple[str, int]] = []
        for name in self.names:
            with self.chat.open(name) as session:
                entries += [(name, entry) for entry in self.log(session)]
        return entries


def test_nothing_is_lost_while_all_do_everything(long_form: bool) -> None:
    """
    Fewer places than sessions, and hasty clocks: each entry that was appended is there
    in the end, once.
    """
    guard = Guard().start()
    chat = guard.sessions("chat", max_live=5, hibernate_after="2ms", grace="1ms")
    writers = Writers(chat, rounds=5_000 if long_form else 150)
    jobs = [partial(writers.in_thread, seed) for seed in range(writers.threads)]
    with elsewhere(*jobs, lambda: asyncio.run(writers.in_tasks()), patience=300.0):
        pass
    assert sorted(writers.written) == sorted(writers.found())
    stats = chat.stats()
    assert stats.live <= 5
    assert (0, 0) == (stats.pinned, stats.connected)
    assert stats.restored > 10
    assert guard.shutdown().clean
