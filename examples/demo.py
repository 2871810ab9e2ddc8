"""
The demonstration: both examples under real load, stopped by SIGTERM in the middle.

Before that, guests of the chat come back within the grace and after it, and a worker of
the web service is killed in mid-load; after it, both start again and know everybody.

Prints live counters and the shutdown reports, then what each cap saves. Exits 0 only if
no request failed, no answered message was lost, every audit is clean and every cap
saves memory.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import savings
import scenes
from load import ChatLoad, Tally, Visitor, WebLoad, get_json, wait_until_up

HERE = Path(__file__).resolve().parent
LOAD_S = float(os.environ.get("DEMO_SECONDS", "8"))
CLIENTS = 8
GRACE_S = 3.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(command: list[str], cwd: Path, **variables: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    return subprocess.Popen(command, cwd=cwd, env=environment)


def chat_stats(port: int) -> dict[str, Any]:
    """
    Ask the chat server for its counters, as one of its users.
    """
    with Visitor(port, "observer") as observer:
        stats: dict[str, Any] = observer.ask("/stats") or {}
        return stats


def show(name: str, second: int, tally: Tally, stats: dict[str, Any]) -> None:
    live = {
        kind["kind"]: kind["live"] for kind in stats.get("kinds", ()) if kind["live"]
    }
    counted = ", ".join(f"{many} {kind}" for kind, many in sorted(live.items()))
    asleep = stats.get("sessions", {}).get("hibernated", 0)
    print(
        f"  {second:2d} s  {name:11s} {tally.done:6d} answers | owned: {counted};"
        f" {asleep} sessions sleep"
    )


def stop(process: subprocess.Popen[bytes], *tallies: Tally) -> float:
    """
    SIGTERM in mid-load; returns how long the service took to end.
    """
    began = time.monotonic()
    for tally in tallies:
        tally.stop_asked = began
    process.send_signal(signal.SIGTERM)
    process.wait(40)
    return time.monotonic() - began


def reports(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def verdict(
    name: str, found: list[dict[str, Any]], expected: int, tally: Tally
) -> bool:
    clean = len(found) == expected and all(report["clean"] for report in found)
    failures = list(tally.failures)
    print(
        f"  {name}: {len(found)} of {expected} shutdown report(s),"
        f" {'all clean' if clean else 'NOT clean'}; {tally.done} answers,"
        f" {len(failures)} failed, {tally.refused_after_stop} came after the stop"
        + (f", {tally.cut_off} broke off at the kill" if tally.cut_off else "")
    )
    for failure in failures[:5]:
        print(f"    failed: {failure}")
    return clean and not failures and tally.done > 0


class Service:
    """
    One example: its process, its load, its counters and its reports.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.is_web = name == "flask_app"
        self.folder = folder
        self.start()
        self.load = (WebLoad if self.is_web else ChatLoad)(self.port, CLIENTS)

    def start(self, times: int = 1) -> None:
        """
        A process of it, for the first time or once more.
        """
        self.port = free_port()
        self.file = self.folder / f"{self.name}-{times}.jsonl"
        self.process = start(
            [sys.executable, *_COMMANDS[self.name]],
            HERE / self.name,
            CHAT_BIND=f"127.0.0.1:{self.port}",
            CHAT_DATABASE=str(self.folder / "chat.sqlite3"),
            CHAT_ARCHIVE=str(self.folder / f"{self.name}-archive.jsonl"),
            CHAT_COLD=str(self.folder / f"{self.name}-cold.jsonl"),
            CHAT_GRACE=f"{GRACE_S}s",
            MEMGUARD_REPORT_FILE=str(self.file),
            # Where sessions are kept: else it would be your own ~/.local/state.
            XDG_STATE_HOME=str(self.folder / "state"),
            STATE_DIRECTORY="",
        )

    def stats(self) -> dict[str, Any]:
        return get_json(self.port, "/stats") if self.is_web else chat_stats(self.port)

    def health(self) -> str:
        if not self.is_web:
            return ""
        health = get_json(self.port, "/healthz")
        return (
            f"  health: {health['status']}, level {health['level']}, {health['memory']}"
        )

    @property
    def reports_due(self) -> int:
        return 2 if self.is_web else 1  # gunicorn runs two workers

    def verdict(self) -> bool:
        found = reports(self.file)
        return verdict(self.name, found, self.reports_due, self.load.finish())

    def come_back(self) -> bool:
        """
        Everybody finds what was there before the restart; the second stop is clean.
        """
        if isinstance(self.load, WebLoad):
            well = scenes.return_to_web(self.port, self.load)
        else:
            well = scenes.return_to_chat(self.port, self.load)
        stop(self.process)
        found = reports(self.file)
        clean = len(found) == self.reports_due and all(one["clean"] for one in found)
        print(f"  {self.name} ended again, {'clean' if clean else 'NOT clean'}")
        return well and clean

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


_COMMANDS = {
    "flask_app": ["-m", "gunicorn", "--config", "gunicorn.conf.py", "app:app"],
    "asyncio_app": ["chat.py"],
}


def main(names: list[str]) -> int:
    unknown = set(names) - set(_COMMANDS)
    if unknown:
        print(f"no such example: {', '.join(sorted(unknown))}; there are", *_COMMANDS)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        services = [Service(name, Path(scratch)) for name in names or _COMMANDS]
        try:
            well = run(services)
        finally:
            for service in services:
                service.end()
    if not names:  # the whole demo
        well = savings.main() == 0 and well
    return 0 if well else 1


def run(services: list[Service]) -> bool:
    print("memguard demo:", " and ".join(service.name for service in services))
    for service in services:
        wait_until_up(service.port)
    well = [True]
    for service in services:
        if not service.is_web:
            print("sessions that sleep")
            well.append(scenes.fall_asleep(service.port, GRACE_S))
    print("load")
    for service in services:
        service.load.start()
    pause = threading.Event()
    for second in range(1, int(LOAD_S) + 1):
        pause.wait(1)
        for service in services:
            show(service.name, second, service.load.tally, service.stats())
            if second == int(LOAD_S) // 2 and isinstance(service.load, WebLoad):
                scenes.kill_a_worker(service.port, service.load)
    for service in services:
        print(service.health())
    print("SIGTERM, in mid-load")
    for service in services:
        took = stop(service.process, service.load.tally)
        print(f"{service.name} ended in {took:.2f} s")
    well += [service.verdict() for service in services]
    print("a warm restart")
    for service in services:
        service.start(2)
    for service in services:
        wait_until_up(service.port)
        well.append(service.come_back())
    print("all clean" if all(well) else "NOT clean: see above")
    return all(well)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
