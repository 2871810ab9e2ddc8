"""
The rules for queues and for executors, whose queues have no bound.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from memguard._risks.containers import grown
from memguard._risks.measure import entry_bytes, newest
from memguard._risks.reading import attribute, full_name, mro_of, qualname_of
from memguard._risks.scene import Place
from memguard._risks.shapes import (
    ASYNC_QUEUE,
    EXECUTOR,
    PROCESS_QUEUE,
    SIMPLE_QUEUE,
    Shape,
)

if TYPE_CHECKING:
    from memguard._risks.scene import Scene

__all__ = ("judge_executor", "judge_hidden_executors", "judge_queue")

# Jobs that wait for each worker: from there on it is a backlog, and a long one.
_BACKLOG: Final = 2
_LONG: Final = 10
_LEAST: Final = 10  # jobs
_FIX: Final = (
    "give it a maxsize and decide what happens when it is full (wait, refuse, drop"
    " the oldest: memguard.ring)"
)
_FIX_EXECUTOR: Final = (
    "bound what is submitted: memguard.limiter(...).map(...) keeps so many in flight,"
    " or take a semaphore before submit()"
)


def judge_queue(scene: Scene, place: Place, obj: Any, shape: Shape) -> None:
    """
    Put a queue on the list: without maxsize it is at risk.
    """
    waiting, size = _waiting(obj, shape)
    trend = scene.trend(place.track, waiting)
    if scene.only_counts or place.library:
        return
    maxsize = _maxsize(obj, shape)
    kind = full_name(type(obj)).rpartition(".")[2]
    if maxsize is not None and maxsize > 0:
        scene.add(
            "capped-queue",
            kind,
            place.name,
            grade=0,
            reason=f"maxsize is {maxsize:,}",
            entries=maxsize,
            entry_bytes=size,
            capped=True,
        )
        return
    level = scene.size_level(waiting, None if size is None else size * waiting)
    told = f"; {grown(trend)}" if trend.growing else ""
    scene.add(
        "unbounded-queue",
        kind,
        place.name,
        grade=(1 if shape is SIMPLE_QUEUE else 2) + (level > 0 or trend.growing),
        reason="it has no maxsize: when its readers are slower than its writers it"
        f" grows without bound{told}",
        fix=_FIX,
        entries=waiting,
        entry_bytes=size,
        site=scene.sources.site(place),
    )


def _maxsize(obj: Any, shape: Shape) -> int | None:
    if shape is SIMPLE_QUEUE:
        return None
    name = "_maxsize" if shape in (ASYNC_QUEUE, PROCESS_QUEUE) else "maxsize"
    found = attribute(obj, name)
    if type(found) is not int:
        return None
    # Without a maxsize a queue between processes has the largest semaphore there is.
    return None if shape is PROCESS_QUEUE and found > 1 << 30 else found


def _waiting(obj: Any, shape: Shape) -> tuple[int, int | None]:
    """
    How many wait in a queue, and the bytes of one of them.
    """
    if shape is SIMPLE_QUEUE:
        for base in mro_of(type(obj)):
            if full_name(base) == "_queue.SimpleQueue":
                return int(base.qsize(obj)), None
        inner = attribute(obj, "_queue")
    elif shape is PROCESS_QUEUE:
        inner = attribute(obj, "_buffer")
    else:
        inner = attribute(obj, "_queue" if shape is ASYNC_QUEUE else "queue")
    if type(inner) is deque or type(inner) is list:
        return len(inner), entry_bytes(newest(inner))
    return 0, None


# -- executors -------------------------------------------------------------------------


def judge_executor(scene: Scene, place: Place, obj: Any) -> None:
    """
    Put an executor on the list: at risk when more waits than its workers soon take.
    """
    workers = attribute(obj, "_max_workers")
    queue = attribute(obj, "_work_queue")
    pending = attribute(obj, "_pending_work_items")
    if queue is not None:
        scene.seen.add(id(queue))
        waiting = _jobs(queue)
    else:
        waiting = len(pending) if type(pending) is dict else 0
    kind = full_name(type(obj)).rpartition(".")[2]
    _judge_backlog(
        scene, place, kind, waiting, workers if type(workers) is int else None
    )


def _jobs(queue: Any) -> int:
    shape = SIMPLE_QUEUE if qualname_of(type(queue)) == "SimpleQueue" else EXECUTOR
    return _waiting(queue, shape)[0]


def _judge_backlog(
    scene: Scene, place: Place, kind: str, waiting: int, workers: int | None
) -> None:
    trend = scene.trend(place.track, waiting)
    if scene.only_counts:
        return
    hands = max(1, workers or 1)
    told = "?" if workers is None else f"{workers:,}"
    piles_up = trend.growing and waiting > hands
    if waiting < max(_LEAST, _BACKLOG * hands) and not piles_up:
        if not place.library:
            scene.add(
                "executor",
                kind,
                place.name,
                grade=0,
                reason=f"{waiting:,} wait for {told} workers; its queue has no bound",
                entries=waiting,
                unit="jobs",
            )
        return
    high = waiting >= 100 * hands and waiting >= 1_000
    scene.add(
        "executor-backlog",
        kind,
        place.name,
        grade=1 + (waiting >= _LONG * hands) + (high or piles_up),
        reason=f"{waiting:,} jobs wait for {told} workers, each with its arguments,"
        f" and the queue has no bound{f'; {grown(trend)}' if trend.growing else ''}",
        fix=_FIX_EXECUTOR,
        entries=waiting,
        unit="jobs",
        library=place.library,
    )


def judge_hidden_executors(scene: Scene) -> None:
    """
    As `judge_executor`, for those that no module holds: found through their threads.
    """
    module = sys.modules.get("concurrent.futures.thread")
    table = None if module is None else module.__dict__.get("_threads_queues")
    known = attribute(table, "data") if table is not None else None
    if type(known) is not dict:
        return
    found: dict[int, list[Any]] = {}
    for reference, queue in list(known.items()):
        if id(queue) in scene.seen:
            continue
        thread = reference()
        name = None if thread is None else attribute(thread, "_name")
        del thread
        row = found.setdefault(id(queue), [queue, name, 0])
        row[2] += 1
    for queue, name, threads in found.values():
        scene.pace.step()
        prefix = name.rpartition("_")[0] if type(name) is str else ""
        place = Place("(no module)", prefix or "ThreadPoolExecutor", "", "thread")
        _judge_backlog(scene, place, "ThreadPoolExecutor", _jobs(queue), threads)
