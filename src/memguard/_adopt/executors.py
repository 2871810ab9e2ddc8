"""
Executors of `concurrent.futures`: their workers, and the work that waits for them.

Their queue has no bound, and nobody can give it one from outside.
"""

from __future__ import annotations

from typing import Any, Final

from memguard._adopt.asking import join_all
from memguard._adopt.loaded import loaded_types
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

# Nobody can end a thread: an abandoned close waits no longer than this for it.
_WAIT_S: Final = 30.0
_CANNOT: Final = (
    "the queue of an executor cannot be bounded from outside: submit() would have to"
    " block or to fail for callers who do not expect it; hand work in through a"
    " memguard limiter (limiter.map, or `with limiter():` around submit), or make the"
    " executor with fewer workers"
)


class Executor(Adapter):
    """
    Any other executor that was derived from `concurrent.futures.Executor`.

    Closing it calls its `shutdown`, which is to cancel what waits.
    """

    kind = "executor"
    phase = "work"
    module = "concurrent"
    cannot = _CANNOT
    # An executor that is collected ends its workers by itself.
    must_close = False
    forces = True
    waits = True

    def types(self) -> tuple[type, ...]:
        return loaded_types("concurrent.futures._base:Executor")

    def measure(self, obj: Any) -> Measured:
        return Measured(details={"max_workers": getattr(obj, "_max_workers", None)})

    def close(self, obj: Any) -> None:
        obj.shutdown(wait=True, cancel_futures=True)

    def force(self, obj: Any) -> None:
        obj.shutdown(wait=False, cancel_futures=True)


class ThreadExecutor(Executor):
    """
    A `ThreadPoolExecutor`: threads, those at work, and the calls that wait.

    Closing it cancels what waits and lets what runs come to its end. A call that hangs
    cannot be ended by anybody: the report names the executor and where the call hangs.
    """

    forces = False

    def types(self) -> tuple[type, ...]:
        return loaded_types("concurrent.futures.thread:ThreadPoolExecutor")

    def label(self, obj: Any) -> str:
        prefix = getattr(obj, "_thread_name_prefix", "")
        # Without a prefix of the user's they are numbered.
        numbered = prefix.startswith("ThreadPoolExecutor-")
        return type(obj).__qualname__ if numbered or not prefix else prefix

    def measure(self, obj: Any) -> Measured:
        queue = obj._work_queue
        workers = len(obj._threads)
        idle = _idle(obj)
        # Its shutdown leaves one entry in the queue, which is no work.
        waiting = max(0, queue.qsize() - int(obj._shutdown))
        return Measured(
            entries=waiting,
            limit=getattr(queue, "maxsize", 0) or None,
            details={
                "workers": workers,
                "max_workers": obj._max_workers,
                "at_work": None if idle is None else max(0, workers - idle),
            },
        )

    def close(self, obj: Any) -> None:
        obj.shutdown(wait=False, cancel_futures=True)
        join_all(list(obj._threads), _WAIT_S)

    def threads_of(self, obj: Any) -> list[int]:
        threads = [one for one in list(obj._threads) if one.is_alive()]
        return [one.ident for one in threads if one.ident is not None]

    def is_open(self, obj: Any) -> bool:
        return not obj._shutdown or any(one.is_alive() for one in list(obj._threads))

    def risk(self, obj: Any) -> Risk | None:
        if getattr(obj._work_queue, "maxsize", 0) > 0:
            return None
        return _UNBOUNDED


class ProcessExecutor(Executor):
    """
    A `ProcessPoolExecutor`: processes, and the calls that are handed in and not done.

    Closing it cancels what waits and lets what runs come to its end; forcing it kills
    the processes.
    """

    # Its processes are told to end when it is collected.
    must_close = False

    def types(self) -> tuple[type, ...]:
        return loaded_types("concurrent.futures.process:ProcessPoolExecutor")

    def measure(self, obj: Any) -> Measured:
        # Both are gone after its shutdown.
        pending = obj._pending_work_items or ()
        return Measured(
            entries=len(pending),
            details={
                "workers": len(obj._processes or ()),
                "max_workers": obj._max_workers,
            },
        )

    def force(self, obj: Any) -> None:
        # While its shutdown waits, and only then, they are still to be found.
        for process in list((obj._processes or {}).values()):
            process.kill()

    def is_open(self, obj: Any) -> bool:
        return not obj._shutdown_thread or bool(obj._processes)

    def risk(self, obj: Any) -> Risk | None:
        return None if obj._shutdown_thread else _UNBOUNDED


def _idle(executor: Any) -> int | None:
    """
    Threads that wait for work; it counts them to know when to start another one.
    """
    semaphore = getattr(executor, "_idle_semaphore", None)
    value = getattr(semaphore, "_value", None)
    return value if isinstance(value, int) else None


_UNBOUNDED: Final = Risk(
    "waiting calls",
    "an executor takes every call it is given, and keeps those it cannot run yet, with"
    " their arguments, in a queue without bound",
    "hand work in through a memguard limiter: limiter.map(fn, source), or"
    " `with limiter():` around submit",
)

ADAPTERS = (ThreadExecutor(), ProcessExecutor(), Executor())
