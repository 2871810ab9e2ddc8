"""
What is told about sessions: frozen records without any user's value.
"""

from __future__ import annotations

from memguard._records import record
from memguard.typing import JSON

__all__ = ("ExpiredSession", "SessionInfo", "SessionsStats")


@record
class SessionInfo:
    """
    One session at one moment.

    `state` is "live", "hibernated", or "elsewhere" where another process has it.
    `pinned` says that a block has it open now. `bytes` is the size of its last encoding
    (of its record while it is hibernated), None before the first. `age_s` and `idle_s`
    are seconds since it was made and since it was last used; `expires_in_s` is None
    where no clock runs against it.
    """

    state: str
    pinned: bool
    connections: int
    bytes: int | None
    age_s: float
    idle_s: float
    expires_in_s: float | None


@record
class SessionsStats:
    """
    All sessions of one container at one moment, and what became of earlier ones.

    `live_bytes` and `hibernated_bytes` are sums of the last encodings, of records.
    What sleeps may sleep for other processes as well, where they share a store. `lost`
    were taken over by another process while this one was silent for too long.
    """

    live: int
    hibernated: int
    pinned: int
    connected: int
    live_bytes: int
    hibernated_bytes: int
    created: int
    restored: int
    slept: int
    expired: int
    ended: int
    lost: int


@record
class ExpiredSession:
    """
    What is left of an expired session, for `on_expire`: its id and its data.
    """

    id: str
    data: dict[str, JSON]
    age_s: float
    idle_s: float
