"""
Runs every benchmark and writes `benchmarks/RESULTS.md`: `make bench`.

Each program prints its figures and exits 1 where a bar is missed; so does this one.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUESTIONS = {
    "What does an import cost?": "import_time.py",
    "What do a scope and a registration cost?": "cost_scope.py",
    "What does a request cost?": "cost_middleware.py",
    "How fast do 10,000 resources close?": "close_many.py",
    "How many requests a second?": "requests_per_second.py",
}
PEERS = ("flask", "starlette", "gunicorn", "uvicorn", "opentelemetry-api")


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"
        f" {platform.machine()}, CPython {platform.python_version()}"
    )


def main() -> int:
    today = dt.datetime.now(tz=dt.timezone.utc).date().isoformat()
    peers = ", ".join(f"{name} {version(name)}" for name in PEERS)
    lines = [
        "# Results",
        "",
        f"Made by `make bench` on {today}: {machine()}. Peers: {peers}.",
        "",
    ]
    missed = []
    for question, program in QUESTIONS.items():
        run = subprocess.run(
            [sys.executable, str(HERE / program)],
            capture_output=True,
            text=True,
            check=False,
        )
        sys.stdout.write(f"{question}\n{run.stdout}{run.stderr}\n")
        if run.returncode:
            missed.append(program)
        lines += [
            f"## {question}",
            "",
            f"`python benchmarks/{program}`"
            + (" **(a bar is missed)**" if run.returncode else ""),
            "",
            *(f"* {line}" for line in run.stdout.splitlines()),
            "",
        ]
    (HERE / "RESULTS.md").write_text("\n".join(lines))
    if missed:
        print("missed a bar:", ", ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
