"""
What a list of risks costs on a process with a million objects, and whom it holds up.

Each measurement has a fresh process: a million objects in an application of 300
modules, beside the frameworks that are installed here, all of it held by modules. A
thread that wants to wake every 0.1 ms tells how much later it did; "idle" is what it
finds while nothing happens. A slice is the processor time between two moments at which
the look gives way. Medians of the processes; the worst of them in brackets.
"""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from bars import Bar, table, verdict
from cache_pauses import Ticker, idle_ms, undisturbed

import memguard
from memguard import _risks
from memguard._clock import give_way
from memguard._risks.pace import Pace
from memguard.testing import FakeProbe

OBJECTS = 1_000_000
MODULES = 300
OWNED = 20_000
PROCESSES = 5
LOADED = (
    *("asyncio", "concurrent.futures", "email.message", "http.server", "json"),
    *("logging.config", "multiprocessing", "sqlite3", "unittest", "xml.dom.minidom"),
    *("flask", "django.db", "sqlalchemy.orm", "starlette.applications", "fastapi"),
    *("redis", "httpx", "requests", "aiohttp", "uvicorn", "gunicorn.app.base"),
)

SOURCE = """
class Base:
    shared = {}

    def __init__(self):
        self.items = {}
        self.done = []

    def start(self, key, value):
        self.items[key] = value

    def finish(self, key):
        self.done.append(self.items.pop(key))

class Derived(Base):
    names = set()

    def note(self, name):
        self.names.add(name)

manager, other = Base(), Derived()
LOOKUP = {number: str(number) for number in range(100)}
SETTINGS = {"first": {}, "second": []}

def remember(key, value):
    LOOKUP[key] = value

def collect(value, seen=[]):
    seen.append(value)
"""


class Thing:
    """
    An object of the application.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = f"thing {number}"


def service() -> memguard.Guard:
    """
    A process as large as a service, and the guard of it.
    """
    for name in LOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    for number in range(MODULES):
        module = ModuleType(f"service.part{number}")
        sys.modules[module.__name__] = module
        exec(compile(SOURCE, f"part{number}.py", "exec"), vars(module))
    module = ModuleType("service.state")
    sys.modules[module.__name__] = module
    third = OBJECTS // 3
    names: dict[str, Any] = vars(module)
    names["THINGS"] = {number: Thing(number) for number in range(third)}
    names["ROWS"] = [[number] for number in range(third)]
    names["SEEN"] = {(number, str(number)) for number in range(third)}
    guard = memguard.Guard(probe=FakeProbe(rss="512MiB", limit="1GiB"))
    sessions = guard.sessions("chat", max_live=OWNED)
    for number in range(OWNED // 4):
        with sessions.open(str(number)) as session:
            session.ring("messages", max_entries=20).append("a message")
    for number in range(OWNED // 2):
        guard.register(names["THINGS"][number])
    gc.collect()
    return guard


class Measured(Pace):
    """
    Notes the processor time of each slice, as the thread itself spends it.
    """

    def __init__(self) -> None:
        self.slices_ms: list[float] = []
        self._began = time.thread_time()
        super().__init__(pause=self._pause_now)

    def _pause_now(self, seconds: float) -> None:
        self.slices_ms.append((time.thread_time() - self._began) * 1e3)
        give_way(seconds)
        self._began = time.thread_time()


def timed(act: Callable[[], Any]) -> tuple[float, float, float]:
    """
    Wall time, processor time, and the longest pause of others, in ms.
    """
    with undisturbed(), Ticker() as ticker:
        began, worked = time.perf_counter(), time.thread_time()
        act()
        ended, done = time.perf_counter(), time.thread_time()
        time.sleep(0.01)
    return (ended - began) * 1e3, (done - worked) * 1e3, ticker.longest


def measure() -> dict[str, Any]:
    guard = service()
    sys.setswitchinterval(0.0005)
    _risks.risks_of(guard, _risks.Looks())  # the rules are loaded, the types known
    first = timed(guard.risks)
    second = timed(guard.risks)
    pace = Measured()
    with undisturbed():
        report = _risks.risks_of(guard, guard.looks or _risks.Looks(), pace)
    return {
        "objects": len(gc.get_objects()),
        "modules": report.modules,
        "rows": len(report),
        "unread": report.unread,
        "first": first,
        "second": second,
        "slice": max(pace.slices_ms),
        "idle": idle_ms(),
    }


def in_fresh_process() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--measure"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def shown(values: list[float]) -> str:
    return f"{median(values):.2f} ({max(values):.2f})"


def main() -> int:
    answers = [in_fresh_process() for _ in range(PROCESSES)]
    one = answers[0]
    print(
        f"{one['objects']:,} objects the collector knows, {one['modules']:,} modules,"
        f" {one['rows']} rows, {one['unread']} things could not be read"
    )
    table(
        ("look", "total, ms", "processor, ms", "longest pause of others, ms"),
        [
            (
                which,
                *(
                    shown([answer[which][column] for answer in answers])
                    for column in range(3)
                ),
            )
            for which in ("first", "second")
        ],
    )
    idle = [answer["idle"] for answer in answers]
    print(f"Longest pause while nothing happens: {shown(idle)} ms")
    slices = [answer["slice"] for answer in answers]
    return verdict(
        [
            Bar(
                "a look at a process with 1M objects",
                median(answer["first"][0] for answer in answers),
                1_000,
                unit=" ms",
            ),
            Bar("longest slice of it", median(slices), 1, unit=" ms"),
        ]
    )


if __name__ == "__main__":
    if "--measure" in sys.argv:
        print(json.dumps(measure()))
        sys.exit(0)
    sys.exit(main())
