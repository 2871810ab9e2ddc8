"""
What is refused about sessions, and the words for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memguard._phases import CLOSING, DRAINING
from memguard.errors import ScopeClosed, SessionElsewhere, SessionLost, SessionsFull

if TYPE_CHECKING:
    from memguard._sessions.core import Core

__all__ = ("elsewhere", "full", "inside_itself", "lost", "refuse_if_ended")


def refuse_if_ended(core: Core) -> None:
    """
    Raise ScopeClosed where no session may be made any more.
    """
    sessions = core.sessions
    guard = sessions.owner
    # While they are saved for the end nobody is given one that might change.
    if sessions.state >= DRAINING or guard is None or sessions.registry.detached:
        raise ScopeClosed(sessions._ended_text())
    if guard.state >= CLOSING:
        raise ScopeClosed(guard._ended_text())


def full(core: Core) -> SessionsFull:
    """
    The error for: every place is taken. The caller holds the table's lock.
    """
    table, options = core.table, core.options
    pinned, connected = table.held()
    size = ""
    if options.max_bytes is not None:
        size = f", {table.live_bytes} of {options.max_bytes} bytes"
    return SessionsFull(
        f"sessions {core.sessions.label!r} are full: {table.live} of"
        f" {options.max_live} are live{size}; {pinned} are open in a block,"
        f" {connected} have a connection, and none can be hibernated. Leave blocks"
        " sooner, or raise max_sessions, max_live or max_bytes"
    )


def lost(core: Core) -> SessionLost:
    """
    The error for: somebody else has it now.
    """
    return SessionLost(
        f"a session of {core.sessions.label!r} was taken over by another process while"
        " this one was silent for longer than its lease, so what it changed since its"
        " last save is refused; open the session again to go on with the other's"
    )


def elsewhere(core: Core, waited: float) -> SessionElsewhere:
    """
    The error for: its owner did not give it back in time.
    """
    return SessionElsewhere(
        f"a session of {core.sessions.label!r} is in use by another process, which did"
        f" not give it back within {waited:.1f} s; leave blocks sooner, end connections"
        " there, or send the requests of one session to one process"
    )


def inside_itself(core: Core) -> RuntimeError:
    """
    The error for: waiting for it would be waiting for oneself.
    """
    return RuntimeError(
        f"a session of {core.sessions.label!r} was asked for inside its own restore or"
        " end, which would wait for itself; use the session that on_restore is given"
    )
