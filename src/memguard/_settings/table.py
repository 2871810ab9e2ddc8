"""
The table of settings: every field with its default, its parser and its meaning.

It is the one place to add a setting. What is read from keywords, the environment, a
framework and pyproject.toml, what `memguard config` prints and what the documentation
lists is all made from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

from memguard import _records
from memguard._records import field, record
from memguard._settings.parsers import (
    Parser,
    choice,
    count,
    duration,
    either,
    flag,
    names,
    path,
    ratio,
    signal_names,
    size,
)
from memguard._settings.units import DurationLike, format_duration, format_size

__all__ = ("MEMORY", "PREFIX", "Field", "SettingsKwargs", "Values", "fields_of")

#: What the names of environment variables and of framework settings begin with.
PREFIX = "MEMGUARD_"
#: The `state_dir` of who keeps nothing beyond the process.
MEMORY = "memory"

Unit = Literal["bytes", "seconds", "share", "count", "word", "flag", "names", "path"]


@record
class Field:
    """
    One row of the table.
    """

    name: str
    parse: Parser
    default: Any
    doc: str
    unit: Unit

    @property
    def variable(self) -> str:
        """
        The name in the environment and in a framework's settings.
        """
        return PREFIX + self.name.upper()

    def text(self, value: Any) -> str:
        """
        A value of this field as one would write it: "256MiB", "30s", "none".
        """
        if value is None:
            return "none"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, tuple):
            return ",".join(value)
        if self.unit == "bytes" and isinstance(value, int):
            return format_size(value, exact=True)
        if self.unit == "seconds":
            return format_duration(value)
        return str(value)


def _row(default: Any, parse: Parser, unit: Unit, doc: str) -> Any:
    return field(default=default, metadata={"parse": parse, "unit": unit, "doc": doc})


@record
class Values:
    """
    The values of all settings, as memguard works with them.

    Sizes are bytes, durations seconds, shares between 0 and 1.
    """

    memory_limit: int | Literal["auto"] | None = _row(
        "auto",
        either(size(1 << 20), auto="auto", none=None),
        "bytes",
        "What this process may use. auto: the smallest of the limits that the"
        " operating system sets (control groups, resource limits, the host's memory);"
        " a size is one more limit beside them; none: the process is not judged.",
    )
    managed_limit: int | None = _row(
        None,
        either(size(), none=None),
        "bytes",
        "What all caches, rings and live sessions may hold together. none: half of"
        " the memory limit, when that is known.",
    )
    warning: float = _row(
        0.70, ratio, "share", "The share of the memory limit where WARNING begins."
    )
    critical: float = _row(
        0.90, ratio, "share", "The share of the memory limit where CRITICAL begins."
    )
    emergency: float = _row(
        0.95, ratio, "share", "The share of the memory limit where EMERGENCY begins."
    )
    mode: Literal["enforce", "dry-run", "observe"] = _row(
        "enforce",
        choice("enforce", "dry-run", "observe"),
        "word",
        "enforce: act under pressure; dry-run: decide and say what would be done;"
        " observe: measure only.",
    )
    tick: float = _row(
        1.0,
        duration(0.01, 3600.0),
        "seconds",
        "The time between two readings of the monitor.",
    )
    shutdown_timeout: float = _row(
        25.0,
        duration(0.001),
        "seconds",
        "The budget of a whole shutdown. Must be below grace.",
    )
    grace: float = _row(
        30.0,
        duration(0.001),
        "seconds",
        "How long the supervisor waits between SIGTERM and SIGKILL (Kubernetes:"
        " terminationGracePeriodSeconds).",
    )
    site_level: Literal["off", "sampled", "full"] = _row(
        "sampled",
        choice("off", "sampled", "full"),
        "word",
        "Creation sites. off: none; sampled: the line always, the stack for 1 of 128;"
        " full: the stack always.",
    )
    state_dir: str | None = _row(
        None,
        either(path("directory", "/var/lib/app"), none=None, memory=MEMORY),
        "path",
        "The directory in which sessions are kept. none: for an installed guard that"
        " of systemd (STATE_DIRECTORY), else one below ~/.local/state/memguard"
        " (XDG_STATE_HOME) that the restarts and workers of this service share; for"
        " any other guard none, its sessions are in memory. memory: no directory.",
    )
    worker_share: float | Literal["auto"] = _row(
        "auto",
        either(ratio, auto="auto"),
        "share",
        "The share of the container's memory that belongs to this worker. auto: by"
        " the number of workers, where the server tells it.",
    )
    leak_window_work: int = _row(
        1000, count(1), "count", "Units of work in one window of the leak detector."
    )
    leak_window_time: float = _row(
        60.0,
        duration(0.1),
        "seconds",
        "The length of a window where there are no units of work. Not below tick.",
    )
    leak_rounds: int = _row(
        5, count(2), "count", "Windows in a row that must grow before it is a leak."
    )
    leak_mode: Literal["production", "lab"] = _row(
        "production",
        choice("production", "lab"),
        "word",
        "production: within the overhead budget, never a forced collection; lab: full"
        " collections and every kind of evidence in each window, without a budget.",
    )
    overhead_budget: float = _row(
        0.01, ratio, "share", "What memguard may use of one core."
    )
    audit_ignore: tuple[str, ...] = _row(
        (), names, "names", "What the audit after a shutdown does not count as left."
    )
    signals: tuple[str, ...] = _row(
        ("SIGTERM",),
        signal_names,
        "names",
        "The signals `install` answers with a shutdown; SIGINT only if asked for.",
    )
    report_file: str | None = _row(
        None,
        either(path("file", "/var/log/app/shutdowns.jsonl"), none=None),
        "path",
        "Each shutdown's report is appended to it, one JSON line.",
    )
    log_every: float | None = _row(
        60.0,
        either(duration(1.0), none=None),
        "seconds",
        "The time between two lines about memory in the log. none: no such line.",
    )
    strict: bool = _row(
        False,
        flag,
        "flag",
        "Raise what failed in the background at shutdown, and check expiry on every"
        " read. For tests.",
    )
    series_names: int = _row(
        1000,
        count(1),
        "count",
        "The series that one owner (the guard, a session) may have; further names"
        " share the series `other`.",
    )
    metrics_exclude: tuple[str, ...] = _row(
        (), names, "names", "Metrics that are not exported, by name."
    )


def fields_of(values: type[Values]) -> tuple[Field, ...]:
    """
    The rows of the table, in the order in which they stand.
    """
    return tuple(
        Field(
            name=name,
            parse=row.metadata["parse"],
            default=row.default,
            doc=row.metadata["doc"],
            unit=row.metadata["unit"],
        )
        for name, row in _records.fields_of(values).items()
        if row.metadata
    )


class SettingsKwargs(TypedDict, total=False):
    """
    The keywords of `install`, `Guard` and `Settings`, as one may write them.
    """

    memory_limit: int | str | None
    managed_limit: int | str | None
    warning: float | str
    critical: float | str
    emergency: float | str
    mode: Literal["enforce", "dry-run", "observe"]
    tick: DurationLike
    shutdown_timeout: DurationLike
    grace: DurationLike
    site_level: Literal["off", "sampled", "full"]
    state_dir: str | PathLike[str] | None
    worker_share: float | str
    leak_window_work: int
    leak_window_time: DurationLike
    leak_rounds: int
    leak_mode: Literal["production", "lab"]
    overhead_budget: float | str
    audit_ignore: Sequence[str]
    signals: Sequence[str]
    report_file: str | PathLike[str] | None
    log_every: DurationLike | None
    strict: bool
    series_names: int
    metrics_exclude: Sequence[str]
