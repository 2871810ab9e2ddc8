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

__all__ = ("UNMATCHED", "Requests", "request_name")

# Methods come from clients: an unknown one must not become a name of its own.
_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
)
#: The template of a request whose route nobody knows.
UNMATCHED: Final = "(unmatched)"


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

    def open(self) -> Scope | None:
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
            scope = Scope(guard, UNMATCHED)
        except ScopeClosed:
            return None  # closed this very moment
        scope.work = True
        return scope

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
