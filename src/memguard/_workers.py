"""
A few daemon threads that run functions.

No lock of memguard's is taken: each structure is changed by single atomic operations,
and whoever changes one looks at the other afterwards, so that no job is ever stranded.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from memguard._clock import SystemClock

__all__ = ("OnError", "Workers", "log_error", "safely")

_LOG: Final = logging.getLogger("memguard")

_Fn: TypeAlias = Callable[[], object]
#: What a failed function is reported to: where it ran, and the error.
OnError: TypeAlias = Callable[[str, BaseException], object]


class Workers:
    """
    A few daemon threads that run functions; started when needed, ended when idle.

    Threads are called *name* and a number. With a *limit* there are never more; what
    comes beyond waits its turn, and `waiting` counts it. A thread without work ends
    after *idle_s* seconds, except spare ones.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: int | None = None,
        idle_s: float = 5.0,
        on_error: OnError | None = None,
    ) -> None:
        self._name = name
        self._idle_s = idle_s
        self._on_error: OnError = on_error or log_error
        self._pid = os.getpid()
        self._closed = False
        # Numbers of threads that may be started; fresh ones come from the counter.
        self._highest = limit or 0
        self._slots = deque(range(1, self._highest + 1))
        self._next_slot = None if limit is not None else count(1).__next__
        self._idle: dict[SimpleQueue[_Fn | None], None] = {}
        self._backlog: deque[_Fn] = deque()
        self._threads: set[threading.Thread] = set()

    def submit(self, fn: _Fn) -> bool:
        """
        Run *fn* on a thread; False when closed, or when no thread can be had.
        """
        if self._closed:
            return False
        if self._pass_on(fn):
            return True
        slot = self._slot()
        if slot is None:
            self._backlog.append(fn)
            self._pass_on(None)  # somebody may have gone idle meanwhile
            return True
        return self._start(slot, fn) or self._pass_on(fn)

    def spare(self, threads: int) -> int:
        """
        Start that many idle threads, which then stay until `close`.

        Threads cannot be started at interpreter exit on every version; those that
        were started before work until the end. Returns how many could be started.
        """
        started = 0
        for _ in range(threads):
            slot = self._slot()
            if slot is None or not self._start(slot, None, stays=True):
                break
            started += 1
        return started

    def allow(self, more: int) -> None:
        """
        Raise the limit by so many threads.
        """
        first = self._highest + 1
        self._highest += more
        self._slots.extend(range(first, first + more))

    def end(self) -> list[_Fn]:
        """
        As `close`, without waiting and without a lock, so also in a destructor.
        """
        if os.getpid() != self._pid:
            return []
        self._closed = True
        while self._pass_on(None):
            pass
        return self._take_backlog()

    def close(self, timeout: float) -> list[_Fn]:
        """
        End all threads, waiting at most *timeout* seconds for the jobs in hand.

        Returns what never got its turn.
        """
        if os.getpid() != self._pid:
            return []
        self._closed = True
        while self._pass_on(None):
            pass
        end = SystemClock.monotonic() + timeout
        for thread in list(self._threads):
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, end - SystemClock.monotonic()))
        return self._take_backlog()

    def _take_backlog(self) -> list[_Fn]:
        left: list[_Fn] = []
        while True:
            try:
                left.append(self._backlog.popleft())
            except IndexError:  # a thread may have taken the last one
                return left

    @property
    def waiting(self) -> int:
        """
        Jobs that wait for a thread.
        """
        return len(self._backlog)

    @property
    def alive(self) -> int:
        """
        Threads there are now.
        """
        return len(self._threads)

    # -- the threads -----------------------------------------------------------------

    def _pass_on(self, fn: _Fn | None) -> bool:
        """
        Give *fn* to the thread that went idle last; None has it look around.
        """
        try:
            mailbox, _ = self._idle.popitem()
        except KeyError:
            return False
        mailbox.put(fn)
        return True

    def _slot(self) -> int | None:
        try:
            return self._slots.popleft()
        except IndexError:
            return self._next_slot and self._next_slot()

    def _start(self, slot: int, fn: _Fn | None, *, stays: bool = False) -> bool:
        thread = threading.Thread(
            target=self._work,
            args=(slot, [fn], stays),
            name=f"{self._name}-{slot}",
            daemon=True,
        )
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends, or the system has no more
            self._threads.discard(thread)
            self._slots.append(slot)
            return False
        return True

    def _work(self, slot: int, first: list[_Fn | None], stays: bool) -> None:
        # The first job comes in a list, to be taken out: the arguments of a thread's
        # target live as long as the thread.
        mailbox: SimpleQueue[_Fn | None] = SimpleQueue()
        fn = first.pop() or self._next(mailbox, stays)
        try:
            while fn is not None:
                safely("worker", fn, self._on_error)
                fn = None  # while this thread waits it keeps nothing alive
                fn = self._next(mailbox, stays)
        finally:
            self._threads.discard(threading.current_thread())
            self._slots.append(slot)
            if self._backlog and not self._closed:
                self._replace()

    def _next(self, mailbox: SimpleQueue[_Fn | None], stays: bool) -> _Fn | None:
        """
        The next job; None when it is time to end.
        """
        patience = None if stays else self._idle_s
        while not self._closed:
            try:
                return self._backlog.popleft()
            except IndexError:
                self._idle[mailbox] = None
            fn = None
            if not (self._backlog or self._closed):
                try:
                    fn = mailbox.get(timeout=patience)
                except Empty:
                    # Whoever takes the mailbox out of `_idle` decides: this thread,
                    # to end, or somebody else, who is about to put something in.
                    if self._idle.pop(mailbox, self) is None:
                        return None
            self._idle.pop(mailbox, None)
            if fn is not None:
                return fn
        try:
            return mailbox.get_nowait()
        except Empty:
            return None

    def _replace(self) -> None:
        """
        Jobs came while this thread was on its way out: another one takes them.
        """
        try:
            fn = self._backlog.popleft()
        except IndexError:
            return
        self.submit(fn)


def safely(where: str, fn: _Fn, on_error: OnError) -> None:
    """
    Call *fn*; what it raises is reported, and ends no thread.
    """
    try:
        fn()
    except BaseException as error:
        try:
            on_error(where, error)
        except Exception:
            # The interpreter's own channel for what a thread could not handle.
            kind, value, traceback = sys.exc_info()
            assert kind is not None
            threading.excepthook(
                threading.ExceptHookArgs(
                    (kind, value, traceback, threading.current_thread())
                )
            )


def log_error(where: str, error: BaseException) -> None:
    """
    Where nobody else is told: one line in the log of memguard.
    """
    name = type(error).__qualname__
    _LOG.error("memguard: %s failed with %s", where, name, exc_info=error)
