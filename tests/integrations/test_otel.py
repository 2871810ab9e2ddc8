"""
The metrics as OpenTelemetry's own SDK delivers them, read by its in-memory reader.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from socket import socketpair
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
    Sum,
)

from memguard import Guard
from memguard._telemetry.flush import LastExport
from memguard.errors import LimiterFull, ScopeClosed
from memguard.integrations.otel import MemguardInstrumentor, instrument
from memguard.testing import FakeClock, FakeProbe

if TYPE_CHECKING:
    from conftest import RunPython

# What is promised, written down a second time: name, unit, how it is aggregated.
RISING, AMOUNT, GAUGE, HISTOGRAM = "rising sum", "sum", "gauge", "histogram"
PROMISED = {
    "process.memory.usage": ("By", AMOUNT),
    "process.memory.virtual": ("By", AMOUNT),
    "process.unix.file_descriptor.count": ("{file_descriptor}", AMOUNT),
    "process.thread.count": ("{thread}", AMOUNT),
    "process.uptime": ("s", GAUGE),
    "cpython.gc.collections": ("{collection}", RISING),
    "cpython.gc.collected_objects": ("{object}", RISING),
    "cpython.gc.uncollectable_objects": ("{object}", RISING),
    "memguard.memory.limit": ("By", AMOUNT),
    "memguard.memory.utilization": ("1", GAUGE),
    "memguard.pressure.status": ("1", AMOUNT),
    "memguard.resource.count": ("{resource}", AMOUNT),
    "memguard.resource.limit": ("{resource}", AMOUNT),
    "memguard.resource.created": ("{resource}", RISING),
    "memguard.resource.released": ("{resource}", RISING),
    "memguard.resource.age.max": ("s", GAUGE),
    "memguard.budget.limit": ("By", AMOUNT),
    "memguard.budget.allowance": ("By", AMOUNT),
    "memguard.budget.usage": ("By", AMOUNT),
    "memguard.budget.price": ("s", GAUGE),
    "memguard.budget.squeezed": ("By", RISING),
    "memguard.cache.entry.count": ("{entry}", AMOUNT),
    "memguard.cache.entry.limit": ("{entry}", AMOUNT),
    "memguard.cache.memory.usage": ("By", AMOUNT),
    "memguard.cache.memory.limit": ("By", AMOUNT),
    "memguard.cache.requests": ("{request}", RISING),
    "memguard.cache.evictions": ("{eviction}", RISING),
    "memguard.limiter.usage": ("{call}", AMOUNT),
    "memguard.limiter.limit": ("{call}", AMOUNT),
    "memguard.limiter.memory.usage": ("By", AMOUNT),
    "memguard.limiter.memory.limit": ("By", AMOUNT),
    "memguard.limiter.waiting": ("{call}", AMOUNT),
    "memguard.limiter.granted": ("{call}", RISING),
    "memguard.limiter.timeouts": ("{call}", RISING),
    "memguard.limiter.wait.time": ("s", RISING),
    "memguard.sink.records": ("{record}", RISING),
    "memguard.sink.io": ("By", RISING),
    "memguard.sink.buffer.usage": ("By", AMOUNT),
    "memguard.sink.rotations": ("{rotation}", RISING),
    "memguard.sink.failures": ("{failure}", RISING),
    "memguard.log.records": ("{record}", RISING),
    "memguard.session.count": ("{session}", AMOUNT),
    "memguard.session.memory.usage": ("By", AMOUNT),
    "memguard.session.transitions": ("{session}", RISING),
    "memguard.shutdown.duration": ("s", HISTOGRAM),
    "memguard.shutdown.failures": ("{failure}", RISING),
    "memguard.self.overhead.time": ("s", RISING),
    "memguard.self.memory.usage": ("By", AMOUNT),
    "memguard.self.dropped": ("{event}", RISING),
}
OF_PROCESS = {name for name in PROMISED if name.startswith(("process.", "cpython."))}

Attributes = dict[str, Any]


class Exported:
    """
    A provider of its own, and what its reader finds.
    """

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def metrics(self) -> dict[str, Any]:
        return by_name(self.reader.get_metrics_data())

    def points(self, name: str) -> list[tuple[Attributes, Any]]:
        metric = self.metrics().get(name)
        points = [] if metric is None else metric.data.data_points
        return [(dict(one.attributes), value_of(one)) for one in points]

    def value(self, metric: str, /, **attributes: Any) -> Any:
        """
        The value of the one point whose attributes, without their prefixes, are these.
        """
        found = {
            frozenset(
                (key.rpartition(".")[2], text) for key, text in one.items()
            ): value
            for one, value in self.points(metric)
        }
        return found.get(frozenset(attributes.items()))


def by_name(data: MetricsData | None) -> dict[str, Any]:
    """
    The metrics of memguard; a name that stands there twice is a fault.
    """
    found: dict[str, Any] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            assert scope.scope.name == "memguard"
            for metric in scope.metrics:
                assert metric.name not in found
                found[metric.name] = metric
    return found


def value_of(point: Any) -> Any:
    """
    The value of a point, the sum of a histogram.
    """
    return point.value if hasattr(point, "value") else point.sum


def aggregation(metric: Any) -> str:
    """
    How a metric is aggregated, in the words of PROMISED.
    """
    data = metric.data
    if isinstance(data, Sum):
        return RISING if data.is_monotonic else AMOUNT
    return {Gauge: GAUGE, Histogram: HISTOGRAM}[type(data)]


@pytest.fixture
def exported() -> Exported:
    """
    A provider of its own.
    """
    return Exported()


@pytest.fixture
def clock() -> FakeClock:
    """
    Time at will.
    """
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Iterator[Guard]:
    """
    A guard that was not started, with a quarter of its memory used.
    """
    guard = Guard(clock=clock, probe=FakeProbe(rss="64MiB", limit="256MiB"))
    yield guard
    if guard.is_running:
        guard.shutdown()


class Thing:
    """
    Something that can be closed.
    """

    closed = False

    def close(self) -> None:
        self.closed = True


class Stubborn(Thing):
    """
    Something that cannot.
    """

    def close(self) -> None:
        msg = "an address that nobody should read"
        raise OSError(msg)


# -- names, units, kinds ---------------------------------------------------------------


def test_every_promised_metric_has_its_unit_and_kind(
    exported: Exported, tmp_path: Path
) -> None:
    """
    Names, units and aggregations of a guard with some of everything are the promised.
    """
    guard = Guard()
    instrument(guard, exported.provider)
    tenants = guard.cache("tenants", max_entries=10, max_bytes="1MiB")
    tenants.put("a", "b")
    tenants.get("a")
    tiny = guard.cache("tiny", max_entries=1)
    tiny.put(1, 1)
    tiny.put(2, 2)
    guard.sessions("chat")
    guard.limiter("uploads", max_bytes="1MiB")
    guard.sink(tmp_path / "events.jsonl").write(1)
    guard.log_handler("recent").handle(a_record())
    guard.register(Thing(), keep=True)
    guard.register(Stubborn(), keep=True)
    guard.start()
    guard.shutdown()
    found = {
        name: (metric.unit, aggregation(metric))
        for name, metric in exported.metrics().items()
    }
    assert PROMISED == found


def test_a_fresh_process_has_true_figures(exported: Exported) -> None:
    """
    With the system's own probe the figures are those of this process.
    """
    guard = Guard()
    instrument(guard, exported.provider)
    resident = exported.value("process.memory.usage")
    assert 5 << 20 < resident < exported.value("process.memory.virtual")
    assert exported.value("process.thread.count") >= threading.active_count()
    assert exported.value("process.uptime") > 0.0
    with open(__file__, encoding="utf-8"):
        guard.registry.clock = FakeClock()  # another time: look again
        more = exported.value("process.unix.file_descriptor.count")
    guard.registry.clock = FakeClock(5000.0)
    assert exported.value("process.unix.file_descriptor.count") == more - 1


def test_memory_its_limit_and_the_level(exported: Exported, guard: Guard) -> None:
    """
    Limit with its source, utilization, and one for the level that holds.
    """
    instrument(guard, exported.provider)
    assert exported.points("memguard.memory.limit") == [
        ({"memguard.limit.source": "cgroup"}, 256 << 20)
    ]
    assert exported.points("memguard.memory.utilization") == [({}, 0.25)]
    levels = {"normal": 1, "warning": 0, "critical": 0, "emergency": 0}
    assert exported.points("memguard.pressure.status") == [
        ({"memguard.pressure.level": level}, value) for level, value in levels.items()
    ]


def test_without_a_limit_there_is_no_utilization(
    exported: Exported, clock: FakeClock
) -> None:
    """
    What nobody knows is absent, not zero.
    """
    guard = Guard(clock=clock, probe=FakeProbe(limit=None))
    instrument(guard, exported.provider)
    found = exported.metrics()
    assert "process.memory.usage" in found
    for name in (
        "memguard.memory.limit",
        "memguard.memory.utilization",
        "memguard.pressure.status",
        "process.thread.count",  # this probe does not know
    ):
        assert name not in found


def test_the_collector_is_read_by_generation(exported: Exported, guard: Guard) -> None:
    """
    Collections are those of gc.get_stats, with the generation as a number.
    """
    instrument(guard, exported.provider)
    gc.collect()
    before = [one["collections"] for one in gc.get_stats()]
    points = exported.points("cpython.gc.collections")
    assert [one["cpython.gc.generation"] for one, _ in points] == [0, 1, 2]
    assert points[2][1] == before[2]


# -- resources -------------------------------------------------------------------------


def test_resources_by_type_and_name(
    exported: Exported, guard: Guard, clock: FakeClock
) -> None:
    """
    Living, made and released ones, and the age of the oldest.
    """
    instrument(guard, exported.provider)
    first = guard.register(Thing(), kind="door", name="front")
    clock.advance("1m")
    second = guard.register(Thing(), kind="door", name="front")
    unnamed = guard.register(Thing(), kind="door")
    clock.advance("1m")
    where = {"memguard.resource.type": "door", "memguard.resource.name": "front"}
    assert (where, 2) in exported.points("memguard.resource.count")
    assert (where, 2) in exported.points("memguard.resource.created")
    assert (where, 120.0) in exported.points("memguard.resource.age.max")
    assert ({"memguard.resource.type": "door"}, 1) in exported.points(
        "memguard.resource.count"
    )
    assert exported.value("memguard.resource.released", type="door") is None

    guard.release(first)
    clock.advance("1m")
    assert (where, 1) in exported.points("memguard.resource.count")
    assert (where, 2) in exported.points("memguard.resource.created")
    assert (where, 120.0) in exported.points("memguard.resource.age.max")
    released = {**where, "memguard.release.reason": "closed"}
    assert (released, 1) in exported.points("memguard.resource.released")
    assert (second.closed, unnamed.closed) == (False, False)


def test_nothing_that_lives_has_no_age(
    exported: Exported, guard: Guard, clock: FakeClock
) -> None:
    """
    The age is absent once the last one is gone; the counters stay.
    """
    instrument(guard, exported.provider)
    guard.release(guard.register(Thing(), kind="door"))
    assert exported.value("memguard.resource.count", type="door") == 0
    assert exported.value("memguard.resource.created", type="door") == 1
    assert exported.value("memguard.resource.age.max", type="door") is None


def test_sessions_have_a_limit(exported: Exported, guard: Guard) -> None:
    """
    The bound of sessions stands under the type and name they are counted under.
    """
    instrument(guard, exported.provider)
    chat = guard.sessions("chat", max_sessions=500, max_live=20)
    where = {"memguard.resource.type": "session", "memguard.resource.name": "chat"}
    assert exported.points("memguard.resource.limit") == [(where, 20)]
    with chat.open("somebody@example.org"):
        exported.reader.collect()
    assert "somebody" not in json.dumps(str(exported.metrics()))


def test_a_session_is_counted_without_its_id(
    exported: Exported, guard: Guard, clock: FakeClock
) -> None:
    """
    Sessions count under the name of their container; an id is in no metric.
    """
    instrument(guard, exported.provider)
    chat = guard.sessions("chat")
    with chat.open("somebody"), chat.open("else"):
        assert (
            exported.value("memguard.resource.count", type="session", name="chat") == 2
        )
        clock.advance("5s")
        assert "somebody" not in str(exported.metrics())


def test_names_that_look_like_ids_are_counted_together(
    exported: Exported, guard: Guard
) -> None:
    """
    Addresses, UUIDs and long numbers become `other`; what code names stays.
    """
    instrument(guard, exported.provider)
    things = [
        guard.register(Thing(), kind="door", name=name)
        for name in (
            "ann@example.org",
            "9b2c7e1a-4a6f-4a3e-9d58-1f0d7a3b6c55",
            "user-1234567",
            "http-8080",
        )
    ]
    count = "memguard.resource.count"
    assert exported.value(count, type="door", name="other") == 3
    assert exported.value(count, type="door", name="http-8080") == 1
    assert len(things) == 4


def test_types_and_names_are_bounded(exported: Exported, guard: Guard) -> None:
    """
    Thousands of types and names make a bounded number of series, and none is lost.
    """
    instrument(guard, exported.provider)
    things = [
        guard.register(Thing(), kind=f"type-{number}", name=letter)
        for number in range(80)
        for letter in "abcdefghijklmnopqrst"
    ]
    points = exported.points("memguard.resource.count")
    assert len(points) <= 551
    assert sum(value for _, value in points) >= len(things)


# -- caches ----------------------------------------------------------------------------


def test_caches(exported: Exported, guard: Guard, clock: FakeClock) -> None:
    """
    Entries, bytes, their limits, requests by result and evictions by reason.
    """
    instrument(guard, exported.provider)
    cache = guard.cache("tenants", max_entries=2, max_bytes="1MiB", ttl="1m")
    cache.put("a", b"x" * 1000)
    cache.get("a")
    cache.get("b")
    for key in "cde":
        cache.put(key, key)
    assert exported.value("memguard.cache.entry.count", name="tenants") == 2
    assert exported.value("memguard.cache.entry.limit", name="tenants") == 2
    held = exported.value("memguard.cache.memory.usage", name="tenants")
    assert 0 < held == cache.info().bytes
    assert exported.value("memguard.cache.memory.limit", name="tenants") == 1 << 20
    requests = "memguard.cache.requests"
    assert exported.value(requests, name="tenants", result="hit") == 1
    assert exported.value(requests, name="tenants", result="miss") == 1
    evictions = "memguard.cache.evictions"
    assert exported.value(evictions, name="tenants", reason="size") == 2


def test_caches_of_scopes_are_not_exported_one_by_one(
    exported: Exported, guard: Guard
) -> None:
    """
    They come and go, so that their counters would fall.
    """
    instrument(guard, exported.provider)
    with guard.scope("GET /") as scope:
        scope.cache("of the request").put(1, 1)
        assert exported.points("memguard.cache.entry.count") == []
        count = "memguard.resource.count"
        assert exported.value(count, type="cache", name="of the request") == 1


# -- limiters, sinks, log handlers -----------------------------------------------------


def a_record(level: int = logging.INFO) -> logging.LogRecord:
    """
    Something to log.
    """
    return logging.LogRecord("shop", level, "shop.py", 1, "hello", (), None)


def test_limiters(exported: Exported, guard: Guard, clock: FakeClock) -> None:
    """
    What is in flight, what may be, who waits and waited, with the bounds of now.
    """
    instrument(guard, exported.provider)
    uploads = guard.limiter("uploads", max_in_flight=4, max_bytes="1MiB")
    with uploads("512KiB"):
        uploads.tighten(0.5)
        with pytest.raises(LimiterFull):
            uploads("1MiB", timeout=0).__enter__()
        expected = {
            "usage": 1,
            "limit": 2,
            "memory.usage": 512 << 10,
            "memory.limit": 512 << 10,
            "waiting": 0,
            "granted": 1,
            "timeouts": 1,
            "wait.time": 0.0,
        }
        for name, value in expected.items():
            metric = f"memguard.limiter.{name}"
            assert value == exported.value(metric, name="uploads"), metric
    free = guard.limiter("free")
    clock.advance("2s")
    assert 5 == exported.value("memguard.limiter.limit", name="free")
    assert None is exported.value("memguard.limiter.memory.limit", name="free")
    assert free.info().max_bytes is None


def test_sinks(exported: Exported, guard: Guard, tmp_path: Path) -> None:
    """
    Records by outcome, bytes, the buffer, rotations and failures.
    """
    guard.start()
    instrument(guard, exported.provider)
    sink = guard.sink(tmp_path / "events.jsonl", rotate_bytes=4)
    for record in (1, 2, 3):
        sink.write(record)
    with pytest.raises(TypeError):
        sink.write({1})
    sink.flush()
    sink.write(4)
    name = str(tmp_path / "events.jsonl")
    records = "memguard.sink.records"
    assert 3 == exported.value(records, name=name, outcome="written")
    assert 1 == exported.value(records, name=name, outcome="refused")
    assert 0 == exported.value(records, name=name, outcome="lost")
    assert 6 == exported.value("memguard.sink.io", name=name)
    assert 2 == exported.value("memguard.sink.buffer.usage", name=name)
    assert 1 == exported.value("memguard.sink.rotations", name=name)
    assert 0 == exported.value("memguard.sink.failures", name=name)


def test_sinks_beyond_the_names_are_counted_together(
    exported: Exported, guard: Guard, tmp_path: Path
) -> None:
    """
    A path with somebody's id in it is nobody's business.
    """
    instrument(guard, exported.provider)
    for name in ("1234567", "7654321"):
        guard.sink(tmp_path / name).write(1)
        guard.sink(tmp_path / name).flush()
    assert 2 == exported.value("memguard.sink.records", name="other", outcome="written")


def test_log_handlers(exported: Exported, guard: Guard) -> None:
    """
    Records by level.
    """
    instrument(guard, exported.provider)
    handler = guard.log_handler("recent")
    for level in (logging.INFO, logging.INFO, logging.ERROR):
        handler.handle(a_record(level))
    records = "memguard.log.records"
    assert 2 == exported.value(records, name="recent", level="INFO")
    assert 1 == exported.value(records, name="recent", level="ERROR")


# -- one look an interval --------------------------------------------------------------


def test_many_readers_share_one_look(clock: FakeClock) -> None:
    """
    Within a second everybody gets the same figures; then somebody looks again.
    """
    probe = FakeProbe(rss="64MiB")
    guard = Guard(clock=clock, probe=probe)
    readers = [InMemoryMetricReader(), InMemoryMetricReader()]
    provider = MeterProvider(readers, shutdown_on_exit=False)
    instrument(guard, provider)

    def usage(reader: InMemoryMetricReader) -> Any:
        metric = by_name(reader.get_metrics_data())["process.memory.usage"]
        return metric.data.data_points[0].value

    assert usage(readers[0]) == 64 << 20
    probe.rss = "65MiB"
    clock.advance("900ms")
    assert usage(readers[1]) == 64 << 20
    clock.advance("1m")
    assert usage(readers[1]) == 65 << 20
    assert usage(readers[0]) == 65 << 20


def test_what_a_look_costs_is_exported(
    exported: Exported, guard: Guard, clock: FakeClock
) -> None:
    """
    The CPU time of earlier looks, and the bytes of memguard's own records.
    """
    instrument(guard, exported.provider)
    things = [guard.register(Thing()) for _ in range(1000)]
    exported.metrics()
    clock.advance("2m")
    assert 0.0 < exported.value("memguard.self.overhead.time") < 1.0
    assert exported.value("memguard.self.memory.usage") > 100 * len(things)
    assert exported.value("memguard.self.dropped") == 0


def test_a_failing_probe_costs_its_own_figures_only(
    exported: Exported, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The rest is exported, the failure is counted and told once.
    """

    class Failing(FakeProbe):
        def memory(self) -> Any:
            raise OSError

    guard = Guard(clock=clock, probe=Failing())
    instrument(guard, exported.provider)
    assert exported.value("memguard.self.dropped") == 1
    clock.advance("5m")
    assert exported.value("memguard.self.dropped") == 2
    assert "process.memory.usage" not in exported.metrics()
    assert guard.registry.failures.total == 2
    assert ["memguard"] == [record.name for record in caplog.records]


# -- what is not to be exported --------------------------------------------------------


def test_metrics_can_be_excluded(exported: Exported) -> None:
    """
    The setting takes patterns, for observed and for recorded metrics.
    """
    guard = Guard(metrics_exclude=("memguard.self.*", "*.duration", "process.uptime"))
    instrument(guard, exported.provider)
    guard.start()
    guard.shutdown()
    found = exported.metrics()
    assert not [name for name in found if name.startswith("memguard.self.")]
    assert "memguard.shutdown.duration" not in found
    assert "process.uptime" not in found
    assert "process.thread.count" in found


@pytest.fixture
def system_metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """
    An instrumentor as that of opentelemetry-instrumentation-system-metrics.
    """

    class SystemMetricsInstrumentor(BaseInstrumentor):
        def instrumentation_dependencies(self) -> tuple[str, ...]:
            return ()

        def _uninstrument(self, **_: Any) -> None:
            """
            Does nothing, as the real one.
            """

    name = "opentelemetry.instrumentation.system_metrics"
    module = ModuleType(name)
    module.SystemMetricsInstrumentor = SystemMetricsInstrumentor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    return SystemMetricsInstrumentor()


def test_process_metrics_are_left_to_others(
    exported: Exported, guard: Guard, system_metrics: Any
) -> None:
    """
    Silent from the moment the other is active, also when it claims to be off again.
    """
    instrument(guard, exported.provider)
    assert OF_PROCESS & set(exported.metrics())
    system_metrics.instrument()
    assert not OF_PROCESS & set(exported.metrics())
    assert "memguard.memory.utilization" in exported.metrics()
    system_metrics.uninstrument()
    assert not OF_PROCESS & set(exported.metrics())


def test_process_metrics_can_be_decided(
    exported: Exported, guard: Guard, system_metrics: Any
) -> None:
    """
    With on they are exported beside the other's, with off never.
    """
    system_metrics.instrument()
    instrument(guard, exported.provider, process_metrics="on")
    assert OF_PROCESS & set(exported.metrics())
    instrument(guard, exported.provider, process_metrics="off")
    assert not OF_PROCESS & set(exported.metrics())
    system_metrics.uninstrument()


# -- which guard, and until when -------------------------------------------------------


def test_the_last_guard_is_shown(clock: FakeClock, exported: Exported) -> None:
    """
    A second guard takes the first one's place; nothing of the first is left.
    """
    first = Guard("one", clock=clock, probe=FakeProbe(rss="10MiB"))
    second = Guard("two", clock=clock, probe=FakeProbe(rss="20MiB"))
    first.register(Thing(), kind="door", keep=True)
    old = instrument(first, exported.provider)
    assert exported.value("process.memory.usage") == 10 << 20
    new = instrument(second, exported.provider)
    assert exported.value("process.memory.usage") == 20 << 20
    assert exported.value("memguard.resource.count", type="door") is None
    assert (False, True) == (old.is_active, new.is_active)
    old.shutdown()
    assert exported.value("process.memory.usage") == 20 << 20


def test_the_same_again_is_the_same(exported: Exported, guard: Guard) -> None:
    """
    Instrumenting twice changes nothing, and adds nothing to the guard.
    """
    first = instrument(guard, exported.provider)
    before = len(guard.children()), len(guard.registry.events.hooks)
    assert instrument(guard, exported.provider) is first
    assert before == (len(guard.children()), len(guard.registry.events.hooks))


def test_after_its_shutdown_it_is_silent(exported: Exported, guard: Guard) -> None:
    """
    Nothing is exported any more; the guard is as before; it can begin again.
    """
    before = len(guard.children()), len(guard.registry.events.hooks)
    for _ in range(50):
        instrumentation = instrument(guard, exported.provider)
        instrumentation.shutdown()
    instrumentation.shutdown()
    assert exported.metrics() == {}
    assert before == (len(guard.children()), len(guard.registry.events.hooks))
    instrument(guard, exported.provider)
    assert exported.value("process.memory.usage") == 64 << 20


def test_a_provider_keeps_no_guard_alive(exported: Exported) -> None:
    """
    Callbacks stay for ever; what they look at may go.
    """
    guard = Guard()
    instrument(guard, exported.provider)
    exported.metrics()
    gone = ref(guard)
    del guard
    gc.collect()
    assert gone() is None
    assert exported.metrics() == {}


def test_two_providers_show_the_same_guard(exported: Exported, guard: Guard) -> None:
    """
    Each provider has its own instruments, and each can be ended alone.
    """
    other = Exported()
    instrument(guard, exported.provider)
    second = instrument(guard, other.provider)
    assert exported.value("process.memory.usage") == other.value("process.memory.usage")
    second.shutdown()
    assert other.metrics() == {}
    assert exported.value("process.memory.usage") == 64 << 20


def test_wrong_arguments_are_refused(exported: Exported, guard: Guard) -> None:
    """
    At the door, with a text that names what was given.
    """
    wrong: Any = "both"
    with pytest.raises(
        ValueError, match="process_metrics must be one of auto, on, off"
    ):
        instrument(guard, process_metrics=wrong)
    with pytest.raises(TypeError, match="not a str"):
        instrument(wrong, exported.provider)
    with pytest.raises(TypeError, match="meter_provider must have get_meter"):
        instrument(guard, wrong)


def test_a_guard_that_was_shut_down_is_refused(
    exported: Exported, guard: Guard
) -> None:
    """
    Nothing is left half set up, and after a new start it goes.
    """
    guard.start()
    guard.shutdown()
    with pytest.raises(ScopeClosed):
        instrument(guard, exported.provider)
    assert exported.metrics() == {}
    guard.start()
    instrument(guard, exported.provider)
    assert "process.memory.usage" in exported.metrics()


# -- the shutdown ----------------------------------------------------------------------


class Collector(MetricExporter):
    """
    Keeps what is exported; can be made slow, or deaf.
    """

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[dict[str, Any]] = []
        self.answers = threading.Event()
        self.answers.set()
        self.fails = False

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any
    ) -> MetricExportResult:
        self.answers.wait(20)
        if self.fails:
            raise ConnectionError
        self.batches.append(by_name(metrics_data))
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        if self.fails:
            raise ConnectionError
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        """
        Nothing to end.
        """


@pytest.fixture
def collector() -> Iterator[tuple[Collector, MeterProvider]]:
    """
    A collector behind a reader that exports only when it is asked to.
    """
    collector = Collector()
    reader = PeriodicExportingMetricReader(collector, export_interval_millis=math.inf)
    yield collector, MeterProvider([reader], shutdown_on_exit=False)
    collector.answers.set()


def test_a_shutdown_exports_once_more_and_is_exported(
    collector: tuple[Collector, MeterProvider],
) -> None:
    """
    The figures of now go out in the telemetry phase, the shutdown itself after it.
    """
    found, provider = collector
    guard = Guard()
    instrument(guard, provider)
    guard.start()
    guard.register(Thing(), keep=True, kind="door")
    guard.register(Stubborn(), keep=True, kind="door")
    report = guard.shutdown()
    first, last = found.batches
    released = {
        point.attributes["memguard.release.reason"]: point.value
        for point in first["memguard.resource.released"].data.data_points
    }
    assert {"closed": 1, "unclosable": 1} == released
    (duration,) = last["memguard.shutdown.duration"].data.data_points
    assert duration.sum == report.seconds
    assert duration.attributes == {"error.type": "leaked"}
    assert 10.0 in duration.explicit_bounds
    failures = last["memguard.shutdown.failures"].data.data_points
    assert [(1, {"memguard.resource.type": "door", "error.type": "OSError"})] == [
        (point.value, point.attributes) for point in failures
    ]
    assert "address" not in str(found.batches)


def test_a_guard_that_starts_again_exports_again(
    collector: tuple[Collector, MeterProvider],
) -> None:
    """
    Each shutdown is one more in the histogram; what is clean has no error.
    """
    found, provider = collector
    guard = Guard()
    instrument(guard, provider)
    for _ in range(3):
        guard.start()
        guard.shutdown()
    (point,) = found.batches[-1]["memguard.shutdown.duration"].data.data_points
    assert (3, {}) == (point.count, point.attributes)


def test_a_dead_collector_is_given_up(
    collector: tuple[Collector, MeterProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The shutdown goes on in time, is clean, and says which export was given up.
    """
    found, provider = collector
    monkeypatch.setattr(LastExport, "timeout", 0.1)
    guard = Guard()
    instrumentation = instrument(guard, provider)
    guard.start()
    found.answers.clear()
    report = guard.shutdown()
    assert report.seconds < 1.0
    assert report.clean
    assert [("telemetry", "last export", "forced")] == [
        (one.kind, one.name, one.outcome) for one in report.failing()
    ]
    assert found.batches == []
    found.answers.set()
    assert instrumentation.is_active


def test_the_exit_does_not_wait_for_a_dead_collector(
    run_python: RunPython,
) -> None:
    """
    What did not answer once is not asked again by the provider's own exit function.
    """
    done = run_python(
        """
import threading
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter, PeriodicExportingMetricReader
)
import memguard
from memguard._telemetry.flush import LastExport

class Dead(ConsoleMetricExporter):
    def export(self, *args, **kwargs):
        threading.Event().wait(20)

LastExport.timeout = 0.1
reader = PeriodicExportingMetricReader(Dead(), export_interval_millis=60_000)
metrics.set_meter_provider(MeterProvider([reader]))
memguard.install()
""",
        timeout=10,
    )
    assert done.returncode == 0, done.stderr


def test_connections_of_exporters_are_no_leak() -> None:
    """
    A socket that an exporter keeps open is its own, one of the application is a leak.
    """

    class Connecting(Collector):
        connection: Any = None

        def export(self, *args: Any, **kwargs: Any) -> MetricExportResult:
            if self.connection is None:
                self.connection = {"pool": [socketpair()]}
            return MetricExportResult.SUCCESS

    exporter = Connecting()
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
    guard = Guard(shutdown_timeout="500ms", grace="1s")
    instrument(guard, MeterProvider([reader], shutdown_on_exit=False))
    guard.start()
    assert guard.shutdown().clean
    assert exporter.connection is not None
    guard.start()
    reader.force_flush()
    assert guard.audit().clean
    own = socketpair()
    report = guard.shutdown()
    assert [("socket", "leaked")] * 2 == [
        (finding.kind, finding.verdict) for finding in report.audit.findings
    ]
    for one in (*own, *exporter.connection["pool"][0]):
        one.close()


def test_the_last_export_has_two_seconds() -> None:
    """
    The bound that the documentation promises.
    """
    assert LastExport.timeout == 2.0
    assert LastExport.phase == "telemetry"


def test_a_failing_export_fails_no_shutdown(
    collector: tuple[Collector, MeterProvider], caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is told in the report, and counted, and nothing leaked.
    """
    found, provider = collector
    guard = Guard()
    instrument(guard, provider)
    guard.start()
    found.fails = True
    with caplog.at_level(logging.CRITICAL, "opentelemetry"):
        report = guard.shutdown()
    assert report.clean
    assert ["forced"] == [one.outcome for one in report.failing()]
    assert guard.registry.failures.total == 1


def test_a_provider_without_an_sdk_needs_no_export(guard: Guard) -> None:
    """
    The API alone cannot be flushed; that is no failure.
    """
    provider: Any = SimpleNamespace(get_meter=lambda *_: NoOp())
    instrument(guard, provider)
    guard.start()
    assert guard.shutdown().failing() == ()


class NoOp:
    """
    A meter that measures nothing.
    """

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: SimpleNamespace(
            add=lambda *_: None, record=lambda *_: None
        )


# -- locks -----------------------------------------------------------------------------


class Cyclic:
    """
    Garbage that only a collection frees, and that talks to its guard when it goes.
    """

    def __init__(self, guard: Guard, goes: list[bool], locks: list[Any]) -> None:
        self.me = self
        self.guard = guard
        self.goes = goes
        self.locks = locks

    def close(self) -> None:
        """
        Nothing to release.
        """

    def __del__(self) -> None:
        self.goes.append(any(lock.locked() for lock in self.locks))
        self.guard.release(self.guard.register(Thing(), kind="last words"))


@pytest.mark.filterwarnings("ignore::memguard.errors.MemguardResourceWarning")
def test_a_collection_inside_a_reader_does_not_hang(exported: Exported) -> None:
    """
    Garbage that was registered goes while the reader holds its locks, and registers
    more; other threads register and close meanwhile.
    """
    clock = FakeClock()
    guard = Guard(clock=clock)
    instrument(guard, exported.provider)
    guard.start()
    over = threading.Event()
    goes: list[bool] = []
    locks = [exported.provider._measurement_consumer._lock]  # type: ignore[attr-defined]
    rounds: list[int] = []

    def churn() -> None:
        while not over.is_set():
            with guard.scope("work") as scope:
                scope.register(Thing(), kind="churn", keep=True)
                over.wait(0.001)

    def read() -> None:
        before = gc.get_threshold()
        gc.set_threshold(20, 100, 100)
        try:
            for number in range(20):
                for _ in range(10):
                    guard.register(Cyclic(guard, goes, locks), kind="cyclic")
                clock.advance("2m")
                exported.reader.collect()
                rounds.append(number)
        finally:
            gc.set_threshold(*before)

    threads = [threading.Thread(target=read, daemon=True)]
    threads += [threading.Thread(target=churn, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    threads[0].join(20)
    over.set()
    for thread in threads:
        thread.join(5)
    assert [] == [thread.name for thread in threads if thread.is_alive()]
    assert list(range(20)) == rounds
    assert any(goes)  # some went while the reader held its lock
    gc.collect()
    clock.advance("2m")
    assert exported.value("memguard.resource.created", type="last words") >= len(goes)
    guard.shutdown()


# -- the instrumentor ------------------------------------------------------------------


def test_the_instrumentor_begins_and_ends(exported: Exported, guard: Guard) -> None:
    """
    It passes its arguments on, and takes everything back.
    """
    instrumentor = MemguardInstrumentor()
    instrumentor.instrument(
        guard=guard, meter_provider=exported.provider, process_metrics="off"
    )
    assert "memguard.memory.limit" in exported.metrics()
    assert not OF_PROCESS & set(exported.metrics())
    instrumentor.uninstrument()
    assert exported.metrics() == {}
    assert MemguardInstrumentor() is instrumentor


def test_the_instrumentor_tells_wrong_arguments() -> None:
    """
    Only the call without arguments never raises.
    """
    with pytest.raises(ValueError, match="process_metrics"):
        MemguardInstrumentor().instrument(process_metrics="both")


def test_the_instrumentor_is_announced() -> None:
    """
    OpenTelemetry's tools find it by its entry point.
    """
    (found,) = entry_points(group="opentelemetry_instrumentor", name="memguard")
    assert found.load() is MemguardInstrumentor
