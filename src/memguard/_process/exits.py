"""
The last net: a shutdown at interpreter exit, if nobody has done it before.

The interpreter joins non-daemon threads before it runs atexit functions, so a thread
that only a shutdown would end hangs the exit. `threading._register_atexit`, which
concurrent.futures uses for the same reason, runs before that join, and also where a
child of multiprocessing leaves without atexit. Atexit remains for the rest.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import TYPE_CHECKING, Final
from weakref import ref

from memguard._sites import error_site

if TYPE_CHECKING:
    from memguard._guard import Guard

__all__ = ("forget_exit", "renew_in_child", "shut_down_at_exit")

_LOG: Final = logging.getLogger("memguard")


class _AtExit:
    """
    The one exit hook of the process.
    """

    def __init__(self) -> None:
        self.guard: ref[Guard] | None = None
        self.pid = 0
        self._registered = False

    def register(self) -> None:
        """
        Once a process: neither kind can be taken back without leaving something behind.
        """
        if self._registered:
            return
        self._registered = True
        atexit.register(self)
        register = getattr(threading, "_register_atexit", None)
        if register is not None:
            try:
                register(self)
            except RuntimeError:
                return  # the exit has begun: atexit is what is left

    def __call__(self) -> None:
        guard = None if self.guard is None else self.guard()
        # A fork without fork hooks, or its child: the guard is the parent's.
        if guard is None or self.pid != os.getpid():
            return
        try:
            if guard.is_running:
                guard.shutdown(reason="interpreter exit")
                guard.control.wait_for_answers()
        except BaseException as error:
            # What is raised here would keep other exit functions from running.
            name = type(error).__qualname__
            where = error_site(error)
            _LOG.error("memguard: the shutdown at exit ended with %s, %s", name, where)
        finally:
            guard.uninstall()


_at_exit: Final = _AtExit()


def shut_down_at_exit(guard: Guard) -> None:
    """
    Shut *guard* down when this process exits, unless that has happened by then.
    """
    _at_exit.guard = ref(guard)
    _at_exit.pid = os.getpid()
    _at_exit.register()


def forget_exit() -> None:
    """
    Do nothing at exit any more.
    """
    _at_exit.guard = None


def renew_in_child() -> None:
    """
    After a fork the hook is inherited, and means the child's own guard.
    """
    _at_exit.pid = os.getpid()
