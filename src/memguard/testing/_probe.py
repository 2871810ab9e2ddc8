"""
Memory at will.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memguard._probes.readings import LimitReading, MemoryReading
from memguard._settings import parse_size

if TYPE_CHECKING:
    from memguard._probes.cgroup import Configured
    from memguard.typing import Size

__all__ = ("FakeProbe",)


class FakeProbe:
    """
    Says how much memory the process uses, and may use, instead of asking the system.

    Sizes are bytes or texts such as "64MiB"; both can be set at any time. *virtual*
    follows *rss* unless it is given, *limit* None is no limit.
    """

    def __init__(
        self,
        rss: Size = "50MiB",
        limit: Size | None = "256MiB",
        *,
        virtual: Size | None = None,
    ) -> None:
        self.rss = rss
        self.limit_bytes = limit
        self._virtual = None if virtual is None else parse_size(virtual, what="virtual")

    @property
    def rss(self) -> int:
        """
        Resident bytes that the next reading tells.
        """
        return self._rss

    @rss.setter
    def rss(self, size: Size) -> None:
        self._rss = parse_size(size, what="rss")

    @property
    def limit_bytes(self) -> int | None:
        """
        The limit that the next reading tells.
        """
        return self._limit

    @limit_bytes.setter
    def limit_bytes(self, size: Size | None) -> None:
        self._limit = None if size is None else parse_size(size, what="limit")

    def memory(self) -> MemoryReading:
        """
        What the process would use now.
        """
        virtual = self._rss if self._virtual is None else self._virtual
        return MemoryReading(self._rss, virtual, "statm")

    def limit(self, configured: Configured = "auto") -> LimitReading:
        """
        The smaller of the fake's limit and the *configured* one, as a real probe does.
        """
        if configured is None:
            return LimitReading(None, "none", "memory_limit is none")
        limit = self._limit
        if configured != "auto" and (limit is None or configured < limit):
            return LimitReading(configured, "config", "memory_limit")
        if limit is None:
            return LimitReading(None, "none", "FakeProbe")
        return LimitReading(limit, "cgroup", "FakeProbe")

    def close(self) -> None:
        """
        Does nothing: there is nothing to give back.
        """
