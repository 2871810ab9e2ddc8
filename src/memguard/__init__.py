"""
memguard gives everything that grows in a Python service an owner, a cap and an end.

Importing does no work: no thread, no handler, no environment is read. The module's
functions act on the default guard, which `install` (or a framework's integration)
starts; used before that, they declare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memguard._default import current, current_scope, default_guard, install
from memguard._guard import Guard
from memguard._health import Level
from memguard._phases import Phase
from memguard._settings import Settings
from memguard._sizing import sizeof
from memguard.typing import ManagedResource

if TYPE_CHECKING:
    # What `__getattr__` returns below: methods of the default guard, with its types.
    _typed: Guard
    aenter = _typed.aenter
    audit = _typed.audit
    cache = _typed.cache
    cached = _typed.cached
    emitter = _typed.emitter
    enter = _typed.enter
    health = _typed.health
    listen = _typed.listen
    on_shutdown = _typed.on_shutdown
    pool = _typed.pool
    register = _typed.register
    ring = _typed.ring
    scope = _typed.scope
    sessions = _typed.sessions
    shutdown = _typed.shutdown
    ashutdown = _typed.ashutdown
    snapshot = _typed.snapshot
    spawn = _typed.spawn
    timer = _typed.timer
    watch = _typed.watch

__version__: str

__all__ = (
    "Guard",
    "Level",
    "ManagedResource",
    "Phase",
    "Settings",
    "aenter",
    "ashutdown",
    "audit",
    "cache",
    "cached",
    "current",
    "current_scope",
    "emitter",
    "enter",
    "health",
    "install",
    "listen",
    "on_shutdown",
    "pool",
    "register",
    "ring",
    "scope",
    "sessions",
    "shutdown",
    "sizeof",
    "snapshot",
    "spawn",
    "timer",
    "watch",
)

_OF_DEFAULT_GUARD: Final = frozenset(
    (
        "aenter",
        "ashutdown",
        "audit",
        "cache",
        "cached",
        "emitter",
        "enter",
        "health",
        "listen",
        "on_shutdown",
        "pool",
        "register",
        "ring",
        "scope",
        "sessions",
        "shutdown",
        "snapshot",
        "spawn",
        "timer",
        "watch",
    )
)


def __getattr__(name: str) -> Any:
    # Bound methods instead of wrappers: no extra frame on hot paths, and the types
    # cannot drift from those of the guard.
    if name in _OF_DEFAULT_GUARD:
        return getattr(default_guard(), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("memguard")
    msg = f"module 'memguard' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
