"""
A scope around each WSGI request and its body, for the middleware and for frameworks.

The scope is current while the application runs and during every step of the body,
and it closes when the server closes the body, so a streamed response keeps what it
uses. Bodies that the server may send by itself (`wsgi.file_wrapper`) stay untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

from memguard._guard import Guard
from memguard._tree import current
from memguard.integrations._request import (
    UNMATCHED,
    Requests,
    RequestScope,
    request_name,
)

__all__ = ("Middleware", "answer_is_whole", "name_request")

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
Application: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

_KEY: Final = "memguard.scope"
_SERVED: Final = "memguard.served"


class Middleware:
    """
    Wrap a WSGI application: `app = Middleware(app, health="/healthz")`.

    The guard is started by the first request of each process, unless a server's hook
    has done so before. Costs a few microseconds a request. With *health* that path
    answers GET and HEAD with the health record; the application never sees it. Inside
    another memguard middleware it adds no second scope.
    """

    def __init__(
        self,
        app: Application,
        *,
        guard: Guard | None = None,
        health: str | None = None,
    ) -> None:
        self._app = app
        self._requests = Requests(guard, health)

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """
        One request; the result is its body, to be closed by the server.
        """
        requests = self._requests
        if environ.get("PATH_INFO") == requests.health_path and environ.get(
            "REQUEST_METHOD"
        ) in ("GET", "HEAD"):
            return self._health(environ, start_response)
        scope = None if _KEY in environ else requests.open()
        if scope is None:
            return self._app(environ, start_response)
        scope.begin()
        environ[_KEY] = scope
        token = current.set(scope)
        try:
            body = self._app(environ, start_response)
        except BaseException:
            current.reset(token)
            _end(scope, environ)
            raise
        current.reset(token)
        kind = type(body)
        if kind is list or kind is tuple:
            scope.is_served()
            return _Listed(body, scope, environ)
        if _SERVED in environ:
            scope.is_served()
        if _is_file(body, environ.get("wsgi.file_wrapper")):
            return _follow_file(body, scope, environ)
        return _Body(body, scope, environ)

    def _health(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        status, body = self._requests.health()
        text = "200 OK" if status == 200 else f"{status} Service Unavailable"
        headers = [
            ("Content-Type", "application/health+json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response(text, headers)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]


def name_request(environ: Environ, template: str | None) -> None:
    """
    Tell the request's route template, for frameworks that know it; counts the request.
    """
    scope = environ.get(_KEY)
    if scope is not None and scope.name is UNMATCHED:
        scope.count_as(request_name(environ.get("REQUEST_METHOD", ""), template))


def answer_is_whole(environ: Environ) -> None:
    """
    Tell that nothing but its close is left to do for the body that will be returned.
    """
    environ[_SERVED] = True


def _end(scope: RequestScope, environ: Environ) -> None:
    name_request(environ, None)
    scope.finish()


def _end_later(scope: RequestScope, environ: Environ) -> None:
    """
    For destructors: they may run inside anybody's locked section, so others close.
    """
    scheduler = scope.registry.scheduler
    scheduler.call_at(0.0, partial(scheduler.submit, partial(_end, scope, environ)))


class _Body:
    """
    The application's body, with the scope current in each step.
    """

    __slots__ = ("_body", "_environ", "_next", "_scope")

    def __init__(
        self, body: Iterable[bytes], scope: RequestScope, environ: Environ
    ) -> None:
        self._body = body
        self._scope = scope
        self._environ: Environ | None = environ
        self._next: Callable[[], bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = current.set(self._scope)
        try:
            step = self._next
            if step is None:
                step = self._next = iter(self._body).__next__
            return step()
        except StopIteration:
            self._scope.is_served()
            raise
        finally:
            current.reset(token)

    def close(self) -> None:
        """
        Close the application's body, then the scope. A second call does nothing.
        """
        environ, self._environ = self._environ, None
        if environ is None:
            return
        token = current.set(self._scope)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            current.reset(token)
            _end(self._scope, environ)

    def __del__(self) -> None:
        # A server that broke the protocol, or a response of a test client that nobody
        # closed: the request must not stay in hand for ever.
        if self._environ is not None:
            _end_later(self._scope, self._environ)


class _Listed(list[bytes]):
    """
    A body that is there as a whole, still a list: servers ask for its length.
    """

    __slots__ = ("_environ", "_scope")

    def __init__(
        self, body: Iterable[bytes], scope: RequestScope, environ: Environ
    ) -> None:
        super().__init__(body)
        self._scope = scope
        self._environ: Environ | None = environ

    def close(self) -> None:
        """
        The server has sent it.
        """
        environ, self._environ = self._environ, None
        if environ is not None:
            _end(self._scope, environ)

    def __del__(self) -> None:
        if self._environ is not None:
            _end_later(self._scope, self._environ)


def _is_file(body: Any, wrapper: Any) -> bool:
    """
    True for what the server may send by itself, if it gets it as it is.
    """
    if isinstance(wrapper, type):
        return isinstance(body, wrapper)
    # uWSGI's is a function, and what it returns is recognised by its identity.
    return wrapper is not None and hasattr(body, "fileno")


def _follow_file(body: Any, scope: RequestScope, environ: Environ) -> Iterable[bytes]:
    """
    Leave a file wrapper as it is for the server, and end the scope with it.
    """
    close = getattr(body, "close", None)

    def close_both() -> None:
        try:
            if close is not None:
                close()
        finally:
            _end(scope, environ)

    try:
        body.close = close_both
    except AttributeError:
        # A wrapper made in C takes no attribute; it holds a file, nothing of ours.
        _end(scope, environ)
    result: Iterable[bytes] = body
    return result
