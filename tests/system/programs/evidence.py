"""
What a program under test writes down, for the test to read: one line an event.

Run with ARM=memguard or ARM=control: the same program with memguard and without.
"""

from __future__ import annotations

import os
import time
from typing import Any

WITH_MEMGUARD = os.environ.get("ARM", "memguard") == "memguard"
SLOW_S = float(os.environ.get("SLOW", "0.4"))
CHUNKS = int(os.environ.get("CHUNKS", "8"))
CHUNK = b"x" * 1024
CHUNK_PAUSE_S = 0.05
START_S = 0.3
TICK_S = 0.15


def note(event: str, detail: str = "") -> None:
    """
    Append `event pid detail`; one write, so that lines of several processes stay whole.
    """
    line = f"{event} {os.getpid()} {detail}".rstrip() + "\n"
    fd = os.open(os.environ["EVIDENCE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


class Connection:
    """
    Stands for what has to be closed exactly once; closing takes SLOW_CLOSE seconds.
    """

    def close(self) -> None:
        note("closing")
        time.sleep(float(os.environ.get("SLOW_CLOSE", "0")))
        note("closed")


def declare() -> None:
    """
    At import: a timer, a shutdown hook, and a listener for the report.
    """
    if not WITH_MEMGUARD:
        return
    import memguard

    guard = memguard.current()

    @memguard.timer(every="50ms", name="tick")
    def tick() -> None:
        note("tick-begin")
        time.sleep(TICK_S)
        note("tick-end")

    @guard.on_shutdown(phase="clients")
    def hook() -> None:
        note("hook")

    @guard.subscribe
    def told(event: Any) -> None:
        if type(event).__name__ == "ShutdownFinished":
            report = event.report
            clean = report.clean and not report.failing()
            note("report", "clean" if clean else str(report).replace("\n", " | "))


def own() -> None:
    """
    In each process that serves: what it has to close.
    """
    if WITH_MEMGUARD:
        import memguard

        memguard.register(Connection(), keep=True)
    note("worker")
