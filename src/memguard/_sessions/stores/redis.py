"""
Sessions in Redis or Valkey, through the application's own client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memguard._sessions.stores.redis_loop import Home
from memguard._sessions.stores.redis_space import RedisSpace
from memguard._settings.units import parse_duration

if TYPE_CHECKING:
    from memguard.typing import Clock, Duration

__all__ = ("RedisStore",)

_LIBRARIES: Final = ("redis", "valkey")
_CLIENTS: Final = frozenset(("Redis", "Valkey", "RedisCluster", "ValkeyCluster"))


class RedisStore:
    """
    A store on a Redis or Valkey server, for workers on one machine or on many.

    *client* is a `redis.Redis`, a `redis.RedisCluster`, one of `redis.asyncio`, or the
    same of `valkey`; it stays the caller's, who closes it. All keys begin with
    `{prefix:name}`. Leases are counted by the server's clock alone.

    What was acknowledged is as safe as the server keeps it: see the guide on sessions
    that are shared. Losing a connection, or a server without memory, raises
    StoreFailed. Thread-safe where the client is.
    """

    __slots__ = ("_client", "_home", "_prefix", "awaits", "lease_s", "patience_s")

    persistent = True

    def __init__(
        self,
        client: Any,
        *,
        prefix: str = "memguard",
        lease: Duration = "15s",
        patience: Duration = "10s",
    ) -> None:
        self.awaits = _awaits(client)
        if not isinstance(prefix, str) or not prefix or "}" in prefix:
            msg = f"prefix must be a non-empty text without '}}', not {prefix!r}"
            raise ValueError(msg)
        self.lease_s = parse_duration(lease, what="lease")
        self.patience_s = parse_duration(patience, what="patience")
        if self.lease_s < 0.001:
            msg = f"lease must be a millisecond at least, not {lease!r}"
            raise ValueError(msg)
        self._client = client
        self._home = Home() if self.awaits else None
        self._prefix = prefix

    def space(self, name: str, clock: Clock) -> RedisSpace:
        """
        The part of the store for the container *name*; the server tells the time.
        """
        return RedisSpace(self._client, f"{{{self._prefix}:{name}}}", self._home)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._prefix!r}>"


def _awaits(client: Any) -> bool:
    """
    Whether the commands of *client* are awaited; TypeError where it is none.
    """
    named = [
        (cls.__module__, cls.__name__)
        for cls in type(client).__mro__
        if cls.__module__.partition(".")[0] in _LIBRARIES
    ]
    names = {name for _, name in named}
    if isinstance(client, type) or not names & _CLIENTS:
        msg = (
            "client must be a redis.Redis, a redis.asyncio.Redis, a cluster client or"
            f" the same of valkey, not a {type(client).__qualname__}; make it with"
            " redis.Redis.from_url(...)"
        )
        raise TypeError(msg)
    if any("Pipeline" in name for name in names):
        msg = "client must not be a pipeline: give the client that made it"
        raise TypeError(msg)
    return any(".asyncio" in module for module, _ in named)
