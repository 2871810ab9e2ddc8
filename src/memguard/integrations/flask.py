"""
The Flask extension: a scope a request, named by its route, streaming included.

Flask's own teardown runs before a streamed body does, so the scope is not tied to it:
the extension wraps `app.wsgi_app`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from memguard._default import configure
from memguard._guard import Guard
from memguard.integrations._request import Requests
from memguard.integrations._wsgi import Middleware, answer_is_whole, name_request

if TYPE_CHECKING:
    from flask import Flask, Response

__all__ = ("Memguard",)

_KEY = "memguard"


class Memguard:
    """
    `Memguard(app, health="/healthz")`, or `Memguard()` and later `init_app(app)`.

    Settings come from `app.config["MEMGUARD_..."]` as well, below the environment.
    The guard is started by the first request in each process (or by the server's
    hook), so that commands, shells and tests start nothing. Keeps no application.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        guard: Guard | None = None,
        health: str | None = None,
    ) -> None:
        Requests(guard, health)  # validates both, at the door
        self._guard = guard
        self._health = health
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """
        Wrap *app*. Doing so twice is an error of the program and says so.
        """
        if _KEY in app.extensions:
            msg = (
                f"memguard is set up on the Flask application {app.name!r} already;"
                " call Memguard(app) or init_app(app) once for each application"
            )
            raise RuntimeError(msg)
        self._configure(app)
        app.extensions[_KEY] = self
        app.wsgi_app = Middleware(  # type: ignore[method-assign]
            app.wsgi_app, guard=self._guard, health=self._health
        )
        # First of all, so that the name is known even if a later function answers.
        name, look = _hooks()
        app.before_request_funcs.setdefault(None, []).insert(0, name)
        # These run last to first: it looks at what is really sent.
        app.after_request_funcs.setdefault(None, []).insert(0, look)

    def _configure(self, app: Flask) -> None:
        framework = {
            key: value
            for key, value in app.config.items()
            if key.startswith("MEMGUARD_")
        }
        if framework:
            configure(Requests(self._guard, None).guard, framework)


def _hooks() -> tuple[Callable[[], None], Callable[[Response], Response]]:
    """
    What runs before and after the application's own functions, in every request.

    Flask is imported here, once, and its proxy is resolved once a call: both would
    cost more than everything else these functions do.
    """
    from flask import request

    asked: Callable[[], Any] = request._get_current_object  # type: ignore[attr-defined]

    def name() -> None:
        current = asked()
        rule = current.url_rule
        name_request(current.environ, None if rule is None else rule.rule)

    def look(response: Response) -> Response:
        # Werkzeug makes error pages look like streams.
        if not response.is_streamed or response.status_code >= 400:
            answer_is_whole(asked().environ)
        return response

    return name, look
