"""
What the demonstration shows of sessions: who comes back, who sleeps, who is killed.

Each scene prints what it has measured, and says whether that was as it should be.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from load import ChatLoad, Visitor, WebLoad, get_json

__all__ = ("fall_asleep", "kill_a_worker", "return_to_chat", "return_to_web")

GUESTS = 120
LINES = 20
LINE = "a line of the length that lines have in a chat, and some more words " * 7
_PATIENCE_S = 20.0


def fall_asleep(port: int, grace_s: float) -> bool:
    """
    Guests come, talk and leave: within the grace everything stays, then they sleep.
    """
    with Visitor(port, "guest-0") as guest:
        guest.say("the first line")
        guest.say("/draft half a line")
        guest.ask("/drafts")
    with Visitor(port, "guest-0") as guest:
        drafts = guest.ask("/drafts")
        kept = guest.visit == 2 and drafts == ["half a line"]
        print(f"  back within the grace: {guest.hello!r}, drafts {drafts}")
    for number in range(1, GUESTS + 1):
        with Visitor(port, f"guest-{number}") as guest:
            for _ in range(LINES):
                guest.say(LINE)
            guest.ask("/drafts")  # all lines have been heard
    with Visitor(port, "observer") as observer:
        before = observer.ask("/stats")
        print("  " + _sessions(before), "after", GUESTS, "guests have left")
        after = before
        deadline = time.monotonic() + grace_s + _PATIENCE_S
        while after["sessions"]["live"] > 1 and time.monotonic() < deadline:
            time.sleep(0.2)
            after = observer.ask("/stats")
    print("  " + _sessions(after), "when the grace was over")
    with Visitor(port, "guest-0") as guest:
        drafts, history = guest.ask("/drafts"), guest.ask("/history")
        print(f"  back after it: {guest.hello!r}, history {history}, drafts {drafts}")
    slept = after["sessions"]["live"] <= 1 and after["sessions"]["hibernated"] >= GUESTS
    # On a slow machine the first ones are asleep before the last one leaves.
    mostly_live = before["sessions"]["live"] > GUESTS / 2
    smaller = _blocks(after) < _blocks(before) or not mostly_live
    return kept and slept and smaller and (history, drafts) == (["the first line"], [])


def kill_a_worker(port: int, load: WebLoad) -> int:
    """
    SIGKILL to one of the workers in mid-load; gives its process id.
    """
    stats = get_json(port, "/stats")
    worker: int = stats["pid"]
    print(
        f"  SIGKILL to worker {worker}, which has {stats['sessions']['live']} sessions"
        f" of its own; {load.answered()} messages were answered by now"
    )
    load.tally.killed = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    return worker


def return_to_web(port: int, load: WebLoad) -> bool:
    """
    Every client of the load comes back to a service that was started again.
    """
    try:
        histories = load.come_back(port)
    except AssertionError as error:
        print(f"  flask_app after the restart: {error}")
        return False
    print(
        f"  flask_app after the restart: {histories} histories, each as it was answered"
    )
    return histories > 0


def return_to_chat(port: int, load: ChatLoad) -> bool:
    """
    Those who left long ago, and those whom the stop has cut off.
    """
    visits = dict(load.visits)
    well = True
    for name, visit in visits.items():
        with Visitor(port, name) as visitor:
            well &= visitor.visit > visit and "a line" in (
                visitor.ask("/history") or ()
            )
    print(f"  asyncio_app after the restart: {len(visits)} users are known again")
    with Visitor(port, "guest-7") as visitor:
        history = visitor.ask("/history")
        print(f"  guest-7: {visitor.hello!r}, {len(history)} lines of history")
        well &= visitor.visit == 2 and history == [LINE.strip()] * LINES
    return well


def _sessions(stats: dict[str, Any]) -> str:
    sessions, memory = stats["sessions"], stats["memory"]
    return (
        f"sessions: {sessions['live']} live, {sessions['hibernated']} hibernated;"
        f" {_blocks(stats):,} blocks of Python,"
        f" {memory['rss'] / 2**20:.1f} MiB resident"
    )


def _blocks(stats: dict[str, Any]) -> int:
    blocks: int = stats["memory"]["pythonBlocks"]
    return blocks
