"""
What the WSGI and the ASGI side share: the scope of a request, and its health answer.
"""

from __future__ import annotations

import json
from typing import Final

from memguard._default import current, ensure_started
from memguard._guard import Guard
from memguard._scope import Scope

__all__ = ("Requests",)

# Methods come from clients: an unknown one must not become a name of its own.
_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
)
_UNMATCHED: Final = "(unmatched)"


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

    def open(self) -> Scope:
        """
        A fresh scope for one request; it gets its name when its route is known.
        """
        guard = self._guard or current()
        if not guard.registry.running and not guard.control.draining:
            ensure_started(guard)
        scope = Scope(guard, _UNMATCHED)
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
    return f"{known} {template or _UNMATCHED}"
