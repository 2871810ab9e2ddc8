"""
Protocols and aliases of memguard's public interface.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

__all__ = (
    "JSON",
    "Affinity",
    "Clock",
    "Duration",
    "Handle",
    "ManagedResource",
    "OnLimit",
    "Scheduler",
    "SiteLevel",
    "Size",
)

#: Bytes, or a text such as "64MiB".
Size: TypeAlias = int | str
#: Seconds, or a text such as "10m".
Duration: TypeAlias = float | int | str
#: Where a close may run: on any thread, on the thread or on the loop of its creation.
Affinity: TypeAlias = Literal["any", "thread", "loop"]
OnLimit: TypeAlias = Literal["evict", "raise"]
SiteLevel: TypeAlias = Literal["off", "sampled", "full"]
JSON: TypeAlias = Any


class Clock(Protocol):
    """
    The two clocks memguard reads.
    """

    def monotonic(self) -> float:
        """
        Seconds since some fixed point, never going back.
        """

    def time(self) -> float:
        """
        Seconds since 1970 in UTC.
        """


class Handle(Protocol):
    """
    One scheduled call.
    """

    def cancel(self) -> None:
        """
        Do not call; drop the function at once. Safe to call twice.
        """


class Scheduler(Protocol):
    """
    Calls functions later, and off the caller's thread.

    A scheduler may be used before `start`: what is due then runs once it started.
    """

    def start(self) -> None:
        """
        Begin to run what is due. Safe to call twice.
        """

    def stop(self, timeout: float) -> None:
        """
        Stop, waiting at most *timeout* seconds for a call in progress.
        """

    def call_at(self, when: float, fn: Callable[[], object]) -> Handle:
        """
        Call *fn* at *when* on the monotonic clock. It must be short.
        """

    def submit(self, fn: Callable[[], object]) -> None:
        """
        Call *fn*, which may be slow, soon and on another thread.
        """


@runtime_checkable
class ManagedResource(Protocol):
    """
    What any class can offer to be managed as a whole (requirement E8).

    memguard calls `close` once; `force_close` only when `close` hangs or raises;
    `memory_bytes` in snapshots. None of them is called with a lock held.
    """

    def close(self) -> Any:
        """
        Release everything. May return an awaitable.
        """

    def memory_bytes(self) -> int:
        """
        Bytes held now; cheap, for it is called in snapshots.
        """

    def force_close(self) -> Any:
        """
        Release at once, whatever state things are in. Must not wait.
        """
