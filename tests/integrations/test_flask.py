"""
The Flask extension: one line, a scope a request, named by its rule.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, stream_with_context
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

import memguard
from memguard import Guard
from memguard.errors import SettingsConflict, SettingsError
from memguard.integrations.flask import Memguard


@pytest.fixture
def guard() -> Iterator[Guard]:
    """
    A started guard that is not the default one.
    """
    with Guard("test") as guard:
        yield guard


class Thing:
    """
    Counts its closes.
    """

    def __init__(self) -> None:
        self.closes = 0

    def close(self) -> None:
        self.closes += 1


def small(guard: Guard, **options: Any) -> Flask:
    """
    An application with one route for two methods.
    """
    app = Flask("small")
    Memguard(app, guard=guard, **options)

    @app.get("/users/<int:number>")
    def user(number: int) -> str:
        return str(number)

    @app.post("/users/<int:number>")
    def change(number: int) -> str:
        return str(number)

    return app


def test_work_is_counted_by_rule(guard: Guard) -> None:
    """
    Every user is the same template; what matches nothing has one name.
    """
    client = small(guard).test_client()
    for number in range(5):
        assert str(number) == client.get(f"/users/{number}").text
    client.post("/users/1")
    assert 404 == client.get("/nowhere/1").status_code
    assert 404 == client.get("/nowhere/2").status_code
    assert 405 == client.delete("/users/1").status_code
    assert {
        "GET /users/<int:number>": 5,
        "POST /users/<int:number>": 1,
        "GET (unmatched)": 2,
        "DELETE (unmatched)": 1,
    } == guard.snapshot().work


def test_name_is_known_though_an_earlier_function_answers(guard: Guard) -> None:
    """
    A before_request function that answers by itself is counted under the rule.
    """
    app = small(guard)

    @app.before_request
    def refuse() -> tuple[str, int]:
        return "no", 403

    assert 403 == app.test_client().get("/users/1").status_code
    assert {"GET /users/<int:number>": 1} == guard.snapshot().work


def test_current_scope_is_the_requests(guard: Guard) -> None:
    """
    What a view registers lives until the response was sent, and is closed once.
    """
    thing = Thing()
    app = small(guard)

    @app.get("/own")
    def own() -> str:
        scope = memguard.current_scope()
        assert scope is not guard
        scope.register(thing)
        return scope.label

    assert "GET /own" == app.test_client().get("/own", buffered=True).text
    assert 1 == thing.closes


def test_streamed_generator_keeps_the_scope_and_flasks_context(guard: Guard) -> None:
    """
    Flask tears its context down before the body runs; the scope stays.
    """
    things = [Thing(), Thing()]
    seen: list[bool] = []
    app = small(guard)

    @app.get("/stream")
    def stream() -> Response:
        scope = memguard.current_scope()
        scope.register(things[0])

        def parts() -> Iterator[str]:
            for _ in range(3):
                seen.append(memguard.current_scope() is scope)
                yield "x"
            memguard.current_scope().register(things[1])

        return Response(stream_with_context(parts()))

    response = app.test_client().get("/stream", buffered=False)
    body = response.iter_encoded()
    assert b"x" == next(iter(body))
    assert [0, 0] == [thing.closes for thing in things]
    assert b"xx" == b"".join(body)
    response.close()
    assert [1, 1] == [thing.closes for thing in things]
    assert [True] * 3 == seen
    assert {"GET /stream": 1} == guard.snapshot().work


def test_view_that_raises(guard: Guard) -> None:
    """
    Flask answers 500, or passes the exception on; the scope ends in both.
    """
    app = small(guard)
    things = [Thing(), Thing()]
    waiting = iter(things)

    @app.get("/fails")
    def fails() -> str:
        memguard.current_scope().register(next(waiting))
        raise ZeroDivisionError

    assert 500 == app.test_client().get("/fails", buffered=True).status_code
    app.testing = True
    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/fails")
    assert [1, 1] == [thing.closes for thing in things]
    assert {"GET /fails": 2} == guard.snapshot().work


def test_factory_with_init_app(guard: Guard) -> None:
    """
    One extension object, made at import, serves several applications.
    """
    extension = Memguard(guard=guard, health="/healthz")
    apps = [Flask("one"), Flask("two")]
    for app in apps:
        extension.init_app(app)
        assert extension is app.extensions["memguard"]
    for app in apps:
        answer = app.test_client().get("/healthz")
        assert "application/health+json" == answer.content_type
        assert "pass" == json.loads(answer.data)["status"]


def test_second_set_up_of_one_application_is_an_error(guard: Guard) -> None:
    """
    It says which application, and what to do.
    """
    app = small(guard)
    with pytest.raises(RuntimeError, match=r"'small' already.*once for each"):
        Memguard(app, guard=guard)
    with pytest.raises(RuntimeError, match="'small' already"):
        Memguard(guard=guard).init_app(app)


def test_mounted_application_is_one_request(guard: Guard) -> None:
    """
    Two applications behind a dispatcher: each request is counted once, by its rule.
    """
    outer, inner = Flask("outer"), small(guard)
    Memguard(outer, guard=guard)

    @outer.get("/home")
    def home() -> str:
        return "home"

    outer.wsgi_app = DispatcherMiddleware(  # type: ignore[method-assign]
        outer.wsgi_app, {"/inner": inner}
    )
    client = Client(outer)
    assert "home" == client.get("/home").text
    assert "7" == client.get("/inner/users/7").text
    assert {"GET /home": 1, "GET /users/<int:number>": 1} == guard.snapshot().work


def test_blueprints_rules_carry_their_prefix(guard: Guard) -> None:
    """
    The template is the whole rule.
    """
    app = Flask("app")
    Memguard(app, guard=guard)
    part = Blueprint("part", "part", url_prefix="/part")

    @part.get("/<name>")
    def show(name: str) -> str:
        return name

    app.register_blueprint(part)
    app.test_client().get("/part/me")
    assert {"GET /part/<name>": 1} == guard.snapshot().work


def test_head_of_a_streamed_view(guard: Guard) -> None:
    """
    HEAD has no body; the scope ends all the same.
    """
    thing = Thing()
    app = small(guard)

    @app.get("/stream")
    def stream() -> Response:
        memguard.current_scope().register(thing)
        return Response(iter(["a", "b"]))

    answer = app.test_client().head("/stream", buffered=True)
    assert b"" == answer.data
    assert 1 == thing.closes
    assert {"HEAD /stream": 1} == guard.snapshot().work


# -- settings --------------------------------------------------------------------------


def test_settings_come_from_the_configuration(
    fresh_default: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    MEMGUARD_* of the application configures, below the environment.
    """
    monkeypatch.setenv("MEMGUARD_GRACE", "50s")
    app = Flask("app")
    app.config.update(MEMGUARD_SHUTDOWN_TIMEOUT="3s", MEMGUARD_GRACE="40s", OTHER="1")
    Memguard(app)
    settings = memguard.current().settings
    assert (3.0, 50.0) == (settings.shutdown_timeout, settings.grace)
    assert not memguard.current().is_running


def test_install_keeps_the_configuration(fresh_default: None) -> None:
    """
    Keywords of a later install() come above it, the rest stays.
    """
    app = Flask("app")
    app.config.update(MEMGUARD_SHUTDOWN_TIMEOUT="3s", MEMGUARD_GRACE="40s")
    Memguard(app)
    with memguard.install(grace="60s", signals=()) as guard:
        assert (3.0, 60.0) == (guard.settings.shutdown_timeout, guard.settings.grace)


def test_configuration_after_install(fresh_default: None) -> None:
    """
    The same values are welcome; others come too late, and that is said.
    """
    same, other = Flask("same"), Flask("other")
    same.config["MEMGUARD_GRACE"] = "60s"
    other.config["MEMGUARD_GRACE"] = "90s"
    with memguard.install(grace="60s", signals=()):
        Memguard(same)
        late = Flask("late")
        late.config["MEMGUARD_TICK"] = "2s"
        with pytest.raises(SettingsConflict, match="tick"):
            Memguard(late)
        # A keyword goes before a framework's value: nothing changes.
        Memguard(other)
    assert "memguard" not in late.extensions


def test_keywords_of_an_explicit_guard_win() -> None:
    """
    What a guard was made with goes before the application's configuration.
    """
    guard = Guard("mine", grace="70s")
    app = Flask("app")
    app.config.update(MEMGUARD_GRACE="40s", MEMGUARD_SHUTDOWN_TIMEOUT="4s")
    Memguard(app, guard=guard)
    settings = guard.settings
    assert (70.0, 4.0) == (settings.grace, settings.shutdown_timeout)


def test_wrong_configuration_is_told_at_once(fresh_default: None) -> None:
    """
    All errors together, and the application is not half set up.
    """
    app = Flask("app")
    app.config.update(MEMGUARD_GRACE="soon", MEMGUARD_TICK="-1s")
    with pytest.raises(SettingsError) as raised:
        Memguard(app)
    assert "grace" in str(raised.value)
    assert "tick" in str(raised.value)
    assert "memguard" not in app.extensions


def test_default_guard_starts_with_the_first_request(
    fresh_default: None, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Importing, configuring and shells start nothing; the first request does.
    """
    app = Flask("app")
    app.config["MEMGUARD_SIGNALS"] = ()
    Memguard(app)
    assert not memguard.current().is_running
    with caplog.at_level(logging.WARNING, "memguard"):
        assert 404 == app.test_client().get("/").status_code
    assert memguard.current().is_running
    assert {"GET (unmatched)": 1} == memguard.snapshot().work
    assert [] == caplog.records


@pytest.mark.parametrize(
    ("options", "error"),
    [({"health": "healthz"}, ValueError), ({"guard": "app"}, TypeError)],
)
def test_options_are_checked_before_there_is_an_application(
    options: dict[str, Any], error: type[Exception]
) -> None:
    """
    A wrong option is told where it was written.
    """
    with pytest.raises(error):
        Memguard(**options)
