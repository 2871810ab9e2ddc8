"""
The bridge to one meter provider: instruments made once, measured for the current guard.

An observable instrument cannot be taken back, and of two that have the same name the
provider keeps the callbacks of the first only. So the callbacks are functions of this
module, bound to a bridge that belongs to the provider; which guard the bridge looks
at can change, and with none there is nothing to export.

Importing this module imports OpenTelemetry's API: nothing that `import memguard`
loads may do so.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar, Final
from weakref import ref

from opentelemetry import metrics

from memguard._telemetry.hostmetrics import ProcessMetrics, exported_by_others
from memguard._telemetry.observer import Observer
from memguard._telemetry.recording import duration_of, failures_of
from memguard._telemetry.table import DURATION_BOUNDS, SCHEMA_URL, TABLE, Instrument

if TYPE_CHECKING:
    from memguard._lifecycle.report import ShutdownReport
    from memguard._telemetry.instrumentation import Instrumentation

__all__ = ("Bridge", "bridge_to", "global_provider")

# Kept in the provider's own dictionary: both end together, and no table of ours could
# be left locked by a fork or keep a provider alive.
_KEY: Final = "_memguard_bridge"


class Bridge:
    """
    What the callbacks of one provider look at.
    """

    __slots__ = ("_others_seen", "_recorders", "observer", "owner", "process_metrics")

    #: That of the API's proxy, whose instruments the real provider takes over.
    of_proxy: ClassVar[Bridge | None] = None

    def __init__(self) -> None:
        self.observer = Observer()
        self.owner: ref[Instrumentation] | None = None
        self.process_metrics: ProcessMetrics = "auto"
        self._recorders: dict[str, Any] = {}
        self._others_seen = False

    def put_up(self, provider: metrics.MeterProvider) -> None:
        """
        Make every instrument of the table. Called once for each provider.
        """
        meter = provider.get_meter("memguard", _version(), SCHEMA_URL)
        for row in TABLE:
            create = getattr(meter, f"create_{row.kind}")
            if row.read is not None:
                callback = partial(_measure, self, row)
                create(row.name, [callback], unit=row.unit, description=row.doc)
            else:
                self._recorders[row.name] = _recorder(create, row)

    def record(self, report: ShutdownReport) -> None:
        """
        Record a shutdown that is over. In ordinary code only: it takes locks.
        """
        for name, points in (
            ("memguard.shutdown.duration", [duration_of(report)]),
            ("memguard.shutdown.failures", failures_of(report)),
        ):
            recorder = self._recorders.get(name)
            if recorder is not None and not self.excludes(name):
                for value, attributes in points:
                    recorder(value, attributes)

    def excludes(self, name: str) -> bool:
        """
        True for what the setting `metrics_exclude` names, with fnmatch patterns.
        """
        guard = self.observer.guard
        if guard is None:
            return True
        return any(
            fnmatchcase(name, pattern) for pattern in guard.settings.metrics_exclude
        )

    def leaves_to_others(self, row: Instrument) -> bool:
        """
        True for figures of the process that somebody else exports.
        """
        if not row.of_process or self.process_metrics == "on":
            return False
        # Once seen is enough: those callbacks stay when they are uninstrumented.
        self._others_seen = self._others_seen or exported_by_others()
        return self.process_metrics == "off" or self._others_seen


def _measure(
    bridge: Bridge, row: Instrument, _options: metrics.CallbackOptions
) -> Iterable[metrics.Observation]:
    """
    The callback of every observable instrument. Never raises, never waits long.

    It returns a list: a generator would run between the steps of the reader.
    """
    try:
        if bridge.leaves_to_others(row) or bridge.excludes(row.name):
            return []
        observed = bridge.observer.observe()
        if observed is None or row.read is None:
            return []
        return [
            metrics.Observation(value, attributes)
            for value, attributes in row.read(observed)
        ]
    except Exception as error:
        guard = bridge.observer.guard
        if guard is not None:
            guard.registry.failures.record(f"measuring {row.name}", error)
        return []


def _recorder(create: Any, row: Instrument) -> Any:
    """
    What records one value of a synchronous instrument.
    """
    if row.kind == "counter":
        return create(row.name, unit=row.unit, description=row.doc).add
    try:
        return create(
            row.name,
            unit=row.unit,
            description=row.doc,
            explicit_bucket_boundaries_advisory=DURATION_BOUNDS,
        ).record
    except TypeError:  # an API that takes no advice on buckets yet
        return create(row.name, unit=row.unit, description=row.doc).record


def _version() -> str | None:
    try:
        return version("memguard")
    except PackageNotFoundError:  # run from its source, or put into another program
        return None


def global_provider() -> metrics.MeterProvider:
    """
    The provider of the process as it is now: a proxy, until one was set.
    """
    return metrics.get_meter_provider()


def bridge_to(provider: metrics.MeterProvider) -> Bridge:
    """
    The bridge of *provider*, put up on first call.

    What was made on the API's proxy is handed on to the real provider when that is
    set: then both are the same bridge.
    """
    held: dict[str, Any] = getattr(provider, "__dict__", {})
    found = held.get(_KEY)
    if found is not None:
        return found  # type: ignore[no-any-return]
    is_proxy = type(provider).__name__ == "_ProxyMeterProvider"
    made = Bridge.of_proxy
    if made is not None and not is_proxy and provider is global_provider():
        return held.setdefault(_KEY, made)  # type: ignore[no-any-return]
    new = Bridge()
    bridge: Bridge = held.setdefault(_KEY, new)
    if bridge is new:
        if is_proxy:
            Bridge.of_proxy = bridge
        bridge.put_up(provider)
    return bridge
