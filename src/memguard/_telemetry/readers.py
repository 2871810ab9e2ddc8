"""
Readers: what each metric's points are, taken from one frozen observation. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from memguard._health import Level
from memguard._telemetry.observation import CacheRow, Observed, ResourceRow

__all__ = (
    "Point",
    "Reader",
    "caches",
    "collector",
    "evictions",
    "figure",
    "limit",
    "log_records",
    "memory",
    "one",
    "pressure",
    "released",
    "requests",
    "resources",
    "session_transitions",
    "sessions",
    "shares",
    "sink_records",
)

#: One measurement: its value and its attributes.
Point: TypeAlias = tuple[int | float, dict[str, str | int]]
Reader: TypeAlias = Callable[[Observed], Iterable[Point]]

# The names of attributes.
TYPE: Final = "memguard.resource.type"
NAME: Final = "memguard.resource.name"
REASON: Final = "memguard.release.reason"
CACHE: Final = "memguard.cache.name"
CONTAINER: Final = "memguard.container.name"
RESULT: Final = "memguard.cache.result"
EVICTION: Final = "memguard.cache.eviction.reason"
LIMITER: Final = "memguard.limiter.name"
SINK: Final = "memguard.sink.name"
OUTCOME: Final = "memguard.sink.outcome"
LOG: Final = "memguard.log.name"
LOG_LEVEL: Final = "memguard.log.level"
SESSIONS: Final = "memguard.sessions.name"
SESSION_STATE: Final = "memguard.session.state"
TRANSITION: Final = "memguard.session.transition"
GENERATION: Final = "cpython.gc.generation"
SOURCE: Final = "memguard.limit.source"
LEVEL: Final = "memguard.pressure.level"


def one(value: float | None) -> Iterable[Point]:
    """
    The value alone; nothing where nobody knows it.
    """
    if value is not None:
        yield value, {}


def memory(field: str) -> Reader:
    """
    One figure of the memory sample.
    """

    def read(observed: Observed) -> Iterable[Point]:
        sample = observed.memory
        # A peak, for want of the figure of now, would never fall again.
        if sample is None or sample.source == "rusage-peak":
            return ()
        return one(getattr(sample, field))

    return read


def collector(field: str) -> Reader:
    """
    One figure of each generation of the garbage collector.
    """

    def read(observed: Observed) -> Iterable[Point]:
        for generation, stats in enumerate(observed.collector):
            yield stats[field], {GENERATION: generation}

    return read


def limit(observed: Observed) -> Iterable[Point]:
    """
    The limit of memory, with where it comes from.
    """
    sample = observed.memory
    if sample is not None and sample.limit is not None:
        yield sample.limit, {SOURCE: sample.limit_source}


def pressure(observed: Observed) -> Iterable[Point]:
    """
    1 for the level that holds, 0 for the others; nothing without a limit.
    """
    if observed.memory is not None and observed.memory.ratio is not None:
        for level in Level:
            current = int(level is observed.memory.level)
            yield current, {LEVEL: str(level)}


def _named(row: ResourceRow) -> dict[str, str | int]:
    return {TYPE: row.kind, NAME: row.name} if row.name else {TYPE: row.kind}


def resources(value: Callable[[ResourceRow], float | None]) -> Reader:
    """
    One figure of each type and name.
    """

    def read(observed: Observed) -> Iterable[Point]:
        for row in observed.resources:
            found = value(row)
            if found is not None:
                yield found, _named(row)

    return read


def released(observed: Observed) -> Iterable[Point]:
    """
    What ended, by outcome.
    """
    for row in observed.resources:
        for outcome, many in row.released.items():
            yield many, {**_named(row), REASON: outcome}


def caches(value: Callable[[CacheRow], float | None]) -> Reader:
    """
    One figure of each cache.
    """

    def read(observed: Observed) -> Iterable[Point]:
        for row in observed.caches:
            found = value(row)
            if found is not None:
                yield found, {CACHE: row.name}

    return read


def requests(observed: Observed) -> Iterable[Point]:
    """
    Look-ups of each cache, by result.
    """
    for row in observed.caches:
        if row.hits is not None and row.misses is not None:
            yield row.hits, {CACHE: row.name, RESULT: "hit"}
            yield row.misses, {CACHE: row.name, RESULT: "miss"}


def evictions(observed: Observed) -> Iterable[Point]:
    """
    What left each cache, by reason.
    """
    for row in observed.caches:
        for reason, many in row.evictions.items():
            yield many, {CACHE: row.name, EVICTION: reason}


def figure(kind: str, field: str, attribute: str) -> Reader:
    """
    One figure of each limiter or sink.
    """

    def read(observed: Observed) -> Iterable[Point]:
        for row in observed.figures:
            if row.kind == kind and field in row.figures:
                yield row.figures[field], {attribute: row.name}

    return read


def shares(field: str) -> Reader:
    """
    One figure of the budget's members, by type and name.
    """

    def read(observed: Observed) -> Iterable[Point]:
        for row in observed.shares:
            if field in row.figures:
                yield row.figures[field], {TYPE: row.kind, NAME: row.name}

    return read


def sink_records(observed: Observed) -> Iterable[Point]:
    """
    The records of each sink, by what became of them.
    """
    for row in observed.figures:
        if row.kind == "sink":
            for field, outcome in _OUTCOMES.items():
                yield row.figures[field], {SINK: row.name, OUTCOME: outcome}


_OUTCOMES: Final = {"records": "written", "refused": "refused", "lost": "lost"}


def log_records(observed: Observed) -> Iterable[Point]:
    """
    The records of each log handler, by level.
    """
    for row in observed.figures:
        if row.kind == "log_handler":
            for level, many in row.figures.items():
                yield many, {LOG: row.name, LOG_LEVEL: level}


def sessions(suffix: str) -> Reader:
    """
    How many sessions there are, or their bytes, by state.
    """

    def read(observed: Observed) -> Iterable[Point]:
        for row in observed.figures:
            if row.kind == "sessions":
                for state in _STATES:
                    value = row.figures[f"{state}{suffix}"]
                    yield value, {SESSIONS: row.name, SESSION_STATE: state}

    return read


def session_transitions(observed: Observed) -> Iterable[Point]:
    """
    What became of sessions.
    """
    for row in observed.figures:
        if row.kind == "sessions":
            for what in _TRANSITIONS:
                yield row.figures[what], {SESSIONS: row.name, TRANSITION: what}


_STATES: Final = ("live", "hibernated")
_TRANSITIONS: Final = ("created", "restored", "slept", "expired", "ended", "lost")
