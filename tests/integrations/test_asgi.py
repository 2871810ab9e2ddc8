"""
The ASGI middleware: requests, websockets and the lifespan, in Starlette and FastAPI.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

import memguard
from memguard import Guard
from memguard.integrations.asgi import MemguardMiddleware

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.websockets import WebSocket

with warnings.catch_warnings():
    # It would rather have another HTTP client.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


class Thing:
    """
    Counts its closes.
    """

    def __init__(self) -> None:
        self.closes = 0

    def close(self) -> None:
        self.closes += 1


@pytest.fixture
def guard() -> Guard:
    """
    A guard that is not the default one; the lifespan starts it.
    """
    return Guard("test")


def wrapped(
    guard: Guard | None, *routes: Any, lifespan: Any = None, **options: Any
) -> Starlette:
    """
    A Starlette application with the middleware.
    """
    app = Starlette(routes=routes, lifespan=lifespan)
    app.add_middleware(MemguardMiddleware, guard=guard, **options)
    return app


async def ok(request: Request) -> Response:
    """
    The smallest endpoint.
    """
    return PlainTextResponse("ok")


# -- requests --------------------------------------------------------------------------


def test_starlette_routes_by_template(guard: Guard) -> None:
    """
    Every user is the same template; what matches nothing has one name.
    """
    app = wrapped(
        guard,
        Route("/users/{number:int}", ok, methods=["GET", "POST"]),
        Mount("/part", routes=[Route("/inner/{name}", ok)]),
    )
    with TestClient(app) as client:
        for number in range(3):
            client.get(f"/users/{number}")
        client.post("/users/1")
        client.get("/part/inner/me")
        assert 404 == client.get("/nowhere/1").status_code
        assert 404 == client.get("/nowhere/2").status_code
    assert {
        "GET /users/{number:int}": 3,
        "POST /users/{number:int}": 1,
        "GET /inner/{name}": 1,
        "GET (unmatched)": 2,
    } == guard.snapshot().work


def test_fastapi_routes_by_template(guard: Guard) -> None:
    """
    Routers' prefixes are part of the template.
    """
    app = FastAPI()
    router = APIRouter(prefix="/part")

    @router.get("/items/{number}")
    async def item(number: int) -> dict[str, Any]:
        return {"number": number, "scope": memguard.current_scope() is not guard}

    @app.get("/sync/{number}")
    def sync(number: int) -> bool:
        return memguard.current_scope() is not guard

    app.include_router(router)
    app.add_middleware(MemguardMiddleware, guard=guard)
    with TestClient(app) as client:
        assert {"number": 7, "scope": True} == client.get("/part/items/7").json()
        assert True is client.get("/sync/1").json()
        assert 422 == client.get("/part/items/seven").status_code
    assert {"GET /part/items/{number}": 2, "GET /sync/{number}": 1} == (
        guard.snapshot().work
    )


def test_streaming_keeps_the_scope_to_the_last_part(guard: Guard) -> None:
    """
    What an endpoint registers outlives it, until the body was sent.
    """
    thing = Thing()
    seen: list[bool] = []

    async def stream(request: Request) -> Response:
        scope = memguard.current_scope()
        scope.register(thing)

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(3):
                seen.append(memguard.current_scope() is scope and thing.closes == 0)
                yield b"x"

        return StreamingResponse(parts())

    with TestClient(wrapped(guard, Route("/stream", stream))) as client:
        assert b"xxx" == client.get("/stream").content
        assert 1 == thing.closes
    assert [True] * 3 == seen
    assert {"GET /stream": 1} == guard.snapshot().work


def test_background_task_is_part_of_the_request(guard: Guard) -> None:
    """
    It runs after the answer, in the same scope.
    """
    thing = Thing()
    seen: list[Any] = []

    async def later() -> None:
        seen.append((memguard.current_scope() is not guard, thing.closes))

    async def endpoint(request: Request) -> Response:
        memguard.current_scope().register(thing)
        return PlainTextResponse("ok", background=BackgroundTask(later))

    with TestClient(wrapped(guard, Route("/", endpoint))) as client:
        client.get("/")
    assert [(True, 0)] == seen
    assert 1 == thing.closes


def test_endpoint_that_raises(guard: Guard) -> None:
    """
    The exception goes on, the scope ends, the request is counted.
    """
    thing = Thing()

    async def fails(request: Request) -> Response:
        memguard.current_scope().register(thing)
        raise ZeroDivisionError

    app = wrapped(guard, Route("/fails", fails))
    with TestClient(app, raise_server_exceptions=False) as client:
        assert 500 == client.get("/fails").status_code
    assert 1 == thing.closes
    assert {"GET /fails": 1} == guard.snapshot().work


def test_websocket_is_a_scope_and_no_unit_of_work(guard: Guard) -> None:
    """
    The connection owns; each message is the work.
    """
    thing = Thing()

    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        scope = memguard.current_scope()
        scope.register(thing)
        async for text in websocket.iter_text():
            with scope.scope("message"):
                await websocket.send_text(text.upper())

    with TestClient(wrapped(guard, WebSocketRoute("/chat", chat))) as client:
        with client.websocket_connect("/chat") as websocket:
            for text in ("a", "b"):
                websocket.send_text(text)
                assert text.upper() == websocket.receive_text()
            assert 0 == thing.closes
        deadline = threading.Event()
        for _ in range(500):
            if thing.closes or deadline.wait(0.01):
                break
        assert 1 == thing.closes
    assert {"message": 2} == guard.snapshot().work


def test_beside_a_base_http_middleware(guard: Guard) -> None:
    """
    Starlette's own kind of middleware runs the rest in another task: both orders.
    """
    things = [Thing(), Thing()]
    waiting = iter(things)
    seen: list[bool] = []

    class Timing(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            seen.append(isinstance(memguard.current_scope(), Guard))
            answer: Response = await call_next(request)
            return answer

    async def stream(request: Request) -> Response:
        scope = memguard.current_scope()
        scope.register(next(waiting))

        async def parts() -> AsyncIterator[bytes]:
            seen.append(memguard.current_scope() is scope)
            yield b"x"

        return StreamingResponse(parts())

    for inside in (True, False):
        app = Starlette(routes=[Route("/stream", stream)])
        order: list[tuple[Any, dict[str, Any]]] = [
            (MemguardMiddleware, {"guard": guard}),
            (Timing, {}),
        ]
        for kind, options in order if inside else reversed(order):
            app.add_middleware(kind, **options)
        with TestClient(app) as client:
            assert b"x" == client.get("/stream").content
    assert [1, 1] == [thing.closes for thing in things]
    # Seen from outside of the scope there is only a guard.
    assert [True, True, False, True] == seen


def test_cancelled_request_closes_what_it_owns(guard: Guard) -> None:
    """
    A server that cancels a request (its client went away) still gets a full clean-up.
    """
    closed: list[str] = []

    class Slow:
        async def aclose(self) -> None:
            await asyncio.sleep(0)
            closed.append("slow")

    slow = Slow()

    async def app(connection: Any, receive: Any, send: Any) -> None:
        memguard.current_scope().register(slow)
        await asyncio.Event().wait()

    async def main() -> None:
        middleware = MemguardMiddleware(app, guard=guard)
        async with guard:
            serving = asyncio.ensure_future(middleware(request_of(), nothing, nowhere))
            await asyncio.sleep(0)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            assert ["slow"] == closed
            assert {"GET (unmatched)": 1} == guard.snapshot().work

    asyncio.run(main())


def test_middleware_inside_middleware_is_one_scope(guard: Guard) -> None:
    """
    A mounted application with memguard of its own is one request, not two.
    """
    inner = wrapped(guard, Route("/users/{number}", ok))
    app = wrapped(guard, Mount("/inner", app=inner))
    with TestClient(app) as client:
        assert 200 == client.get("/inner/users/1").status_code
    assert {"GET /users/{number}": 1} == guard.snapshot().work


def test_unknown_kinds_of_connections_go_through(guard: Guard) -> None:
    """
    Extensions of the protocol are nobody's business here.
    """
    seen: list[str] = []

    async def app(connection: Any, receive: Any, send: Any) -> None:
        seen.append(connection["type"])

    middleware = MemguardMiddleware(app, guard=guard)
    asyncio.run(middleware({"type": "telepathy"}, nothing, nowhere))
    assert ["telepathy"] == seen
    assert not guard.is_running


def test_requests_after_the_shutdown_are_served_without_a_scope(guard: Guard) -> None:
    """
    A server that still serves is not broken by a guard that has ended.
    """
    guard.start()
    guard.shutdown()
    middleware = MemguardMiddleware(wrapped(guard, Route("/", ok)), guard=guard)
    sent = asyncio.run(answer_of(middleware, "/"))
    assert 200 == sent[0]["status"]
    assert {} == guard.snapshot().work


# -- health ----------------------------------------------------------------------------


def test_health_has_the_fields_and_the_type(guard: Guard) -> None:
    """
    GET answers with the record of requirement A10; HEAD with its headers alone.
    """
    with TestClient(wrapped(guard, Route("/", ok), health="/healthz")) as client:
        answer = client.get("/healthz")
        record = answer.json()
        assert 200 == answer.status_code
        assert "application/health+json" == answer.headers["content-type"]
        assert "no-store" == answer.headers["cache-control"]
        assert {"uptime", "memory", "activeSessions", "timestamp", "level"} <= (
            record.keys()
        )
        assert {"rss", "limit", "percent"} <= record["memory"].keys()
        head = client.head("/healthz")
        assert b"" == head.content
        assert answer.headers["content-type"] == head.headers["content-type"]
        assert 404 == client.post("/healthz").status_code
        guard.control.stop_intake()
        assert 503 == client.get("/healthz").status_code
    assert {"POST (unmatched)": 1} == guard.snapshot().work


def test_health_behind_a_prefix(guard: Guard) -> None:
    """
    A proxy's prefix may or may not be part of the path.
    """
    middleware = MemguardMiddleware(
        wrapped(None, Route("/", ok)), guard=guard, health="/healthz"
    )

    async def main() -> list[int]:
        async with guard:
            return [
                (await answer_of(middleware, path, root_path="/api"))[0]["status"]
                for path in ("/healthz", "/api/healthz")
            ]

    assert [200, 200] == asyncio.run(main())


# -- lifespan --------------------------------------------------------------------------


class Noting:
    """
    Writes down when the guard runs while the application starts and stops.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.events: list[tuple[str, bool]] = []

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        self.events.append(("start", self.guard.is_running))
        yield
        self.events.append(("stop", self.guard.is_running))


def test_guard_lives_around_the_application(guard: Guard) -> None:
    """
    The guard starts first and shuts down last.
    """
    noting = Noting(guard)
    with TestClient(wrapped(guard, Route("/", ok), lifespan=noting.lifespan)) as client:
        client.get("/")
    assert [("start", True), ("stop", True)] == noting.events
    assert not guard.is_running


def test_starlette_without_a_lifespan_of_its_own(guard: Guard) -> None:
    """
    Starlette answers the lifespan by itself; the guard lives around that.
    """
    with TestClient(wrapped(guard, Route("/", ok))) as client:
        assert guard.is_running
        client.get("/")
    assert not guard.is_running


def test_failing_start_up_shuts_the_guard_down(guard: Guard) -> None:
    """
    What was registered before the failure is closed, and the server sees the failure.
    """
    thing = Thing()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        guard.register(thing)
        raise ZeroDivisionError
        yield

    app = wrapped(guard, Route("/", ok), lifespan=lifespan)
    with pytest.raises(ZeroDivisionError), TestClient(app):
        pass
    assert 1 == thing.closes
    assert not guard.is_running


def test_failing_stop_shuts_the_guard_down(guard: Guard) -> None:
    """
    As well as a failure in the application's own shutdown.
    """
    thing = Thing()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        guard.register(thing)
        yield
        raise ZeroDivisionError

    app = wrapped(guard, Route("/", ok), lifespan=lifespan)
    with pytest.raises(ZeroDivisionError), TestClient(app):
        pass
    assert 1 == thing.closes
    assert not guard.is_running


async def refuses(connection: Any, receive: Any, send: Any) -> None:
    """
    Raises for what it does not know, as Django does.
    """
    if connection["type"] != "http":
        msg = "only HTTP"
        raise ValueError(msg)
    await PlainTextResponse("ok")(connection, receive, send)


async def ignores(connection: Any, receive: Any, send: Any) -> None:
    """
    Returns at once from what it does not know.
    """
    if connection["type"] == "http":
        await PlainTextResponse("ok")(connection, receive, send)


async def starts_only(connection: Any, receive: Any, send: Any) -> None:
    """
    Answers the start-up and leaves.
    """
    if connection["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
    else:
        await PlainTextResponse("ok")(connection, receive, send)


@pytest.mark.parametrize("app", [refuses, ignores, starts_only])
def test_application_that_does_not_care_for_the_lifespan(
    app: Any, guard: Guard
) -> None:
    """
    The guard does: it starts and shuts down with the server all the same.
    """
    with TestClient(MemguardMiddleware(app, guard=guard)) as client:
        assert guard.is_running
        assert "ok" == client.get("/").text
    assert not guard.is_running
    assert {"GET (unmatched)": 1} == guard.snapshot().work


def test_application_that_fails_in_the_lifespan_it_knows(guard: Guard) -> None:
    """
    It has heard of the start-up and raises: that is its failure, not ignorance.
    """

    async def app(connection: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        TestClient(MemguardMiddleware(app, guard=guard)),
    ):
        pass
    assert not guard.is_running


def test_server_that_cancels_the_lifespan(guard: Guard) -> None:
    """
    Some servers end the lifespan's task instead of asking it to stop.
    """
    thing = Thing()
    started = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not started.is_set():
            return {"type": "lifespan.startup"}
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        started.set()

    async def main() -> None:
        app = MemguardMiddleware(Starlette(), guard=guard)
        serving = asyncio.ensure_future(app({"type": "lifespan"}, receive, send))
        await started.wait()
        guard.register(thing)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(main())
    assert 1 == thing.closes
    assert not guard.is_running


def test_test_client_again_and_again(fresh_default: None) -> None:
    """
    The default guard starts and stops with each; declared timers run each time.
    """
    ticks: list[int] = []
    ticked = threading.Event()

    @memguard.timer(every="1ms")
    def tick() -> None:
        ticks.append(1)
        ticked.set()

    app = wrapped(None, Route("/", ok))
    before = threading.active_count()
    for _ in range(20):
        ticked.clear()
        with TestClient(app) as client:
            assert memguard.current().is_running
            assert "ok" == client.get("/").text
            assert ticked.wait(5)
        assert not memguard.current().is_running
        ended = len(ticks)
    assert ended == len(ticks)
    assert before == threading.active_count()
    assert {"GET /": 20} == memguard.snapshot().work


def test_guard_that_runs_already_is_not_uninstalled(fresh_default: None) -> None:
    """
    The lifespan undoes what it did itself, no more.
    """
    guard = memguard.install(signals=())
    try:
        with TestClient(wrapped(None, Route("/", ok))):
            assert guard.is_running
        assert not guard.is_running
        assert guard.on_uninstall is not None
    finally:
        guard.uninstall()


def test_lifespan_in_the_main_thread_installs_and_uninstalls(
    fresh_default: None,
) -> None:
    """
    As under a real server: handlers are there while it runs, and not afterwards.
    """
    import signal

    before = signal.getsignal(signal.SIGTERM)
    during: list[Any] = []

    async def main() -> None:
        app = wrapped(None, Route("/", ok))
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> dict[str, Any]:
            return {"type": next(messages)}

        async def send(message: Any) -> None:
            during.append((message["type"], signal.getsignal(signal.SIGTERM)))

        await app({"type": "lifespan"}, receive, send)

    asyncio.run(main())
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == [
        kind for kind, _ in during
    ]
    assert during[0][1] is not before
    assert during[1][1] is before
    assert before is signal.getsignal(signal.SIGTERM)


def test_request_without_a_lifespan_warns_once(
    fresh_default: None, caplog: pytest.LogCaptureFixture
) -> None:
    """
    `--lifespan off` is named in the log, at the first request and never again.
    """
    memguard.current().apply(memguard.Settings(signals=()))
    app = MemguardMiddleware(refuses)
    with caplog.at_level(logging.WARNING, "memguard"):
        for _ in range(3):
            assert 200 == asyncio.run(answer_of(app, "/"))[0]["status"]
    told = [one.getMessage() for one in caplog.records if "lifespan" in one.message]
    assert 1 == len(told)
    assert "--lifespan off" in told[0]
    assert memguard.current().is_running


# -- without a server ------------------------------------------------------------------


def request_of(path: str = "/", **more: Any) -> dict[str, Any]:
    """
    The connection of a GET.
    """
    return {"type": "http", "method": "GET", "path": path, "headers": [], **more}


async def nothing() -> dict[str, Any]:
    """
    A client that has sent its request.
    """
    return {"type": "http.request", "body": b"", "more_body": False}


async def nowhere(message: Any) -> None:
    """
    A client that does not listen.
    """


async def answer_of(app: Callable[..., Any], path: str, **more: Any) -> list[Any]:
    """
    What *app* sends for a GET.
    """
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(request_of(path, **more), nothing, send)
    return sent
