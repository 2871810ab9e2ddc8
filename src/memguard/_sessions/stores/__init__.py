"""
Where the records of sessions are kept while nobody has them open.
"""

from __future__ import annotations

from typing import Any, Protocol

from memguard._sessions.stores.memory import MemoryStore

__all__ = ("MemoryStore", "Store", "store_of")

_VERBS = ("get", "put", "delete")


class Store(Protocol):
    """
    Records by session id. Called by many threads, with no lock of memguard held.

    `persistent` is True where a record outlives the process: then a session that
    changed is saved whenever its block is left, and at shutdown.
    """

    persistent: bool

    def get(self, id: str) -> bytes | None:
        """
        The record of *id*, or None.
        """

    def put(self, id: str, record: bytes) -> None:
        """
        Keep *record* instead of what there is for *id*.
        """

    def delete(self, id: str) -> None:
        """
        Forget the record of *id*; nothing happens when there is none.
        """


def store_of(store: Any) -> Store | None:
    """
    What a caller passed as `store`, checked; None stands for a store in memory.
    """
    if store is None:
        return None
    missing = [verb for verb in _VERBS if not callable(getattr(store, verb, None))]
    if not isinstance(getattr(store, "persistent", None), bool):
        missing.append("persistent (True or False)")
    if missing:
        msg = (
            f"store must have {', '.join(missing)}; a {type(store).__qualname__} has"
            " not. Leave it out to keep sessions in memory"
        )
        raise TypeError(msg)
    return store  # type: ignore[no-any-return]
