"""
How long everybody is held up while caches shrink, and while a huge value goes.

Each measurement has a fresh process. A thread that wants to wake every 0.1 ms tells how
much later it did: that is how long the interpreter was not to be had. The interpreter
is asked to change threads after 0.5 ms. Medians of the longest pauses of the processes;
the worst of them in brackets. "idle" is what the ticker finds while nothing happens at
all: this machine's share. It is smaller where the process may go ahead of others while
it measures, as root may.

With names of parts as arguments it measures only those: halving, readers, dropping.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import random
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

import picture
from bars import Bar, table, verdict
from peers import make

import memguard

if TYPE_CHECKING:
    from typing_extensions import Self

MANY = 1_000_000
EACH = 100_000  # entries of each of the eight caches
CACHES = 8
TICK = 0.0001
PATIENCE = 60.0

REPEATS = 7
PEER_REPEATS = 3

# Lower edges of the pictures' bars, in ms.
EDGES = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)

PICTURES = Path(__file__).resolve().parent / "pictures"
PYTHON = ".".join(platform.python_version_tuple()[:2])

Answer = dict[str, Any]


class Ticker:
    """
    Wakes again and again, in a thread, and notes by how much each time was too late.
    """

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._stop = False
        self._thread = threading.Thread(target=self._tick)

    def _tick(self) -> None:
        clock, sleep, note = time.perf_counter, time.sleep, self.late_ms.append
        while not self._stop:
            began = clock()
            sleep(TICK)
            note((clock() - began - TICK) * 1e3)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self.late_ms:
            time.sleep(TICK)
        self.late_ms.clear()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop = True
        self._thread.join(PATIENCE)

    @property
    def longest(self) -> float:
        return max(self.late_ms, default=0.0)

    @property
    def counts(self) -> list[int]:
        """
        How many were how late, by EDGES.
        """
        counts = [0] * len(EDGES)
        for late in self.late_ms:
            place = bisect_right(EDGES, late) - 1
            if place >= 0:
                counts[place] += 1
        return counts


def until(is_so: Callable[[], bool]) -> None:
    """
    Wait, looking seldom; what never comes raises TimeoutError.
    """
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            msg = "it did not end"
            raise TimeoutError(msg)
        time.sleep(0.002)


@contextmanager
def undisturbed() -> Iterator[None]:
    """
    Ahead of other processes' threads meanwhile, where that is allowed.

    By niceness, which threads that are started meanwhile inherit. Not by a scheduling
    class of real-time work: after most of a second the system stops such threads for
    50 ms, and that would be taken for a pause.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


def idle_ms() -> float:
    with undisturbed(), Ticker() as ticker:
        time.sleep(0.3)
    return ticker.longest


# -- halving, in the fresh process -----------------------------------------------------


def halve_memguard(held: Any) -> None:
    _, cache = held.cache
    cache.resize(max_entries=MANY // 2)
    until(lambda: len(cache) <= MANY // 2)


def halve_weighed(held: Any) -> None:
    """
    Half the bytes, as under memory pressure.
    """
    _, cache = held.cache
    half = cache.info().bytes // 2
    cache.shrink(half)
    until(lambda: cache.info().bytes <= half * 1.02)


def pop_half(held: Any) -> None:
    pop = held.cache.popitem
    for _ in range(MANY // 2):
        pop()


HALVING: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "memguard `resize`": ("memguard", halve_memguard),
    "memguard `resize`, entries held by it alone": ("memguard", halve_memguard),
    "memguard `resize`, ttl": ("memguard, ttl", halve_memguard),
    "memguard `shrink`, byte cap": ("memguard, byte cap", halve_weighed),
    "cachebox.LRUCache `drain`": (
        "cachebox.LRUCache",
        lambda held: held.cache.drain(MANY // 2),
    ),
    "lru-dict `set_size`": ("lru-dict", lambda held: held.cache.set_size(MANY // 2)),
    "functools.lru_cache `cache_clear`": (
        "functools.lru_cache",
        lambda held: held.cache.cache_clear(),
    ),
    "cachetools.LRUCache `popitem`": ("cachetools.LRUCache", pop_half),
}
ALONE = "held by it alone"


def halve(name: str) -> Answer:
    kind, act = HALVING[name]
    held = make(kind, MANY)
    keys = [f"key:{number}" for number in range(MANY)]
    values = [f"value:{number}" for number in range(MANY)]
    for key, value in zip(keys, values, strict=True):
        held.put(key, value)
    if ALONE in name:
        del key, value
        keys.clear()
        values.clear()
    gc.collect()
    gc.freeze()
    idle = idle_ms()
    with undisturbed(), Ticker() as ticker:
        began = time.perf_counter()
        act(held)
        took = time.perf_counter() - began
        time.sleep(0.02)
    return {
        "idle": idle,
        "longest": ticker.longest,
        "total": took * 1e3,
        "counts": ticker.counts,
    }


# -- readers, in the fresh process -----------------------------------------------------


def locked_pops(held: Any, lock: Any) -> None:
    with lock:
        pop = held.cache.popitem
        for _ in range(EACH // 2):
            pop()


READERS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "memguard `resize`": (
        "memguard",
        lambda held, lock: held.cache[1].resize(max_entries=EACH // 2),
    ),
    "memguard `shrink`, byte cap": (
        "memguard, byte cap",
        lambda held, lock: held.cache[1].shrink(held.cache[1].info().bytes // 2),
    ),
    "cachebox.LRUCache `drain`": (
        "cachebox.LRUCache",
        lambda held, lock: held.cache.drain(EACH // 2),
    ),
    "lru-dict `set_size`": (
        "lru-dict",
        lambda held, lock: held.cache.set_size(EACH // 2),
    ),
    "cachetools.LRUCache `popitem`, under its lock": (
        "cachetools.LRUCache",
        locked_pops,
    ),
}


def read_meanwhile(name: str) -> Answer:
    """
    Latencies of single reads in one thread while another shrinks eight caches.
    """
    kind, act = READERS[name]
    keys = [f"key:{number}" for number in range(EACH)]
    holders = [make(kind, EACH) for _ in range(CACHES)]
    for held in holders:
        for number, key in enumerate(keys):
            held.put(key, number)
    draw = random.Random(3)
    wanted = [(draw.choice(holders).get, draw.choice(keys)) for _ in range(20_000)]
    for get, key in wanted:
        get(key)
    gc.collect()
    gc.freeze()
    lock = Lock() if act is locked_pops else None
    idle = _latencies(wanted, lock, lambda: time.sleep(0.3))

    def shrink() -> None:
        for held in holders:
            act(held, lock)

    busy = _latencies(wanted, lock, shrink)
    return {
        "idle": idle["longest"],
        "longest": busy["longest"],
        "rare": busy["rare"],
        "reads": busy["reads"],
        "total": busy["total"],
    }


def _latencies(
    wanted: list[tuple[Callable[[Any], Any], str]],
    lock: Any,
    act: Callable[[], None],
) -> dict[str, float]:
    taken: list[int] = []
    stop = threading.Event()

    def read() -> None:
        clock, note, is_over = time.perf_counter_ns, taken.append, stop.is_set
        while not is_over():
            for get, key in wanted:
                began = clock()
                get(key)
                note(clock() - began)

    def read_locked() -> None:
        clock, note, is_over = time.perf_counter_ns, taken.append, stop.is_set
        while not is_over():
            for get, key in wanted:
                began = clock()
                with lock:
                    get(key)
                note(clock() - began)
                if is_over():
                    break

    reader = threading.Thread(target=read if lock is None else read_locked)
    reader.start()
    until(lambda: len(taken) > 1000)
    with undisturbed():
        taken.clear()
        began = time.perf_counter()
        act()
        took = time.perf_counter() - began
        # A read that waits still counts.
        count = len(taken)
        until(lambda: len(taken) > count)
        served = taken[:]
    stop.set()
    reader.join(PATIENCE)
    served.sort()
    return {
        "longest": served[-1] / 1e6,
        "rare": served[int(len(served) * 0.999)] / 1e6,
        "reads": len(served),
        "total": took * 1e3,
    }


# -- dropping one huge value, in the fresh process -------------------------------------


class Thing:
    """
    An object with attributes.
    """

    def __init__(self, number: int) -> None:
        self.name = f"thing {number}"


class Slotted:
    """
    An object without a `__dict__`.
    """

    __slots__ = ("name",)

    def __init__(self, number: int) -> None:
        self.name = f"thing {number}"


class Holder:
    """
    An object that holds very much.
    """

    def __init__(self) -> None:
        self.rows = marked(str)


class Mark:
    """
    Tells that it is gone. Asking the allocator would be a pause by itself.
    """

    alive = 0

    def __init__(self) -> None:
        Mark.alive += 1

    def __del__(self) -> None:
        Mark.alive -= 1


def marked(make: Callable[[int], Any]) -> list[Any]:
    """
    Very many items between two marks.
    """
    return [Mark(), *map(make, range(MANY)), Mark()]


VALUES: dict[str, Callable[[], Any]] = {
    "dict": lambda: dict(
        zip((f"key {n}" for n in range(MANY + 2)), marked(str), strict=True)
    ),
    "list": lambda: marked(str),
    "tuple": lambda: tuple(marked(str)),
    "set": lambda: set(marked(str)),
    "list of objects": lambda: marked(Thing),
    "list of objects with slots": lambda: marked(Slotted),
    "object with a list": Holder,
    "dict of 1,000 lists": lambda: {
        n: [Mark(), *(f"value {n} {m}" for m in range(MANY // 1000))]
        for n in range(1000)
    },
}


def by_eviction(cache: Any) -> None:
    for number in range(1000):
        cache.put(number, number)
        if "huge" not in cache:
            return
    msg = "it was never evicted"
    raise RuntimeError(msg)


WAYS: dict[str, Callable[[Any], Any]] = {
    "eviction": by_eviction,
    "invalidate": lambda cache: cache.invalidate("huge"),
    "clear": lambda cache: cache.clear(),
    "replace": lambda cache: cache.put("huge", 1),
}
PLAIN = "plain `del`"
BARE = "guard not started"


def drop(what: str) -> Answer:
    """
    Every way in turn, each with a new value of this kind.
    """
    kind, _, state = what.partition(", ")
    guard = memguard.Guard(name="bench")
    if state != BARE:
        guard.start()
    answer: Answer = {"idle": idle_ms()}
    try:
        for number, (way, act) in enumerate(WAYS.items()):
            for name in ("first", "huge"):
                # Whatever is imported or made at the first use has been, then.
                cache: Any = guard.cache(f"{name} {number}", max_entries=1)
                if name == "first":
                    cache.put("huge", None)
                    act(cache)
            answer[way] = _drop(VALUES[kind], cache, act)
        answer[PLAIN] = _drop(VALUES[kind], {}, None)
    finally:
        guard.shutdown()
    return answer


def _drop(
    build: Callable[[], Any], cache: Any, act: Callable[[Any], Any] | None
) -> Answer:
    gc.collect()
    if act is None:
        cache["huge"] = build()
        act = dict.clear
    else:
        cache.put("huge", build())
    gc.collect()
    gc.freeze()
    with undisturbed(), Ticker() as ticker:
        began = time.perf_counter()
        act(cache)
        called = time.perf_counter() - began
        until(lambda: not Mark.alive)
        took = time.perf_counter() - began
        time.sleep(0.01)
    gc.unfreeze()
    return {
        "longest": ticker.longest,
        "call": called * 1e3,
        "total": took * 1e3,
        "counts": ticker.counts,
    }


ALONE_PARTS: dict[str, Callable[[str], Answer]] = {
    "halve": halve,
    "read": read_meanwhile,
    "drop": drop,
}


# -- in the process that asks ----------------------------------------------------------


def ask(what: str, name: str, times: int) -> list[Answer]:
    answers = []
    for _ in range(times):
        run = subprocess.run(
            [sys.executable, __file__, what, name],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
        )
        answers.append(json.loads(run.stdout))
    return answers


def shown(values: list[float]) -> str:
    return f"{median(values):.2f} ({max(values):.2f})"


def draw(name: str, title: str, counts: dict[str, list[int]]) -> None:
    """
    A histogram of pauses, without bars that nobody fills.
    """
    used = [
        place for place in range(len(EDGES)) if any(c[place] for c in counts.values())
    ]
    path = PICTURES / f"{name}-{PYTHON}.svg"
    picture.bars(
        path,
        f"{title}, CPython {PYTHON}",
        "pause, from … ms",
        "number of pauses",
        {
            who: [(EDGES[place], float(count[place])) for place in used]
            for who, count in counts.items()
        },
        log_y=True,
    )
    print(f"![{title}](pictures/{path.name})")


def summed(answers: list[Answer]) -> list[int]:
    return [sum(column) for column in zip(*(a["counts"] for a in answers), strict=True)]


def halving() -> list[Bar]:
    bars: list[Bar] = []
    rows = []
    counts: dict[str, list[int]] = {}
    for name in HALVING:
        ours = name.startswith("memguard")
        answers = ask("halve", name, REPEATS if ours else PEER_REPEATS)
        longest = [answer["longest"] for answer in answers]
        rows.append(
            (
                name,
                shown(longest),
                shown([answer["idle"] for answer in answers]),
                f"{median(answer['total'] for answer in answers):.0f}",
            )
        )
        if ours:
            what = f"longest pause while 1M entries are halved, {name}"
            bars.append(Bar(what, median(longest), 2, 0.5, " ms"))
        if name == "memguard `resize`" or not ours:
            counts[name.replace("`", "")] = summed(answers[:PEER_REPEATS])
    table(("halving 1M entries", "longest pause, ms", "idle, ms", "total, ms"), rows)
    draw("pauses-halving", "Pauses while a cache of 1M entries is halved", counts)
    return bars


def readers() -> list[Bar]:
    bars: list[Bar] = []
    rows = []
    for name in READERS:
        ours = name.startswith("memguard")
        answers = ask("read", name, REPEATS if ours else PEER_REPEATS)
        longest = [answer["longest"] for answer in answers]
        rows.append(
            (
                name,
                shown(longest),
                f"{median(answer['rare'] for answer in answers):.4f}",
                shown([answer["idle"] for answer in answers]),
                f"{median(answer['reads'] for answer in answers):,.0f}",
                f"{median(answer['total'] for answer in answers):.0f}",
            )
        )
        if ours:
            what = f"longest read while 8 x 100k entries are halved, {name}"
            bars.append(Bar(what, median(longest), 1, 0.2, " ms"))
    table(
        (
            "reading while 8 x 100k entries are halved",
            "longest read, ms",
            "99.9 % of reads within, ms",
            "longest without shrinking, ms",
            "reads meanwhile",
            "total, ms",
        ),
        rows,
    )
    return bars


def dropping() -> list[Bar]:
    bars: list[Bar] = []
    rows, calls = [], []
    counts: dict[str, list[int]] = {}
    for kind in VALUES:
        answers = ask("drop", kind, PEER_REPEATS)
        longest = {
            way: [answer[way]["longest"] for answer in answers]
            for way in (*WAYS, PLAIN)
        }
        rows.append((kind, *(shown(values) for values in longest.values())))
        calls.append(
            (
                kind,
                *(
                    f"{median(a[way]['call'] for a in answers):.1f} /"
                    f" {median(a[way]['total'] for a in answers):.0f}"
                    for way in longest
                ),
            )
        )
        worst = max(median(longest[way]) for way in WAYS)
        bars.append(Bar(f"dropping one 1M-item {kind}", worst, 2, 1, " ms"))
        if kind in ("dict", "list"):
            counts[f"{kind}, evicted by memguard"] = summed(
                [answer["eviction"] for answer in answers]
            )
            counts[f"{kind}, plain del"] = summed([a[PLAIN] for a in answers])
    for kind in ("dict", "list"):
        what = f"{kind}, {BARE}"
        answers = ask("drop", what, 1)
        rows.append(
            (what, *(f"{answers[0][w]['longest']:.2f}" for w in (*WAYS, PLAIN)))
        )
    table(("dropping one 1M-item value: longest pause, ms", *WAYS, PLAIN), rows)
    table(("the call / until all is freed, ms", *WAYS, PLAIN), calls)
    draw("pauses-dropping", "Pauses while one 1M-item value goes", counts)
    return bars


PARTS = {"halving": halving, "readers": readers, "dropping": dropping}


def main(parts: list[str]) -> int:
    return verdict([bar for part in parts or PARTS for bar in PARTS[part]()])


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)
    if len(sys.argv) == 3 and sys.argv[1] in ALONE_PARTS:
        print(json.dumps(ALONE_PARTS[sys.argv[1]](sys.argv[2])))
    else:
        sys.exit(main(sys.argv[1:]))
