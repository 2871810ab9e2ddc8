"""
The settings of a guard: validated once, frozen, each value with its origin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memguard._records import field, record
from memguard._settings.rules import conflicts
from memguard._settings.sources import Collected, collect
from memguard._settings.table import Field, SettingsKwargs, Values, fields_of
from memguard.errors import SettingsError

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

__all__ = ("FIELDS", "Described", "Settings")

#: The table by name.
FIELDS: Final[Mapping[str, Field]] = MappingProxyType(
    {row.name: row for row in fields_of(Values)}
)


class Described(NamedTuple):
    """
    One setting as `memguard config` prints it.
    """

    field: str
    value: Any
    origin: str

    @property
    def text(self) -> str:
        """
        The value as one would write it: "256MiB", "30s", "none".
        """
        return FIELDS[self.field].text(self.value)


@record
class Settings(Values):
    """
    All settings, from keywords over the defaults; `load` reads the other sources too.

    Two are equal when their values are, wherever these came from. Raises SettingsError
    with every problem at once.
    """

    _origins: dict[str, str] = field(init=False, compare=False, repr=False)
    _warnings: tuple[str, ...] = field(init=False, compare=False, repr=False)

    def __init__(self, **keywords: Unpack[SettingsKwargs]) -> None:
        self._set(collect(FIELDS, keywords, {}))

    @classmethod
    def load(
        cls,
        framework: Mapping[str, Any] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        pyproject: str | os.PathLike[str] | None = None,
        **keywords: Unpack[SettingsKwargs],
    ) -> Self:
        """
        The settings of this process.

        Keywords go before the environment (`MEMGUARD_TICK`), that before *framework*
        (the same names, as in a Flask configuration), that before `[tool.memguard]`
        in the TOML file *pyproject*, that before the defaults. Without *pyproject*
        the variable MEMGUARD_CONFIG may name the file; none is searched for. Only the
        value that wins is looked at.

        Raises SettingsError with every problem at once: each names the field, the
        value, its origin and the cure. Names in the environment or in *framework*
        that begin with MEMGUARD_ and that nobody knows are in `warnings`.
        """
        variables = os.environ if environ is None else environ
        settings = cls.__new__(cls)
        settings._set(collect(FIELDS, keywords, variables, framework, pyproject))
        return settings

    def _set(self, given: Collected, base: Settings | None = None) -> None:
        problems = given.problems
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for name, row in FIELDS.items():
            if name in given.values:
                value, origins[name] = given.values[name]
                try:
                    values[name] = row.parse(value, f"{name} ({origins[name]})")
                except ValueError as error:
                    problems.append(str(error))
            elif base is not None:
                values[name], origins[name] = getattr(base, name), base._origins[name]
            else:
                values[name], origins[name] = row.default, "default"
        problems += conflicts(FIELDS, values, origins)
        if problems:
            raise SettingsError(problems)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_origins", origins)
        object.__setattr__(self, "_warnings", tuple(given.warnings))

    @property
    def origins(self) -> Mapping[str, str]:
        """
        Where each value came from: keyword, "environment MEMGUARD_TICK", default ...
        """
        return MappingProxyType(self._origins)

    @property
    def warnings(self) -> tuple[str, ...]:
        """
        Names that look like settings and are none, each with the nearest one.
        """
        return self._warnings

    def replace(self, **changes: Unpack[SettingsKwargs]) -> Self:
        """
        The same settings with *changes*, whose origin is then "keyword".
        """
        changed = type(self).__new__(type(self))
        changed._set(collect(FIELDS, changes, {}), base=self)
        object.__setattr__(changed, "_warnings", self._warnings)
        return changed

    def same_as(self, other: Settings) -> bool:
        """
        True when every value is the same, wherever it came from.
        """
        return self == other

    def describe(self) -> list[Described]:
        """
        Every field with its value and its origin, in the order of the table.
        """
        return [
            Described(name, getattr(self, name), self._origins[name]) for name in FIELDS
        ]
