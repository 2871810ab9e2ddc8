"""
One handler of one signal, and what was there before it.

In the handler itself: a counter, one write to a pipe, and the host's own handler. No
lock, no log, no allocation that matters. A handler that is no longer in charge does
what would have happened without it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from memguard._probes.libc import default_disposition, restarts_calls

__all__ = ("BY_HANDLER", "Handler", "Pipe", "end_by_signal")

#: Added to the number of a signal where the handler writes it. Without it, the C part
#: of the interpreter has written (`signal.set_wakeup_fd`), which works even while the
#: main thread is inside a C call and runs no handler.
BY_HANDLER: Final = 128
_MAIN_THREAD_S: Final = 0.25


class Handler:
    """
    Put on top of whatever handles *number* now; it remembers and calls that.

    `wake` is called with the signal's number, `is_over` says whether there is anything
    left to shut down. What the handler below raises is offered to `hold_back` first.
    Made, `put_back` and called in the main thread only.
    """

    __slots__ = (
        "_hold_back",
        "_is_over",
        "_restarts",
        "_wake",
        "dying",
        "number",
        "previous",
    )

    def __init__(
        self,
        number: int,
        wake: Callable[[int], None],
        is_over: Callable[[], bool],
        hold_back: Callable[[BaseException], bool],
    ) -> None:
        self.number = number
        self.previous: Any = signal.getsignal(number)
        self._wake = wake
        self._is_over = is_over
        self._hold_back = hold_back
        self.dying = False
        # `signal.signal` makes the signal interrupt system calls. Servers switch that
        # off for the sake of requests in hand; so it has to be switched off again.
        self._restarts = self.of_host and restarts_calls(number)
        signal.signal(number, self)
        self._restart_calls()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.of_host:
            self._wake(number)
            try:
                self.previous(number, frame)
            except BaseException as error:
                if not self._hold_back(error):
                    raise
        elif self._is_over():
            self.die()
        else:
            self._wake(number)

    @property
    def of_host(self) -> bool:
        """
        True where a program's own handler is below: it decides when the process ends.
        """
        previous = self.previous
        return callable(previous) and previous is not signal.default_int_handler

    @property
    def on_top(self) -> bool:
        """
        True while nobody has put another handler in its place. From any thread.
        """
        return signal.getsignal(self.number) is self

    def put_back(self) -> None:
        """
        Restore what was there before, unless somebody else has replaced it.
        """
        if self.on_top:
            signal.signal(self.number, self.previous)
            self._restart_calls()

    def die(self) -> None:
        """
        Let the signal do what it would have done without memguard.
        """
        self.dying = True
        signal.signal(self.number, self.previous)
        os.kill(os.getpid(), self.number)

    def _restart_calls(self) -> None:
        if self._restarts:
            signal.siginterrupt(self.number, False)


def end_by_signal(handler: Handler) -> None:
    """
    From any thread: have the main thread `die`, or end the process in its stead.

    The main thread may be inside a C call that never returns; a signal whose default
    is an exception (SIGINT) is the main thread's to handle, however long that takes.
    """
    number = handler.number
    main = threading.main_thread().ident
    if main is not None:
        signal.pthread_kill(main, number)
    threading.Event().wait(_MAIN_THREAD_S)
    if not handler.dying:
        default_disposition(number)
        os.kill(os.getpid(), number)


class Pipe:
    """
    The pipe between handlers and the thread that answers them.
    """

    __slots__ = ("connected", "read", "write")

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        os.set_blocking(self.write, False)
        #: The interpreter writes here as well.
        self.connected = False

    def send(self, byte: int) -> None:
        """
        Wake the reader; fit for a signal handler.
        """
        try:
            os.write(self.write, bytes((byte,)))
        except OSError:
            # Full of earlier signals, or closed by now: there is nobody to wake, and
            # nothing else a handler could do about it.
            return

    def connect(self) -> None:
        """
        Have the interpreter's C part write here, unless somebody uses that already.

        Main thread only.
        """
        found = signal.set_wakeup_fd(self.write, warn_on_full_buffer=False)
        # Called a second time it finds its own, which then stays.
        self.connected = found in (-1, self.write)
        if not self.connected:
            signal.set_wakeup_fd(found)

    def disconnect(self) -> bool:
        """
        Undo `connect`, unless somebody else has taken over; True if it was connected.

        Main thread only.
        """
        was, self.connected = self.connected, False
        if was:
            found = signal.set_wakeup_fd(-1)
            if found not in (self.write, -1):
                signal.set_wakeup_fd(found)
        return was

    def close(self) -> None:
        """
        Close both ends. The numbers are forgotten first: a late `send` finds nothing.
        """
        read, write, self.read, self.write = self.read, self.write, -1, -1
        os.close(write)
        os.close(read)
