"""
Where the records of sessions are kept while nobody has them open.
"""

from __future__ import annotations

from typing import Any

from memguard._sessions.stores.memory import MemoryStore
from memguard._sessions.stores.plain import Plain
from memguard._sessions.stores.space import (
    Claim,
    Entry,
    Held,
    Space,
    StaleOwner,
    Store,
    Stored,
)

__all__ = (
    "Claim",
    "Entry",
    "Held",
    "MemoryStore",
    "Space",
    "StaleOwner",
    "Store",
    "Stored",
    "store_of",
)

_VERBS = ("get", "put", "delete")


def store_of(store: Any) -> Store | None:
    """
    What a caller passed as `store`, checked; None stands for the default.

    "memory", a store, an object with the three verbs of one, or a client of Redis.
    """
    if store is None:
        return None
    if store == "memory":
        return MemoryStore()
    if callable(getattr(store, "space", None)):
        return store  # type: ignore[no-any-return]
    if is_redis_client(store):
        from memguard._sessions.stores.redis import RedisStore

        return RedisStore(store)
    missing = [verb for verb in _VERBS if not callable(getattr(store, verb, None))]
    if not isinstance(getattr(store, "persistent", None), bool):
        missing.append("persistent (True or False)")
    if missing:
        msg = (
            f"store must have {', '.join(missing)}; a {type(store).__qualname__} has"
            ' not. Pass "memory", a SqliteStore, a RedisStore, a client of Redis, or'
            " an object with get, put, delete and persistent"
        )
        raise TypeError(msg)
    return Plain(store)


def is_redis_client(thing: Any) -> bool:
    """
    True for a client of redis-py or valkey-py, known by where its class comes from.
    """
    return any(
        one.__module__.partition(".")[0] in ("redis", "valkey")
        for one in type(thing).__mro__
    ) and hasattr(thing, "execute_command")
