"""
What the caps of the two examples save: the same work without them and with them.

Memory is measured by tracemalloc: what Python has allocated for it and not given back
when the work is done. Run it with `python savings.py`; the demo prints it as well.
"""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import memguard
from memguard.testing import FakeClock

CLOCK = FakeClock()
EVENTS = 20_000
TENANTS = 5_000
USERS = 100
VISITS = 20  # of each user
MESSAGES = 10  # in each visit
CONSOLES = 20
LINES = 1_000  # of scrollback in each console
IDLE = 200  # users that nobody has heard of for ten minutes
TEXT = "a message of the length that messages have in a chat, number "

Work = Callable[[memguard.Guard], Any]


class Saving(NamedTuple):
    """
    One cap: what it bounds, and the bytes without it and with it.
    """

    what: str
    cap: str
    before: int
    after: int

    @property
    def share(self) -> float:
        return 1 - self.after / self.before


# -- without a cap, and with it --------------------------------------------------------


def config(tenant: int) -> dict[str, Any]:
    return {"tenant": f"tenant {tenant}", "note": f"{tenant} " * 200}


def configs_in_a_dictionary(guard: memguard.Guard) -> Any:
    configs = {}
    for tenant in tenants():
        configs[tenant] = config(tenant)
    return configs


def configs_in_a_cache(guard: memguard.Guard) -> Any:
    cached = guard.cached(config, max_entries=1000, max_bytes="1MiB", ttl="5m")
    for tenant in tenants():
        cached(tenant)
    return cached


def tenants() -> Iterator[int]:
    draw = random.Random(15)
    for _ in range(EVENTS):
        yield int(TENANTS * draw.random() ** 3)  # some are asked for more than others


def events_in_a_list(guard: memguard.Guard) -> Any:
    return [TEXT + str(number) for number in range(EVENTS)]


def events_in_a_ring(guard: memguard.Guard) -> Any:
    ring = guard.ring("events", max_entries=1000)
    ring.recent(0)  # it is a history, what drops is meant to
    for number in range(EVENTS):
        ring.append(TEXT + str(number), key="posted")
    return ring


def latencies_in_lists(guard: memguard.Guard) -> Any:
    latencies = defaultdict(list)
    for number in range(EVENTS):
        latencies[number % 3].append(number / 1e6)
    return latencies


def latencies_in_series(guard: memguard.Guard) -> Any:
    for number in range(EVENTS):
        guard.series(f"latency {number % 3}").add(number / 1e6)
    return None


def histories_in_a_dictionary(guard: memguard.Guard) -> Any:
    histories = defaultdict(list)
    for visit in range(USERS * VISITS):
        history = histories[f"user {visit % USERS}"]
        history.extend(f"{TEXT}{visit}.{number}" for number in range(MESSAGES))
    return histories


def histories_in_sessions(guard: memguard.Guard) -> Any:
    chat = guard.sessions("chat", max_live=50, store="memory")
    for visit in range(USERS * VISITS):
        with chat.open(f"user {visit % USERS}") as session:
            history = session.ring("messages", of=str, max_entries=20)
            history.recent(20)
            history.extend(f"{TEXT}{visit}.{number}" for number in range(MESSAGES))
    return chat


def consoles_all_mounted(guard: memguard.Guard) -> Any:
    return consoles(guard, max_live=None)


def consoles_mounted_when_needed(guard: memguard.Guard) -> Any:
    return consoles(guard, max_live=3)  # the active one and the two before it


def consoles(guard: memguard.Guard, max_live: int | None) -> Any:
    mounted = guard.sessions("consoles", max_live=max_live)
    for number in range(CONSOLES):
        with mounted.open(f"console {number}") as console:
            lines = console.ring("scrollback", of=str, max_entries=LINES)
            lines.extend(f"{TEXT}{number}.{line}" for line in range(LINES))
    return mounted


def idle_users_kept_awake(guard: memguard.Guard) -> Any:
    return idle_users(guard, hibernate_after=None)


def idle_users_asleep(guard: memguard.Guard) -> Any:
    return idle_users(guard, hibernate_after="10m")


def idle_users(guard: memguard.Guard, hibernate_after: str | None) -> Any:
    chat = guard.sessions("chat", hibernate_after=hibernate_after)
    for number in range(IDLE):
        with chat.open(f"user {number}") as session:
            history = session.ring("messages", of=str, max_entries=20)
            history.extend(f"{TEXT}{number}.{message}" for message in range(20))
    CLOCK.advance("10m")
    return chat


CASES: tuple[tuple[str, str, Work, Work], ...] = (
    (
        f"configuration of {TENANTS:,} tenants",
        'cached(max_bytes="1MiB", ttl="5m")',
        configs_in_a_dictionary,
        configs_in_a_cache,
    ),
    (
        f"{EVENTS:,} events",
        "ring(max_entries=1000)",
        events_in_a_list,
        events_in_a_ring,
    ),
    (
        f"{EVENTS:,} latencies under 3 names",
        "series(max_points=1000)",
        latencies_in_lists,
        latencies_in_series,
    ),
    (
        f"{VISITS * MESSAGES} messages of each of {USERS} users",
        "sessions(max_live=50), ring(max_entries=20)",
        histories_in_a_dictionary,
        histories_in_sessions,
    ),
    (
        f"{CONSOLES} consoles of {LINES:,} lines",
        "sessions(max_live=3)",
        consoles_all_mounted,
        consoles_mounted_when_needed,
    ),
    (
        f"{IDLE} users idle for 10 minutes",
        'sessions(hibernate_after="10m")',
        idle_users_kept_awake,
        idle_users_asleep,
    ),
)


def measured(work: Work) -> int:
    """
    Bytes that *work* leaves allocated, in a guard of its own.

    What sleeps does so on disk, and time passes when it is told to.
    """
    with (
        TemporaryDirectory() as scratch,
        memguard.Guard("savings", clock=CLOCK, state_dir=scratch) as guard,
    ):
        with guard.sessions("warm-up").open("a") as session:
            session.data["a"] = 1
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        kept = work(guard)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        del kept
    return after - before


def warm_up(guard: memguard.Guard) -> Any:
    """
    Load the modules that all share, before anything is measured.
    """
    guard.cached(config)(0)
    with guard.sessions("chat", store="memory").open("a") as session:
        session.ring("messages").append("a")


def savings() -> Iterator[Saving]:
    """
    Each case, measured now.
    """
    measured(warm_up)
    tracemalloc.start()
    try:
        for what, cap, unbounded, bounded in CASES:
            yield Saving(what, cap, measured(unbounded), measured(bounded))
    finally:
        tracemalloc.stop()


def main() -> int:
    print("memory before and after each cap, measured:")
    found = []
    for one in savings():
        found.append(one)
        print(
            f"  {one.what:36s} {one.before / 2**20:6.2f} MiB before,"
            f" {one.after / 2**20:5.2f} MiB after: {one.share:4.0%} saved by {one.cap}"
        )
    return 0 if all(one.after < one.before for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
