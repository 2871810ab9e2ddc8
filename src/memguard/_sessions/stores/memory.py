"""
The store of a process that keeps its sessions to itself.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from memguard._sessions.stores.memory_space import MemorySpace
from memguard._sessions.stores.plain import PlainSpace
from memguard._sessions.words import Words

if TYPE_CHECKING:
    from memguard.typing import Clock

__all__ = ("MemoryStore",)


class MemoryStore:
    """
    Records in a dictionary; they end with the process.

    For one container of sessions, or for several guards' containers of the same
    sessions. Thread-safe. Records are squeezed with what they have in common, so they
    are of no use in another store.
    """

    __slots__ = ("_pid", "_records", "_space")

    persistent = False
    awaits = False
    lease_s = math.inf
    patience_s = 10.0

    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}
        self._space: Any = None
        self._pid = os.getpid()

    def space(self, name: str, clock: Clock) -> Any:
        """
        The bookkeeping of who has which record.
        """
        found, pid = self._space, os.getpid()
        if found is None or self._pid != pid:
            # In a forked child nobody of the parent's owns anything.
            self._pid = pid
            if type(self) is MemoryStore:
                words = Words() if found is None else found.words.copy()
                found = MemorySpace(self._records, words)
            else:
                found = PlainSpace(self)  # it may have verbs of its own
            self._space = found
        return found

    def get(self, id: str) -> bytes | None:
        """
        The record of *id*, or None.
        """
        return self._records.get(id)

    def put(self, id: str, record: bytes) -> None:
        """
        Keep *record* instead of what there is for *id*.
        """
        if isinstance(self._space, MemorySpace):
            self._space.replace(id, record)
        else:
            self._records[id] = record

    def delete(self, id: str) -> None:
        """
        Forget the record of *id*; nothing happens when there is none.
        """
        if isinstance(self._space, MemorySpace):
            self._space.replace(id, None)
        else:
            self._records.pop(id, None)

    def __len__(self) -> int:
        return len(self._records)
