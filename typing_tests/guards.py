"""
A guard, its scopes and what they make, as a type checker sees them. Never executed.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from typing_extensions import assert_type

import memguard
from memguard import (
    Cache,
    Connection,
    Emitter,
    Guard,
    Level,
    Listener,
    ManagedResource,
    Phase,
    Pool,
    Ring,
    Scope,
    Series,
    Session,
    Sessions,
    Settings,
    ShutdownReport,
    Task,
    Timer,
    errors,
    testing,
    typing as types,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Database:
    """
    Something that can be managed as a whole.
    """

    def close(self) -> None: ...

    def memory_bytes(self) -> int:
        return 0

    def force_close(self) -> None: ...


@contextmanager
def transaction() -> Iterator[Database]:
    yield Database()


@asynccontextmanager
async def channel() -> AsyncIterator[bytes]:
    yield b""


def module_functions_are_methods_of_the_guard(guard: Guard) -> None:
    """
    The same types on both.
    """
    pairs = [
        (memguard.register, guard.register),
        (memguard.timer, guard.timer),
        (memguard.cached, guard.cached),
    ]
    assert pairs
    assert_type(memguard.emitter("bus"), Emitter)
    assert_type(memguard.emitter("bus", max_listeners=None), Emitter)
    assert_type(memguard.sessions("chat", ttl="1h", grace=30), Sessions)
    assert_type(memguard.scope("job", work=False), Scope)
    assert_type(memguard.health().http_status, int)
    assert_type(memguard.snapshot().count("timer"), int)
    assert_type(memguard.audit().clean, bool)
    assert_type(memguard.shutdown("5s"), ShutdownReport)
    assert_type(memguard.subscribe(print), Callable[[], None])
    assert_type(memguard.current().level, Level)
    assert_type(memguard.sizeof({"a": 1}), int)
    assert_type(memguard.__version__, str)


def registering_gives_the_object_back(scope: Scope) -> None:
    """
    With its own type, whatever is said about its end.
    """
    database = scope.register(Database(), phase=Phase.CLIENTS, timeout="2s")
    assert_type(database, Database)
    assert_type(scope.register(socket.socket(), keep=True), socket.socket)
    assert_type(
        scope.register(ThreadPoolExecutor(), uses=[database]), ThreadPoolExecutor
    )
    child = scope.register(subprocess.Popen[bytes]([]), close=lambda one: one.kill())
    assert_type(child, "subprocess.Popen[bytes]")
    assert_type(
        scope.register(database, memory=lambda one: one.memory_bytes()), Database
    )
    assert_type(scope.release(database), bool)
    managed: ManagedResource = database
    managed.force_close()


async def managers_give_what_they_yield(scope: Scope) -> None:
    """
    As ExitStack does.
    """
    assert_type(scope.enter(transaction()), Database)
    assert_type(await scope.aenter(channel()), bytes)


def timers_by_call_and_by_decorator(scope: Scope) -> None:
    """
    Both are a Timer; so is what an asynchronous function makes.
    """

    async def refresh() -> None: ...

    assert_type(scope.timer(print, every="30s", jitter=0.1), Timer)
    assert_type(scope.timer(refresh, after=5), Timer)
    assert_type(scope.timer(every=1.5), Callable[[Callable[[], Any]], Timer])

    @scope.timer(every="1m", name="again")
    async def again() -> None: ...

    assert_type(again, Timer)


def listeners_and_emitters(scope: Scope, bus: Emitter) -> None:
    """
    A decorated listener is the function that it was.
    """

    @bus.on("line")
    def heard(line: str) -> int:
        return len(line)

    assert_type(heard("a"), int)
    assert_type(scope.listen(bus, "line", heard), Listener)
    bus.emit("line", "text")


async def tasks(scope: Scope) -> None:
    """
    They are owned, and can be cancelled and awaited.
    """

    async def work() -> int:
        return 1

    task: Task = scope.spawn(work(), name="work")
    assert_type(task.cancel(), bool)
    await task


def rings(scope: Scope) -> None:
    """
    `of` gives the type of what is in them.
    """
    assert_type(scope.ring("lines", of=str), Ring[str])
    assert_type(
        scope.ring("records", of=dict[str, int]).recent(2), list[dict[str, int]]
    )
    anything: Ring[object] = scope.ring("anything")
    assert_type(scope.series("latency", max_points=10), Series)
    assert_type(scope.ring("lines", of=str).drain(), list[str])
    assert_type(scope.series("latency").recent(3), list[float])
    scope.series("latency").add(3)
    anything.append(3)


def caches(scope: Scope) -> None:
    """
    The loader gives both types; without one an annotation does.
    """

    def load(tenant: int) -> str:
        return str(tenant)

    names = scope.cache("names", load, max_entries=10, ttl="5m")
    assert_type(names, Cache[int, str])
    assert_type(names[3], str)
    assert_type(names.get(3), "str | None")
    assert_type(names.get(3, ""), str)
    assert_type(names.fast(3), "str | None")
    assert_type(3 in names, bool)
    sizes: Cache[str, int] = scope.cache("sizes", max_bytes="1MiB", on_limit="raise")
    sizes.put("a", 1, ttl=3)


class Service:
    """
    With a cached method.
    """

    @memguard.cached(ttl="1m")
    def price(self, article: str) -> float:
        return float(len(article))


def cached_methods(service: Service) -> None:
    """
    They are called on their object, and keep its parameters.
    """
    assert_type(service.price("a"), float)


async def sessions(chat: Sessions) -> None:
    """
    A session is a scope with data; so is a connection to it.
    """
    with chat.open("ann", durable=True) as session:
        assert_type(session, Session)
        assert_type(
            session.ring("messages", of=dict, max_entries=20), "Ring[dict[Any, Any]]"
        )
        session.data["name"] = "Ann"
        session.save()
        await session.asave()
    async with chat.open("ann") as session:
        assert_type(session.id, str)
    async with chat.connect("ann") as connection:
        assert_type(connection, Connection)
        assert_type(connection.session, Session)
        connection.timer(print, every="10s")
    assert_type(len(chat), int)


def pools(guard: Guard) -> None:
    """
    They are of what the factory makes.
    """
    pool = guard.pool("db", Database, reset=Database.memory_bytes, max_size=5)
    assert_type(pool, Pool[Database])
    assert_type(pool.tighten(0.5), int)
    pool.resize(3, min_size=1, idle_timeout=None)
    lease = pool.acquire()
    with lease as database:
        assert_type(database, Database)
        assert_type(lease.value, Database)


def settings() -> None:
    """
    Numbers, texts, and what they become.
    """
    given = Settings(memory_limit="256MiB", tick=1, warning="70%", audit_ignore=["fd"])
    assert_type(given.tick, float)
    assert_type(given.audit_ignore, tuple[str, ...])
    assert_type(given.replace(strict=True), Settings)
    Guard("shop", memory_limit=None, shutdown_timeout="5s", mode="observe")
    memguard.install(site_level="full", signals=["SIGTERM"], report_file=None)


async def reports(guard: Guard) -> None:
    """
    What a shutdown, an audit and a snapshot tell.
    """
    report = await guard.ashutdown(3)
    assert_type(report.outcomes, dict[str, int])
    assert_type(report.audit.unseen, tuple[str, ...])
    assert_type(report.audit.findings[0].site, str)
    assert_type(guard.memory().rss, "int | None")
    assert_type(guard.snapshot().nodes[0].bytes_held, "int | None")
    await guard.stopped()


def hooks_of_the_process(guard: Guard) -> None:
    """
    Events, errors and what tests use.
    """
    size: types.Size = "1MiB"
    assert size
    try:
        guard.start()
    except errors.ScopeClosed as error:
        assert_type(error, errors.ScopeClosed)
    clock = testing.FakeClock()
    Guard(clock=clock, probe=testing.FakeProbe(rss=size)).memory()
    with testing.capture_events(guard) as events:
        assert events
