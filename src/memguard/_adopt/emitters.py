"""
Emitters of pyee: how many listen to what, and what they wait for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

from memguard._adopt.alike import most_alike
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

# As many listeners of one function are no coincidence.
_MANY: Final = 10


class Emitter(Adapter):
    """
    Any emitter of pyee: its listeners and events, and how many listeners of one event
    are the same function. Closing it removes them all.
    """

    kind = "signal"
    phase = "emitters"
    module = "pyee"
    cannot = (
        "who drops a listener takes an event away from somebody; remove it with its"
        " owner, or use a memguard.emitter, which has max_listeners"
    )
    must_close = False
    inherited = True

    def types(self) -> Iterable[type]:
        return _class("pyee.base", "EventEmitter")

    def measure(self, obj: Any) -> Measured:
        names = obj.event_names()
        listeners = [obj.listeners(name) for name in names]
        return Measured(
            entries=sum(map(len, listeners)),
            details={
                "events": len(names),
                "most_of_one_event": max(map(len, listeners), default=0),
                "most_of_one_function": max(map(most_alike, listeners), default=0),
            },
        )

    def close(self, obj: Any) -> None:
        obj.remove_all_listeners()

    def risk(self, obj: Any) -> Risk | None:
        alike = self.measure(obj).details["most_of_one_function"]
        if alike <= _MANY:
            return None
        return Risk(
            "listeners",
            f"{alike} listeners of one event are the same function, added again and"
            " again",
            "remove them with their owner, or listen in a scope of memguard",
        )


class Waiting(Emitter):
    """
    An `AsyncIOEventEmitter`: the tasks of its listeners too, which are cancelled.
    """

    affinity = "loop"
    inherited = False

    def types(self) -> Iterable[type]:
        return _class("pyee.asyncio", "AsyncIOEventEmitter")

    def measure(self, obj: Any) -> Measured:
        seen = super().measure(obj)
        details = {**seen.details, "waiting": len(obj._waiting)}
        return Measured(entries=seen.entries, details=details)

    def close(self, obj: Any) -> None:
        obj.remove_all_listeners()
        obj.cancel()


class Threaded(Emitter):
    """
    An `ExecutorEventEmitter`: its executor is shut down too.
    """

    inherited = False
    forces = True

    def types(self) -> Iterable[type]:
        return _class("pyee.executor", "ExecutorEventEmitter")

    def close(self, obj: Any) -> None:
        obj.remove_all_listeners()
        obj.shutdown(wait=True)

    def force(self, obj: Any) -> None:
        obj.shutdown(wait=False)


def _class(module: str, name: str) -> Iterable[type]:
    found = getattr(sys.modules.get(module), name, None)
    return () if found is None else (found,)


ADAPTERS = (Waiting(), Threaded(), Emitter())
