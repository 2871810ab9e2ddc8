"""
Which event loop an asynchronous connection belongs to, where its client does not say.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ("loop_behind",)

#: From a client's connection to what the loop made, in whatever order they come.
_STEPS: Final = (
    "_connection",  # httpcore: the connection behind a proxy's or a pool's
    "_network_stream",
    "_stream",
    "_reader",  # redis
    "transport_stream",  # anyio: TLS
    # anyio; not its transport, which does not tell where it is one of uvloop
    "_protocol",
    "read_event",
)
_DEPTH: Final = 12


def loop_behind(connection: Any) -> Any:
    """
    The loop, or None. Reads attributes only, and at most twelve of them in turn.
    """
    for _ in range(_DEPTH):
        loop = getattr(connection, "_loop", None)
        if loop is not None:
            return loop
        for step in _STEPS:
            inner = getattr(connection, step, None)
            if inner is not None and inner is not connection:
                connection = inner
                break
        else:
            return None
    return None
