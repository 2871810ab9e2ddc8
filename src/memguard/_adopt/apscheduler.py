"""
Schedulers of APScheduler 3: their jobs, and the calls that run.
"""

from __future__ import annotations

from typing import Any, Final

from memguard._adopt.asking import join_all, thread_asks
from memguard._adopt.loaded import is_a, loaded_types
from memguard.typing import Adapter, Measured

__all__ = ("ADAPTERS",)

_STATES: Final = ("stopped", "running", "paused")
_IN_MEMORY: Final = "apscheduler.jobstores.memory:MemoryJobStore"
# Turns of the loop that the end of an asynchronous scheduler may take; one is usual.
_TURNS: Final = 100
# Nobody can end a thread: an abandoned close waits no longer than this for it.
_WAIT_S: Final = 30.0
_LOOK_S: Final = 0.005


class Scheduler(Adapter):
    """
    A scheduler of APScheduler 3: jobs in memory, calls that run, its state.

    Jobs in a database are not counted: that would be a query. Closing it fires nothing
    more, and waits for the calls that run; one that hangs is named.
    """

    kind = "scheduler"
    phase = "timers"
    module = "apscheduler"
    cannot = (
        "APScheduler bounds calls by job and by executor: give add_job() max_instances,"
        " coalesce and misfire_grace_time, and the executor max_workers"
    )
    # The thread of one that runs keeps it.
    must_close = False
    waits = True

    def types(self) -> tuple[type, ...]:
        return loaded_types("apscheduler.schedulers.base:BaseScheduler")

    def measure(self, obj: Any) -> Measured:
        jobs: int | None = len(obj._pending_jobs)
        for store in list(obj._jobstores.values()):
            if not is_a(store, _IN_MEMORY):
                jobs = None
                break
            jobs = None if jobs is None else jobs + len(store._jobs)
        executors = list(obj._executors.values())
        running = sum(sum(list(one._instances.values())) for one in executors)
        return Measured(
            entries=jobs, details={"running": running, "state": _STATES[obj.state]}
        )

    def close(self, obj: Any) -> Any:
        if not obj.running:
            return
        # It fails where it is ended while it looks for due jobs.
        obj.pause()
        with obj._jobstores_lock:
            pass
        # Its own way to wait has no end. Only that of processes is left to it.
        obj.shutdown(wait=not all(map(_has_threads, obj._executors.values())))
        for store in list(obj._jobstores.values()):
            # Its thread has looked once more, when the store was closed already.
            if not is_a(store, _IN_MEMORY):
                store.shutdown()
        join_all(_threads(obj), _WAIT_S)

    def threads_of(self, obj: Any) -> list[int]:
        # Those of its pools alone: its own thread only waits.
        return [one.ident for one in _threads(obj) if one.is_alive()]

    def is_open(self, obj: Any) -> bool:
        return bool(obj.running)


class AsyncScheduler(Scheduler):
    """
    An `AsyncIOScheduler`: closed on its loop, and coroutines that run are cancelled.
    """

    affinity = "loop"
    waits = False

    def types(self) -> tuple[type, ...]:
        return loaded_types("apscheduler.schedulers.asyncio:AsyncIOScheduler")

    def loop_of(self, obj: Any) -> Any:
        return obj._eventloop

    async def close(self, obj: Any) -> None:
        if not obj.running:
            return
        import asyncio

        # It only asks its loop to do so, and does not say when that is done.
        obj.shutdown(wait=False)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if not obj.running:
                break
        # Of an executor with threads, if it was given one; nothing else stops the loop.
        waited = 0.0
        while waited < _WAIT_S and any(map(_holds_up, _threads(obj))):
            await asyncio.sleep(_LOOK_S)
            waited += _LOOK_S


def _holds_up(thread: Any) -> bool:
    return thread.is_alive() and not thread_asks(thread)


def _has_threads(executor: Any) -> bool:
    pool = getattr(executor, "_pool", None)
    return pool is None or hasattr(pool, "_threads")


def _threads(scheduler: Any) -> list[Any]:
    """
    The threads that its jobs run in.
    """
    pools = [getattr(one, "_pool", None) for one in list(scheduler._executors.values())]
    return [one for pool in pools for one in list(getattr(pool, "_threads", ()))]


ADAPTERS = (Scheduler(), AsyncScheduler())
