"""
Where settings come from, and which of two says more.

A keyword goes before the environment, that before the framework, that before
`[tool.memguard]` of a TOML file. The file system is never searched: the file is read
only when it is named, by the argument `pyproject` or by `MEMGUARD_CONFIG`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final

from memguard._settings.table import PREFIX, Field
from memguard._settings.units import shown

__all__ = ("Collected", "collect")

_CONFIG: Final = PREFIX + "CONFIG"


class Collected:
    """
    What was given: values with their origins, what is wrong, what is odd.
    """

    __slots__ = ("problems", "values", "warnings")

    def __init__(self) -> None:
        self.values: dict[str, tuple[Any, str]] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def offer(self, name: str, value: Any, origin: str) -> None:
        """
        Take a value unless a source that goes before has given one.
        """
        self.values.setdefault(name, (value, origin))


def collect(
    table: Mapping[str, Field],
    keywords: Mapping[str, Any],
    environ: Mapping[str, str],
    framework: Mapping[str, Any] | None = None,
    pyproject: str | os.PathLike[str] | None = None,
) -> Collected:
    """
    Everything that was given anywhere, the first source by precedence winning.

    A name nobody knows is a problem where only memguard's settings can stand, and a
    warning among names that merely begin with MEMGUARD_: other tools may use those.
    """
    found = Collected()
    for name, value in keywords.items():
        if name in table:
            found.offer(name, value, "keyword")
        else:
            found.problems.append(_unknown(name, "keyword", table))
    _take_prefixed(found, table, environ, "environment")
    _take_prefixed(found, table, framework or {}, "framework")
    path = pyproject if pyproject is not None else environ.get(_CONFIG)
    if path is not None:
        _take_file(found, table, path)
    return found


def _take_prefixed(
    found: Collected,
    table: Mapping[str, Field],
    given: Mapping[Any, Any],
    source: str,
) -> None:
    variables = {row.variable: name for name, row in table.items()}
    for key in given:
        if not isinstance(key, str) or not key.startswith(PREFIX) or key == _CONFIG:
            continue
        origin = f"{source} {key}"
        if key in variables:
            found.offer(variables[key], given[key], origin)
        else:
            found.warnings.append(_unknown(key, source, variables))


def _take_file(found: Collected, table: Mapping[str, Field], path: Any) -> None:
    # A number would be taken for a descriptor by open().
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        found.problems.append(
            f"pyproject must be the path of a TOML file, not {shown(path)}"
        )
        return
    origin = os.path.basename(os.fspath(path))
    try:
        section = _section(path)
    except (OSError, ValueError, ImportError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        found.problems.append(
            f"{origin} cannot be read ({reason}); mend it, or leave out `pyproject`"
            f" and {_CONFIG}"
        )
        return
    for name, value in section.items():
        if name in table:
            found.offer(name, value, origin)
        else:
            found.problems.append(_unknown(name, origin, table))


def _section(path: str | os.PathLike[str]) -> dict[str, Any]:
    with open(path, "rb") as file:
        content = _toml().load(file)
    section = content.get("tool", {})
    if isinstance(section, dict):
        section = section.get("memguard", {})
    if not isinstance(section, dict):
        msg = "[tool.memguard] is not a table"
        raise ValueError(msg)  # noqa: TRY004 - it is the file's content that is wrong
    return section


def _toml() -> Any:
    for name in ("tomllib", "tomli"):
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    msg = "Python 3.10 reads TOML with the package tomli, which is not installed"
    raise ImportError(msg)


def _unknown(name: str, origin: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1)
    cure = f"did you mean {near[0]}?" if near else "leave it out"
    return f"{name} ({origin}) is no setting of memguard; {cure}"
