"""
Calls into the C library that Python does not offer.
"""

from __future__ import annotations

import os

__all__ = ("default_disposition",)

_SIG_DFL = 0
_SIG_ERR = -1


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
