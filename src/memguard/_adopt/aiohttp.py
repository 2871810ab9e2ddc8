"""
Client sessions of aiohttp: the connections of their connector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memguard._adopt.loaded import loaded_types
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

_CAPS = {
    "max_connections": "_limit",
    "max_connections_per_host": "_limit_per_host",
}
_CLOSED = Measured(entries=0, details={"in_use": 0, "idle": 0, "waiting": 0})


class Connector(Adapter):
    """
    A connector of aiohttp: connections in use and idle, requests that wait for one.

    Its caps are the figures it decides by, request by request: set on the connector,
    and nothing is wrapped. As aiohttp's own limits they bound the connections in use.
    """

    kind = "client"
    affinity = "loop"
    module = "aiohttp"
    caps = tuple(_CAPS)

    def types(self) -> tuple[type, ...]:
        return loaded_types("aiohttp.connector:BaseConnector")

    def connector(self, obj: Any) -> Any:
        return obj

    def loop_of(self, obj: Any) -> Any:
        return getattr(obj, "_loop", None)

    def measure(self, obj: Any) -> Measured:
        connector = self.connector(obj)
        if connector is None or connector.closed:
            return _CLOSED
        in_use = len(connector._acquired)
        idle = sum(map(len, list(connector._conns.values())))
        waiting = sum(map(len, list(connector._waiters.values())))
        details = {
            "in_use": in_use,
            "idle": idle,
            "waiting": waiting,
            "max_per_host": connector.limit_per_host or None,
        }
        return Measured(
            entries=in_use + idle, limit=connector.limit or None, details=details
        )

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        connector = self.connector(obj)
        if connector is None or connector.closed:
            msg = "it is closed, and takes no cap any more; make a new one"
            raise ValueError(msg)
        if not all(type(getattr(connector, _CAPS[one], None)) is int for one in caps):
            msg = (
                "this version of aiohttp keeps the limits of a connector in another"
                " way; give them to it: aiohttp.TCPConnector(limit=...)"
            )
            raise TypeError(msg)

    def apply(self, obj: Any, caps: Mapping[str, Any]) -> None:
        connector = self.connector(obj)
        for name, value in caps.items():
            # Its own word for "no limit" is 0.
            setattr(connector, _CAPS[name], value or 0)
        loop = self.loop_of(obj)
        if connector._waiters and loop is not None and loop.is_running():
            loop.call_soon_threadsafe(_wake, connector)

    async def close(self, obj: Any) -> None:
        await obj.close()

    def is_open(self, obj: Any) -> bool:
        return not obj.closed

    def risk(self, obj: Any) -> Risk | None:
        connector = self.connector(obj)
        if connector is None or connector.closed or connector.limit:
            return None
        return Risk(
            "connections",
            "this connector was made with limit=0: it opens as many as there are"
            " requests at a time",
            "adopt it with max_connections=..., or make it with a limit",
        )


class Session(Connector):
    """
    A `ClientSession` of aiohttp: as its connector.

    Closed on its loop, with the connector if that is its own.
    """

    def types(self) -> tuple[type, ...]:
        return loaded_types("aiohttp.client:ClientSession")

    def connector(self, obj: Any) -> Any:
        return obj.connector


def _wake(connector: Any, left: int | None = None) -> None:
    """
    Let those that wait look again: by itself it wakes one for each that ends.

    One in each turn of the loop, so that it has its place before the next one asks.
    """
    waiting = sum(map(len, connector._waiters.values()))
    left = waiting if left is None else left - 1
    if waiting and left > 0:
        connector._release_waiter()
        connector._loop.call_soon(_wake, connector, left)


ADAPTERS = (Session(), Connector())
