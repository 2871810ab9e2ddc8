"""
The store of a process that keeps its sessions to itself.
"""

from __future__ import annotations

__all__ = ("MemoryStore",)


class MemoryStore:
    """
    Records in a dictionary; they end with the process.

    Thread-safe, because each verb is one operation of a dictionary.
    """

    __slots__ = ("_records",)

    persistent = False

    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}

    def get(self, id: str) -> bytes | None:
        """
        The record of *id*, or None.
        """
        return self._records.get(id)

    def put(self, id: str, record: bytes) -> None:
        """
        Keep *record* instead of what there is for *id*.
        """
        self._records[id] = record

    def delete(self, id: str) -> None:
        """
        Forget the record of *id*; nothing happens when there is none.
        """
        self._records.pop(id, None)

    def __len__(self) -> int:
        return len(self._records)
