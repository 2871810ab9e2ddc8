"""
Where in the source a name is first assigned: `file:line`, for what has no other place.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final

from memguard._risks.reading import module_names
from memguard._sites import shown_file

if TYPE_CHECKING:
    from memguard._risks.scene import Place

__all__ = ("Sources",)

_BYTES: Final = 1 << 18  # of a longer file the line is not looked for
_FILES: Final = 60  # that are read at one look


class Sources:
    """
    Reads the files of the application's modules, each once.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str | None] = {}

    def site(self, place: Place) -> str:
        """
        The line of a name, or `unknown`.
        """
        pattern = _PATTERNS.get(place.owner)
        home = place.home or place.module
        module = sys.modules.get(home)
        names = None if module is None else module_names(module)
        file = None if names is None else names.get("__file__")
        if pattern is None or type(file) is not str or not place.attr.isidentifier():
            return "unknown"
        text = self._text(file)
        if text is None:
            return "unknown"
        found = re.search(
            pattern.format(name=re.escape(place.attr)), text, re.MULTILINE
        )
        if found is None:
            return "unknown"
        return f"{shown_file(file)}:{text.count(chr(10), 0, found.start('name')) + 1}"

    def _text(self, file: str) -> str | None:
        if file not in self._texts:
            if len(self._texts) >= _FILES:
                return None
            self._texts[file] = _read(file)
        return self._texts[file]


def _read(file: str) -> str | None:
    try:
        with open(file, "rb") as source:
            content = source.read(_BYTES + 1)
    except OSError:
        return None  # it is in an archive, or it went
    return None if len(content) > _BYTES else content.decode("utf-8", "replace")


_PATTERNS: Final = {
    "module": r"^(?P<name>{name})\b[^\n=(]*=(?!=)",
    "class": r"^[ \t]+(?P<name>{name})\b[^\n=(]*=(?!=)",
    "instance": r"(?P<name>self\.{name})\b[^\n=(]*=(?!=)",
}
