"""
Adopting: handles, names, caps, conflicts, life, forks and the end.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import threading
import warnings
from typing import Any

import pytest

import memguard
from memguard import Adopted, AdoptedInfo, Guard
from memguard._adopt import known
from memguard.errors import (
    MemguardResourceWarning,
    ScopeClosed,
    SpecConflict,
    WouldBlockLoop,
)
from memguard.testing import FakeClock
from memguard.typing import Adapter, Measured, Risk


class Client:
    """
    A client of some library.
    """

    def __init__(self) -> None:
        self.closed_in: list[Any] = []
        self.size: int | None = None


class Clients(Adapter):
    """
    What a package would say of it.
    """

    kind = "client"
    caps = ("max_connections", "idle_timeout", "size")
    cannot = "requests in hand cannot be taken back"
    forces = True

    def types(self) -> tuple[type, ...]:
        return (Client,)

    def measure(self, obj: Any) -> Measured:
        return Measured(entries=2, bytes=300, details={"idle": 1})

    def check(self, obj: Any, caps: Any) -> None:
        if caps.get("size") == "wrong":
            raise ValueError

    def apply(self, obj: Any, caps: Any) -> None:
        if caps.get("size") == "broken":
            raise OSError
        obj.size = caps.get("max_connections")

    def close(self, obj: Any) -> None:
        obj.closed_in.append("closed")

    def force(self, obj: Any) -> None:
        obj.closed_in.append("forced")

    def is_open(self, obj: Any) -> bool:
        return not obj.closed_in

    def risk(self, obj: Any) -> Risk | None:
        return None if obj.size else Risk("connections", "no bound", "set one")


class AsyncClient(Client):
    """
    One that has to be closed on its loop.
    """


class AsyncClients(Clients):
    affinity = "loop"
    caps = ()

    def types(self) -> tuple[type, ...]:
        return (AsyncClient,)

    async def close(self, obj: Any) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        obj.closed_in.append(asyncio.get_running_loop())


@pytest.fixture(autouse=True)
def adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The two adapters above, as if a package had brought them.
    """
    known.forget_plugins()
    monkeypatch.setattr(known, "_plugins", [(Clients(), AsyncClients())])


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that stands still.
    """
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=clock)


def test_a_handle_tells_what_the_adapter_reads(guard: Guard) -> None:
    """
    Kind, label, figures, caps and the sentence, frozen in one record.
    """
    client = Client()
    handle = guard.adopt(client, max_connections=5)
    assert isinstance(handle, Adopted)
    info = handle.info()
    assert isinstance(info, AdoptedInfo)
    assert ("client", "Client", "Client", True) == (
        info.kind,
        info.name,
        info.type,
        info.alive,
    )
    assert (2, 300, {"idle": 1}) == (info.entries, info.bytes, dict(info.details))
    assert {"max_connections": 5} == info.caps
    assert "max_connections=5: kept by the object itself" == info.cap
    assert "requests in hand cannot be taken back" == info.cannot
    assert 5 == client.size
    assert handle.risk() is None
    with pytest.raises(AttributeError, match="frozen"):
        info.entries = 3


def test_the_same_object_has_one_handle(guard: Guard) -> None:
    """
    In the same words it is found again; other caps or another name are a conflict.
    """
    client = Client()
    handle = guard.adopt(client, "db", max_connections=5)
    assert handle is guard.adopt(client)
    assert handle is guard.adopt(client, "db")
    assert handle is guard.adopt(client, max_connections=5)
    with pytest.raises(SpecConflict, match=r"max_connections.*test_adopt\.py"):
        guard.adopt(client, max_connections=6)
    with pytest.raises(SpecConflict, match="name"):
        guard.adopt(client, "other")
    handle.resize(max_connections=6)
    assert handle is guard.adopt(client, max_connections=6)
    assert 6 == client.size
    assert handle is not Guard().adopt(client)


def test_a_name_belongs_to_one(guard: Guard) -> None:
    """
    Another object of that name and kind, and a container of the guard, conflict.
    """
    first, second = Client(), Client()
    guard.adopt(first, "db")
    with pytest.raises(SpecConflict, match="another object"):
        guard.adopt(second, "db")
    assert 1 == guard.snapshot().count("client")

    @functools.lru_cache
    def load(key: int) -> int:
        return key

    guard.adopt(load, "loaded")
    with pytest.raises(SpecConflict):
        guard.cache("loaded")


@pytest.mark.parametrize(
    ("caps", "error", "text"),
    [
        ({"max_entries": 5}, TypeError, "takes the caps max_connections.*taken back"),
        ({"max_connections": 0}, ValueError, "max_connections"),
        ({"max_connections": "many"}, ValueError, "max_connections"),
        ({"idle_timeout": "soon"}, ValueError, "idle_timeout"),
        ({"size": "wrong"}, ValueError, "^$"),
        ({"size": "broken"}, OSError, "^$"),
    ],
)
def test_caps_are_checked_at_the_door(
    guard: Guard, caps: dict[str, Any], error: type[Exception], text: str
) -> None:
    """
    What cannot be applied leaves nothing behind.
    """
    client = Client()
    with pytest.raises(error, match=text):
        guard.adopt(client, **caps)
    assert 0 == guard.snapshot().count("client")
    assert client.size is None
    guard.adopt(client)


@pytest.mark.parametrize("name", ["", 3, b"name"])
def test_a_name_is_a_text(guard: Guard, name: Any) -> None:
    """
    Anything else is refused.
    """
    with pytest.raises(TypeError, match="name"):
        guard.adopt(Client(), name)


def test_what_nobody_knows_is_refused_with_the_ways_out(guard: Guard) -> None:
    """
    Registering, adopting by place, and adapters of other packages; and its own nodes.
    """
    with pytest.raises(TypeError, match=r"register\(\).*NAME.*memguard\.adapters"):
        guard.adopt(object())
    with pytest.raises(TypeError, match="memguard's own"):
        guard.adopt(guard.ring("ring"))


def test_it_is_held_weakly(guard: Guard) -> None:
    """
    A client that is collected unclosed is a fault, with the place of its adoption.
    """
    handle = guard.adopt(Client())
    gc.collect()
    with pytest.warns(MemguardResourceWarning, match=r"client.*test_adopt\.py"):
        guard.snapshot()
    assert handle.closed
    assert not handle.info().alive
    with pytest.raises(ScopeClosed):
        handle.resize(max_connections=3)


def test_it_is_kept_when_told_so(guard: Guard) -> None:
    """
    With `keep=True` until its end; it is found again by its identity.
    """
    client = Client()
    number = id(client)
    handle = guard.adopt(client, keep=True)
    assert handle is guard.adopt(client)
    del client
    gc.collect()
    assert number in guard.registry.objects
    assert handle.info().alive
    handle.close()
    assert number not in guard.registry.objects


def test_closing_is_once_and_in_its_own_way(guard: Guard) -> None:
    """
    A second close does nothing; the object may be adopted again afterwards.
    """
    client = Client()
    handle = guard.adopt(client)
    assert handle.is_open()
    handle.close()
    handle.close()
    assert ["closed"] == client.closed_in
    assert handle.closed
    assert handle is not guard.adopt(client)


def test_the_guard_closes_it_in_its_phase(guard: Guard) -> None:
    """
    Clients after caches, and the report names it.
    """
    order = []

    @functools.lru_cache
    def load(key: int) -> int:
        return key

    load(1)
    client = Client()
    client.closed_in = order
    with guard:
        guard.adopt(client, "db")
        guard.adopt(load)
        guard.on_shutdown(phase="telemetry")(
            lambda: order.append(load.cache_info().currsize)
        )
        report = guard.shutdown()
    assert ["closed", 0] == order
    assert report.clean
    assert {"db", "load"} <= {
        row.name.rpartition(".")[2] for row in report.resources
    } | {row.name for row in report.resources}


def test_others_may_use_it_and_let_it_go(guard: Guard) -> None:
    """
    `uses` and `release` find an adopted object as they find a registered one.
    """

    class Repository:
        def close(self) -> None:
            order.append("repository")

    order: list[Any] = []
    client, repository = Client(), Repository()
    client.closed_in = order
    with guard:
        guard.adopt(client)
        guard.register(repository, uses=[client], phase="clients")
    assert ["repository", "closed"] == order
    guard.uninstall()
    other = Client()
    guard.adopt(other)
    assert guard.release(other)
    assert not guard.release(other)
    assert not other.closed_in


def test_an_awaited_close_runs_on_its_loop(guard: Guard) -> None:
    """
    `aclose` inside the loop; `close` refuses there, and reaches it from a thread.
    """

    async def run() -> None:
        loop = asyncio.get_running_loop()
        first, second, third = AsyncClient(), AsyncClient(), AsyncClient()
        handle = guard.adopt(first)
        with pytest.raises(WouldBlockLoop, match="aclose"):
            handle.close()
        await handle.aclose()
        await handle.aclose()
        assert [loop] == first.closed_in
        await asyncio.to_thread(guard.adopt(second).close)
        assert [loop] == second.closed_in
        async with guard:
            guard.adopt(third)
        assert [loop] == third.closed_in

    asyncio.run(run())
    last = AsyncClient()
    Guard().adopt(last).close()
    assert 1 == len(last.closed_in)


def test_a_close_that_fails_is_told_and_forced(guard: Guard) -> None:
    """
    The caller gets what its own close raises; a shutdown forces and reports.
    """

    class Failing(Clients):
        def close(self, obj: Any) -> None:
            raise OSError

    client, other = Client(), Client()
    known.forget_plugins()
    known._plugins.append((Failing(),))
    handle = guard.adopt(client)
    with pytest.raises(OSError):  # noqa: PT011 - it has no text
        handle.close()
    assert handle.closed
    with guard:
        guard.adopt(other)
        (row,) = guard.shutdown().failing()
    assert "forced" == row.outcome
    assert ["forced"] == other.closed_in


def test_declared_before_the_start_it_works_again_after_a_shutdown(
    guard: Guard,
) -> None:
    """
    A cache that was adopted at module level is emptied by each shutdown.
    """

    @functools.lru_cache
    def load(key: int) -> int:
        return key

    handle = guard.adopt(load)
    for _ in range(2):
        with guard:
            load(1)
            assert handle is guard.adopt(load)
        assert 0 == load.cache_info().currsize
        assert not handle.closed
        guard.uninstall()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_keeps_caches_and_leaves_clients() -> None:
    """
    What was declared and may be inherited is the child's too; nothing else is.
    """

    @functools.lru_cache
    def load(key: int) -> int:
        return key

    client = Client()
    guard = Guard()
    guard.adopt(load)
    guard.adopt(client)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking with threads around
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            found = {node.kind for node in guard.snapshot().nodes}
            guard.start()
            guard.shutdown()
            code = 0 if found == {"cache"} and not client.closed_in else 2
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_two_threads_get_the_same_handle(guard: Guard) -> None:
    """
    Whoever comes second is given the first one's.
    """
    clients = [Client() for _ in range(200)]
    found: list[list[Adopted]] = [[], []]
    start = threading.Barrier(2)

    def adopt(into: list[Adopted]) -> None:
        start.wait(5)
        into.extend(guard.adopt(client) for client in clients)

    threads = [threading.Thread(target=adopt, args=(one,)) for one in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found[0] == found[1]
    assert 200 == guard.snapshot().count("client")


def test_nothing_is_adopted_by_what_has_ended(guard: Guard) -> None:
    """
    A guard that was shut down takes nothing.
    """
    with guard:
        pass
    with pytest.raises(ScopeClosed):
        guard.adopt(Client())


def test_the_default_guard_adopts() -> None:
    """
    The function of the module is the default guard's method.
    """
    client = Client()
    handle = memguard.adopt(client)
    assert handle is memguard.current().adopt(client)
    handle.close()


def test_a_snapshot_has_its_bytes_and_place(guard: Guard) -> None:
    """
    An adopted thing is a node like any other.
    """
    client = Client()
    guard.adopt(client, "db")
    (node,) = guard.snapshot().nodes
    assert ("client", "db", "clients", 300) == (
        node.kind,
        node.name,
        node.phase,
        node.bytes_held,
    )
    assert "test_adopt.py" in node.site
    with guard:
        assert guard.audit().clean
