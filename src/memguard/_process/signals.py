"""
What follows a signal: a thread that hears of it, and the shutdown it leads to.

With a host's handler below ours the host decides: intake stops, and the shutdown waits
for the host's word or for its grace to run out. Without one memguard shuts down and
has the signal do what it does by default. Displaced handlers are reported, and never
fought for.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from memguard._clock import SystemClock
from memguard._events import HandlerDisplaced
from memguard._process.handlers import BY_HANDLER, Handler, Pipe, end_by_signal
from memguard._process.masks import hold_while_forking
from memguard._sites import error_site

if TYPE_CHECKING:
    from memguard._guard import Guard

__all__ = ("Signals",)

_LOG: Final = logging.getLogger("memguard")
_HEARTBEAT_MS: Final = 1000
_STEP_S: Final = 0.1
_JOIN_S: Final = 1.0
_HASTE_S: Final = 2.0
# A supervisor signals a whole group, and the master in it signals its workers again:
# that is one request to stop, not an impatient second one.
_BURST_S: Final = 0.1
_BURST_UNDER_HOST_S: Final = 1.0
_STOP: Final = 0
_RENEWED: Final = 255


class Signals:
    """
    The handlers of one installed guard, and the thread behind them.
    """

    def __init__(self, guard: Guard, names: Iterable[str]) -> None:
        self._guard = guard
        self._numbers = tuple(int(getattr(signal, name)) for name in names)
        # Those of one signal that were put up one after the other, the last on top.
        self._handlers: dict[int, list[Handler]] = {}
        self._displaced: set[int] = set()
        self._pid = os.getpid()
        self._pipe: Pipe | None = None
        self._thread: threading.Thread | None = None
        self._answering: Handler | None = None
        self._reset()

    def _reset(self) -> None:
        self._heard = {0: 0, BY_HANDLER: 0}
        self._told = 0  # signals, bursts counted as one
        self._seen = 0
        self._last = 0.0
        self._hasty = False
        self._over = False

    # -- putting up and taking down (main thread) --------------------------------------

    def install(self) -> bool:
        """
        Put the handlers on top; False, and a log record, where that is impossible.

        Called again it puts them on top of what a server has installed since: only for
        those who start the guard on behalf of that server.
        """
        if threading.current_thread() is not threading.main_thread():
            _LOG.warning(
                "memguard: signals are not handled, because install() was not called"
                " in the main thread; the shutdown relies on the host's hooks"
            )
            return False
        pipe = self._pipe or self._open()
        for number in self._numbers:
            stack = self._handlers.setdefault(number, [])
            if not (stack and stack[-1].on_top) and _is_ours_to_take(number):
                stack.append(
                    Handler(number, self._wake, self._is_over, self._hold_back)
                )
                self._displaced.discard(number)
        if not any(stack[-1].of_host for stack in self._handlers.values() if stack):
            pipe.connect()
        hold_while_forking(number for number, stack in self._handlers.items() if stack)
        return True

    def uninstall(self) -> None:
        """
        Restore what was there, unless somebody else has put a handler since.
        """
        pipe, self._pipe = self._pipe, None
        if os.getpid() != self._pid or pipe is None:
            return
        self._over = True
        hold_while_forking(())
        is_main = threading.current_thread() is threading.main_thread()
        if is_main:
            pipe.disconnect()
            for number, stack in self._handlers.items():
                self._look(number)
                for handler in reversed(stack):
                    handler.put_back()
        pipe.send(_STOP)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)
        if is_main or not pipe.connected:
            pipe.close()
        # Else the interpreter goes on writing to it; its number must not be given to
        # some other file.
        answering = self._answering
        if answering is not None and is_main and not answering.dying:
            # The block that was stopped by a signal has ended: so does the process,
            # with the status it would have had without memguard.
            answering.die()

    def _open(self) -> Pipe:
        self._pipe = pipe = Pipe()
        self._thread = threading.Thread(
            target=self._watch, args=(pipe,), name="memguard-signals", daemon=True
        )
        self._thread.start()
        return pipe

    def renew_in_child(self) -> None:
        """
        After a fork: the handlers are inherited, the thread is not.
        """
        inherited, self._pipe = self._pipe, None
        if inherited is None:
            return
        self._pid = os.getpid()
        self._answering = None
        self._reset()
        pipe = self._open()
        if inherited.disconnect():
            pipe.connect()
        inherited.close()

    # -- in the handler ----------------------------------------------------------------

    def _wake(self, number: int) -> None:
        # In a child whose fork hooks have not run yet the pipe is the parent's.
        pipe = self._pipe
        if pipe is not None and self._pid == os.getpid():
            pipe.send(BY_HANDLER + number)

    def _hold_back(self, error: BaseException) -> bool:
        return self._guard.control.hold_back(error)

    def _is_over(self) -> bool:
        return self._over or not self._guard.is_running

    # -- in the watching thread --------------------------------------------------------

    def _watch(self, pipe: Pipe) -> None:
        read = pipe.read
        poll = select.poll()
        poll.register(read, select.POLLIN)
        while True:
            if not poll.poll(_HEARTBEAT_MS):
                for number in tuple(self._handlers):
                    self._look(number)
                continue
            for byte in os.read(read, 64):
                if byte == _STOP:
                    return
                self._hear(byte)

    def _hear(self, byte: int) -> None:
        """
        Count one byte. Each signal is told by the handler, by C, or by both.
        """
        way, number = byte & BY_HANDLER, byte & ~BY_HANDLER
        stack = self._handlers.get(number)
        if not stack or self._over:
            return
        self._heard[way] += 1
        if max(self._heard.values()) <= self._told:
            return
        self._told += 1
        handler = stack[-1]
        now = SystemClock.monotonic()
        burst = _BURST_UNDER_HOST_S if handler.of_host else _BURST_S
        if self._seen and now - self._last < burst:
            return
        self._seen += 1
        self._last = now
        self._respond(handler)

    def _respond(self, handler: Handler) -> None:
        if self._seen == 1:
            # The response may take as long as the shutdown; further signals have to
            # be heard meanwhile.
            answer = self._follow_host if handler.of_host else self._shut_down
            thread = threading.Thread(
                target=answer, args=(handler,), name="memguard-signal", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, or the system has no more
                answer(handler)
        elif self._seen == 2:
            self._hasty = True
            self._guard.control.hurry()
        elif not handler.of_host:
            self._over = True
            end_by_signal(handler)

    def _follow_host(self, handler: Handler) -> None:
        """
        Stop intake; shut down when the host says so, or when its grace runs out.
        """
        guard = self._guard
        name = signal.Signals(handler.number).name
        self._safely(guard.control.stop_intake)
        settings = guard.settings
        begun = guard.control.begun
        end = SystemClock.monotonic() + settings.grace - settings.shutdown_timeout
        while not (self._hasty or self._over):
            left = end - SystemClock.monotonic()
            if begun.wait(min(_STEP_S, left)):
                return
            if left <= 0:
                break
        if self._hasty:
            self._answer(f"second {name}", _HASTE_S)
        elif not self._over:
            self._answer(f"{name}, and the host's grace ran out", None)

    def _answer(self, reason: str, timeout: float | None) -> None:
        self._safely(lambda: self._guard.control.anywhere(reason, timeout))

    def _shut_down(self, handler: Handler) -> None:
        self._answering = handler
        name = signal.Signals(handler.number).name
        self._answer(name, None)
        self._safely(self._guard.control.wait_for_block)
        self._guard.control.wait_for_answers()
        self._over = True
        end_by_signal(handler)

    @staticmethod
    def _safely(step: Callable[[], object]) -> None:
        """
        Whatever goes wrong in the shutdown: the process has to end all the same.
        """
        try:
            step()
        except Exception as error:
            name = type(error).__qualname__
            where = error_site(error)
            _LOG.error(
                "memguard: the answer to a signal failed with %s, %s", name, where
            )

    def _look(self, number: int) -> None:
        """
        Report a handler that somebody has displaced, once.
        """
        stack = self._handlers[number]
        if not stack or number in self._displaced:
            return
        if stack[-1].on_top or stack[-1].dying:
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


def _is_ours_to_take(number: int) -> bool:
    # Ignored, or set by C code: whoever did that wants it so.
    return signal.getsignal(number) not in (signal.SIG_IGN, None)
