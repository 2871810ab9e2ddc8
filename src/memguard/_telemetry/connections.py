"""
The sockets that exporters hold: connections kept open from export to export.

They belong to OpenTelemetry, not to the application, and the audit has to know.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections import deque
from collections.abc import Iterator
from functools import partial
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import Any, Final
from weakref import ref

__all__ = ("held_by_exporters",)

# An exporter with its session and its pools is some hundred objects.
_MOST: Final = 20_000
_DEEPEST: Final = 200
# What leads out of an exporter into the whole program, or nowhere.
_NOT_FOLLOWED: Final = (
    type,
    partial,
    ref,
    str,
    bytes,
    int,
    float,
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    MethodType,
    ModuleType,
)
# Where OpenTelemetry keeps the providers of the process, if it is in use.
_GLOBALS: Final = (
    ("opentelemetry.metrics._internal", "_METER_PROVIDER"),
    ("opentelemetry.trace", "_TRACER_PROVIDER"),
    ("opentelemetry._logs._internal", "_LOGGER_PROVIDER"),
)
_EXPORTER: Final = os.path.join("", "opentelemetry", "exporter", "")


def held_by_exporters(provider: Any) -> set[int]:
    """
    Descriptors of the sockets below *provider*, below the providers of the process,
    and in the hands of threads that are exporting. Runs no code of theirs.
    """
    roots = [provider, *_providers(), *_in_hands()]
    seen = {id(root) for root in roots}
    found: set[int] = set()
    todo: deque[Any] = deque(roots)
    while todo and len(seen) < _MOST:
        for one in gc.get_referents(todo.popleft()):
            # By its true type: what an object says of its class may be computed.
            kind = type(one)
            if id(one) in seen or issubclass(kind, _NOT_FOLLOWED):
                continue
            seen.add(id(one))
            if issubclass(kind, socket.socket):
                found.add(socket.socket.fileno(one))
            else:
                todo.append(one)
    return found


def _providers() -> Iterator[Any]:
    for module, name in _GLOBALS:
        yield getattr(sys.modules.get(module), name, None)


def _in_hands() -> Iterator[dict[str, Any]]:
    """
    The variables of calls that an exporter has made and that have not returned.

    While a request is under way nobody else refers to its connection.
    """
    for innermost in sys._current_frames().values():
        calls: list[FrameType] = []
        frame: FrameType | None = innermost
        while frame is not None and len(calls) < _DEEPEST:
            calls.append(frame)
            if _EXPORTER in frame.f_code.co_filename:
                for call in calls:
                    yield dict(call.f_locals)
                break
            frame = frame.f_back
