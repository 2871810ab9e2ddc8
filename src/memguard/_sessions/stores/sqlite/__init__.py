"""
Sessions in one SQLite file, for all containers and processes of a machine.
"""

from memguard._sessions.stores.sqlite.store import SqliteStore

__all__ = ("SqliteStore",)
