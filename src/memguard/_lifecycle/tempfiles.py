"""
Temporary files this process made, and where: from the interpreter's own audit events.

A look into the temporary directory cannot tell whose file it sees, so the events
`tempfile.mkstemp` and `tempfile.mkdtemp` are recorded. Audit hooks cannot be removed:
one is added for the whole process when the first guard starts, and it does nothing
while no guard runs.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from memguard._lifecycle.attribution import is_stdlib, origin_of_code
from memguard._sites import Site

__all__ = ("TempFiles",)

_KEPT: Final = 4096
# Removed by multiprocessing itself, in a finaliser that runs at exit.
_HOST_PREFIXES: Final = ("pymp-",)

_recording: list[TempFiles] = []
_hooked = False


class TempFiles:
    """
    What `tempfile` made since `start`, as long as it exists. Paths and sites only.
    """

    def __init__(self) -> None:
        self._made: dict[str, Site | None] = {}

    def start(self) -> None:
        """
        Begin to record, forgetting what was recorded before.
        """
        global _hooked
        self._made.clear()
        if self not in _recording:
            _recording.append(self)
        if not _hooked:
            _hooked = True
            sys.addaudithook(_on_event)

    def stop(self) -> None:
        """
        Record no more; what was recorded can still be read.
        """
        if self in _recording:
            _recording.remove(self)

    def note(self, path: Any) -> None:
        """
        Called by the hook, inside somebody's call of tempfile.
        """
        if not isinstance(path, (str, bytes)):
            return
        if len(self._made) >= _KEPT:
            self._made = {one: site for one, site in self.left()}
        if len(self._made) < _KEPT:
            self._made[os.fsdecode(path)] = _caller()

    def left(self) -> list[tuple[str, Site | None]]:
        """
        What still exists, with its creation site.
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
        Directory or file, without the name a user may have chosen.
        """
        return "directory" if os.path.isdir(path) else "file"


def _on_event(event: str, args: tuple[Any, ...]) -> None:
    # Called for every audit event of the process: the first test has to be cheap.
    if _recording and event[:9] == "tempfile.":
        for one in _recording:
            one.note(args[0] if args else None)


def _caller() -> Site | None:
    """
    The nearest frame outside the standard library and memguard.
    """
    frame = sys._getframe(3)
    while frame is not None:
        code = frame.f_code
        if not is_stdlib(code) and origin_of_code(code) != "memguard":
            return Site(code, frame.f_lasti)
        frame = frame.f_back  # type: ignore[assignment]
    return None
