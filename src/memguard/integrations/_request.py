"""
What the WSGI and the ASGI side share: the scope of a request, and its health answer.
"""

from __future__ import annotations

import json
from typing import Final

from memguard._default import current, ensure_started
from memguard._guard import Guard
from memguard._phases import DRAINING, NEW, OPEN
from memguard._scope import Scope
from memguard.errors import ScopeClosed

__all__ = ("UNMATCHED", "RequestScope", "Requests", "request_name")

# Methods come from clients: an unknown one must not become a name of its own.
_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
)
#: The template of a request whose route nobody knows.
UNMATCHED: Final = "(unmatched)"


class RequestScope(Scope):
    """
    The scope of one request: a unit of work that is counted once it has a name.
    """

    __slots__ = ("_sending",)

    def __init__(self, guard: Guard) -> None:
        super().__init__(guard, UNMATCHED)
        self.work = True
        self._sending = guard.control.sending

    def is_served(self) -> None:
        """
        The application has done its part, and the server will call `finish`.

        A shutdown does not wait for that, only the end of the process does, and not
        for long: test clients leave answers unread.
        """
        if self._token is not None:
            self._token = None
            self.registry.in_hand.discard(self)
            self._sending.add(self)
            if self._left is not None:
                self._left.set()

    def finish(self) -> None:
        """
        The server is done with the request.
        """
        self._sending.discard(self)
        super().finish()


class Requests:
    """
    Opens the scopes of requests on a guard, and starts it on the first of them.

    Without a *guard* it is the current one: the default guard in most programs.
    """

    __slots__ = ("_guard", "health_path")

    def __init__(self, guard: Guard | None, health: str | None) -> None:
        if health is not None and not (
            isinstance(health, str) and health.startswith("/")
        ):
            msg = f"health must be a path such as '/healthz', not {health!r}"
            raise ValueError(msg)
        if guard is not None and not isinstance(guard, Guard):
            msg = f"guard must be a memguard.Guard, not a {type(guard).__qualname__}"
            raise TypeError(msg)
        self._guard = guard
        self.health_path = health

    @property
    def guard(self) -> Guard:
        return self._guard or current()

    def open(self) -> RequestScope | None:
        """
        A fresh scope for one request, in hand until its `finish`.

        It is counted when its route is known. None once the guard has shut down: a
        server that still serves does so as if memguard was not there.
        """
        guard = self._guard or current()
        state = guard.state
        if state != OPEN:
            if state == NEW:
                ensure_started(guard)
            elif state > DRAINING:
                return None
        try:
            return RequestScope(guard)
        except ScopeClosed:
            return None  # closed this very moment

    def health(self) -> tuple[int, bytes]:
        """
        Status and body of the health endpoint.
        """
        health = self.guard.health()
        return health.http_status, json.dumps(health.to_dict()).encode()


def request_name(method: str, template: str | None) -> str:
    """
    The bounded name of a request: its method and its route's template.
    """
    known = method if method in _METHODS else "OTHER"
    return f"{known} {template or UNMATCHED}"
