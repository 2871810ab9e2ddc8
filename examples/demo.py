"""
The demonstration: both examples under real load, stopped by SIGTERM in the middle.

Prints live counters and the shutdown reports. Exits 0 only if no request failed and
every audit is clean.
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


def verdict(name: str, found: list[dict[str, Any]], expected: int, tally: Tally) -> bool:
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


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        web_port, chat_port = free_port(), free_port()
        web_file, chat_file = folder / "web.jsonl", folder / "chat.jsonl"
        print("memguard demo: a Flask service (gunicorn) and an asyncio service")
        web = start(
            [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "app:app"],
            HERE / "flask_app",
            CHAT_BIND=f"127.0.0.1:{web_port}",
            CHAT_DATABASE=str(folder / "chat.sqlite3"),
            MEMGUARD_REPORT_FILE=str(web_file),
        )
        chat = start(
            [sys.executable, "chat.py"],
            HERE / "asyncio_app",
            CHAT_BIND=f"127.0.0.1:{chat_port}",
            MEMGUARD_REPORT_FILE=str(chat_file),
        )
        try:
            return run(web, chat, web_port, chat_port, web_file, chat_file)
        finally:
            for process in (web, chat):
                if process.poll() is None:
                    process.kill()
                    process.wait(10)


def run(
    web: subprocess.Popen[bytes],
    chat: subprocess.Popen[bytes],
    web_port: int,
    chat_port: int,
    web_file: Path,
    chat_file: Path,
) -> int:
    wait_until_up(web_port)
    wait_until_up(chat_port)
    loads = WebLoad(web_port, CLIENTS), ChatLoad(chat_port, CLIENTS)
    for load in loads:
        load.start()
    pause = threading.Event()
    for second in range(1, int(LOAD_S) + 1):
        pause.wait(1)
        show("flask_app", second, loads[0].tally, get_json(web_port, "/stats"))
        show("asyncio_app", second, loads[1].tally, chat_stats(chat_port))
    health = get_json(web_port, "/healthz")
    print(f"  health: {health['status']}, level {health['level']}, {health['memory']}")
    print("SIGTERM to both, in mid-load")
    took_web = stop(web, loads[0].tally)
    took_chat = stop(chat, loads[1].tally)
    tallies = [load.finish() for load in loads]
    print(f"flask_app ended in {took_web:.2f} s, asyncio_app in {took_chat:.2f} s")
    well = [
        verdict("flask_app", reports(web_file), 2, tallies[0]),
        verdict("asyncio_app", reports(chat_file), 1, tallies[1]),
    ]
    print("all clean" if all(well) else "NOT clean: see above")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
