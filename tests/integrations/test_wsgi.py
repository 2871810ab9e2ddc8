"""
The WSGI middleware: when the scope is current, when it ends, and what it leaves alone.
"""

from __future__ import annotations

import gc
import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

import memguard
from memguard import Guard
from memguard.integrations.wsgi import Middleware, name_request


@pytest.fixture
def guard() -> Iterator[Guard]:
    """
    A started guard that is not the default one.
    """
    with Guard("test") as guard:
        yield guard


def environ_of(path: str = "/", method: str = "GET", **more: Any) -> dict[str, Any]:
    """
    What a server passes to an application.
    """
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, **more}
    setup_testing_defaults(environ)
    return environ


class Answer:
    """
    What a server sees: status, headers, and the body it has not read yet.
    """

    def __init__(self, app: Any, environ: dict[str, Any]) -> None:
        self.written: list[bytes] = []
        self.status = ""
        self.headers: list[tuple[str, str]] = []
        self.body: Iterable[bytes] = app(environ, self.start)

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        self.status, self.headers = status, headers
        return self.written.append

    def close(self) -> None:
        close = getattr(self.body, "close", None)
        if close is not None:
            close()


class Thing:
    """
    Counts its closes.
    """

    def __init__(self) -> None:
        self.closes = 0

    def close(self) -> None:
        self.closes += 1


def ok(environ: Any, start_response: Any) -> list[bytes]:
    """
    The smallest application.
    """
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


def test_list_body_stays_a_list_and_is_closed_by_the_server(guard: Guard) -> None:
    """
    Servers ask for its length; the request lasts until they have sent it.
    """
    thing = Thing()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        memguard.current_scope().register(thing)
        return ok(environ, start_response)

    answer = Answer(Middleware(app, guard=guard), environ_of())
    assert isinstance(answer.body, list)
    assert [b"ok"] == answer.body
    assert guard is memguard.current_scope()
    assert 0 == thing.closes
    answer.close()
    answer.close()
    assert 1 == thing.closes
    assert {"GET (unmatched)": 1} == guard.snapshot().work


def test_shutdown_does_not_wait_for_answers_nobody_reads(guard: Guard) -> None:
    """
    Test clients leave answers unread; the application has done its part.
    """
    thing = Thing()

    def app(environ: Any, start_response: Any) -> Any:
        memguard.current_scope().register(thing)
        parts = ok(environ, start_response)
        return parts if environ["PATH_INFO"] == "/" else iter(parts)

    listed = Answer(Middleware(app, guard=guard), environ_of())
    streamed = Answer(Middleware(app, guard=guard), environ_of("/stream"))
    assert [b"ok"] == list(streamed.body)
    report = guard.shutdown()
    assert report.seconds < 1
    assert report.clean
    assert 2 == thing.closes
    for answer in (listed, streamed):
        answer.close()


def test_streamed_body_has_the_scope_in_each_step_until_it_is_closed(
    guard: Guard,
) -> None:
    """
    Every step of the body runs in the request's scope; closing the body ends it.
    """
    thing = Thing()
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        scope = memguard.current_scope()
        scope.register(thing)

        def steps() -> Iterator[bytes]:
            try:
                for _ in range(3):
                    seen.append(memguard.current_scope() is scope)
                    yield b"x"
            finally:
                seen.append(memguard.current_scope() is scope)

        return steps()

    answer = Answer(Middleware(app, guard=guard), environ_of())
    outside = memguard.current_scope()
    for part in answer.body:
        assert b"x" == part
        assert outside is memguard.current_scope()
        assert 0 == thing.closes
    answer.close()
    assert 1 == thing.closes
    assert [True] * 4 == seen
    answer.close()
    assert 1 == thing.closes


def test_body_closed_before_its_end(guard: Guard) -> None:
    """
    A server that stops early closes the body, and with it the generator and the scope.
    """
    thing = Thing()
    ended: list[bool] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        memguard.current_scope().register(thing)
        try:
            yield b"one"
            yield b"two"
        finally:
            ended.append(thing.closes == 0)

    answer = Answer(Middleware(app, guard=guard), environ_of())
    assert b"one" == next(iter(answer.body))
    answer.close()
    assert [True] == ended
    assert 1 == thing.closes


def test_body_that_raises(guard: Guard) -> None:
    """
    What a step raises reaches the server; the scope ends with the body's close.
    """
    thing = Thing()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        memguard.current_scope().register(thing)
        yield b"one"
        raise ZeroDivisionError

    answer = Answer(Middleware(app, guard=guard), environ_of())
    parts = iter(answer.body)
    next(parts)
    with pytest.raises(ZeroDivisionError):
        next(parts)
    assert 0 == thing.closes
    answer.close()
    assert 1 == thing.closes
    assert {"GET (unmatched)": 1} == guard.snapshot().work


def test_close_of_the_body_that_raises_still_ends_the_scope(guard: Guard) -> None:
    """
    The application's own close fails: the server sees that, and the scope ends.
    """
    thing = Thing()

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            raise ZeroDivisionError

    def app(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", [])
        memguard.current_scope().register(thing)
        return Body()

    answer = Answer(Middleware(app, guard=guard), environ_of())
    assert [b"x"] == list(answer.body)
    with pytest.raises(ZeroDivisionError):
        answer.close()
    assert 1 == thing.closes


def test_application_that_raises(guard: Guard) -> None:
    """
    The exception goes to the server as it is, and the scope ends before.
    """
    thing = Thing()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        memguard.current_scope().register(thing)
        raise ZeroDivisionError

    outside = memguard.current_scope()
    with pytest.raises(ZeroDivisionError):
        Answer(Middleware(app, guard=guard), environ_of())
    assert 1 == thing.closes
    assert outside is memguard.current_scope()
    assert {"GET (unmatched)": 1} == guard.snapshot().work


def test_body_that_nobody_closes_does_not_stay_in_hand(guard: Guard) -> None:
    """
    A body that a server forgot is closed when it is collected, by another thread.
    """
    closed = threading.Event()

    class Waits:
        def close(self) -> None:
            closed.set()

    thing = Waits()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        memguard.current_scope().register(thing)
        yield b"x"

    answer = Answer(Middleware(app, guard=guard), environ_of())
    list(answer.body)
    del answer
    gc.collect()
    assert closed.wait(5)


def test_write_callable_and_second_start_response(guard: Guard) -> None:
    """
    `write` and a restart with exc_info reach the server unchanged.
    """

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"written")
        start_response("500 Oh", [("X-Again", "1")], exc_info=(None, None, None))
        return [b"rest"]

    answer = Answer(Middleware(app, guard=guard), environ_of())
    assert [b"written"] == answer.written
    assert "500 Oh" == answer.status
    assert [("X-Again", "1")] == answer.headers
    assert [b"rest"] == list(answer.body)


def test_file_wrapper_stays_what_the_server_gave(guard: Guard) -> None:
    """
    A server recognises its wrapper and sends the file by itself; closing ends both.
    """
    thing = Thing()
    file = io.BytesIO(b"content")

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        memguard.current_scope().register(thing)
        return environ["wsgi.file_wrapper"](file)

    environ = environ_of(**{"wsgi.file_wrapper": FileWrapper})
    answer = Answer(Middleware(app, guard=guard), environ)
    assert FileWrapper is type(answer.body)
    assert [b"content"] == list(answer.body)
    assert 0 == thing.closes
    answer.close()
    assert file.closed
    assert 1 == thing.closes


def test_file_wrapper_that_is_a_function(guard: Guard) -> None:
    """
    Where identities are compared: the very object the application returned goes on.
    """
    returned: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        returned.append(io.FileIO("/dev/null"))
        return returned[0]

    environ = environ_of(**{"wsgi.file_wrapper": lambda file: file})
    answer = Answer(Middleware(app, guard=guard), environ)
    assert returned[0] is answer.body
    answer.close()
    assert {"GET (unmatched)": 1} == guard.snapshot().work


def test_health_has_the_fields_and_the_type(guard: Guard) -> None:
    """
    GET answers with the record of requirement A10; HEAD with its headers alone.
    """
    app = Middleware(ok, guard=guard, health="/healthz")
    answer = Answer(app, environ_of("/healthz"))
    headers = dict(answer.headers)
    body = b"".join(answer.body)
    record = json.loads(body)
    assert "200 OK" == answer.status
    assert "application/health+json" == headers["Content-Type"]
    assert str(len(body)) == headers["Content-Length"]
    assert "no-store" == headers["Cache-Control"]
    assert {"status", "uptime", "memory", "activeSessions", "timestamp", "level"} <= (
        record.keys()
    )
    assert {"rss", "limit", "percent"} <= record["memory"].keys()
    assert record["memory"]["rss"] > 1_000_000
    head = Answer(app, environ_of("/healthz", "HEAD"))
    assert [] == list(head.body)
    assert "application/health+json" == dict(head.headers)["Content-Type"]
    assert [b"ok"] == Answer(app, environ_of("/healthz", "POST")).body
    assert [b"ok"] == Answer(app, environ_of("/")).body


def test_health_is_no_unit_of_work(guard: Guard) -> None:
    """
    Being asked every second is not work.
    """
    Answer(Middleware(ok, guard=guard, health="/healthz"), environ_of("/healthz"))
    assert {} == guard.snapshot().work


def test_health_says_fail_once_the_guard_shuts_down(guard: Guard) -> None:
    """
    A draining process answers 503, so that balancers look elsewhere.
    """
    app = Middleware(ok, guard=guard, health="/healthz")
    guard.control.stop_intake()
    answer = Answer(app, environ_of("/healthz"))
    assert "503 Service Unavailable" == answer.status
    assert "fail" == json.loads(b"".join(answer.body))["status"]
    assert [b"ok"] == Answer(app, environ_of("/")).body


def test_work_is_counted_by_method_and_template(guard: Guard) -> None:
    """
    Names are bounded: templates as told, unknown methods as one.
    """

    def app(environ: Any, start_response: Any) -> list[bytes]:
        name_request(environ, environ.get("template"))
        return ok(environ, start_response)

    middleware = Middleware(app, guard=guard)
    for method, template in (
        ("GET", "/users/<id>"),
        ("GET", "/users/<id>"),
        ("POST", "/users/<id>"),
        ("GET", None),
        ("BREW", None),
        ("BREW-2", None),
    ):
        environ = environ_of("/users/7", method, template=template)
        Answer(middleware, environ).close()
    assert {
        "GET /users/<id>": 2,
        "POST /users/<id>": 1,
        "GET (unmatched)": 1,
        "OTHER (unmatched)": 2,
    } == guard.snapshot().work


def test_middleware_inside_middleware_is_one_scope(guard: Guard) -> None:
    """
    An application mounted inside another one with memguard is one request, not two.
    """
    app = Middleware(Middleware(ok, guard=guard), guard=guard)
    answer = Answer(app, environ_of())
    assert [b"ok"] == answer.body
    answer.close()
    assert {"GET (unmatched)": 1} == guard.snapshot().work


def test_requests_after_the_shutdown_are_served_without_a_scope() -> None:
    """
    A server that still serves is not broken by a guard that has ended.
    """
    guard = Guard("test")
    app = Middleware(ok, guard=guard)
    guard.start()
    guard.shutdown()
    assert [b"ok"] == Answer(app, environ_of()).body
    assert {} == guard.snapshot().work


def test_first_request_starts_the_guard() -> None:
    """
    Without a server's hook the first request of a process does.
    """
    guard = Guard("test")
    app = Middleware(ok, guard=guard)
    assert not guard.is_running
    try:
        Answer(app, environ_of())
        assert guard.is_running
    finally:
        guard.shutdown()


def test_shutdown_waits_for_requests_in_hand(guard: Guard) -> None:
    """
    A request that owns nothing is waited for as well as one that does.
    """
    order: list[str] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"one"
        yield b"two"

    class Database:
        def close(self) -> None:
            order.append("database")

    database = guard.register(Database())
    answer = Answer(Middleware(app, guard=guard), environ_of())
    parts = iter(answer.body)
    next(parts)
    stopping = threading.Thread(target=guard.shutdown)
    stopping.start()
    assert guard.control.begun.wait(5)
    assert b"two" == next(parts)
    order.append("served")
    answer.close()
    stopping.join(10)
    assert ["served", "database"] == order
    del database


@pytest.mark.parametrize("health", ["healthz", "", 7])
def test_health_must_be_a_path(health: Any) -> None:
    """
    A path begins with a slash; the error says what it should look like.
    """
    with pytest.raises(ValueError, match="'/healthz'"):
        Middleware(ok, health=health)


def test_guard_must_be_a_guard() -> None:
    """
    Anything else is refused at the door.
    """
    with pytest.raises(TypeError, match=r"memguard\.Guard, not a str"):
        Middleware(ok, guard="app")  # type: ignore[arg-type]


# -- with a real server ----------------------------------------------------------------


@contextmanager
def serving(app: Any, handler: type[WSGIRequestHandler]) -> Iterator[int]:
    """
    The standard library's server, in a thread; gives its port.
    """
    server = WSGIServer(("127.0.0.1", 0), handler)
    server.set_app(app)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def test_validator_finds_nothing_on_either_side(guard: Guard) -> None:
    """
    The validator of wsgiref sits above and below the middleware, for each kind of body.
    """
    import http.client

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/stream":
            return (part for part in (b"a", b"b"))
        return [b"ab"]

    wrapped = validator(Middleware(validator(app), guard=guard, health="/healthz"))
    with serving(wrapped, Quiet) as port:
        for method, path, expected in (
            ("GET", "/", b"ab"),
            ("GET", "/stream", b"ab"),
            ("HEAD", "/", b""),
            ("HEAD", "/healthz", b""),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request(method, path)
            response = connection.getresponse()
            assert 200 == response.status
            assert expected == response.read()
            connection.close()
    assert 3 == sum(guard.snapshot().work.values())


def test_wsgiref_sends_a_file_through_its_wrapper(guard: Guard) -> None:
    """
    The server's own `sendfile` hook is reached: it was given its own wrapper.
    """
    sent: list[Any] = []

    class Handler(SimpleHandler):
        def sendfile(self) -> bool:
            sent.append(type(self.result))
            self.send_headers()
            self._write(b"by hand")
            return True

        def finish_content(self) -> None:
            pass

    file = io.BytesIO(b"content")

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "7")])
        return environ["wsgi.file_wrapper"](file)

    out = io.BytesIO()
    handler = Handler(io.BytesIO(), out, io.StringIO(), environ_of())
    handler.run(Middleware(app, guard=guard))
    assert [FileWrapper] == sent
    assert out.getvalue().endswith(b"by hand")
    assert file.closed
