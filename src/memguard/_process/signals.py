"""
One handler a signal for the whole process; the previous one is kept and called.

The handler counts, writes a byte to a pipe and calls the handler that was there
before. Everything else happens in a thread of its own, which also notices when
somebody displaces the handler: that is reported, and never fought.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from memguard._events import HandlerDisplaced
from memguard._probes.libc import default_disposition

if TYPE_CHECKING:
    from memguard._guard import Guard

__all__ = ("Signals",)

_LOG: Final = logging.getLogger("memguard")
_HEARTBEAT_S: Final = 1.0
_MAIN_THREAD_S: Final = 0.25
_JOIN_S: Final = 1.0
_STOP: Final = 0


class Signals:
    """
    The handlers of one installed guard.

    Installing outside the main thread is impossible in CPython: it is logged, and
    the shutdown then depends on the host's hooks.
    """

    def __init__(self, guard: Guard, names: Iterable[str]) -> None:
        self._guard = guard
        self._names = tuple(names)
        self._previous: dict[int, Any] = {}
        self._ours: dict[int, Callable[[int, FrameType | None], None]] = {}
        self._displaced: set[int] = set()
        self._received = 0
        self._over = threading.Event()
        self._answering = 0  # the signal that memguard itself answers
        self._pid = os.getpid()
        self._read = self._write = -1
        self._thread: threading.Thread | None = None

    def install(self) -> bool:
        """
        Put the handlers in place; False, and a log record, where that is impossible.
        """
        if threading.current_thread() is not threading.main_thread():
            _LOG.warning(
                "memguard: signals are not handled, because install() was not called"
                " in the main thread; the shutdown relies on the host's hooks"
            )
            return False
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        for name in self._names:
            number = int(getattr(signal, name))
            previous = signal.getsignal(number)
            # Ignored, or set by C code: whoever did that wants it so.
            if previous is signal.SIG_IGN or previous is None:
                continue
            self._previous[number] = previous
            # Kept, because each access to a bound method makes a new object and
            # "is it still ours" is asked by identity.
            self._ours[number] = self._handle
            signal.signal(number, self._ours[number])
        self._thread = threading.Thread(
            target=self._watch, name="memguard-signals", daemon=True
        )
        self._thread.start()
        return True

    def uninstall(self) -> None:
        """
        Restore what was there, unless somebody else has put a handler since.
        """
        if os.getpid() != self._pid or self._write < 0:
            return
        if threading.current_thread() is threading.main_thread():
            for number, ours in self._ours.items():
                if signal.getsignal(number) is ours:
                    signal.signal(number, self._previous[number])
                else:
                    self._report_displaced(number)
        self._wake(_STOP)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)
        read, write, self._read, self._write = self._read, self._write, -1, -1
        os.close(write)
        os.close(read)
        if self._answering and threading.current_thread() is threading.main_thread():
            # The block that was stopped by a signal has ended: so does the process,
            # with the status it would have had without memguard.
            self._die(self._answering)

    def renew_in_child(self) -> None:
        """
        After a fork: the handlers are inherited, the pipe's reader is not.
        """
        inherited = (self._read, self._write)
        self._pid = os.getpid()
        self._received = 0
        self._over = threading.Event()
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        for fd in inherited:
            if fd >= 0:
                os.close(fd)
        self._thread = threading.Thread(
            target=self._watch, name="memguard-signals", daemon=True
        )
        self._thread.start()

    # -- in the handler: flags, one write, and the host's own handler ------------------

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received += 1
        if self._over.is_set():
            self._die(number)
            return
        self._wake(number)
        previous: Any = self._previous.get(number)
        if self._is_host(previous):
            previous(number, frame)

    def _wake(self, number: int) -> None:
        try:
            os.write(self._write, bytes((number,)))
        except (BlockingIOError, OSError):
            # The pipe is full of earlier signals, or closed by uninstall: there is
            # nobody to wake, and nothing else a handler could do about it.
            return

    @staticmethod
    def _is_host(previous: Any) -> bool:
        return callable(previous) and previous is not signal.default_int_handler

    def _die(self, number: int) -> None:
        """
        The shutdown is over: end as the process would have without memguard.
        """
        signal.signal(number, self._previous.get(number, signal.SIG_DFL))
        os.kill(os.getpid(), number)

    # -- in the watching thread --------------------------------------------------------

    def _watch(self) -> None:
        read = self._read
        while True:
            ready, _, _ = select.select([read], [], [], _HEARTBEAT_S)
            if self._read != read:
                return
            if not ready:
                self._look_for_displacement()
                continue
            for number in os.read(read, 64):
                if number == _STOP:
                    return
                self._respond(number)

    def _respond(self, number: int) -> None:
        guard = self._guard
        name = signal.Signals(number).name
        if self._received > 2:
            self._end_process(number)
            return
        if self._received == 2:
            guard.control.hurry()
            return
        # The response may take as long as the shutdown; further signals have to be
        # read meanwhile.
        answer = self._follow_host if self._has_host(number) else self._shut_down
        threading.Thread(
            target=answer, args=(number, name), name="memguard-signal", daemon=True
        ).start()

    def _has_host(self, number: int) -> bool:
        return self._is_host(self._previous.get(number))

    def _follow_host(self, number: int, name: str) -> None:
        """
        Stop intake; shut down when the host says so, or when its grace runs out.
        """
        guard = self._guard
        guard.control.stop_intake()
        settings = guard.settings
        patience = max(0.0, settings.grace - settings.shutdown_timeout)
        if not guard.control.begun.wait(patience):
            guard.shutdown(reason=f"{name}, and the host's grace ran out")

    def _shut_down(self, number: int, name: str) -> None:
        self._answering = number
        self._guard.control.anywhere(name)
        self._guard.control.wait_for_block()
        self._over.set()
        self._end_process(number)

    def _end_process(self, number: int) -> None:
        """
        Have the main thread restore the default and raise the signal again.
        """
        self._over.set()
        main = threading.main_thread().ident
        if main is not None:
            signal.pthread_kill(main, number)
        # A main thread inside a C call that does not return never runs the handler.
        threading.Event().wait(_MAIN_THREAD_S)
        default_disposition(number)
        os.kill(os.getpid(), number)

    def _look_for_displacement(self) -> None:
        for number, ours in self._ours.items():
            if signal.getsignal(number) is not ours:
                self._report_displaced(number)

    def _report_displaced(self, number: int) -> None:
        if number in self._displaced:
            return
        self._displaced.add(number)
        by = signal.getsignal(number)
        who = getattr(by, "__qualname__", None) or type(by).__qualname__
        name = signal.Signals(number).name
        self._guard.registry.events.emit(HandlerDisplaced(name, who))
        _LOG.warning(
            "memguard: its handler of %s was replaced by %s; the shutdown on that"
            " signal now depends on that handler or on the host's hooks",
            name,
            who,
        )
