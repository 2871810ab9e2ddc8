"""
Requests a second of small Flask and Starlette services, bare and with memguard.

Reported, not judged: two identical services differ by several percent between runs on a
shared machine (CPU a request, in cost_middleware.py, is what can be judged).
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
ROUNDS = 4
CONNECTIONS = 8
SOURCE = str(Path(__file__).resolve().parents[1] / "src")

FLASK = """
    import os
    from flask import Flask
    app = Flask(__name__)
    @app.get("/hello/<name>")
    def hello(name):
        return "hello"
    if os.environ["ARM"] == "memguard":
        from memguard.integrations.flask import Memguard
        Memguard(app)
"""
STARLETTE = """
    import os
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    async def hello(request):
        return PlainTextResponse("hello")
    app = Starlette(routes=[Route("/hello/{name}", hello)])
    if os.environ["ARM"] == "memguard":
        from memguard.integrations.asgi import MemguardMiddleware
        app.add_middleware(MemguardMiddleware)
"""
SERVERS = {
    "Flask, gunicorn gthread": (
        FLASK,
        ["gunicorn", "--worker-class", "gthread", "--threads", "4", "--bind"],
        ["application:app"],
    ),
    "Starlette, uvicorn": (
        STARLETTE,
        ["uvicorn", "--log-level", "error", "--port"],
        ["application:app"],
    ),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def count_requests(port: int) -> float:
    """
    Requests a second over kept-alive connections.
    """
    counts = [0] * CONNECTIONS
    over = threading.Event()

    def client(number: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
            while not over.is_set():
                peer.sendall(b"GET /hello/you HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = b""
                while b"hello" not in answer:
                    part = peer.recv(4096)
                    if not part:
                        return
                    answer += part
                counts[number] += 1

    threads = [
        threading.Thread(target=client, args=(number,)) for number in range(CONNECTIONS)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    over.wait(SECONDS)
    over.set()
    for thread in threads:
        thread.join(10)
    return sum(counts) / (time.perf_counter() - began)


def wait_until_up(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def cpu_seconds(pid: int) -> float:
    """
    CPU of a process and of the children it has now.
    """
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = 0
    for one in (pid, *map(int, children)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(
    arm: str, command: list[str], rest: list[str], folder: str
) -> tuple[float, float]:
    """
    Requests a second, and microseconds of server CPU a request.
    """
    port = free_port()
    bind = f"127.0.0.1:{port}" if "gunicorn" in command else str(port)
    environment = {**os.environ, "ARM": arm, "PYTHONPATH": SOURCE}
    process = subprocess.Popen(
        [sys.executable, "-m", *command, bind, *rest],
        cwd=folder,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_up(port)
        count_requests(port)
        before = cpu_seconds(process.pid)
        rate = count_requests(port)
        spent = cpu_seconds(process.pid) - before
        return rate, spent / (rate * SECONDS) * 1e6
    finally:
        process.terminate()
        process.wait(20)


def main() -> int:
    for name, (source, command, rest) in SERVERS.items():
        found: dict[str, list[tuple[float, float]]] = {"bare": [], "memguard": []}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "application.py").write_text(textwrap.dedent(source))
            for turn in range(ROUNDS):
                arms = ("bare", "memguard") if turn % 2 else ("memguard", "bare")
                for arm in arms:
                    found[arm].append(measure(arm, command, rest, folder))
        bare, ours = (
            tuple(statistics.median(column) for column in zip(*found[arm], strict=True))
            for arm in ("bare", "memguard")
        )
        print(
            f"{name}: {bare[0]:.0f} requests/s bare, {ours[0]:.0f} with memguard,"
            f" ratio {ours[0] / bare[0]:.3f}; server CPU a request {bare[1]:.0f} µs"
            f" bare, {ours[1]:.0f} µs with (medians of {ROUNDS} rounds)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
