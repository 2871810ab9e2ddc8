"""
Engines of SQLAlchemy: the connections of their pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memguard._adopt.loaded import is_a, loaded_types
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

_QUEUE = "sqlalchemy.pool.impl:QueuePool"
_BY_THREAD = "sqlalchemy.pool.impl:SingletonThreadPool"


class Engine(Adapter):
    """
    An `Engine` of SQLAlchemy: connections checked out and in, size and overflow.

    Its cap is the pool's own overflow, set on the pool, which decides by it at each
    checkout; nothing is wrapped, and `engine.dispose()` keeps it. Disposing closes the
    connections that are checked in: one that is still out is closed by who has it, and
    the audit names it if nobody does.
    """

    kind = "client"
    module = "sqlalchemy"
    caps = ("max_connections",)
    cannot = (
        "a pool that keeps no bound, such as a NullPool or one of pool_size=0; make the"
        " engine with pool_size=... and max_overflow=..."
    )
    # The connections of a pool are closed by their drivers when it is collected.
    must_close = False

    def types(self) -> tuple[type, ...]:
        return loaded_types("sqlalchemy.engine.base:Engine")

    def accepts(self, obj: Any) -> bool:
        return not _is_bound_to_threads(obj)

    def pool(self, obj: Any) -> Any:
        return obj.pool

    def label(self, obj: Any) -> str:
        return str(getattr(obj.dialect, "name", type(obj).__qualname__))

    def measure(self, obj: Any) -> Measured:
        pool = self.pool(obj)
        kind = type(pool).__qualname__
        if is_a(pool, _BY_THREAD):
            return Measured(
                entries=len(pool._all_conns), limit=pool.size, details={"pool": kind}
            )
        if not is_a(pool, _QUEUE):
            return Measured(details={"pool": kind})
        out, idle = max(0, pool.checkedout()), pool.checkedin()
        return Measured(
            entries=out + idle,
            limit=_limit(pool),
            details={
                "pool": kind,
                "in_use": out,
                "idle": idle,
                "pool_size": pool.size(),
                "overflow": max(0, pool.overflow()),
            },
        )

    def cannot_of(self, obj: Any) -> str:
        pool = self.pool(obj)
        if is_a(pool, _QUEUE):
            return ""
        if is_a(pool, _BY_THREAD):
            return (
                "a SingletonThreadPool has a connection for each thread, up to the size"
                " it was made with; make the engine with poolclass=QueuePool"
            )
        return (
            f"a {type(pool).__qualname__} neither counts its connections nor bounds"
            " them; make the engine with a QueuePool, or take a memguard.limiter around"
            " connect()"
        )

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        reason = self.cannot_of(obj)
        if reason:
            raise TypeError(reason)
        pool = self.pool(obj)
        if type(getattr(pool, "_max_overflow", None)) is not int:
            msg = (
                "this version of SQLAlchemy keeps the bound of a pool in another way;"
                " make the engine with pool_size=... and max_overflow=..."
            )
            raise TypeError(msg)
        most = caps["max_connections"]
        if not pool.size():
            msg = (
                "its pool was made without a bound (pool_size=0), and would forget one"
                " with the next dispose(); make the engine with pool_size=... and"
                " max_overflow=..."
            )
            raise ValueError(msg)
        if most is not None and most < pool.size():
            msg = (
                f"max_connections={most} is less than the pool keeps"
                f" (pool_size={pool.size()}), which cannot be changed from outside;"
                f" make the engine with pool_size={most}, max_overflow=0"
            )
            raise ValueError(msg)

    def apply(self, obj: Any, caps: Mapping[str, Any]) -> None:
        pool = self.pool(obj)
        most = caps["max_connections"]
        # Its own word for "no limit" is -1.
        pool._max_overflow = -1 if most is None else most - pool.size()

    def close(self, obj: Any) -> Any:
        obj.dispose()

    def is_open(self, obj: Any) -> bool:
        # A disposed engine may be used again, and does not say that it was.
        return bool(self.measure(obj).entries)

    def risk(self, obj: Any) -> Risk | None:
        pool = self.pool(obj)
        if is_a(pool, _QUEUE) and _limit(pool) is not None:
            return None
        if is_a(pool, _BY_THREAD, "sqlalchemy.pool.impl:StaticPool"):
            return None
        return Risk(
            "connections",
            f"its {type(pool).__qualname__} opens as many connections as are asked for"
            " at a time",
            "adopt it with max_connections=..., or make it with pool_size and"
            " max_overflow"
            if is_a(pool, _QUEUE)
            else "make the engine with a QueuePool, which has a bound",
        )


class ThreadBoundEngine(Engine):
    """
    An engine of SQLite, or one with a connection for each thread.

    Such a connection may be closed by the thread alone that made it: the engine is
    disposed of on the thread that shuts the guard down, and not on a helper's. What
    other threads have made ends with them.
    """

    affinity = "thread"

    def accepts(self, obj: Any) -> bool:
        return _is_bound_to_threads(obj)


class AsyncEngine(Engine):
    """
    An `AsyncEngine`: as the engine behind it, disposed of on the loop that adopted it.
    """

    affinity = "loop"
    must_close = True

    def types(self) -> tuple[type, ...]:
        return loaded_types("sqlalchemy.ext.asyncio.engine:AsyncEngine")

    def accepts(self, obj: Any) -> bool:
        return True

    async def close(self, obj: Any) -> None:
        await obj.dispose()


def _is_bound_to_threads(engine: Any) -> bool:
    # Whether SQLite checks the thread is an argument that nobody keeps.
    return engine.dialect.name == "sqlite" or is_a(engine.pool, _BY_THREAD)


def _limit(pool: Any) -> int | None:
    overflow: int = pool._max_overflow
    size: int = pool.size()
    return None if overflow < 0 else size + overflow


ADAPTERS = (Engine(), ThreadBoundEngine(), AsyncEngine())
