"""
The threads of this process, as the kernel and as Python know them.

The two lists differ: threads of C libraries have no Python record, and a thread that
C code started and that runs Python has no `Thread` object until it asks for one.
Keeps no thread, frame or function alive: records hold names only.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Final

from memguard._probes.procfs import parse_stat, read_text, seconds_since_boot
from memguard._records import record

__all__ = ("PythonThread", "native_threads", "python_threads", "thread_age")

_DEPTH: Final = 8


@record
class PythonThread:
    """
    One thread that runs Python code.

    `target` is the qualified name of the function it was given, None for a thread
    whose class overrides `run` and for one that has ended it. `kind` is the class,
    "foreign" for a thread without a `Thread` object.
    """

    ident: int
    native_id: int | None
    name: str | None
    daemon: bool
    target: str | None
    kind: str


def native_threads(root: str = "/") -> dict[int, str] | None:
    """
    The kernel's threads: id to name (15 bytes at most). None if nobody can tell.
    """
    directory = os.path.join(root, "proc/self/task")
    try:
        numbers = os.listdir(directory)
    except OSError:
        return None
    found = {}
    for number in numbers:
        name = read_text(os.path.join(directory, number, "comm"))
        if name is not None:  # else it has ended meanwhile
            found[int(number)] = name.rstrip("\n")
    return found


def thread_age(
    native_id: int | None,
    root: str = "/",
    *,
    now: Callable[[], float | None] = seconds_since_boot,
) -> float | None:
    """
    Seconds since a thread of this process started, to 10 ms; None if nobody can tell.
    """
    stat = parse_stat(read_text(os.path.join(root, f"proc/self/task/{native_id}/stat")))
    moment = now()
    if stat is None or moment is None:
        return None
    return max(0.0, moment - stat.started_s)


def python_threads() -> dict[int, PythonThread]:
    """
    All threads that run Python code, by ident, with no `Thread` object missed.

    Takes the lock of `threading`, so never call it from a signal handler or from a
    callback of the garbage collector.
    """
    found = {}
    for thread in threading.enumerate():
        if thread.ident is not None:  # else it is about to start
            found[thread.ident] = _record(thread)
    for ident in tuple(sys._current_frames()):
        if ident not in found:
            found[ident] = PythonThread(ident, None, None, True, None, "foreign")
    return found


def _record(thread: threading.Thread) -> PythonThread:
    # `run` deletes the target when it ends; a Timer keeps its function elsewhere.
    target = getattr(thread, "_target", None)
    if target is None and isinstance(thread, threading.Timer):
        target = thread.function
    kind = type(thread)
    return PythonThread(
        ident=thread.ident or 0,
        native_id=getattr(thread, "native_id", None),
        name=thread.name,
        daemon=thread.daemon,
        target=None if target is None else _qualified(target),
        kind=f"{kind.__module__}.{kind.__qualname__}",
    )


def _qualified(function: Any) -> str:
    """
    Where a callable comes from, reading no attribute that user code computes.
    """
    for _ in range(_DEPTH):
        if type(function) is partial:
            function = function.func
        elif type(function) is MethodType:
            function = function.__func__
        else:
            break
    if not isinstance(function, (FunctionType, BuiltinFunctionType, type)):
        function = type(function)
    return f"{function.__module__}.{function.__qualname__}"
