"""
Sessions on a real Redis server: what is special to it, through every kind of client.

What all stores have to do is in test_store_conformance.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
import redis.cluster
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests._redis import DURABLE, RedisServer

from memguard._clock import SystemClock
from memguard._probes.identity import identity
from memguard._sessions.stores.redis import RedisStore
from memguard._sessions.stores.redis_errors import failed
from memguard._sessions.stores.space import Claim, Entry, Held, StaleOwner
from memguard.errors import StoreFailed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RunPython

ME = "boot:1:2:3:me"
OTHER = "boot:1:2:3:other"
BASE = "{memguard:chat}"


class AtOnce:
    """
    A space of an asynchronous client, each verb of which is awaited at once.
    """

    def __init__(self, space: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._space = space
        self._loop = loop

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def done(*args: Any, **kwargs: Any) -> Any:
            return self._loop.run_until_complete(
                getattr(self._space, verb)(*args, **kwargs)
            )

        return done


def space_of(client: Any, **options: Any) -> Any:
    """
    The container "chat" of a store of that client.
    """
    return RedisStore(client, **options).space("chat", SystemClock())


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """
    A client to look behind the store's back.
    """
    with redis.Redis(unix_socket_path=redis_server.path) as client:
        yield client


@pytest.fixture(params=["plain", "decoding", "resp3", "asyncio", "asyncio-decoding"])
def space(request: pytest.FixtureRequest, redis_server: RedisServer) -> Iterator[Any]:
    """
    The container "chat" through each kind of client.
    """
    options: dict[str, Any] = {
        "unix_socket_path": redis_server.path,
        "decode_responses": "decoding" in request.param,
        "protocol": 3 if request.param == "resp3" else 2,
    }
    if "asyncio" not in request.param:
        with redis.Redis(**options) as client:
            yield space_of(client)
        return
    loop = asyncio.new_event_loop()
    waiting = redis.asyncio.Redis(**options)
    try:
        assert RedisStore(waiting).awaits
        yield AtOnce(space_of(waiting), loop)
        loop.run_until_complete(waiting.aclose())
    finally:
        loop.close()


@pytest.fixture
def plain(raw: redis.Redis) -> Any:
    """
    The container "chat" through a plain client.
    """
    return space_of(raw)


def entry(id: str, version: int = 1, **changes: Any) -> Entry:
    """
    One that is given back, if not told otherwise.
    """
    values: dict[str, Any] = {
        "id": id,
        "version": version,
        "expires_at": 4e9,
        "record": b"record",
        "pages": {},
        "release": True,
    }
    return Entry(**{**values, **changes})


def saved(space: Any, *ids: str, **changes: Any) -> None:
    """
    Writes sessions and gives them back, if not told otherwise.
    """
    space.join(ME, 60.0)
    for one in ids:
        assert isinstance(space.claim(one, ME), Claim)
    put = space.put(ME, [entry(one, **changes) for one in ids])
    assert [True] * len(ids) == put


def test_a_session_through_every_client(space: Any) -> None:
    """
    Bytes that are no text, an id that is no proper text, pages, and the sums.
    """
    one, record = "ä\ud800:}{", bytes(range(256))
    space.join(ME, 60.0)
    assert Claim(version=0, record=None) == space.claim(one, ME)
    assert [] == space.ids()
    pages = {("log", 0): b"\xff\x00", ("log", 1): b"b", ("ä:1", 0): b""}
    assert [True] == space.put(
        ME, [entry(one, expires_at=None, record=record, pages=pages, release=False)]
    )
    assert (0, 0) == space.count()
    assert {0: b"\xff\x00", 1: b"b"} == space.pages(one, "log", [0, 1, 2])
    assert {0: b""} == space.pages(one, "ä:1", (0,))
    assert {} == space.pages(one, "log", [])
    assert [True] == space.put(ME, [entry(one, 2, pages={("log", 1): None})])
    stored = space.read(one)
    assert (2, b"record", 4e9, None) == (
        stored.version,
        stored.record,
        stored.expires_at,
        stored.owner,
    )
    assert len(b"record" + b"\xff\x00") == stored.size
    assert (1, stored.size) == space.count()
    assert [one] == space.ids() == space.due(5e9, 10)
    assert [] == space.due(3e9, 10)
    assert 4e9 == space.next_due()
    assert Claim(version=2, record=None) == space.claim(one, ME, have=2)
    assert Claim(version=2, record=b"record") == space.claim(one, ME, have=1)
    assert None is space.next_due()
    space.touch(ME, {one: None})
    space.join(OTHER, 60.0)
    assert Held(ME) == space.claim(one, OTHER)
    assert [one] == space.wanted(ME)
    assert ME == space.read(one).owner
    space.release(one, ME)
    assert [] == space.wanted(ME)
    assert None is space.read(one).expires_at
    assert Claim(2, b"record", contended=True) == space.claim(one, ME)
    space.quarantine(one, ME)
    assert None is space.read(one)
    assert Claim(0, None, contended=False) == space.claim(one, ME)
    assert [True] == space.put(ME, [entry(one, 1)])
    assert not space.delete(one, ME)
    space.claim(one, ME)
    assert space.delete(one, ME)
    assert not space.delete(one, ME)
    assert ([], (0, 0)) == (space.ids(), space.count())
    assert space.beat(ME, 60.0)
    space.leave(ME)
    assert not space.beat(ME, 60.0)
    with pytest.raises(StaleOwner):
        space.claim(one, ME)
    assert 0 == space.reap()
    space.close()


def test_a_lease_runs_out_by_the_servers_clock(plain: Any) -> None:
    """
    A silent owner has nothing any more: its writes are refused, its sessions free.
    """
    plain.join(ME, 0.03)
    plain.claim("a", ME)
    assert [True] == plain.put(ME, [entry("a", release=False)])
    plain.join(OTHER, 60.0)
    deadline = monotonic() + 5.0
    while isinstance(taken := plain.claim("a", OTHER), Held):
        assert monotonic() < deadline
        sleep(0.005)
    assert Claim(1, b"record", contended=False) == taken
    assert [False] == plain.put(ME, [entry("a", 2, record=b"late")])
    assert not plain.delete("a", ME)
    plain.release("a", ME)
    plain.quarantine("a", ME)
    plain.touch(ME, {"a": 1.0})
    assert not plain.beat(ME, 60.0)
    stored = plain.read("a")
    assert (OTHER, b"record", 4e9) == (stored.owner, stored.record, stored.expires_at)


def test_a_dead_process_of_this_machine_is_not_waited_for(plain: Any) -> None:
    """
    Its lease has an hour to run, and its sessions are taken over at once.
    """
    code = "from memguard._probes.identity import identity; print(identity())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    dead = f"{done.stdout.strip()}:aa"
    plain.join(dead, 3600.0)
    plain.join(ME, 60.0)
    for one in ("a", "b"):
        plain.claim(one, dead)
        assert [True] == plain.put(dead, [entry(one, release=False)])
    assert None is plain.read("a").owner
    assert Claim(1, b"record") == plain.claim("a", ME)
    assert not plain.beat(dead, 60.0)
    assert (0, 0) == plain.count()
    assert 1 == plain.reap()
    assert (1, 6) == plain.count()
    assert ["b"] == plain.due(5e9, 10)


def test_a_live_process_keeps_its_lease(plain: Any) -> None:
    """
    This one, under another name.
    """
    alive = f"{identity()}:bb"
    plain.join(alive, 60.0)
    plain.claim("a", alive)
    plain.join(ME, 60.0)
    assert Held(alive) == plain.claim("a", ME)
    assert 0 == plain.reap()


def test_many_at_once(plain: Any, raw: redis.Redis) -> None:
    """
    More than one step takes: all are written, freed and found, and nothing is left.
    """
    ids = [f"s{number}" for number in range(1050)]
    saved(plain, *ids, release=False)
    plain.touch(ME, dict.fromkeys(ids, 4.5e9))
    plain.leave(ME)
    assert (1050, 6 * 1050) == plain.count()
    assert ids == plain.ids()
    assert 4.5e9 == plain.next_due()
    plain.join(ME, 60.0)
    for one in plain.due(5e9, 2000):
        plain.claim(one, ME)
        assert plain.delete(one, ME)
    plain.leave(ME)
    left = {key.removeprefix(BASE.encode()) for key in raw.keys("*")}
    assert left <= {b":seq", b":horizon", b":r:" + ME.encode()}


def test_a_record_heavier_than_one_step(plain: Any) -> None:
    """
    Steps are cut by bytes as well.
    """
    plain.join(ME, 60.0)
    for one in "abc":
        plain.claim(one, ME)
    heavy = [entry(one, record=b"x" * (1 << 20)) for one in "abc"]
    assert [True] * 3 == plain.put(ME, heavy)
    assert (3, 3 << 20) == plain.count()


def test_what_nobody_owns_ends_on_the_server_too(plain: Any, raw: redis.Redis) -> None:
    """
    A week after its end; what is owned, and what never ends, stays.
    """
    now = SystemClock().time()
    week = 7 * 86400
    saved(plain, "ends", expires_at=now + 100.0)
    left = raw.ttl(f"{BASE}:s:ends")
    assert week <= left <= week + 101
    for key in (":ids", ":free", ":bytes", ":owners", ":seq", ":horizon"):
        assert left < raw.ttl(BASE + key), key
    plain.claim("ends", ME)
    assert -1 == raw.ttl(f"{BASE}:s:ends")
    saved(plain, "long ago", expires_at=1.0)
    assert week - 2 <= raw.ttl(f"{BASE}:s:long ago") <= week
    saved(plain, "never", expires_at=None)
    saved(plain, "inf", expires_at=float("inf"))
    saved(plain, "far", expires_at=1e15)
    for one in ("never", "inf", "far"):
        assert -1 == raw.ttl(f"{BASE}:s:{one}")
    assert -1 == raw.ttl(f"{BASE}:ids")


def test_a_living_owner_keeps_what_is_shared(plain: Any, raw: redis.Redis) -> None:
    """
    Its beat moves the end of the tables on, long before they reach it.
    """
    saved(plain, "a", expires_at=SystemClock().time() + 1.0)
    raw.set(f"{BASE}:horizon", int(SystemClock().time() + 60))
    raw.expire(f"{BASE}:ids", 60)
    assert plain.beat(ME, 60.0)
    assert raw.ttl(f"{BASE}:ids") > 7 * 86400


def test_a_record_that_the_server_let_expire(plain: Any, raw: redis.Redis) -> None:
    """
    Its id is as new, and the sums have forgotten it.
    """
    saved(plain, "a", "b")
    raw.delete(f"{BASE}:s:a")
    assert None is plain.read("a")
    assert Claim(0, None) == plain.claim("a", ME)
    assert (1, 6) == plain.count()
    assert ["b"] == plain.ids()
    raw.delete(f"{BASE}:s:b")
    assert Claim(0, None) == plain.claim("b", ME)
    assert ((0, 0), []) == (plain.count(), plain.ids())


def test_records_put_aside_are_bounded(plain: Any, raw: redis.Redis) -> None:
    """
    The newest hundred, with their ids and pages, for a month.
    """
    plain.join(ME, 60.0)
    for number in range(103):
        plain.claim("a", ME)
        one = entry("a", record=b"%d" % number, pages={("log", 0): b"page"})
        assert [True] == plain.put(ME, [one])
        plain.claim("a", ME)
        plain.quarantine("a", ME)
    names: Any = raw.lrange(f"{BASE}:q", 0, -1)
    assert 100 == len(names) == len(raw.keys("*:q:*"))
    newest: Any = raw.hgetall(names[0])
    assert (b"102", b"a") == (newest[b"r"], newest[b"id"])
    assert b"page" == newest[b"p0:log"]
    assert b"o" not in newest
    assert raw.ttl(names[0]) > 29 * 86400
    assert ((0, 0), []) == (plain.count(), plain.ids())
    plain.release("a", ME)
    plain.quarantine("a", ME)


def test_scripts_that_the_server_forgot(plain: Any, raw: redis.Redis) -> None:
    """
    They are sent again, whole.
    """
    saved(plain, "a")
    raw.script_flush()
    assert ["a"] == plain.ids()
    assert ["a"] == plain.ids()


@pytest.mark.parametrize("verb", ["put", "keep", "delete"])
def test_an_answer_that_was_lost_is_given_again(
    verb: str, redis_server: RedisServer, raw: redis.Redis, plain: Any
) -> None:
    """
    The client tries again by itself; what the first try did is not called refused,
    also where a successor has come in between.
    """

    class LosesAnswers(redis.UnixDomainSocketConnection):
        lose = 0

        def read_response(self, *args: Any, **kwargs: Any) -> Any:
            answer = super().read_response(*args, **kwargs)
            if LosesAnswers.lose and not isinstance(answer, Exception):
                LosesAnswers.lose -= 1
                self.disconnect()
                meanwhile()
                raise redis.ConnectionError
            return answer

    def meanwhile() -> None:
        raw.delete(f"{BASE}:l:{ME}")
        assert isinstance(plain.claim("a", OTHER), Claim)
        assert [True] == plain.put(OTHER, [entry("a", 3)])
        plain.reap()

    pool = redis.ConnectionPool(
        connection_class=LosesAnswers,
        path=redis_server.path,
        protocol=2,
        retry=Retry(NoBackoff(), 3),
    )
    with redis.Redis.from_pool(pool) as client:
        space = space_of(client)
        saved(space, "a", release=False)
        plain.join(OTHER, 60.0)
        LosesAnswers.lose = 1
        if verb == "delete":
            assert space.delete("a", ME)
            assert not space.delete("a", ME)
        else:
            late = entry("a", 2, release=verb == "put")
            assert [True] == space.put(ME, [late])
            assert [False] == space.put(ME, [late])
        assert 0 == LosesAnswers.lose


def test_containers_and_prefixes_are_apart(raw: redis.Redis) -> None:
    """
    Each has its own keys.
    """
    store = RedisStore(raw, prefix="a")
    one, two = (store.space(name, SystemClock()) for name in ("x", "y"))
    three = RedisStore(raw, prefix="b").space("x", SystemClock())
    saved(one, "id")
    assert (["id"], [], []) == (one.ids(), two.ids(), three.ids())
    assert all(key.startswith(b"{a:x}:") for key in raw.keys("*"))


def test_a_restart_of_the_server_loses_nothing(tmp_path: Path) -> None:
    """
    Records, owners and leases are there again, with the time that passed.
    """
    server = RedisServer(tmp_path, *DURABLE).start()
    try:
        with redis.Redis(unix_socket_path=server.path, retry=None) as client:
            space = space_of(client)
            saved(space, "mine", release=False)
            saved(space, "free")
            server.kill()
            with pytest.raises(StoreFailed, match="cannot be reached"):
                space.ids()
            server.start()
            space.join(OTHER, 60.0)
            assert Held(ME) == space.claim("mine", OTHER)
            assert isinstance(space.claim("free", OTHER), Claim)
            assert space.beat(ME, 60.0)
    finally:
        server.kill()


def test_a_server_without_memory(plain: Any, raw: redis.Redis) -> None:
    """
    Each verb that needs some fails and changes nothing; what is read is served.
    """
    saved(plain, "mine", release=False)
    saved(plain, "free")
    before = everything(raw)
    raw.config_set("maxmemory", "1")
    for verb in (
        lambda: plain.join(OTHER, 60.0),
        lambda: plain.claim("free", ME),
        lambda: plain.claim("new", ME),
        lambda: plain.put(ME, [entry("mine", 2)]),
        lambda: plain.release("mine", ME),
        lambda: plain.quarantine("mine", ME),
        lambda: plain.touch(ME, {"mine": 1.0}),
    ):
        with pytest.raises(StoreFailed, match="raise `maxmemory`") as caught:
            verb()
        assert "mine" not in str(caught.value)
        assert before == everything(raw)
    assert plain.beat(ME, 60.0)
    assert b"record" == plain.read("mine").record
    raw.config_set("maxmemory", "0")
    plain.leave(ME)
    assert (2, 12) == plain.count()


def everything(raw: redis.Redis) -> dict[bytes, Any]:
    """
    All keys with what they hold; without leases, whose time goes on.
    """
    found = {}
    for key in raw.keys("*"):
        if b":l:" not in key:
            found[key] = raw.dump(key)
    return found


@pytest.mark.parametrize(
    ("prepare", "options", "says"),
    [
        (("CONFIG", "SET", "requirepass", "pw"), {}, "user or password"),
        (("CONFIG", "SET", "requirepass", "pw"), {"password": "no"}, "user or passwo"),
        (
            ("ACL", "SETUSER", "u", "on", "nopass", "~other:*", "+@all"),
            {"username": "u", "password": "x"},
            "does not allow",
        ),
        (("REPLICAOF", "127.0.0.1", "1"), {}, "read-only replica"),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), {}, "without its replicas"),
        (("SET", f"{BASE}:owners", "text"), {}, "choose another `prefix`"),
    ],
)
def test_what_the_server_refuses_is_told_with_its_cure(
    prepare: tuple[str, ...],
    options: dict[str, Any],
    says: str,
    redis_server: RedisServer,
    raw: redis.Redis,
) -> None:
    """
    By its state; the server's own text, which may hold ids, is not repeated.
    """
    raw.execute_command(*prepare)
    with (
        redis.Redis(
            unix_socket_path=redis_server.path, retry=None, **options
        ) as client,
        pytest.raises(StoreFailed, match=says) as caught,
    ):
        space_of(client).join("secret", 60.0)
    assert "secret" not in str(caught.value)


def test_a_user_of_the_access_list(redis_server: RedisServer, raw: redis.Redis) -> None:
    """
    The rights that the guide names are enough for everything.
    """
    rights = ("~{memguard:*", "+@all", "-@admin", "-@dangerous")
    raw.execute_command("ACL", "SETUSER", "app", "on", ">secret", *rights)
    with redis.Redis(
        unix_socket_path=redis_server.path, username="app", password="secret"
    ) as client:
        space = space_of(client)
        saved(space, "a", "b", release=False)
        space.join(OTHER, 60.0)
        assert Held(ME) == space.claim("a", OTHER)
        assert ["a"] == space.wanted(ME)
        space.quarantine("a", ME)
        space.touch(ME, {"b": None})
        assert space.beat(ME, 60.0)
        assert space.delete("b", ME)
        space.leave(ME)
        assert 0 == space.reap()
        assert ([], (0, 0), None) == (space.ids(), space.count(), space.next_due())


def test_a_server_that_does_not_answer(redis_server: RedisServer) -> None:
    """
    The client's timeout ends the wait.
    """
    import signal

    with redis.Redis(
        unix_socket_path=redis_server.path, socket_timeout=0.05, retry=None
    ) as client:
        space = space_of(client)
        saved(space, "a")
        redis_server.signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreFailed, match="within the client's timeout"):
                space.ids()
        finally:
            redis_server.signal(signal.SIGCONT)
        assert ["a"] == space.ids()


def test_errors_that_are_not_the_servers_are_left_alone() -> None:
    """
    A mistake in a program is no failure of the store.
    """
    assert None is failed(TypeError("x"))
    other = failed(redis.ResponseError("ERR something about secret"))
    assert other is not None
    assert "secret" not in str(other)
    assert "ResponseError" in str(other)


def test_an_asynchronous_client_stays_on_its_loop(redis_server: RedisServer) -> None:
    """
    Whoever waits on another loop, as a thread of a shutdown does, is served by it.
    """

    async def main() -> list[list[str]]:
        async with redis.asyncio.Redis(unix_socket_path=redis_server.path) as client:
            space = space_of(client)
            await space.join(ME, 60.0)
            await space.claim("a", ME)
            await space.put(ME, [entry("a")])

            async def elsewhere() -> list[str]:
                found: list[str] = await space.ids()
                return found

            calls = [asyncio.to_thread(asyncio.run, elsewhere()) for _ in range(5)]
            calls += [elsewhere() for _ in range(5)]
            return await asyncio.gather(*calls)

    assert [["a"]] * 10 == asyncio.run(main())


def test_an_asynchronous_client_after_its_loop(redis_server: RedisServer) -> None:
    """
    The next loop has connections of its own, where those of the first were closed;
    else it is told whose they are.
    """
    client = redis.asyncio.Redis(unix_socket_path=redis_server.path)
    space = space_of(client)

    async def once() -> None:
        await space.join(ME, 60.0)
        await client.connection_pool.disconnect()

    asyncio.run(once())
    asyncio.run(once())
    other = failed(RuntimeError("Event loop is closed"))
    assert other is not None
    assert "make the client in the loop that uses it" in str(other)


@pytest.mark.system  # the server waits two seconds before it calls itself one
def test_a_cluster(tmp_path: Path) -> None:
    """
    All keys of a container are in one slot; a cluster of one node refuses others.
    """
    bus = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    server = RedisServer(tmp_path, *bus).start()
    try:
        with redis.Redis(port=server.port) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            deadline = monotonic() + 10.0
            while "ok" != node.cluster("INFO")["cluster_state"]:
                assert monotonic() < deadline
                sleep(0.01)
        with redis.cluster.RedisCluster(
            host="127.0.0.1", port=server.port, decode_responses=True
        ) as client:
            space = space_of(client)
            saved(space, "a", "b", pages={("log", 0): b"\xffpag"})
            assert (["a", "b"], (2, 20)) == (space.ids(), space.count())

        async def again() -> list[str]:
            async with redis.asyncio.RedisCluster(
                host="127.0.0.1", port=server.port
            ) as waiting:
                space = space_of(waiting)
                assert isinstance(await space.claim("a", ME), Claim)
                found: list[str] = await space.ids()
                return found

        assert ["a", "b"] == asyncio.run(again())
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("client", "says"),
    [
        (None, "not a NoneType"),
        ("redis://localhost", r"redis.Redis.from_url\(...\)"),
        (redis.Redis, "must be a redis.Redis"),
        (redis.ConnectionPool(), "must be a redis.Redis"),
        (redis.Redis().pipeline(), "pipeline: give the client"),
    ],
)
def test_what_is_no_client_is_refused(client: Any, says: str) -> None:
    """
    Where it comes in, with what to give instead.
    """
    with pytest.raises(TypeError, match=says):
        RedisStore(client)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prefix": ""}, "prefix must be"),
        ({"prefix": "a}"}, "prefix must be"),
        ({"prefix": b"a"}, "prefix must be"),
        ({"lease": 0}, "lease must be a millisecond"),
        ({"lease": "soon"}, "lease"),
        ({"patience": -1}, "patience"),
    ],
)
def test_options_are_checked(options: dict[str, Any], says: str) -> None:
    """
    Each by its name.
    """
    with pytest.raises(ValueError, match=says):
        RedisStore(redis.Redis(), **options)


def test_its_face() -> None:
    """
    What the core asks of a store; clients of one's own class are clients.
    """

    class Own(redis.Redis):
        pass

    store = RedisStore(Own(), lease="2s", patience=0)
    assert (True, False, 2.0, 0.0) == (
        store.persistent,
        store.awaits,
        store.lease_s,
        store.patience_s,
    )
    assert "<RedisStore 'memguard'>" == repr(store)


def test_the_store_imports_no_client(run_python: RunPython) -> None:
    """
    Whoever uses it has one; nobody else pays for it.
    """
    done = run_python(
        "import memguard, sys\n"
        "memguard.RedisStore\n"
        "print({'redis', 'hashlib', 'asyncio'} & set(sys.modules))\n"
    )
    assert ("set()\n", "") == (done.stdout, done.stderr)
