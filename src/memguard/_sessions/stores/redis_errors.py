"""
What went wrong on a Redis server, in words that name the state and the cure.

Neither the server's text nor the command is repeated: they hold ids.
"""

from __future__ import annotations

import sys
from typing import Final

from memguard.errors import StoreFailed

__all__ = ("failed", "not_known")

_LIBRARIES: Final = {"redis": "RedisError", "valkey": "ValkeyError"}

#: By what the server's answer says, or the name of the client's exception. First wins.
_STATES: Final = (
    (
        ("OOM", "OutOfMemoryError"),
        (
            "has no memory left: raise `maxmemory`, or lower `max_sessions`, `ttl` and"
            " the caps of histories; keep `maxmemory-policy noeviction`"
        ),
    ),
    (
        ("READONLY", "ReadOnlyError"),
        "is a read-only replica: give the client the primary's address",
    ),
    (
        (
            "NOAUTH",
            "WRONGPASS",
            "AuthenticationError",
            "AuthenticationWrongNumberOfArgsError",
            "AuthorizationError",
        ),
        "does not accept the client's user or password: give the client the right ones",
    ),
    (
        ("NOPERM", "NoPermissionError"),
        (
            "does not allow the client's user to do this: let it run scripts and reach"
            " all keys that begin with '{prefix:', as in `~{memguard:* +@all -@admin`"
        ),
    ),
    (
        ("MISCONF",),
        "cannot write to its disk and takes no changes: look into its log",
    ),
    (
        ("NOREPLICAS",),
        "takes no changes without its replicas: see its `min-replicas-to-write`",
    ),
    (
        ("LOADING", "BusyLoadingError"),
        "has just started and loads its data: it is there in a moment",
    ),
    (
        ("BUSY", "UNKILLABLE"),
        "is busy with a script of somebody else: see its `SLOWLOG`",
    ),
    (
        (
            "CLUSTERDOWN",
            "MASTERDOWN",
            "TRYAGAIN",
            "ClusterDownError",
            "ClusterError",
            "RedisClusterException",
            "SlotNotCoveredError",
            "ValkeyClusterException",
        ),
        "is a cluster that cannot serve this container now: see `CLUSTER INFO`",
    ),
    (
        ("WRONGTYPE",),
        "has something else under keys of this container: choose another `prefix`",
    ),
    (
        ("MaxConnectionsError",),
        (
            "was not asked, because the client's pool has no connection left: give it a"
            " larger `max_connections`"
        ),
    ),
    (
        ("TimeoutError",),
        (
            "did not answer within the client's timeout: it is busy, or the network is;"
            " see the client's `socket_timeout`"
        ),
    ),
    (
        ("ValueError",),
        (
            "was asked over a connection that was closed meanwhile: close the client"
            " after the guard has ended"
        ),
    ),
    (
        ("RuntimeError",),
        (
            "was asked on an event loop that its client does not belong to: make the"
            " client in the loop that uses it, and close it there"
        ),
    ),
    (
        ("ConnectionError", "OSError"),
        "cannot be reached: start it, or give the client the right address",
    ),
)
_UNKNOWN: Final = "refused a command: look into its log, and take Redis 6 or later"


def not_known(error: Exception) -> bool:
    """
    True where the server has not seen the script yet, or has forgotten it.
    """
    return type(error).__name__ == "NoScriptError"


def failed(error: Exception) -> StoreFailed | None:
    """
    What *error* is for whoever uses sessions; None where it is not the server's.
    """
    # A connection that another thread closes while it is read is a ValueError, one of
    # another event loop is a RuntimeError.
    if not isinstance(error, (OSError, RuntimeError, ValueError, *_of_libraries())):
        return None
    names = {cls.__name__ for cls in type(error).__mro__}
    # Errors inside a script come wrapped: the code stands somewhere in their text.
    words = (
        set(str(error).replace("-", " ").split()) if "ResponseError" in names else ()
    )
    for signs, state in _STATES:
        if any(sign in names or sign in words for sign in signs):
            return StoreFailed(f"the Redis server of the sessions {state}")
    return StoreFailed(
        f"the Redis server of the sessions {_UNKNOWN} ({type(error).__qualname__})"
    )


def _of_libraries() -> tuple[type[Exception], ...]:
    """
    The exceptions of those client libraries that are loaded.
    """
    found: list[type[Exception]] = []
    for library, name in _LIBRARIES.items():
        module = sys.modules.get(f"{library}.exceptions")
        for one in (name, f"{library.capitalize()}ClusterException"):
            error = getattr(module, one, None)
            if error is not None:
                found.append(error)
    return tuple(found)
