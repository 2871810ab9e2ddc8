"""
Clients of redis-py, plain and asynchronous: the connections of their pool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from memguard._adopt.loaded import is_a, loaded_types
from memguard._adopt.ownloop import loop_behind
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

_BLOCKING: Final = "redis.connection:BlockingConnectionPool"
# What redis-py takes for a bound where nobody gave one; newer versions say 100.
_NO_BOUND: Final = 2**31


class Pool(Adapter):
    """
    A `ConnectionPool` of redis-py: connections in use and idle, `max_connections`.

    Its cap is that very attribute, which it reads whenever it makes a connection;
    nothing is wrapped. Connections that were made before a lower cap stay.
    """

    kind = "client"
    module = "redis"
    caps = ("max_connections",)
    cannot = (
        "a BlockingConnectionPool has its bound since it was made; make it with"
        " max_connections=..."
    )
    # A client that is collected closes its pool, a pool its connections.
    must_close = False
    # It begins anew in a forked child, and leaves the parent's connections alone.
    inherited = True

    def types(self) -> tuple[type, ...]:
        return loaded_types("redis.connection:ConnectionPool")

    def pool(self, obj: Any) -> Any:
        return obj

    def measure(self, obj: Any) -> Measured:
        pool = self.pool(obj)
        in_use, idle = _connections(pool)
        limit = pool.max_connections
        return Measured(
            entries=in_use + idle,
            limit=limit if limit < _NO_BOUND else None,
            details={
                "in_use": in_use,
                "idle": idle,
                # What the cap is held to; one of them may have been lost meanwhile.
                "made": getattr(pool, "_created_connections", None),
            },
        )

    def cannot_of(self, obj: Any) -> str:
        if not is_a(self.pool(obj), _BLOCKING):
            return ""
        return self.cannot

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        reason = self.cannot_of(obj)
        if reason:
            raise TypeError(reason)

    def apply(self, obj: Any, caps: Mapping[str, Any]) -> None:
        most = caps["max_connections"]
        self.pool(obj).max_connections = _NO_BOUND if most is None else most

    def close(self, obj: Any) -> Any:
        obj.disconnect()

    def is_open(self, obj: Any) -> bool:
        # It may be used again after its close, and does not say that it was closed.
        return any(
            getattr(one, "_sock", None) is not None
            for one in _all_connections(self.pool(obj))
        )

    def risk(self, obj: Any) -> Risk | None:
        if self.pool(obj).max_connections < _NO_BOUND:
            return None
        return Risk(
            "connections",
            "this pool was made without max_connections: it opens as many as are asked"
            " for at a time",
            "adopt it with max_connections=..., or make it with one",
        )


class Client(Pool):
    """
    A `redis.Redis`: as its pool, which is closed with it even if it was given that.
    """

    def types(self) -> tuple[type, ...]:
        return loaded_types("redis.client:Redis")

    def pool(self, obj: Any) -> Any:
        return obj.connection_pool

    def close(self, obj: Any) -> Any:
        obj.close()
        self.pool(obj).disconnect()


class AsyncPool(Pool):
    """
    A `redis.asyncio.ConnectionPool`: as a plain one, closed on its connections' loop.
    """

    affinity = "loop"
    cannot = ""
    must_close = True
    inherited = False

    def types(self) -> tuple[type, ...]:
        return loaded_types("redis.asyncio.connection:ConnectionPool")

    def loop_of(self, obj: Any) -> Any:
        for connection in _all_connections(self.pool(obj)):
            loop = loop_behind(connection)
            if loop is not None:
                return loop
        return None

    async def close(self, obj: Any) -> None:
        await obj.disconnect()

    def is_open(self, obj: Any) -> bool:
        return any(
            getattr(one, "_writer", None) is not None
            for one in _all_connections(self.pool(obj))
        )


class AsyncClient(AsyncPool):
    """
    A `redis.asyncio.Redis`: as its pool, which is closed with it.
    """

    def types(self) -> tuple[type, ...]:
        return loaded_types("redis.asyncio.client:Redis")

    def pool(self, obj: Any) -> Any:
        return obj.connection_pool

    async def close(self, obj: Any) -> None:
        close = getattr(obj, "aclose", None) or obj.close  # the latter before 5.0.1
        await close()
        await self.pool(obj).disconnect()


class Cluster(Adapter):
    """
    A `redis.RedisCluster`: the connections of all its nodes.
    """

    kind = "client"
    module = "redis"
    cannot = (
        "a cluster client has a pool for each node, with the bound it was made with;"
        " make it with max_connections=..."
    )
    must_close = False
    inherited = True

    def types(self) -> tuple[type, ...]:
        return loaded_types("redis.cluster:RedisCluster")

    def measure(self, obj: Any) -> Measured:
        in_use = idle = 0
        pools = list(_pools_of_nodes(obj))
        for pool in pools:
            used, kept = _connections(pool)
            in_use += used
            idle += kept
        return Measured(
            entries=in_use + idle,
            details={"in_use": in_use, "idle": idle, "nodes": len(pools)},
        )

    def close(self, obj: Any) -> None:
        obj.close()

    def is_open(self, obj: Any) -> bool:
        return bool(self.measure(obj).entries)


class AsyncCluster(Adapter):
    """
    A `redis.asyncio.RedisCluster`: as a plain one, closed on its connections' loop.
    """

    kind = "client"
    affinity = "loop"
    module = "redis"
    cannot = Cluster.cannot

    def types(self) -> tuple[type, ...]:
        return loaded_types("redis.asyncio.cluster:RedisCluster")

    def loop_of(self, obj: Any) -> Any:
        for node in _nodes(obj):
            for connection in list(node._connections):
                loop = loop_behind(connection)
                if loop is not None:
                    return loop
        return None

    def measure(self, obj: Any) -> Measured:
        nodes = _nodes(obj)
        every = sum(len(node._connections) for node in nodes)
        idle = sum(len(node._free) for node in nodes)
        return Measured(
            entries=every,
            details={
                "in_use": max(0, every - idle),
                "idle": idle,
                "nodes": len(nodes),
            },
        )

    async def close(self, obj: Any) -> None:
        close = getattr(obj, "aclose", None) or obj.close  # the latter before 5.0.1
        await close()

    def is_open(self, obj: Any) -> bool:
        return any(
            getattr(one, "_writer", None) is not None
            for node in _nodes(obj)
            for one in list(node._connections)
        )


def _nodes(cluster: Any) -> list[Any]:
    return list(cluster.nodes_manager.nodes_cache.values())


def _connections(pool: Any) -> tuple[int, int]:
    """
    In use, and idle: those that a pool holds, whether they are connected or not.
    """
    if is_a(pool, _BLOCKING):
        every = len(pool._connections)
        idle = sum(1 for one in list(pool.pool.queue) if one is not None)
        return max(0, every - idle), idle
    return len(pool._in_use_connections), len(pool._available_connections)


def _all_connections(pool: Any) -> list[Any]:
    if is_a(pool, _BLOCKING):
        return list(pool._connections)
    return [*list(pool._available_connections), *list(pool._in_use_connections)]


def _pools_of_nodes(cluster: Any) -> Iterator[Any]:
    for node in _nodes(cluster):
        client = getattr(node, "redis_connection", None)
        if client is not None:
            yield client.connection_pool


ADAPTERS = (Client(), Pool(), AsyncClient(), AsyncPool(), Cluster(), AsyncCluster())
