"""
How objects of well-known types are closed, found by the name of their type.

Nothing is imported to know a type: the table is keyed by `module.qualname`, and a
type is looked up along its MRO once. Types without an entry get the first closing
method they have.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final
from weakref import ref

from memguard._phases import Phase
from memguard._records import changed, record
from memguard.typing import Affinity

__all__ = (
    "TypeInfo",
    "checked_close",
    "identity",
    "info_of",
    "is_coroutine",
    "known",
    "running_loop",
)


@record
class TypeInfo:
    """
    What memguard knows of a type.

    `close` is a method's name, a function of the object, or None where there is
    nothing to close. `force` ends it without waiting. The last three are filled in
    for each type: its name, whether a scope may close it without further ado, and
    whether it tells its bytes.
    """

    kind: str
    close: str | Callable[[Any], Any] | None
    phase: Phase = Phase.CLIENTS
    affinity: Affinity = "any"
    force: Callable[[Any], Any] | None = None
    closed: Callable[[Any], bool] | None = None
    type_name: str = ""
    plain: bool = False
    tells_memory: bool = False


_METHODS: Final = (
    "aclose",
    "close",
    "shutdown",
    "stop",
    "disconnect",
    "terminate",
    "cancel",
    "cleanup",
    "release",
)
# A join or a wait inside a step is bounded by itself as well: an abandoned step then
# ends some day instead of holding its thread for ever.
_WAIT_S: Final = 30.0


def _stop_executor(executor: Any) -> None:
    executor.shutdown(wait=True, cancel_futures=True)


def _drop_executor(executor: Any) -> None:
    executor.shutdown(wait=False, cancel_futures=True)


def _stop_process(process: Any) -> None:
    process.terminate()
    process.wait(timeout=_WAIT_S)
    _close_pipes(process)


def _kill_process(process: Any) -> None:
    process.kill()
    process.wait(timeout=_WAIT_S)
    _close_pipes(process)


def _close_pipes(process: Any) -> None:
    """
    As the `with` block of a process does; its end may have left something unwritten.
    """
    for pipe in (process.stdin, process.stdout, process.stderr):
        try:
            if pipe is not None:
                pipe.close()
        except BrokenPipeError:
            continue  # closed all the same; nobody is there to read the rest


def _stop_child(process: Any) -> None:
    process.terminate()
    process.join(_WAIT_S)
    process.close()


def _kill_child(process: Any) -> None:
    process.kill()
    process.join(_WAIT_S)
    process.close()


def _join_thread(thread: Any) -> None:
    """
    Ask in the ways threads are asked, then wait; nobody can end a thread.
    """
    for name in ("stop", "shutdown", "cancel"):
        ask = getattr(thread, name, None)
        if callable(ask):
            ask()
            break
    if thread.ident is not None:
        thread.join(_WAIT_S)


def _abort_writer(writer: Any) -> None:
    writer.transport.abort()


def _is_closed(thing: Any) -> bool:
    return bool(thing.closed)


def _socket_closed(sock: Any) -> bool:
    return bool(sock.fileno() == -1)


def _ended(thread: Any) -> bool:
    return thread.ident is not None and not thread.is_alive()


def _reaped(process: Any) -> bool:
    return process.returncode is not None


def _done(task: Any) -> bool:
    return bool(task.done())


_TABLE: Final[dict[str, TypeInfo]] = {
    "socket.socket": TypeInfo("socket", "close", closed=_socket_closed),
    "io.IOBase": TypeInfo("file", "close", closed=_is_closed),
    "_io._IOBase": TypeInfo("file", "close", closed=_is_closed),
    "mmap.mmap": TypeInfo("mmap", "close", closed=_is_closed),
    "sqlite3.Connection": TypeInfo("connection", "close", affinity="thread"),
    "tempfile.TemporaryDirectory": TypeInfo("tempfile", "cleanup"),
    "tempfile._TemporaryFileWrapper": TypeInfo("tempfile", "close", closed=_is_closed),
    "logging.Handler": TypeInfo("handler", "close", Phase.TELEMETRY),
    "threading.Timer": TypeInfo("timer", "cancel", Phase.TIMERS, closed=_ended),
    "threading.Thread": TypeInfo("thread", _join_thread, Phase.WORK, closed=_ended),
    "concurrent.futures._base.Executor": TypeInfo(
        "executor", _stop_executor, Phase.WORK, force=_drop_executor
    ),
    "subprocess.Popen": TypeInfo(
        "process", _stop_process, Phase.PROCESS, force=_kill_process, closed=_reaped
    ),
    "multiprocessing.process.BaseProcess": TypeInfo(
        "process", _stop_child, Phase.PROCESS, force=_kill_child
    ),
    "multiprocessing.pool.Pool": TypeInfo("executor", "terminate", Phase.WORK),
    "_asyncio.Future": TypeInfo("task", "cancel", Phase.WORK, "loop", closed=_done),
    "_asyncio.Task": TypeInfo("task", "cancel", Phase.WORK, "loop", closed=_done),
    "asyncio.events.Handle": TypeInfo("timer", "cancel", Phase.TIMERS, "loop"),
    "asyncio.events.AbstractServer": TypeInfo(
        "server", "close", Phase.STOP_INTAKE, "loop"
    ),
    "uvloop.loop.Server": TypeInfo("server", "close", Phase.STOP_INTAKE, "loop"),
    "asyncio.streams.StreamWriter": TypeInfo(
        "connection", "close", Phase.CLIENTS, "loop", force=_abort_writer
    ),
    "asyncio.transports.BaseTransport": TypeInfo(
        "connection", "close", Phase.CLIENTS, "loop"
    ),
}

#: The identity of a type, whatever its metaclass thinks of hashes. Not `id`: that is an
#: audit event, so it costs a call of every audit hook of the process.
identity: Final = object.__hash__
#: What was looked up, keyed by that: looking up costs one dictionary read, and a class
#: that an application makes is not kept alive.
known: Final[dict[int, TypeInfo]] = {}
_forgetful: Final[dict[int, ref[type]]] = {}


def info_of(obj: object) -> TypeInfo:
    """
    What is known of the type of *obj*. Runs no user code but reads its class.
    """
    # An entry goes before its type is freed, so the number cannot be another's.
    return known.get(identity(type(obj))) or _learn(type(obj))


def _learn(kind: type) -> TypeInfo:
    found = _look_up(kind)
    info = changed(
        found,
        type_name=kind.__qualname__,
        plain=found.affinity == "any"
        and found.phase.rank >= Phase.CLIENTS.rank
        and not (
            isinstance(found.close, str)
            and is_coroutine(getattr(kind, found.close, None))
        ),
        tells_memory=hasattr(kind, "memory_bytes"),
    )
    key = identity(kind)

    def forget(_: ref[type], key: int = key) -> None:
        known.pop(key, None)
        _forgetful.pop(key, None)

    _forgetful[key] = ref(kind, forget)
    known[key] = info
    return info


def _look_up(kind: type) -> TypeInfo:
    for base in kind.__mro__:
        found = _TABLE.get(f"{base.__module__}.{base.__qualname__}")
        if found is not None:
            return found
    for method in _METHODS:
        if callable(getattr(kind, method, None)):
            return TypeInfo(
                "resource",
                method,
                affinity="loop" if is_coroutine(getattr(kind, method)) else "any",
                force=_force_close if hasattr(kind, "force_close") else None,
            )
    return TypeInfo("object", None)


def _force_close(obj: Any) -> Any:
    return obj.force_close()


def checked_close(
    obj: Any, close: str | Callable[..., Any]
) -> str | Callable[[Any], Any]:
    """
    The way a caller wants *obj* closed; raises where that cannot be.
    """
    if isinstance(close, str):
        if not callable(getattr(obj, close, None)):
            msg = (
                f"a {type(obj).__qualname__} has no method {close!r} to close it with;"
                " name another one, or pass a callable that takes the object"
            )
            raise ValueError(msg)  # noqa: TRY004 - the type is right, the name is not
        return str(close)
    if not callable(close):
        msg = (
            "close must be a method's name or a callable that takes the object, not a"
            f" {type(close).__qualname__}"
        )
        raise TypeError(msg)
    if getattr(close, "__self__", None) is obj:
        # A bound method of the object itself would keep the object alive for ever.
        name = close.__name__
        if getattr(type(obj), name, None) is getattr(close, "__func__", None):
            return name
        function = getattr(close, "__func__", None)
        return name if function is None else function
    return close


def is_coroutine(function: Any) -> bool:
    """
    True for an `async def`, read off its code without importing inspect.
    """
    code = getattr(function, "__code__", None)
    return bool(code and code.co_flags & 0x80)  # inspect.CO_COROUTINE


def running_loop() -> Any:
    """
    The event loop that runs in this thread, or None; never imports asyncio.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    return asyncio._get_running_loop()
