"""
memguard gives everything that grows in a Python service an owner, a cap and an end.

Importing does no work: no thread, no handler, no environment is read, and the modules
behind a name are loaded when the name is first used. The module's functions act on the
default guard, which `install` (or a framework's integration) starts; used before that,
they declare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from memguard import errors as errors, testing as testing, typing as typing
    from memguard._adopt import Adopted, AdoptedInfo
    from memguard._default import current, current_scope, install
    from memguard._footprint import Capability, Footprint
    from memguard._guard import Guard
    from memguard._health import Level
    from memguard._kinds.cache import Cache
    from memguard._kinds.emitter import Emitter, Listener
    from memguard._kinds.limiter import Limiter
    from memguard._kinds.loghandler import BoundedLogHandler
    from memguard._kinds.pool import Pool
    from memguard._kinds.ring import Ring
    from memguard._kinds.series import Series
    from memguard._kinds.sink import Sink
    from memguard._kinds.task import Task
    from memguard._kinds.timer import Timer
    from memguard._leaks.memory import MemoryVerdict
    from memguard._lifecycle.report import ShutdownReport
    from memguard._phases import Phase
    from memguard._risks import RiskReport
    from memguard._scope import Scope
    from memguard._sessions import (
        Connection,
        ExpiredSession,
        MemoryStore,
        Session,
        SessionInfo,
        Sessions,
        SessionsStats,
    )
    from memguard._sessions.stores.redis import RedisStore
    from memguard._sessions.stores.sqlite import SqliteStore
    from memguard._settings import Settings
    from memguard._sizing import sizeof
    from memguard.typing import ManagedResource

    # What `__getattr__` returns below: methods of the default guard, with its types.
    _typed = Guard()
    adopt = _typed.adopt
    aenter = _typed.aenter
    ashutdown = _typed.ashutdown
    audit = _typed.audit
    cache = _typed.cache
    cached = _typed.cached
    emitter = _typed.emitter
    enter = _typed.enter
    footprint = _typed.footprint
    health = _typed.health
    limiter = _typed.limiter
    listen = _typed.listen
    log_handler = _typed.log_handler
    on_shutdown = _typed.on_shutdown
    pool = _typed.pool
    register = _typed.register
    release = _typed.release
    ring = _typed.ring
    risks = _typed.risks
    scope = _typed.scope
    series = _typed.series
    sessions = _typed.sessions
    shutdown = _typed.shutdown
    sink = _typed.sink
    snapshot = _typed.snapshot
    spawn = _typed.spawn
    subscribe = _typed.subscribe
    timer = _typed.timer
    watch = _typed.watch

__version__: str

__all__ = (
    "Adopted",
    "AdoptedInfo",
    "BoundedLogHandler",
    "Cache",
    "Capability",
    "Connection",
    "Emitter",
    "ExpiredSession",
    "Footprint",
    "Guard",
    "Level",
    "Limiter",
    "Listener",
    "ManagedResource",
    "MemoryStore",
    "MemoryVerdict",
    "Phase",
    "Pool",
    "RedisStore",
    "Ring",
    "RiskReport",
    "Scope",
    "Series",
    "Session",
    "SessionInfo",
    "Sessions",
    "SessionsStats",
    "Settings",
    "ShutdownReport",
    "Sink",
    "SqliteStore",
    "Task",
    "Timer",
    "adopt",
    "aenter",
    "ashutdown",
    "audit",
    "cache",
    "cached",
    "current",
    "current_scope",
    "emitter",
    "enter",
    "footprint",
    "health",
    "install",
    "limiter",
    "listen",
    "log_handler",
    "on_shutdown",
    "pool",
    "register",
    "release",
    "ring",
    "risks",
    "scope",
    "series",
    "sessions",
    "shutdown",
    "sink",
    "sizeof",
    "snapshot",
    "spawn",
    "subscribe",
    "timer",
    "watch",
)

#: Where each name that is loaded on first use is found.
_PLACES: Final = {
    "Adopted": "_adopt",
    "AdoptedInfo": "_adopt",
    "BoundedLogHandler": "_kinds.loghandler",
    "Cache": "_kinds.cache",
    "Capability": "_footprint",
    "Connection": "_sessions",
    "Emitter": "_kinds.emitter",
    "ExpiredSession": "_sessions",
    "Footprint": "_footprint",
    "Guard": "_guard",
    "Level": "_health",
    "Limiter": "_kinds.limiter",
    "Listener": "_kinds.emitter",
    "ManagedResource": "typing",
    "MemoryStore": "_sessions",
    "MemoryVerdict": "_leaks.memory",
    "Phase": "_phases",
    "Pool": "_kinds.pool",
    "RedisStore": "_sessions.stores.redis",
    "Ring": "_kinds.ring",
    "RiskReport": "_risks",
    "Scope": "_scope",
    "Series": "_kinds.series",
    "Session": "_sessions",
    "SessionInfo": "_sessions",
    "Sessions": "_sessions",
    "SessionsStats": "_sessions",
    "Settings": "_settings",
    "ShutdownReport": "_lifecycle.report",
    "Sink": "_kinds.sink",
    "SqliteStore": "_sessions.stores.sqlite",
    "Task": "_kinds.task",
    "Timer": "_kinds.timer",
    "current": "_default",
    "current_scope": "_default",
    "install": "_default",
    "sizeof": "_sizing",
}
_MODULES: Final = frozenset(("errors", "testing", "typing"))
_OF_DEFAULT_GUARD: Final = frozenset(__all__) - _PLACES.keys()


def __getattr__(name: str) -> Any:
    # Bound methods instead of wrappers: no extra frame on hot paths, and the types
    # cannot drift from those of the guard. Looked up each time, because tests forget
    # the default guard and get another one.
    if name in _OF_DEFAULT_GUARD:
        from memguard._default import default_guard

        return getattr(default_guard(), name)
    from importlib import import_module

    if name in _PLACES:
        value = getattr(import_module(f"memguard.{_PLACES[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"memguard.{name}")
    elif name == "__version__":
        from importlib.metadata import version

        value = version("memguard")
    else:
        msg = f"module 'memguard' has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted((*__all__, *_MODULES, "__version__"))
