"""
Runs every benchmark and writes `benchmarks/RESULTS.md`: `make bench`.

Each program prints its figures and exits 1 where a bar is missed; so does this one.
With names of programs as arguments only these run, and the others keep what they had.
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
RESULTS = HERE / "RESULTS.md"
QUESTIONS = {
    "What does an import cost?": "import_time.py",
    "What do a scope and a registration cost?": "cost_scope.py",
    "What does a request cost?": "cost_middleware.py",
    "How fast do 10,000 resources close?": "close_many.py",
    "How many requests a second?": "requests_per_second.py",
    "How often does a cache have what is asked for?": "hit_ratio.py",
    "How fast are caches and cached functions?": "cache_speed.py",
    "How do caches do under threads?": "cache_threads.py",
    "What does an entry weigh, and how long does a put take at most?": (
        "cache_memory.py"
    ),
    "What does one budget for several caches save?": "one_budget.py",
    "How long does shrinking hold everybody up?": "cache_pauses.py",
    "How right are sizes, and what does measuring cost?": "sizing.py",
    "Does a stream 100 times larger than its memory stay flat?": "streaming.py",
    "What do an append to a ring and a point of a series cost?": "ring_series.py",
    "What does lending a member of a pool cost?": "pool_lease.py",
    "What do sessions cost?": "sessions.py",
    "What does adopting cost?": "adopt_cost.py",
    "How long does the end of a huge value hold everybody up?": "teardown.py",
    "What does a session weigh, live and asleep?": "session_sizes.py",
    "What does a store of sessions in SQLite cost?": "session_store.py",
    "What does a list of risks cost?": "risks_cost.py",
    "What does a look at the memory of a process cost?": "footprint_cost.py",
}
# These differ between versions of Python: they run on the second one too, where its
# environment has been made.
ON_BOTH = {
    "cache_speed.py",
    "cache_threads.py",
    "cache_memory.py",
    "cache_pauses.py",
    "sizing.py",
    "ring_series.py",
    "teardown.py",
}
SECOND = HERE.parent / ".venvs" / "3.13" / "bin" / "python"
PEERS = (
    "flask",
    "starlette",
    "gunicorn",
    "uvicorn",
    "opentelemetry-api",
    "cachetools",
    "cachebox",
    "theine",
    "moka-py",
    "lru-dict",
    "async-lru",
    "pympler",
)
# Lines of a program's output that stand as they are; any other becomes a list's item.
MARKDOWN = ("|", "!", "#", "*")


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"
        f" {platform.machine()}, CPython {platform.python_version()}"
    )


def pythons(program: str) -> dict[str, str]:
    """
    The interpreters a program runs on, by version.
    """
    own = {platform.python_version(): sys.executable}
    if program not in ON_BOTH or not SECOND.exists():
        return own
    asked = subprocess.run(
        [SECOND, "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    )
    return own | {asked.stdout.strip(): str(SECOND)}


def run(interpreter: str, program: str) -> tuple[str, bool]:
    """
    What a program printed, and whether every bar was reached.
    """
    done = subprocess.run(
        [interpreter, str(HERE / program)],
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(f"{done.stdout}{done.stderr}\n")
    sys.stdout.flush()
    return done.stdout, not done.returncode


def as_markdown(output: str) -> list[str]:
    """
    The output with a list's mark before each line that is not markdown by itself.
    """
    lines: list[str] = []
    for line in output.splitlines():
        shown = line if not line or line.startswith(MARKDOWN) else f"* {line}"
        if shown or (lines and lines[-1]):
            lines.append(shown)
    return lines


def section(question: str, program: str) -> tuple[list[str], list[str]]:
    """
    The lines of one question, and where a bar was missed.
    """
    lines = [f"## {question}", "", f"`python benchmarks/{program}`", ""]
    missed = []
    interpreters = pythons(program)
    for number, interpreter in interpreters.items():
        print(f"{question} (Python {number})")
        output, reached = run(interpreter, program)
        if not reached:
            missed.append(f"{program} on {number}")
            lines += ["**A bar is missed.**", ""]
        if len(interpreters) > 1:
            lines += [f"### CPython {number}", ""]
        lines += [*as_markdown(output), ""]
    return lines, missed


def kept() -> dict[str, str]:
    """
    The sections of the file as it is, by question.
    """
    if not RESULTS.exists():
        return {}
    _, *sections = RESULTS.read_text().split("\n## ")
    return {one.partition("\n")[0]: f"## {one.rstrip()}\n" for one in sections}


def main(programs: list[str]) -> int:
    unknown = set(programs) - set(QUESTIONS.values())
    if unknown:
        print("no such benchmark:", ", ".join(sorted(unknown)), file=sys.stderr)
        return 2
    today = dt.datetime.now(tz=dt.timezone.utc).date().isoformat()
    peers = ", ".join(f"{name} {version(name)}" for name in PEERS)
    sections = kept()
    missed = []
    for question, program in QUESTIONS.items():
        if programs and program not in programs:
            continue
        load = f"{os.getloadavg()[0]:.1f}"
        lines, short = section(question, program)
        lines[4:4] = [f"Measured on {today}, at a load average of {load} before.", ""]
        text = "\n".join(lines)
        while "\n\n\n" in text:
            text = text.replace("\n\n\n", "\n\n")
        sections[question] = f"{text.rstrip()}\n"
        missed += short
    head = f"# Results\n\nMade by `make bench` on {machine()}. Peers: {peers}.\n"
    shown = [sections[question] for question in QUESTIONS if question in sections]
    RESULTS.write_text("\n".join([head, *shown]))
    if missed:
        print("missed a bar:", ", ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
