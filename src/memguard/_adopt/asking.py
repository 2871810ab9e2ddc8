"""
Who asks for a shutdown, or waits for its end: nobody may wait for that one in turn.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from typing import Any, Final

from memguard._kinds.callbacks import await_chain

__all__ = ("join_all", "task_asks", "thread_asks")

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# Closing in any other way comes to one of these as well.
_VERBS: Final = frozenset({"ashutdown", "shutdown", "stopped"})


def task_asks(task: Any) -> bool:
    """
    True for a task that stands in a shutdown of memguard's, or waits for its end.
    """
    return any(_is_verb(code) for _, code in await_chain(task.get_coro()))


def thread_asks(thread: Any) -> bool:
    """
    True for the thread that does so, and for the one that this is called in.
    """
    if thread.ident == threading.get_ident():
        return True
    frame = sys._current_frames().get(thread.ident)
    while frame is not None:
        if _is_verb(frame.f_code):
            return True
        frame = frame.f_back
    return False


def join_all(threads: Iterable[Any], seconds: float) -> None:
    """
    Wait for *threads* in turn, *seconds* for each; not beyond the first that hangs.

    One that asks for the shutdown is left out: it waits for whoever calls this.
    """
    for thread in threads:
        if thread_asks(thread):
            continue
        thread.join(seconds)
        if thread.is_alive():
            return


def _is_verb(code: Any) -> bool:
    return code.co_name in _VERBS and code.co_filename.startswith(_PACKAGE)
