"""
The last export: a node that the shutdown reaches in its telemetry phase.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from memguard._events import Event, ShutdownFinished
from memguard._phases import NEW, OPEN, Phase
from memguard._tree import Branch, Node

if TYPE_CHECKING:
    from memguard._telemetry.instrumentation import Instrumentation

__all__ = ("FLUSH_S", "LastExport")

#: What the last export may take, in seconds.
FLUSH_S: Final = 2.0


class LastExport(Node):
    """
    Exports once more in every shutdown of its guard, and after it.

    It is a declaration, so that it survives a shutdown and a fork. A collector that
    does not answer is given up after two seconds and is no fault of the program: the
    outcome is then `forced`.
    """

    __slots__ = ("_instrumentation", "_unsubscribe")

    kind: ClassVar[str] = "telemetry"
    phase = Phase.TELEMETRY
    timeout = FLUSH_S
    forces: ClassVar[bool] = True

    def __init__(self, guard: Branch, instrumentation: Instrumentation) -> None:
        super().__init__(guard, "last export")
        self._instrumentation = instrumentation
        self._unsubscribe: Callable[[], None] | None = None

    def put_up(self) -> None:
        """
        Join the guard, running or not; raises ScopeClosed after its shutdown.
        """
        self.declared = True
        self.state = OPEN if self.registry.running else NEW
        self.attach()
        self._unsubscribe = self.registry.events.subscribe(self._on_event)

    def _disarm(self) -> Any:
        self._instrumentation.flush()

    def _force(self) -> None:
        self._instrumentation.gave_up()

    def host_descriptors(self) -> set[int]:
        """
        For the audit: connections of exporters, which are not the application's.
        """
        return self._instrumentation.descriptors()

    def _release(self) -> Any:
        if self._unsubscribe is not None:
            self._unsubscribe()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, ShutdownFinished):
            self._instrumentation.finish(event.report)
