"""
The last net: a shutdown at interpreter exit, if nobody has done it before.

The interpreter joins non-daemon threads before it runs atexit functions, so a thread
that only a shutdown would end hangs the exit. `threading._register_atexit`, which
concurrent.futures uses for the same reason, runs before that join; atexit remains for
interpreters without it.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from memguard._guard import Guard

__all__ = ("forget_exit", "shut_down_at_exit")

_guard: ref[Guard] | None = None
_pid = 0
_registered = False


def shut_down_at_exit(guard: Guard) -> None:
    """
    Shut *guard* down when this process exits, unless that has happened by then.
    """
    global _guard, _pid, _registered
    _guard = ref(guard)
    _pid = os.getpid()
    atexit.register(_at_exit)
    if not _registered:
        _registered = True
        register = getattr(threading, "_register_atexit", None)
        if register is not None:
            register(_at_exit)


def forget_exit() -> None:
    """
    Do nothing at exit any more.
    """
    global _guard
    _guard = None
    atexit.unregister(_at_exit)


def renew_in_child() -> None:
    """
    After a fork the hooks are inherited, and mean the child's own guard.
    """
    global _pid
    _pid = os.getpid()


def _at_exit() -> None:
    guard = None if _guard is None else _guard()
    if guard is None or _pid != os.getpid():
        return
    if guard.is_running:
        guard.shutdown(reason="interpreter exit")
    guard.uninstall()
