"""
A log handler that a guard owns, and the growth of the directory logs are written to.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, ClassVar

from memguard._kinds.callbacks import checked_name
from memguard._kinds.loghandler import BoundedLogHandler
from memguard._phases import Phase
from memguard._probes.files import directory_size
from memguard._tree import Branch, Node
from memguard.typing import Size

__all__ = ("LogKeeper",)


class LogKeeper(Node):
    """
    The place of a log handler in the tree. Ends late: closings are logged as well.
    """

    __slots__ = ("handler", "spec")

    kind: ClassVar[str] = "log_handler"
    phase = Phase.TELEMETRY

    def __init__(
        self,
        owner: Branch,
        name: str,
        *,
        max_entries: int | None,
        max_bytes: Size | None,
        level: int | str,
        directory: str | os.PathLike[str] | None,
    ) -> None:
        super().__init__(owner, checked_name("a log handler", name))
        self.handler = handler = BoundedLogHandler(
            max_entries=max_entries, max_bytes=max_bytes, level=level
        )
        folder = None if directory is None else _checked(directory)
        if folder is not None:
            # Not a method: a logger would keep this node alive, and so the guard.
            handler.measure = partial(_growth, folder, _size(folder) or 0)
        #: What has to be the same where the same name is asked for again.
        self.spec: dict[str, object] = {
            "max_entries": handler.max_entries,
            "max_bytes": handler.max_bytes,
            "level": handler.level,
            "directory": folder,
        }

    def memory_bytes(self) -> int:
        """
        Bytes of the entries.
        """
        return self.handler.memory_bytes()

    def _disarm(self) -> None:
        self.handler.clear()

    def _release(self) -> None:
        self.handler.close()


def _size(folder: str) -> int | None:
    found = directory_size(folder)
    return None if found is None else found.bytes


def _growth(folder: str, at_first: int) -> tuple[int, int] | None:
    size = _size(folder)
    return None if size is None else (size, size - at_first)


def _checked(directory: Any) -> str:
    name = os.fspath(directory) if isinstance(directory, os.PathLike) else directory
    if not isinstance(name, str) or not name:
        msg = f"directory must be a path, not a {type(directory).__qualname__}"
        raise TypeError(msg)
    return os.path.abspath(name)
