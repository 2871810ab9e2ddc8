"""
Settings, and the sizes and durations that every option of memguard is written in.
"""

from memguard._settings.model import FIELDS, Described, Settings
from memguard._settings.table import MEMORY, Field, SettingsKwargs
from memguard._settings.units import (
    DurationLike,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

__all__ = (
    "FIELDS",
    "MEMORY",
    "Described",
    "DurationLike",
    "Field",
    "Settings",
    "SettingsKwargs",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
)
