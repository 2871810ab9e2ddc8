"""
Calls into the C library that Python does not offer.
"""

from __future__ import annotations

import os

__all__ = ("default_disposition", "restarts_calls", "trim_heap")

_SIG_DFL = 0
_SIG_ERR = -1
_SA_RESTART = 0x10000000
_MASK_BYTES = 128  # of sigset_t, in glibc and in musl


def default_disposition(number: int) -> None:
    """
    Give a signal back to the kernel's default, from any thread.

    `signal.signal` does so in the main thread only, which may be inside a C call that
    never returns. Python is not told: `signal.getsignal` names the old handler still,
    so this is for a process that is about to end. Raises OSError for what is no signal
    or cannot be changed (SIGKILL, SIGSTOP).
    """
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    library.signal.argtypes = (ctypes.c_int, ctypes.c_ssize_t)
    library.signal.restype = ctypes.c_ssize_t
    if library.signal(number, _SIG_DFL) == _SIG_ERR:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def restarts_calls(number: int) -> bool:
    """
    True where a system call that this signal interrupts goes on by itself.

    Python sets that (`signal.siginterrupt`) and cannot be asked. False as well where
    the C library's record has another shape than on Linux.
    """
    import ctypes
    import platform
    import sys

    if not sys.platform.startswith("linux") or platform.machine().startswith("mips"):
        return False

    class Action(ctypes.Structure):
        _fields_ = (
            ("handler", ctypes.c_void_p),
            ("mask", ctypes.c_ulong * (_MASK_BYTES // ctypes.sizeof(ctypes.c_ulong))),
            ("flags", ctypes.c_int),
            ("restorer", ctypes.c_void_p),
        )

    action = Action()
    library = ctypes.CDLL(None)
    if library.sigaction(number, None, ctypes.byref(action)) != 0:
        return False
    return bool(action.flags & _SA_RESTART)


def trim_heap() -> bool:
    """
    Give free memory of the C library's heap back to the system; False if none was.

    Only glibc can. Other threads may run meanwhile; those that allocate may wait.
    """
    import ctypes

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return False
    trim.argtypes = (ctypes.c_size_t,)
    trim.restype = ctypes.c_int
    return bool(trim(0))
