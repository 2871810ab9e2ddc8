"""
Sessions: scopes with data that sleep when idle and come back when asked for.
"""

from memguard._sessions.connection import Connection
from memguard._sessions.info import ExpiredSession, SessionInfo, SessionsStats
from memguard._sessions.session import Session
from memguard._sessions.sessions import Sessions
from memguard._sessions.stores import MemoryStore, Store

__all__ = (
    "Connection",
    "ExpiredSession",
    "MemoryStore",
    "Session",
    "SessionInfo",
    "Sessions",
    "SessionsStats",
    "Store",
)
