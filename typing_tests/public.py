"""
The public interface as a type checker sees it. Checked by mypy, never executed.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from typing_extensions import assert_type

import memguard
from memguard import Guard, ShutdownReport


class Session:
    """
    Something of the application.
    """

    def close(self) -> None: ...


def module_functions_have_the_types_of_the_guard() -> None:
    """
    Without a wrapper in between.
    """
    session = Session()
    assert_type(memguard.register(session), Session)
    assert_type(memguard.register(session, close="close", phase="work"), Session)
    assert_type(memguard.ring("lines", of=str, max_entries=20).recent(3), list[str])
    assert_type(memguard.series("latency").stats().p99, float | None)
    assert_type(memguard.current(), Guard)
    handle = memguard.adopt(session, "session", max_entries=3, keep=True)
    assert_type(handle, memguard.Adopted)
    assert_type(handle.info().entries, int | None)
    memguard.scope("job").close()


@memguard.cached
def bare(tenant: str, *, deep: bool = False) -> dict[str, int]:
    return {tenant: int(deep)}


@memguard.cached(max_entries=10, max_bytes="16MiB", ttl="5m")
def bounded(tenant: str) -> dict[str, int]:
    return {tenant: 1}


@memguard.cached(ttl=5)
async def awaited(tenant: str) -> int:
    return len(tenant)


async def cached_functions_keep_their_signature() -> None:
    """
    Bare, with options, synchronous and not.
    """
    assert_type(bare("a", deep=True), dict[str, int])
    assert_type(bounded("a"), dict[str, int])
    assert_type(await awaited("a"), int)
    bounded.invalidate("a")
    bounded.clear()


@memguard.timer(every="30s")
def refresh() -> None: ...


def timers_are_objects_and_callable() -> None:
    """
    A decorated function is a Timer, which can still be called.
    """
    assert_type(refresh, memguard.Timer)
    refresh()
    refresh.cancel()


def load(key: str) -> int:
    return len(key)


def caches_take_their_types_from_the_loader(guard: Guard) -> None:
    """
    Or from an annotation.
    """
    assert_type(guard.cache("lengths", load), memguard.Cache[str, int])
    plain: memguard.Cache[str, bytes] = guard.cache("plain")
    plain.put("a", b"a")


def connect() -> Session:
    return Session()


async def pools_lend_what_the_factory_makes(guard: Guard) -> None:
    """
    In both forms.
    """
    pool = guard.pool("db", connect)
    with pool.acquire() as one:
        assert_type(one, Session)
    async with pool.acquire() as other:
        assert_type(other, Session)


async def blocks_give_what_they_are(guard: Guard) -> None:
    """
    A guard, a scope, a session.
    """
    with guard as entered:
        assert_type(entered, Guard)
    async with memguard.install(memory_limit="256MiB", tick=1) as installed:
        assert_type(installed, Guard)
    async with guard.scope("job") as job:
        assert_type(job, memguard.Scope)
    chat = guard.sessions("chat", ttl="1h")
    with chat.open("ann") as session:
        assert_type(session.id, str)
    async with chat.connect("ann") as connection:
        assert_type(connection.session.id, str)
    assert_type(await guard.ashutdown(), ShutdownReport)
    assert_type(guard.shutdown(), ShutdownReport)


def hooks_are_given_back(guard: Guard) -> None:
    """
    A decorator of a hook changes nothing.
    """

    @guard.on_shutdown(phase="telemetry")
    def last(times: int = 1) -> int:
        return times

    hook: Callable[[int], int] = last
    assert_type(hook(1), int)


async def maps_are_plain_or_asynchronous(
    source: AsyncIterator[str], lines: list[str]
) -> None:
    """
    As the function and the source are.
    """

    async def measure(line: str) -> int:
        return len(line)

    limiter = memguard.limiter("lines", max_in_flight=3, max_bytes="1MiB")
    for plain in limiter.map(len, lines, bytes=len):
        assert_type(plain, int)
    async for awaited_ in limiter.map(measure, lines, timeout="5s"):
        assert_type(awaited_, int)
    async for threaded in limiter.map(len, source):
        assert_type(threaded, int)
    async for both in limiter.map(measure, source):
        assert_type(both, int)
    with limiter("1MiB"):
        limiter.tighten(0.5)
    async with limiter(1024, timeout=1):
        limiter.resize(3)


async def sinks_and_log_handlers() -> None:
    """
    Paths of both kinds; what is kept has its types.
    """
    sink = memguard.sink(Path("events.jsonl"), rotate_bytes="1MiB", keep=2)
    sink.write({"any": ["json", 1, None]})
    await memguard.sink("events.jsonl").awrite([1])
    assert_type(sink.info().records, int)
    handler = memguard.log_handler("recent", level="INFO", directory="logs")
    logging.getLogger().addHandler(handler)
    assert_type(handler.recent(3)[0].exception, str | None)
    memguard.BoundedLogHandler(max_entries=10).close()
