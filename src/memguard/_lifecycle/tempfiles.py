"""
Temporary files this process made since a baseline, and which of them are still there.

A look into the temporary directory cannot tell whose file it sees, so they are noted
when `tempfile` makes them.
"""

from __future__ import annotations

import os
from typing import Final

from memguard._lifecycle.origins import origins
from memguard._sites import Site

__all__ = ("TempFiles",)

_KEPT: Final = 4096
# Removed by multiprocessing itself, in a finaliser that runs at exit.
_HOST_PREFIXES: Final = ("pymp-",)


class TempFiles:
    """
    What `tempfile` made since `start`, as long as it exists. Paths and places only.

    At most 4096 are remembered; `forgotten` counts what was made beyond that.
    """

    def __init__(self) -> None:
        self._made: dict[str, Site | None] = {}
        self._crowded = 0
        self.forgotten = 0

    def start(self) -> None:
        """
        Begin to record, forgetting what was recorded before.
        """
        self._made = {}
        self._crowded = self.forgotten = 0
        origins.hear(self)

    def stop(self) -> None:
        """
        Record no more; what was recorded can still be read.
        """
        origins.unhear(self)

    def note(self, path: str, site: Site | None) -> None:
        """
        Called by the audit hook, inside somebody's call of `tempfile`.
        """
        if len(self._made) >= _KEPT:
            self._crowded += 1
            # Looking which are gone costs some milliseconds: not each time.
            if self._crowded % _KEPT == 1:
                self._made = dict(self.left())
            if len(self._made) >= _KEPT:
                self.forgotten += 1
                return
        self._made[path] = site

    def left(self) -> list[tuple[str, Site | None]]:
        """
        What still exists, with the place where it was made.
        """
        return [
            (path, site)
            for path, site in list(self._made.items())
            if os.path.lexists(path)
            and not os.path.basename(path).startswith(_HOST_PREFIXES)
        ]

    @staticmethod
    def describe(path: str) -> str:
        """
        Whether it is a directory or a file.
        """
        return "directory" if os.path.isdir(path) else "file"
