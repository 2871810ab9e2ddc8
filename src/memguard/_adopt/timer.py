"""
Timers of `threading`: a thread each, which waits and then calls.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from memguard._adopt.asking import join_all
from memguard._probes.threads import thread_age
from memguard.typing import Adapter, Measured

__all__ = ("ADAPTERS",)

# A callback that hangs ends no earlier because somebody waits for it; but the thread of
# an abandoned close comes free some day.
_WAIT_S: Final = 30.0


class ThreadTimer(Adapter):
    """
    One `threading.Timer`: its state, and the seconds until it is due.

    Closing it cancels it and waits for a callback that runs already.
    """

    kind = "timer"
    phase = "timers"
    module = "threading"
    cannot = (
        "a threading.Timer has nothing to cap: it is one thread and fires once; many of"
        " them are cheaper as memguard.timer, which needs no thread each"
    )
    # Its thread keeps it; without one it was never started, or is over.
    must_close = False
    waits = True

    def types(self) -> tuple[type, ...]:
        return (threading.Timer,)

    def measure(self, obj: Any) -> Measured:
        state = _state(obj)
        due = None
        if state == "waiting":
            age = thread_age(obj.native_id)
            if age is not None:
                due = obj.interval - age
                if due <= 0.0:
                    state, due = "running", None
        details = {"state": state, "interval_s": obj.interval, "due_in_s": due}
        return Measured(entries=int(state in ("waiting", "running")), details=details)

    def close(self, obj: Any) -> None:
        obj.cancel()
        if obj.ident is not None:  # else it was never started
            join_all((obj,), _WAIT_S)

    def is_open(self, obj: Any) -> bool:
        return obj.is_alive() or not obj.finished.is_set()


def _state(timer: Any) -> str:
    if not timer.finished.is_set():
        return "new" if timer.ident is None else "waiting"
    return "ending" if timer.is_alive() else "over"


ADAPTERS = (ThreadTimer(),)
