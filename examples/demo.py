"""
The demonstration: both examples under real load, stopped by SIGTERM in the middle.

Prints live counters and the shutdown reports, then what each cap saves. Exits 0 only if
no request failed, every audit is clean and every cap saves memory.
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
from load import ChatLoad, Tally, WebLoad, get_json, wait_until_up

HERE = Path(__file__).resolve().parent
LOAD_S = float(os.environ.get("DEMO_SECONDS", "8"))
CLIENTS = 8


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
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        with peer.makefile("rwb") as lines:
            lines.write(b"observer\n/stats\n")
            lines.flush()
            while True:
                line = lines.readline()
                if line.startswith(b"{") or not line:
                    stats: dict[str, Any] = json.loads(line or b"{}")
                    return stats


def show(name: str, second: int, tally: Tally, stats: dict[str, Any]) -> None:
    live = {
        kind["kind"]: kind["live"] for kind in stats.get("kinds", ()) if kind["live"]
    }
    counted = ", ".join(f"{many} {kind}" for kind, many in sorted(live.items()))
    print(f"  {second:2d} s  {name:11s} {tally.done:6d} answers | owned: {counted}")


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
        self.port = free_port()
        self.file = folder / f"{name}.jsonl"
        self.process = start(
            [sys.executable, *_COMMANDS[name]],
            HERE / name,
            CHAT_BIND=f"127.0.0.1:{self.port}",
            CHAT_DATABASE=str(folder / "chat.sqlite3"),
            CHAT_ARCHIVE=str(folder / f"{name}-archive.jsonl"),
            MEMGUARD_REPORT_FILE=str(self.file),
        )
        self.load = (WebLoad if self.is_web else ChatLoad)(self.port, CLIENTS)

    def stats(self) -> dict[str, Any]:
        return get_json(self.port, "/stats") if self.is_web else chat_stats(self.port)

    def health(self) -> str:
        if not self.is_web:
            return ""
        health = get_json(self.port, "/healthz")
        return (
            f"  health: {health['status']}, level {health['level']}, {health['memory']}"
        )

    def verdict(self) -> bool:
        expected = 2 if self.is_web else 1  # gunicorn runs two workers
        return verdict(self.name, reports(self.file), expected, self.load.finish())

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
        service.load.start()
    pause = threading.Event()
    for second in range(1, int(LOAD_S) + 1):
        pause.wait(1)
        for service in services:
            show(service.name, second, service.load.tally, service.stats())
    for service in services:
        print(service.health())
    print("SIGTERM, in mid-load")
    for service in services:
        took = stop(service.process, service.load.tally)
        print(f"{service.name} ended in {took:.2f} s")
    well = [service.verdict() for service in services]
    print("all clean" if all(well) else "NOT clean: see above")
    return all(well)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
