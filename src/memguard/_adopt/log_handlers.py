"""
Handlers of `logging`, and the listener of a queue of records.

Closing takes a handler off the loggers it was added to: a file handler would open its
file again with the next record. The directory and the file are never told, only how
many handlers write to the same one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

_QUEUE: Final = (
    "the bound of a queue is fixed where it is made; give the handler a"
    " queue.Queue(maxsize=...), or use memguard.log_handler"
)
_NO_TARGET: Final = (
    "a MemoryHandler without a target keeps every record, whatever its capacity: there"
    " is nobody to hand them to"
)


class Handler(Adapter):
    """
    Any other handler of logging: how many loggers have it, and how many others write
    the same once more. Closing it takes it off its loggers.
    """

    kind = "handler"
    phase = "telemetry"
    module = "logging"
    cannot = "it keeps nothing that could be capped"
    must_close = False
    inherited = True

    def types(self) -> Iterable[type]:
        return (sys.modules["logging"].Handler,)

    def measure(self, obj: Any) -> Measured:
        return Measured(details=_attached(obj))

    def close(self, obj: Any) -> None:
        for logger in _loggers():
            if any(one is obj for one in logger.handlers):
                logger.removeHandler(obj)
        obj.close()

    def risk(self, obj: Any) -> Risk | None:
        twice = _attached(obj)["duplicates"]
        if not twice:
            return None
        return Risk(
            "handlers",
            f"{twice} more of the same type write to the same place for the same"
            " records: it was added again and again",
            "add it once, where logging is configured",
        )


class MemoryHandler(Handler):
    """
    A `MemoryHandler`: the records it waits with, and its capacity, which is its cap.
    """

    caps = ("max_entries",)
    cannot = ""

    def types(self) -> Iterable[type]:
        return _of_handlers("MemoryHandler")

    def measure(self, obj: Any) -> Measured:
        return Measured(
            entries=len(obj.buffer),
            limit=obj.capacity,
            details={**_attached(obj), "has_target": obj.target is not None},
        )

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        if caps["max_entries"] is None:
            msg = "a MemoryHandler always has a capacity: max_entries cannot be None"
            raise ValueError(msg)
        if obj.target is None:
            msg = f"this MemoryHandler takes no max_entries: {_NO_TARGET}"
            raise TypeError(msg)

    def apply(self, obj: Any, caps: Mapping[str, Any]) -> None:
        # Looked at with each record, so nothing has to be taken out here.
        obj.capacity = caps["max_entries"]

    def cannot_of(self, obj: Any) -> str:
        return _NO_TARGET if obj.target is None else ""

    def risk(self, obj: Any) -> Risk | None:
        if obj.target is not None:
            return super().risk(obj)
        return Risk(
            "records",
            _NO_TARGET,
            "give it a target, or use memguard.log_handler",
        )


class QueueHandler(Handler):
    """
    A `QueueHandler`: the records that wait in its queue, and the queue's bound.
    """

    cannot = _QUEUE

    def types(self) -> Iterable[type]:
        return _of_handlers("QueueHandler")

    def measure(self, obj: Any) -> Measured:
        entries, limit = _queued(obj.queue)
        return Measured(entries=entries, limit=limit, details=_attached(obj))

    def risk(self, obj: Any) -> Risk | None:
        return _queue_risk(obj.queue) or super().risk(obj)


class QueueListener(Adapter):
    """
    A `QueueListener`: its queue, and whether its thread runs. Closing it stops it.
    """

    kind = "handler"
    phase = "telemetry"
    module = "logging"
    cannot = _QUEUE

    def types(self) -> Iterable[type]:
        return _of_handlers("QueueListener")

    def measure(self, obj: Any) -> Measured:
        entries, limit = _queued(obj.queue)
        details = {"handlers": len(obj.handlers), "running": self.is_open(obj)}
        return Measured(entries=entries, limit=limit, details=details)

    def is_open(self, obj: Any) -> bool:
        thread = obj._thread
        return thread is not None and bool(thread.is_alive())

    def close(self, obj: Any) -> None:
        if obj._thread is not None:
            obj.stop()

    def risk(self, obj: Any) -> Risk | None:
        return _queue_risk(obj.queue)


def _of_handlers(name: str) -> tuple[type, ...]:
    module: Any = sys.modules.get("logging.handlers")
    return () if module is None else (getattr(module, name),)


def _queued(queue: Any) -> tuple[int | None, int | None]:
    """
    How many wait in a queue, and how many may.
    """
    try:
        entries = queue.qsize()
    except (AttributeError, NotImplementedError):
        entries = None
    bound = getattr(queue, "maxsize", None) or getattr(queue, "_maxsize", None)
    return entries, bound if isinstance(bound, int) and bound > 0 else None


def _queue_risk(queue: Any) -> Risk | None:
    if _queued(queue)[1] is not None:
        return None
    return Risk(
        "records",
        "its queue has no bound: records wait in it for as long as nobody takes them",
        "give it a queue.Queue(maxsize=...)",
    )


def _loggers() -> Iterator[Any]:
    """
    Every logger there is. The dictionary is copied in one step: others may add some.
    """
    logging: Any = sys.modules["logging"]
    yield logging.root
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger


def _attached(handler: Any) -> dict[str, Any]:
    """
    How many loggers it is attached to, and how many others write the same once more.
    """
    loggers = twice = 0
    kind, place = type(handler), _place(handler)
    for first in _loggers():
        if not any(one is handler for one in list(first.handlers)):
            continue
        loggers += 1
        for logger in _way_up(first):
            for one in list(logger.handlers):
                if one is handler:
                    twice += logger is not first
                elif place is not None and type(one) is kind:
                    twice += _place(one) == place
    return {"loggers": loggers, "duplicates": twice}


def _way_up(logger: Any) -> Iterator[Any]:
    """
    The loggers whose handlers a record of *logger* is given to.
    """
    while logger is not None:
        yield logger
        logger = logger.parent if logger.propagate else None


def _place(handler: Any) -> Any:
    """
    Where a handler writes to: compared, never told.
    """
    path = getattr(handler, "baseFilename", None)
    if path is not None:
        return path
    stream = getattr(handler, "stream", None)
    return None if stream is None else id(stream)


ADAPTERS = (MemoryHandler(), QueueHandler(), QueueListener(), Handler())
