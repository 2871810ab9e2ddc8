"""
Turning the metrics of a guard on for a meter provider, and off again.
"""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from memguard._guard import Guard
from memguard._kinds.closers import running_loop
from memguard._telemetry.bridge import Bridge, bridge_to, global_provider
from memguard._telemetry.connections import held_by_exporters
from memguard._telemetry.flush import FLUSH_S, LastExport
from memguard._telemetry.hostmetrics import MODES, ProcessMetrics

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from memguard._lifecycle.report import ShutdownReport

__all__ = ("Instrumentation", "instrument")

# Below this there is no use in trying.
_LEAST_S: Final = 0.01


class Instrumentation:
    """
    The metrics of one guard on one provider, from `instrument` to `shutdown`.

    The guard keeps it alive; it does not keep the guard alive.
    """

    def __init__(
        self, guard: Guard, bridge: Bridge, provider: MeterProvider | None
    ) -> None:
        self._guard = ref(guard)
        self._bridge = bridge
        self._provider = provider
        self._last_export: ref[LastExport] | None = None
        # Seconds of the last flush; None when there was none, or it did not succeed.
        self._flushed_in: float | None = None

    @property
    def is_active(self) -> bool:
        """
        False after `shutdown`, and when the provider shows another guard by now.
        """
        owner = self._bridge.owner
        return owner is not None and owner() is self

    def shows(self, guard: Guard) -> bool:
        """
        True while it exports the figures of *guard*.
        """
        return self.is_active and self._guard() is guard

    def put_up(self, guard: Guard, process_metrics: ProcessMetrics) -> None:
        """
        Begin to export; what the provider showed before is not shown any more.
        """
        last = LastExport(guard, self)
        last.put_up()
        self._last_export = ref(last)
        self._bridge.process_metrics = process_metrics
        self._bridge.observer.turn_to(self._guard)
        self._bridge.owner = ref(self)

    def shutdown(self) -> None:
        """
        Export nothing more. Does not shut the provider down; safe to call twice.
        """
        if self.is_active:
            self._bridge.owner = None
            self._bridge.observer.turn_to(None)
        last = None if self._last_export is None else self._last_export()
        if last is not None:
            last.close()

    # -- the last export ---------------------------------------------------------------

    def flush(self, timeout: float = FLUSH_S) -> None:
        """
        Have the provider export now, with figures of now.

        The provider keeps to *timeout* or does not: call it where it can be given up.
        """
        self._flushed_in = None
        if not self.is_active:
            return
        self._bridge.observer.refresh()
        export = getattr(self._real_provider(), "force_flush", None)
        if export is None:  # the API alone: there is nothing to export to
            return
        clock = self._clock
        begun = clock()
        if export(round(timeout * 1000)) is False:
            self._bridge.observer.gave_up()
        else:
            self._flushed_in = clock() - begun

    def gave_up(self) -> None:
        """
        The export took too long, and nobody waits for it any more.

        Nor does the exit of the process: the provider would try again there, for up to
        thirty seconds, with a collector that has not answered for two.
        """
        self._bridge.observer.gave_up()
        shutdown = getattr(self._real_provider(), "shutdown", None)
        if shutdown is not None:
            atexit.unregister(shutdown)

    def descriptors(self) -> set[int]:
        """
        The connections that exporters hold open.
        """
        return held_by_exporters(self._real_provider())

    def _real_provider(self) -> Any:
        return self._provider or global_provider()

    def finish(self, report: ShutdownReport) -> None:
        """
        Record the shutdown and export that too, where the last export went well.

        The whole takes no longer than the last export may, nor than the shutdown's
        budget. A running loop is not held up: there the export may come too late.
        """
        if not self.is_active:
            return
        self._bridge.record(report)
        spent = self._flushed_in
        if spent is None:
            return
        left = min(FLUSH_S - spent, report.budget_s - report.seconds)
        if left < _LEAST_S:
            return
        thread = threading.Thread(
            target=self._export_again, args=(left,), name="memguard-export", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            return  # the interpreter ends: no threads any more
        if running_loop() is None:
            thread.join(left)

    def _export_again(self, left: float) -> None:
        try:
            self.flush(left)
        except Exception as error:
            guard = self._guard()
            if guard is not None:
                guard.registry.failures.record("exporting the shutdown", error)

    def _clock(self) -> float:
        guard = self._guard()
        return 0.0 if guard is None else guard.registry.clock.monotonic()


def instrument(
    guard: Guard,
    meter_provider: MeterProvider | None = None,
    *,
    process_metrics: ProcessMetrics = "auto",
) -> Instrumentation:
    """
    Export the metrics of *guard* through *meter_provider*, by default the global one.

    A provider shows one guard, the last one. The same call again changes nothing but
    *process_metrics*: auto leaves `process.*` and `cpython.*` to the instrumentation
    of system metrics when that is active, on exports them anyway, off never.
    """
    if not isinstance(guard, Guard):
        msg = f"guard must be a memguard.Guard, not a {type(guard).__qualname__}"
        raise TypeError(msg)
    if meter_provider is not None and not hasattr(meter_provider, "get_meter"):
        kind = type(meter_provider).__qualname__
        msg = f"meter_provider must have get_meter, as OpenTelemetry's do, not a {kind}"
        raise TypeError(msg)
    if process_metrics not in MODES:
        msg = f"process_metrics must be one of {', '.join(MODES)}: {process_metrics!r}"
        raise ValueError(msg)
    bridge = bridge_to(meter_provider or global_provider())
    owner = None if bridge.owner is None else bridge.owner()
    if owner is not None and owner.shows(guard):
        bridge.process_metrics = process_metrics
        return owner
    new = Instrumentation(guard, bridge, meter_provider)
    new.put_up(guard, process_metrics)
    if owner is not None:
        owner.shutdown()
    return new
