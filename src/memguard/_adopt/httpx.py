"""
Clients of httpx: the connections in their pools, of httpcore.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from memguard._adopt.loaded import loaded_types
from memguard._adopt.ownloop import loop_behind
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

_CAPS = {
    "max_connections": "_max_connections",
    "max_keepalive_connections": "_max_keepalive_connections",
}


class Client(Adapter):
    """
    A `httpx.Client`: connections in use and idle, requests that wait for one.

    It is only measured: see what has no cap. Each proxy has a pool of its own; they are
    counted together.
    """

    kind = "client"
    module = "httpx"
    cannot = (
        "a pool of httpcore that threads wait for may close a connection under the"
        " request of another one (encode/httpcore issue 1110), so no bound is put on it"
        " from outside; make the client with httpx.Limits above the number of its"
        " threads, and hold requests back with a memguard.limiter"
    )

    def types(self) -> tuple[type, ...]:
        return loaded_types("httpx._client:Client", "httpx:Client")

    def measure(self, obj: Any) -> Measured:
        open_ = idle = waiting = 0
        limit: int | None = 0
        keep: int | None = 0
        for pool in _pools(obj):
            connections = pool.connections
            open_ += len(connections)
            idle += sum(1 for one in connections if one.is_idle())
            waiting += sum(
                1 for one in list(getattr(pool, "_requests", ())) if one.is_queued()
            )
            limit = _plus(limit, getattr(pool, "_max_connections", None))
            keep = _plus(keep, getattr(pool, "_max_keepalive_connections", None))
        return Measured(
            entries=open_,
            limit=limit or None,
            details={
                "in_use": open_ - idle,
                "idle": idle,
                "waiting": waiting,
                "max_idle": keep,
            },
        )

    def close(self, obj: Any) -> Any:
        obj.close()

    def is_open(self, obj: Any) -> bool:
        return not obj.is_closed

    def risk(self, obj: Any) -> Risk | None:
        if self.measure(obj).limit is not None or not _has_pool(obj):
            return None
        return Risk(
            "connections",
            "this client was made with Limits(max_connections=None): it opens as many"
            " as there are requests at a time",
            "make it with httpx.Limits(max_connections=...)",
        )


class AsyncClient(Client):
    """
    A `httpx.AsyncClient`: as a `Client`, and closed on the loop of its connections.

    Its caps are the figures its pool decides by, request by request: set on the pool,
    and nothing is wrapped. More connections than a lower cap allows are closed as they
    come to rest. Each proxy has a pool, and the cap, of its own.
    """

    affinity = "loop"
    caps = tuple(_CAPS)
    cannot = (
        "a transport that has no connection pool, such as a mock or one of ASGI; give"
        " the client a httpx.AsyncHTTPTransport(limits=...), or leave its transport out"
    )

    def __init__(self) -> None:
        #: What a pool may keep idle by its own limits, below those it has now.
        self._idle: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def types(self) -> tuple[type, ...]:
        return loaded_types("httpx._client:AsyncClient", "httpx:AsyncClient")

    def loop_of(self, obj: Any) -> Any:
        for pool in _pools(obj):
            for connection in pool.connections:
                loop = loop_behind(connection)
                if loop is not None:
                    return loop
        return None

    def cannot_of(self, obj: Any) -> str:
        return "" if _has_pool(obj) else f"this client has {self.cannot}"

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        pools = list(_pools(obj))
        if not pools:
            raise TypeError(self.cannot_of(obj))
        names = _CAPS.values()
        if not all(
            type(getattr(one, name, None)) is int for one in pools for name in names
        ):
            msg = (
                "this version of httpcore keeps the limits of a pool in another way;"
                " give them to the client: httpx.AsyncClient(limits=httpx.Limits(...))"
            )
            raise TypeError(msg)

    def apply(self, obj: Any, caps: Mapping[str, Any]) -> None:
        for pool in _pools(obj):
            idle = self._idle.setdefault(pool, pool._max_keepalive_connections)
            for name, value in caps.items():
                setattr(pool, _CAPS[name], sys.maxsize if value is None else value)
            if "max_keepalive_connections" in caps:
                idle = self._idle[pool] = pool._max_keepalive_connections
            # As a pool keeps them to each other when it is made; so that surplus
            # connections are closed, and a cap that is lifted leaves nothing behind.
            pool._max_keepalive_connections = min(idle, pool._max_connections)

    async def close(self, obj: Any) -> None:
        await obj.aclose()


def _has_pool(client: Any) -> bool:
    return any(True for _ in _pools(client))


def _pools(client: Any) -> Iterator[Any]:
    """
    The pools of a client: one, and one for each proxy. A mock transport has none.
    """
    transports = [getattr(client, "_transport", None)]
    transports += list(getattr(client, "_mounts", {}).values())
    for transport in dict.fromkeys(filter(None, transports)):
        pool = getattr(transport, "_pool", None)
        if pool is not None and hasattr(pool, "connections"):
            yield pool


def _plus(total: int | None, more: Any) -> int | None:
    """
    The sum of bounds; None when one of them is none.
    """
    if total is None or not isinstance(more, int) or more == sys.maxsize:
        return None
    return total + more


ADAPTERS = (Client(), AsyncClient())
