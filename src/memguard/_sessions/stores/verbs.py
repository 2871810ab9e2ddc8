"""
The least a store has to do to keep sessions for one process.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ("Verbs",)


class Verbs(Protocol):
    """
    Bytes by a text. Called by many threads, with no lock of memguard held.
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
