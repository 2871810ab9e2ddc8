"""
What sessions cost: opening, hibernating, waking up, and saving them all at the end.

Next to them stands what the disk can do: the same records written into a table of
SQLite by hand, with neither owner, version, checksum nor expiry.
"""

from __future__ import annotations

import gc
import json
import sqlite3
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from bars import Bar, table, verdict

from memguard import Guard, Sessions

ROUNDS = 7
OPENS = 5_000
MANY = 2_000
DIRTY = 10_000
TEXT = "x" * 950


def fill(sessions: Sessions, many: int, text: str = TEXT) -> None:
    for number in range(many):
        with sessions.open(f"s{number}") as session:
            session.data["text"] = text
            session.data["number"] = number


def by_hand(path: Path) -> float:
    """
    Writes a second, each in a transaction of its own.
    """
    connection = sqlite3.connect(path / "plain.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE IF NOT EXISTS t (id TEXT PRIMARY KEY, record)")
    began = perf_counter()
    for number in range(MANY):
        record = json.dumps({"text": TEXT, "number": number}).encode()
        connection.execute(
            "INSERT OR REPLACE INTO t VALUES (?, ?)", (f"s{number}", record)
        )
    took = perf_counter() - began
    connection.close()
    return MANY / took


def open_live(sessions: Sessions) -> float:
    """
    Microseconds for a block on a live session.
    """
    with sessions.open("live") as session:
        session.data["n"] = 1
    began = perf_counter()
    for _ in range(OPENS):
        with sessions.open("live"):
            pass
    return (perf_counter() - began) / OPENS * 1e6


def hibernate(sessions: Sessions) -> float:
    """
    Hibernations a second, one by one.
    """
    began = perf_counter()
    for number in range(MANY):
        sessions.hibernate(f"s{number}")
    return MANY / (perf_counter() - began)


def wake(sessions: Sessions) -> list[float]:
    """
    Microseconds of each wake-up, from the call until the block has its session.
    """
    took = []
    for number in range(MANY):
        began = perf_counter()
        with sessions.open(f"s{number}"):
            took.append((perf_counter() - began) * 1e6)
    return sorted(took)


def save_at_shutdown(path: Path) -> tuple[float, float, bool]:
    """
    Seconds and processor seconds of a shutdown with all sessions changed.
    """
    with Guard("stop", state_dir=str(path)) as guard:
        sessions = guard.sessions("s", max_sessions=DIRTY)
        fill(sessions, DIRTY)
        for session in list(guard.walk()):
            if session.kind == "session":
                session.data["text"] = TEXT[:-1] + "y"
        began, cpu = perf_counter(), process_time()
        guard.shutdown()
        took = perf_counter() - began, process_time() - cpu
    with Guard("stop", state_dir=str(path)) as guard:
        found = guard.sessions("s", max_sessions=DIRTY)
        with found.open(f"s{DIRTY - 1}") as session:
            return *took, session.data["text"].endswith("y") and len(found) == DIRTY


def measure(sessions: Sessions) -> dict[str, float]:
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    fill(sessions, MANY)
    for _ in range(ROUNDS):
        gc.collect()
        note("open", open_live(sessions))
        fill(sessions, MANY)  # changed: hibernating has something to write
        note("hibernate", hibernate(sessions))
        woken = wake(sessions)
        note("wake", median(woken))
        note("wake p99", woken[int(len(woken) * 0.99)])
    return {name: median(values) for name, values in figures.items()}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        with Guard("bench", state_dir=str(path)) as guard:
            kept = guard.sessions("kept", max_sessions=100_000)
            held = guard.sessions("held", max_sessions=100_000, store="memory")
            disk = measure(kept)
            memory = measure(held)
        plain = median(by_hand(path) for _ in range(3))
        stops = [save_at_shutdown(path / str(number)) for number in range(3)]
    took = median(one[0] for one in stops)
    table(
        ["sessions with 1 KiB of data", "SQLite", "memory"],
        [
            [
                "`open` of a live one, µs",
                f"{disk['open']:.1f}",
                f"{memory['open']:.1f}",
            ],
            [
                "hibernations a second",
                f"{disk['hibernate']:,.0f}",
                f"{memory['hibernate']:,.0f}",
            ],
            ["wake-up, median, µs", f"{disk['wake']:.0f}", f"{memory['wake']:.0f}"],
            [
                "wake-up, p99, µs",
                f"{disk['wake p99']:.0f}",
                f"{memory['wake p99']:.0f}",
            ],
            ["plain upserts of SQLite a second", f"{plain:,.0f}", ""],
            [
                f"shutdown with {DIRTY:,} changed, s (of processor)",
                f"{took:.2f} ({median(one[1] for one in stops):.2f})",
                "",
            ],
        ],
    )
    bars = [
        Bar("`open` of a live session, SQLite", disk["open"], 10, unit=" µs"),
        Bar("hibernations to SQLite", disk["hibernate"], 8000, unit="/s", gain=True),
        Bar("wake-up from SQLite, p99", disk["wake p99"], 300, unit=" µs"),
        Bar("wake-up from memory", memory["wake"], 50, 15, unit=" µs"),
        Bar(f"{DIRTY:,} changed sessions saved at shutdown", took, 1, unit=" s"),
    ]
    if not all(one[2] for one in stops):
        print("**a session was not as it was left**")
        return 1
    return verdict(bars)


if __name__ == "__main__":
    sys.exit(main())
