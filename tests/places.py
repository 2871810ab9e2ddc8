"""
Where stores of sessions keep what they have, for the tests that all of them pass.

A place makes a store as another process would: two stores of one place share what is
in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memguard._sessions.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from memguard._sessions.stores.space import Space
    from memguard.typing import Clock

NAME = "chat"


class Place:
    """
    Stores that share what they have; everything is closed at the end.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._spaces: list[Space] = []

    def space(self, clock: Clock, name: str = NAME) -> Space:
        """
        The space as a process of its own has it.
        """
        space: Space = self._make().space(name, clock)
        self._spaces.append(space)
        return space

    def close(self) -> None:
        for space in self._spaces:
            space.close()


def sqlite(directory: Path) -> Place:
    """
    One file.
    """
    return Place(lambda: SqliteStore(directory / "sessions.db"))


#: All stores, by name.
PLACES: dict[str, Callable[[Path], Place]] = {"sqlite": sqlite}
#: Those that processes can share.
SHARED = {name: make for name, make in PLACES.items() if name != "memory"}
