"""
The thread of a guard that calls functions when they are due.

`call_at` and `cancel` take no lock: they may run in a destructor, in the middle of
somebody's locked section. The heap belongs to the scheduler's thread alone; others
hand it calls through a deque and wake it through a re-entrant queue. What is slow
goes to workers. A clock, not this module, says what time it is.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from memguard._clock import SystemClock
from memguard._workers import OnError, Workers, log_error, safely
from memguard.typing import Clock

__all__ = ("ThreadScheduler", "Workers")

_NEVER: Final = float("inf")
_AWAKE: Final = float("-inf")
_LONGEST_SLEEP_S: Final = 3600.0
# Fewer cancelled calls than this are left in the heap until their time comes.
_SLACK: Final = 512

_Fn: TypeAlias = Callable[[], object]
_Entry: TypeAlias = "tuple[float, int, _Call]"


class _Call:
    """
    One scheduled call. Without its function it is dead, wherever it still lies.
    """

    __slots__ = ("_scheduler", "fn")

    def __init__(self, scheduler: ThreadScheduler, fn: _Fn) -> None:
        self._scheduler = scheduler
        self.fn: _Fn | None = fn

    def cancel(self) -> None:
        """
        Do not call; let go of the function now. Takes no lock.
        """
        if self.fn is not None:
            self.fn = None
            self._scheduler._note_cancelled()


class _Run:
    """
    One life of the scheduler's thread, from a start to its stop.
    """

    __slots__ = ("asleep_until", "stopping", "thread", "wake")

    def __init__(self) -> None:
        self.wake: SimpleQueue[None] = SimpleQueue()
        # Read by whoever schedules: an earlier call than this one must wake the
        # thread. While it is awake nobody has to.
        self.asleep_until = _AWAKE
        self.stopping = False
        self.thread: threading.Thread | None = None

    def sleep(self, seconds: float) -> None:
        """
        Wait for a wake-up, at most *seconds*; several wake-ups are as good as one.
        """
        try:
            self.wake.get(timeout=min(seconds, _LONGEST_SLEEP_S))
            while True:
                self.wake.get_nowait()
        except Empty:
            return


class ThreadScheduler:
    """
    Calls functions at their time on one thread, and slow ones on a few workers.

    The thread is called *name*. There is none before `start` and none after `stop`;
    calls scheduled outside are kept, and run once it is started again. What a function
    raises goes to *on_error* with the place it happened in, by default to the log. Not
    for use on the other side of a fork: the child makes its own.
    """

    def __init__(
        self,
        clock: Clock,
        name: str,
        *,
        workers: int = 4,
        idle_s: float = 5.0,
        on_error: OnError | None = None,
    ) -> None:
        self.on_error: OnError = on_error or log_error
        self._clock = clock
        self._name = name
        self._limit = workers
        self._idle_s = idle_s
        self._pid = os.getpid()
        self._next_seq = count().__next__
        self._incoming: deque[_Entry] = deque()
        self._cancelled = 0
        self._tolerated = _SLACK
        self._run: _Run | None = None
        self._workers: Workers | None = None
        # Serialises start and stop, nothing else.
        self._life = threading.RLock()

    # -- scheduling ----------------------------------------------------------------

    def call_at(self, when: float, fn: _Fn) -> _Call:
        """
        Call *fn* on the scheduler's thread at *when*; it must be short.
        """
        call = _Call(self, fn)
        self._incoming.append((when, self._next_seq(), call))
        # Append first, look second; the thread announces its sleep first and looks
        # at the deque second. So one of the two always sees the other.
        run = self._run
        if run is not None and when < run.asleep_until:
            run.wake.put(None)
        return call

    def submit(self, fn: _Fn) -> None:
        """
        Call *fn*, which may be slow, on a worker.

        Where no worker can be had, as at interpreter exit on 3.12, it runs on the
        scheduler's own thread.
        """
        workers = self._workers
        if workers is None:
            self.call_at(_AWAKE, partial(self.submit, fn))
        elif not workers.submit(fn):
            self.call_at(_AWAKE, fn)

    @property
    def waiting(self) -> int:
        """
        Functions that wait for a worker.
        """
        workers = self._workers
        return 0 if workers is None else workers.waiting

    # -- life ------------------------------------------------------------------------

    def start(self) -> None:
        """
        Begin to run what is due. Starting twice does nothing.
        """
        with self._life:
            if self._run is not None:
                return
            run = _Run()
            run.thread = threading.Thread(
                target=self._work,
                args=(run,),
                name=self._name,
                daemon=True,
            )
            self._workers = Workers(
                f"{self._name}-worker",
                limit=self._limit,
                idle_s=self._idle_s,
                on_error=self._report,
            )
            self._run = run
            try:
                run.thread.start()
            except RuntimeError:
                self._run = self._workers = None
                raise

    def stop(self, timeout: float) -> None:
        """
        Stop; wait at most *timeout* seconds for what runs now. Twice does nothing.

        What is not due yet, or waits for a worker, is kept for the next start.
        """
        if os.getpid() != self._pid:
            return  # the threads, and who holds the locks, stayed in the parent
        with self._life:
            run, self._run = self._run, None
            workers, self._workers = self._workers, None
        if run is None or workers is None or run.thread is None:
            return
        end = SystemClock.monotonic() + timeout
        run.stopping = True
        run.wake.put(None)
        if run.thread is not threading.current_thread():
            run.thread.join(max(0.0, timeout))
        for fn in workers.close(max(0.0, end - SystemClock.monotonic())):
            self.submit(fn)

    # -- the thread ------------------------------------------------------------------

    def _work(self, run: _Run) -> None:
        heap: list[_Entry] = []
        try:
            while not run.stopping:
                heap = self._collect(heap)
                now = self._clock.monotonic()
                if heap and heap[0][0] <= now:
                    self._call(heappop(heap)[2])
                    continue
                self._sleep(run, heap[0][0] if heap else _NEVER, now)
        finally:
            # Also of a thread that hung, and was replaced meanwhile.
            self._incoming.extend(heap)
            later = self._run
            if later is not None:
                later.wake.put(None)

    def _sleep(self, run: _Run, until: float, now: float) -> None:
        run.asleep_until = until
        if not (self._incoming or run.stopping or self._too_many_dead()):
            run.sleep(until - now)
        run.asleep_until = _AWAKE

    def _collect(self, heap: list[_Entry]) -> list[_Entry]:
        """
        Take what was handed over into the heap, and throw the dead out of it.
        """
        incoming = self._incoming
        while incoming:
            entry = incoming.popleft()
            if entry[2].fn is not None:
                heappush(heap, entry)
        if self._too_many_dead():
            self._cancelled = 0
            heap = [entry for entry in heap if entry[2].fn is not None]
            heapify(heap)
            self._tolerated = max(_SLACK, len(heap) // 2)
        while heap and heap[0][2].fn is None:
            heappop(heap)
        return heap

    def _call(self, call: _Call) -> None:
        # A function of its own, so that the thread's frame holds nothing while it
        # sleeps.
        fn, call.fn = call.fn, None
        if fn is not None:
            safely("scheduler", fn, self._report)

    def _report(self, where: str, error: BaseException) -> None:
        self.on_error(where, error)

    # -- the dead --------------------------------------------------------------------

    def _too_many_dead(self) -> bool:
        return self._cancelled > self._tolerated

    def _note_cancelled(self) -> None:
        # A heuristic: cancels that race may be counted once, and calls that died of
        # old age stay counted. Both only move the moment of the next sweep.
        self._cancelled += 1
        if not self._too_many_dead():
            return
        run = self._run
        if run is None:
            self._sweep()
        elif run.asleep_until != _AWAKE:
            run.wake.put(None)

    def _sweep(self) -> None:
        """
        Without a thread: turn the deque once, leaving the dead out.
        """
        self._cancelled = 0
        incoming = self._incoming
        for _ in range(len(incoming)):
            try:
                entry = incoming.popleft()
            except IndexError:
                break  # a thread was started, and takes them all
            if entry[2].fn is not None:
                incoming.append(entry)
        self._tolerated = max(_SLACK, len(incoming) // 2)
