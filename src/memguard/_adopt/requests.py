"""
Sessions of requests: the connections in their pools, of urllib3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memguard._adopt.loaded import loaded_types
from memguard.typing import Adapter, Measured

__all__ = ("ADAPTERS",)


class Session(Adapter):
    """
    A `requests.Session`: connections in use and idle, over all hosts.

    Connections that a pool without `pool_block` makes beyond its size are not counted:
    it keeps no record of them, and drops them after their request.
    """

    kind = "client"
    module = "requests"
    cannot = (
        "the pools of a requests.Session have the size they were made with; mount an"
        " adapter that has a bound and keeps to it: session.mount('https://',"
        " requests.adapters.HTTPAdapter(pool_maxsize=n, pool_block=True))"
    )
    # urllib3 closes the connections of a pool that is collected.
    must_close = False

    def types(self) -> tuple[type, ...]:
        return loaded_types("requests.sessions:Session")

    def measure(self, obj: Any) -> Measured:
        hosts = in_use = idle = 0
        limit: int | None = 0
        for manager, most, blocks in _managers(obj):
            pools = manager.pools
            # Its own ways to read it make what is read the most recent.
            for pool in list(pools._container.values()):
                hosts += 1
                used, kept = _connections(pool)
                in_use += used
                idle += kept
            if not blocks or limit is None:
                limit = None
            else:
                limit += most * pools._maxsize
        return Measured(
            entries=in_use + idle,
            limit=limit or None,
            details={"in_use": in_use, "idle": idle, "hosts": hosts},
        )

    def close(self, obj: Any) -> None:
        obj.close()

    def is_open(self, obj: Any) -> bool:
        # It does not say whether it was closed, and may be used again afterwards.
        return bool(self.measure(obj).entries)


def _managers(session: Any) -> Iterator[tuple[Any, int, bool]]:
    """
    The pool managers behind a session, with a pool's size and whether it is kept to.

    An adapter of another kind has none. One that is mounted twice counts once.
    """
    seen: set[int] = set()
    for adapter in list(session.adapters.values()):
        manager = getattr(adapter, "poolmanager", None)
        if manager is None or id(adapter) in seen:
            continue
        seen.add(id(adapter))
        size = getattr(adapter, "_pool_maxsize", 0)
        blocks = bool(getattr(adapter, "_pool_block", False))
        yield manager, size, blocks
        for proxied in list(getattr(adapter, "proxy_manager", {}).values()):
            yield proxied, size, blocks


def _connections(pool: Any) -> tuple[int, int]:
    """
    Of one host: connections in use, and idle ones that are open.

    A slot of its queue that was taken out is in use; None is one without a connection.
    """
    slots = pool.pool
    if slots is None:  # closed
        return 0, 0
    waiting = list(slots.queue)
    idle = sum(1 for one in waiting if one is not None and getattr(one, "sock", None))
    return max(0, slots.maxsize - len(waiting)), idle


ADAPTERS = (Session(),)
