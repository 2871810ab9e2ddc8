"""
Everything memguard raises or warns about.

Each class that states facts builds its own text from them: the thing, its
state and the cure. No text ever contains a user's value, only names and types.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = (
    "BackgroundFailures",
    "GuardConflict",
    "LimitReached",
    "LimiterFull",
    "MemguardError",
    "MemguardResourceWarning",
    "MemguardWarning",
    "OrderError",
    "PoolExhausted",
    "ScopeClosed",
    "SessionElsewhere",
    "SessionLost",
    "SessionUnreadable",
    "SessionsFull",
    "SettingsConflict",
    "SettingsError",
    "SinkFull",
    "SpecConflict",
    "StoreFailed",
    "UseAfterRelease",
    "WouldBlockLoop",
)


class MemguardError(Exception):
    """
    The base of every error that memguard raises.
    """


class ScopeClosed(MemguardError, RuntimeError):
    """
    Raised when something is asked of a scope, or of a leaf, that has ended.
    """


class SpecConflict(MemguardError, ValueError):
    """
    Raised when a name inside one owner is asked for again with another spec.
    """

    def __init__(self, kind: str, name: str, changed: str, site: str) -> None:
        super().__init__(
            f"{kind} {name!r} exists already with another spec ({changed}); it was"
            f" made at {site}. Ask for it with the same options, or choose another"
            " name."
        )


class OrderError(MemguardError, ValueError):
    """
    Raised when `uses` and `phase` cannot both be honoured at shutdown.
    """


class SettingsError(MemguardError, ValueError):
    """
    Raised with every problem of the settings at once, each with its cure.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} problem(s) in the settings:\n{lines}")


class SettingsConflict(MemguardError, RuntimeError):
    """
    Raised when `install` is called again with other settings.
    """


class GuardConflict(MemguardError, RuntimeError):
    """
    Raised when a second guard is installed into one process.
    """


class WouldBlockLoop(MemguardError, RuntimeError):
    """
    Raised when a verb that might wait is called inside a running event loop.

    The text names the asynchronous form of the verb.
    """

    def __init__(self, verb: str, instead: str) -> None:
        super().__init__(
            f"{verb} might wait and was called inside a running event loop, which"
            f" would stand still; use {instead}."
        )


class LimitReached(MemguardError, RuntimeError):
    """
    Raised by a container made with `on_limit="raise"` instead of evicting.
    """


class LimiterFull(MemguardError, TimeoutError):
    """
    Raised when there was no room in a limiter before the timeout.
    """


class PoolExhausted(MemguardError, TimeoutError):
    """
    Raised when no member of a pool came free within the acquire timeout.
    """


class UseAfterRelease(MemguardError, RuntimeError):
    """
    Raised in strict mode when a member of a pool is used after it was given back.

    The text names the places where it was used, given back and lent.
    """


class SessionsFull(MemguardError, RuntimeError):
    """
    Raised when every place is taken by a session that is in use.
    """


class SessionElsewhere(MemguardError, TimeoutError):
    """
    Raised when another process has a session and did not give it back in time.
    """


class SessionLost(ScopeClosed):
    """
    Raised when a session is to be saved that another process has taken over.

    That happens to one that was silent for longer than its lease. What it changed
    since its last save is in memory only, and the successor knows nothing of it.
    """


class SessionUnreadable(MemguardError, ValueError):
    """
    Raised when the record of a session is of a schema that nothing upgrades.
    """


class StoreFailed(MemguardError, OSError):
    """
    Raised when a store of sessions is full, broken, closed to us or out of reach.
    """


class SinkFull(MemguardError, OSError):
    """
    Raised when the disk takes nothing, and a sink's buffer nothing more.
    """


class MemguardWarning(UserWarning):
    """
    The base of memguard's warnings about how it is used.
    """


class MemguardResourceWarning(MemguardWarning, ResourceWarning):
    """
    Warns that something registered was collected before it was closed.
    """


class BackgroundFailures(MemguardError):
    """
    Raised in strict mode: what failed in the background, where nobody could see.

    `exceptions` holds them in the order in which they happened. It is a plain
    tuple and not an ExceptionGroup because CPython 3.10 has none.
    """

    def __init__(self, exceptions: Sequence[BaseException]) -> None:
        self.exceptions = tuple(exceptions)
        kinds = ", ".join(sorted({type(one).__qualname__ for one in self.exceptions}))
        super().__init__(
            f"{len(self.exceptions)} failure(s) in the background ({kinds}); see"
            " `.exceptions`. Mend them, or leave strict mode."
        )
