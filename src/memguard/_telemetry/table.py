"""
The table of metrics: every instrument with its unit, its attributes and its reader.

The names of OpenTelemetry's semantic conventions (1.44) are used where there is one,
`memguard.` for the rest. Instruments, documentation and dashboards are made from this
table. It knows nothing of OpenTelemetry's API, and reads one frozen observation.
Longer than 300 lines because it is one table.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from memguard._records import record
from memguard._telemetry.readers import (
    CACHE,
    CONTAINER,
    EVICTION,
    GENERATION,
    LEVEL,
    LIMITER,
    LOG,
    LOG_LEVEL,
    NAME,
    OUTCOME,
    REASON,
    RESULT,
    SESSION_STATE,
    SESSIONS,
    SINK,
    SOURCE,
    TRANSITION,
    TYPE,
    Reader,
    caches,
    collector,
    evictions,
    figure,
    limit,
    log_records,
    memory,
    one,
    pressure,
    released,
    requests,
    resources,
    session_transitions,
    sessions,
    shares,
    sink_records,
)

__all__ = ("DURATION_BOUNDS", "SCHEMA_URL", "TABLE", "Instrument")

#: The version of the semantic conventions that the names are taken from.
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
#: Bounds of the buckets of a shutdown's duration, in seconds.
DURATION_BOUNDS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0)

Kind: TypeAlias = Literal[
    "observable_counter",
    "observable_up_down_counter",
    "observable_gauge",
    "counter",
    "histogram",
]


@record
class Instrument:
    """
    One row. Rows without a reader are recorded where the thing happens.
    """

    name: str
    kind: Kind
    unit: str
    attributes: tuple[str, ...]
    doc: str
    read: Reader | None = None

    @property
    def of_process(self) -> bool:
        """
        True for the names that other instrumentations export as well.
        """
        return self.name.startswith(("process.", "cpython."))


def _counter(
    name: str, unit: str, doc: str, read: Reader, *attributes: str
) -> Instrument:
    return Instrument(name, "observable_counter", unit, attributes, doc, read)


def _amount(
    name: str, unit: str, doc: str, read: Reader, *attributes: str
) -> Instrument:
    return Instrument(name, "observable_up_down_counter", unit, attributes, doc, read)


def _gauge(
    name: str, unit: str, doc: str, read: Reader, *attributes: str
) -> Instrument:
    return Instrument(name, "observable_gauge", unit, attributes, doc, read)


TABLE: Final[tuple[Instrument, ...]] = (
    _amount(
        "process.memory.usage",
        "By",
        "Resident memory, shared pages included.",
        memory("rss"),
    ),
    _amount(
        "process.memory.virtual",
        "By",
        "Committed virtual memory.",
        memory("virtual"),
    ),
    _amount(
        "process.unix.file_descriptor.count",
        "{file_descriptor}",
        "Open descriptors.",
        lambda seen: one(seen.descriptors),
    ),
    _amount(
        "process.thread.count",
        "{thread}",
        "Threads, those of C libraries included.",
        lambda seen: one(seen.threads),
    ),
    _gauge(
        "process.uptime",
        "s",
        "Time since the process started; in a forked worker, since the fork.",
        lambda seen: one(seen.uptime_s),
    ),
    _counter(
        "cpython.gc.collections",
        "{collection}",
        "Collections of each generation.",
        collector("collections"),
        GENERATION,
    ),
    _counter(
        "cpython.gc.collected_objects",
        "{object}",
        "Objects that were collected in each generation.",
        collector("collected"),
        GENERATION,
    ),
    _counter(
        "cpython.gc.uncollectable_objects",
        "{object}",
        "Objects that could not be collected.",
        collector("uncollectable"),
        GENERATION,
    ),
    _amount(
        "memguard.memory.limit",
        "By",
        "What the process may use: the smallest limit that holds, and its source.",
        limit,
        SOURCE,
    ),
    _gauge(
        "memguard.memory.utilization",
        "1",
        "Resident memory as a share of the limit.",
        memory("ratio"),
    ),
    _amount(
        "memguard.pressure.status",
        "1",
        "1 for the current level of memory pressure, 0 for the others.",
        pressure,
        LEVEL,
    ),
    _amount(
        "memguard.resource.count",
        "{resource}",
        "What lives now.",
        resources(lambda row: row.live),
        TYPE,
        NAME,
    ),
    _amount(
        "memguard.resource.limit",
        "{resource}",
        "How many there may be, where that is bounded.",
        resources(lambda row: row.limit),
        TYPE,
        NAME,
    ),
    _counter(
        "memguard.resource.created",
        "{resource}",
        "What was made.",
        resources(lambda row: row.created),
        TYPE,
        NAME,
    ),
    _counter(
        "memguard.resource.released",
        "{resource}",
        "What ended: closed, forced, abandoned or unclosable.",
        released,
        TYPE,
        NAME,
        REASON,
    ),
    _gauge(
        "memguard.resource.age.max",
        "s",
        "The age of the oldest one that lives.",
        resources(lambda row: row.oldest_s),
        TYPE,
        NAME,
    ),
    _amount(
        "memguard.cache.entry.count",
        "{entry}",
        "Entries of a cache of the guard itself (not of a scope), or of one adopted.",
        caches(lambda row: row.entries),
        CACHE,
    ),
    _amount(
        "memguard.cache.entry.limit",
        "{entry}",
        "How many entries the cache may have, where that is bounded.",
        caches(lambda row: row.max_entries),
        CACHE,
    ),
    _amount(
        "memguard.cache.memory.usage",
        "By",
        "What the entries hold, as estimated; absent for a cache that does not weigh.",
        caches(lambda row: row.bytes_held),
        CACHE,
    ),
    _amount(
        "memguard.cache.memory.limit",
        "By",
        "What the entries may hold, where that is bounded.",
        caches(lambda row: row.max_bytes),
        CACHE,
    ),
    _counter(
        "memguard.cache.requests",
        "{request}",
        "Look-ups: hit or miss.",
        requests,
        CACHE,
        RESULT,
    ),
    _counter(
        "memguard.cache.evictions",
        "{eviction}",
        "Entries that went without being asked to.",
        evictions,
        CACHE,
        EVICTION,
    ),
    _amount(
        "memguard.container.entry.count",
        "{entry}",
        "Entries of a container that was adopted by its place.",
        figure("container", "entries", CONTAINER),
        CONTAINER,
    ),
    _amount(
        "memguard.container.entry.limit",
        "{entry}",
        "How many entries the container may have, where that is bounded.",
        figure("container", "max_entries", CONTAINER),
        CONTAINER,
    ),
    _amount(
        "memguard.container.memory.usage",
        "By",
        "What the container holds, as estimated from a part of it.",
        figure("container", "bytes", CONTAINER),
        CONTAINER,
    ),
    _amount(
        "memguard.container.memory.limit",
        "By",
        "What the container may hold, where that is bounded.",
        figure("container", "max_bytes", CONTAINER),
        CONTAINER,
    ),
    _amount(
        "memguard.budget.limit",
        "By",
        "What all caches and shrinkable rings may hold together.",
        lambda seen: one(seen.budget_limit),
    ),
    _amount(
        "memguard.budget.allowance",
        "By",
        "What each of them may hold now.",
        shares("allowance"),
        TYPE,
        NAME,
    ),
    _amount(
        "memguard.budget.usage",
        "By",
        "What each of them holds.",
        shares("held"),
        TYPE,
        NAME,
    ),
    _gauge(
        "memguard.budget.price",
        "s",
        "What a megabyte more would save each of them: seconds of loading, in the"
        " fading past. The lowest price gives to the highest.",
        shares("price"),
        TYPE,
        NAME,
    ),
    _counter(
        "memguard.budget.squeezed",
        "By",
        "What each of them evicted for others.",
        shares("squeezed"),
        TYPE,
        NAME,
    ),
    _amount(
        "memguard.limiter.usage",
        "{call}",
        "What is in flight.",
        figure("limiter", "in_flight", LIMITER),
        LIMITER,
    ),
    _amount(
        "memguard.limiter.limit",
        "{call}",
        "How many may be in flight now.",
        figure("limiter", "max_in_flight", LIMITER),
        LIMITER,
    ),
    _amount(
        "memguard.limiter.memory.usage",
        "By",
        "The bytes that what is in flight says it needs.",
        figure("limiter", "bytes", LIMITER),
        LIMITER,
    ),
    _amount(
        "memguard.limiter.memory.limit",
        "By",
        "How many bytes may be in flight now, where that is bounded.",
        figure("limiter", "max_bytes", LIMITER),
        LIMITER,
    ),
    _amount(
        "memguard.limiter.waiting",
        "{call}",
        "Who stands in line.",
        figure("limiter", "waiting", LIMITER),
        LIMITER,
    ),
    _counter(
        "memguard.limiter.granted",
        "{call}",
        "Who was let in.",
        figure("limiter", "granted", LIMITER),
        LIMITER,
    ),
    _counter(
        "memguard.limiter.timeouts",
        "{call}",
        "Who gave up for want of room.",
        figure("limiter", "timeouts", LIMITER),
        LIMITER,
    ),
    _counter(
        "memguard.limiter.wait.time",
        "s",
        "The time that all of them have spent in line.",
        figure("limiter", "waited_s", LIMITER),
        LIMITER,
    ),
    _counter(
        "memguard.sink.records",
        "{record}",
        "Records by what became of them: written, refused with an error, or lost at"
        " the end.",
        sink_records,
        SINK,
        OUTCOME,
    ),
    _counter(
        "memguard.sink.io",
        "By",
        "What was written.",
        figure("sink", "bytes", SINK),
        SINK,
    ),
    _amount(
        "memguard.sink.buffer.usage",
        "By",
        "What waits to be written.",
        figure("sink", "buffered_bytes", SINK),
        SINK,
    ),
    _counter(
        "memguard.sink.rotations",
        "{rotation}",
        "Files that were rotated.",
        figure("sink", "rotations", SINK),
        SINK,
    ),
    _counter(
        "memguard.sink.failures",
        "{failure}",
        "Attempts to write that the disk refused.",
        figure("sink", "failures", SINK),
        SINK,
    ),
    _counter(
        "memguard.log.records",
        "{record}",
        "Records that bounded log handlers have handled, by level.",
        log_records,
        LOG,
        LOG_LEVEL,
    ),
    _amount(
        "memguard.session.count",
        "{session}",
        "Sessions by state: live here, and hibernated in their store, which other"
        " workers may share. What sleeps is counted every few seconds.",
        sessions(""),
        SESSIONS,
        SESSION_STATE,
    ),
    _amount(
        "memguard.session.memory.usage",
        "By",
        "What sessions take up by their last encodings, in memory (live) and in their"
        " store (hibernated).",
        sessions("_bytes"),
        SESSIONS,
        SESSION_STATE,
    ),
    _counter(
        "memguard.session.transitions",
        "{session}",
        "What became of sessions: created, restored, slept (hibernated), expired,"
        " ended, or lost to another worker.",
        session_transitions,
        SESSIONS,
        TRANSITION,
    ),
    Instrument(
        "memguard.shutdown.duration",
        "histogram",
        "s",
        ("error.type",),
        "How long shutdowns took; error.type, leaked or unattributed, when the audit"
        " was not clean. Recorded when the shutdown is over.",
    ),
    Instrument(
        "memguard.shutdown.failures",
        "counter",
        "{failure}",
        (TYPE, "error.type"),
        "What did not close by itself, and what the audit found.",
    ),
    _counter(
        "memguard.self.overhead.time",
        "s",
        "CPU time memguard measured of itself: until now, that of taking these"
        " figures. What it does on threads of the application is not in it.",
        lambda seen: one(seen.cpu_s),
    ),
    _amount(
        "memguard.self.memory.usage",
        "By",
        "The records memguard keeps of what it owns: a lower bound, without the"
        " content of caches and rings.",
        lambda seen: one(seen.own_bytes),
    ),
    _counter(
        "memguard.self.dropped",
        "{event}",
        "Figures that could not be taken in time, and final exports given up.",
        lambda seen: one(seen.dropped),
    ),
)
