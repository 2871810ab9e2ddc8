"""
Where the sessions of a container are kept: what was asked for, or what there is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from memguard._sessions.stores import MemoryStore, Space, Store
from memguard._sites import call_site
from memguard.errors import StoreFailed

if TYPE_CHECKING:
    from memguard._sessions.keeping import Keeping

__all__ = ("lasts", "place")

_FILE = "sessions.sqlite3"


def place(sessions: Keeping, asked: Store | None) -> tuple[Store, Space]:
    """
    The store of *sessions* and their part of it.

    Without one that was asked for it is SQLite under the state directory of the guard;
    where that cannot be used, memory, and a failure is noted that says so.
    """
    guard: Any = sessions.owner
    registry = sessions.registry
    # A container that has ended has no guard any more, and keeps nothing.
    name = sessions.label if guard is None else f"{guard.label}/{sessions.label}"
    if asked is not None:
        _note(sessions, asked)
        return asked, asked.space(name, registry.clock)
    directory = None if guard is None else guard.state_directory()
    if directory is not None:
        try:
            store = _sqlite(sessions, directory, ours=directory == guard.home)
            _note(sessions, store)
            return store, store.space(name, registry.clock)
        except StoreFailed as error:
            registry.failures.record(
                f"keeping sessions {sessions.label!r} on disk (they are in memory, and"
                " end with the process)",
                error,
                call_site(sessions.site),
            )
    memory = MemoryStore()
    return memory, memory.space(name, registry.clock)


def _note(sessions: Keeping, store: Store) -> None:
    """
    Tell the audits of other guards whose file it is.
    """
    path = getattr(store, "path", None)
    if isinstance(path, str):
        sessions.registry.files.add(os.path.realpath(path))


def lasts(sessions: Keeping) -> bool:
    """
    True where the guard has a directory for what outlives the process.
    """
    guard: Any = sessions.owner
    return guard is not None and guard.state_directory() is not None


def _sqlite(sessions: Keeping, directory: str, *, ours: bool) -> Store:
    """
    The one store of the guard in that directory, which is tried when it is made.

    A directory that memguard has chosen itself (*ours*) has to be this user's alone.
    """
    from memguard._sessions.stores.sqlite import SqliteStore
    from memguard._sessions.stores.sqlite.place import Place
    from memguard._sessions.stores.sqlite.trouble import LOCKED, kind_of

    registry, site = sessions.registry, call_site(sessions.site)

    def tell(text: str) -> None:
        registry.failures.record(
            "opening the store of sessions", StoreFailed(text), site
        )

    path = os.path.join(directory, _FILE)
    found: Store | None = registry.stores.get(path)
    if found is None:
        Place(path).prepare(private=ours)
        found = SqliteStore(path, on_trouble=tell)
        try:
            found.space(sessions.label, registry.clock).count()
        except StoreFailed as error:
            # What passes by itself must not part the workers of one service.
            if error.__cause__ is None or kind_of(error.__cause__) != LOCKED:
                raise
        found = registry.stores.setdefault(path, found)
    return found
