"""
What a session weighs live and asleep, and how long it takes to come back.

The session is that of a chat: twenty keys of data, texts mostly and one list, and a
ring of twenty messages, of made-up sentences. Weights are what the process grows by for
each of some thousands, by tracemalloc; those of a hundred thousand in SQLite by the
resident set as well.

The second table has the designs next to each other: how many bytes the same contents
take up, and what it costs to make them and to read them again.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, thread_time
from typing import Any, NamedTuple

from bars import Bar, table, verdict
from rounds import Figures, alternate, timed

from memguard import Guard, Sessions
from memguard._sessions.packing import pack
from memguard._sessions.words import Words

SEED = 7
WEIGHED = 2_000
WOKEN = 1_000
ROUNDS = 9
MANY = 100_000
HISTORY = 10_000
HISTORIES = 50
NAMES = (
    "name city street theme agent referrer plan title greeting draft topic "
    "summary status locale zone "
)
KEYS = NAMES.split()
TEXT = (
    "about again all also and any are because been before but call can come could "
    "day did does down each even find first for from get give good great had has "
    "have help her here him his home house how into just keep know large last "
    "leave left life like line little live long look made make man many may mean "
    "men might more most move much must name need never new next night not number "
    "off old one only open order other our out over own page part people place "
    "plant play point read right run said same saw say school see seem set she "
    "should show side small some soon sound spell still story study such take "
    "tell than that the their them then there these they thing think this those "
    "thought three through time too tree try turn two under until use very walk "
    "want was water way well went were what when where which while who why will "
    "with word work world would write year you young "
)
WORDS = TEXT.split()


class Author:
    """
    Makes up sessions, the same ones each time.
    """

    def __init__(self) -> None:
        self._random = random.Random(SEED)

    def text(self, words: int) -> str:
        return " ".join(self._random.choices(WORDS, k=words))

    def fill(self, session: Any) -> None:
        random = self._random
        session.data.update({key: self.text(6) for key in KEYS})
        session.data["user"] = random.randrange(10**9)
        session.data["visits"] = random.randrange(1000)
        session.data["score"] = random.random()
        session.data["token"] = f"{random.getrandbits(128):032x}"
        session.data["roles"] = random.choices(("admin", "editor", "guest"), k=5)
        ring = session.ring("messages", max_entries=20)
        ring.extend(self.text(random.randrange(4, 12)) for _ in range(20))


def fill(sessions: Sessions, many: int, *, asleep: bool, first: int = 0) -> None:
    author = Author()
    for number in range(first, first + many):
        with sessions.open(f"user {number}") as session:
            author.fill(session)
        if asleep:
            sessions.hibernate(f"user {number}")


def resident() -> int:
    """
    Bytes of the resident set.
    """
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# -- weights ---------------------------------------------------------------------------


def weight(*, asleep: bool) -> tuple[float, float]:
    """
    Bytes that the process grows by for each session, and those of its record.
    """
    with Guard("sizes") as guard:
        sessions = guard.sessions("s", max_sessions=MANY, store="memory")
        fill(sessions, 50, asleep=True, first=MANY)
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        fill(sessions, WEIGHED, asleep=asleep)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        records = sessions.stats().hibernated_bytes
        return grown / WEIGHED, records / (WEIGHED + 50)


def weight_on_disk(path: Path) -> tuple[float, float, float]:
    """
    Bytes of a session that sleeps in SQLite: of objects, resident, and in the file.
    """
    with Guard("many", state_dir=str(path)) as guard:
        sessions = guard.sessions("s", max_live=100)
        for number in range(2_000):
            touch(sessions, f"early {number}")
        gc.collect()
        blocks, bytes_ = sys.getallocatedblocks(), resident()
        for number in range(MANY):
            touch(sessions, f"user {number}")
        gc.collect()
        blocks, bytes_ = sys.getallocatedblocks() - blocks, resident() - bytes_
        stats = sessions.stats()
        assert stats.hibernated == MANY + 2_000, stats
        # A block of pymalloc has 512 bytes at most, and 60 on average.
        return blocks * 60 / MANY, bytes_ / MANY, stats.hibernated_bytes / MANY


def touch(sessions: Sessions, id: str) -> None:
    with sessions.open(id) as session:
        session.data["name"] = id
    sessions.hibernate(id)


# -- designs ---------------------------------------------------------------------------


def contents() -> list[bytes]:
    """
    What is written of some sessions, before it is squeezed.
    """
    with Guard("contents") as guard:
        sessions = guard.sessions("s", store="memory")
        author = Author()
        found = []
        for number in range(300):
            with sessions.open(f"user {number}") as session:
                author.fill(session)
                codec = sessions.options.codec
                found.append(pack(session, codec, paged=False, version=1).raw)
        return found


def squeeze_all(design: Any, raws: list[bytes]) -> float:
    squeeze = design[0]
    began = perf_counter()
    for raw in raws:
        squeeze(raw)
    return perf_counter() - began


def expand_all(design: Any, squeezed: list[bytes]) -> float:
    expand = design[1]
    began = perf_counter()
    for one in squeezed:
        expand(one)
    return perf_counter() - began


Design = tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]


def designs(learned: list[bytes]) -> dict[str, Design]:
    words = Words()
    while words.squeeze(learned[0]) is None:
        learned = learned[1:]

    def with_words(raw: bytes) -> bytes:
        squeezed = words.squeeze(raw)
        assert squeezed is not None
        return squeezed

    return {
        "as it is": (bytes, bytes),
        "zlib, level 1": (lambda raw: zlib.compress(raw, 1), zlib.decompress),
        "zlib, level 6": (lambda raw: zlib.compress(raw, 6), zlib.decompress),
        "zlib, level 1, with common words": (with_words, words.expand),
    }


def compare() -> tuple[dict[str, float], Figures, Figures]:
    raws = contents()
    raws, learned = raws[10:], raws[:10]
    known = designs(learned)
    squeezed = {name: [one[0](raw) for raw in raws] for name, one in known.items()}
    for name, design in known.items():
        assert raws == [design[1](one) for one in squeezed[name]], name
    sizes = {name: sum(map(len, some)) / len(raws) for name, some in squeezed.items()}
    making = alternate(
        {name: timed(squeeze_all, design, raws) for name, design in known.items()},
        count=len(raws),
        rounds=ROUNDS,
    )
    reading = alternate(
        {
            name: timed(expand_all, design, squeezed[name])
            for name, design in known.items()
        },
        count=len(raws),
        rounds=ROUNDS,
    )
    return sizes, making, reading


# -- waking up -------------------------------------------------------------------------


class Took(NamedTuple):
    """
    Microseconds: the median, p99, and p99 of what the processor was at it.
    """

    median: float
    p99: float
    busy: float


def took_of(took: list[tuple[float, float]]) -> Took:
    wall = sorted(one for one, _ in took)
    busy = sorted(one for _, one in took)
    at = int(len(took) * 0.99)
    return Took(median(wall) * 1e6, wall[at] * 1e6, busy[at] * 1e6)


def wake(sessions: Sessions, many: int, *, read: bool) -> list[tuple[float, float]]:
    """
    Seconds of each wake-up; with *read* until the newest 20 are there.
    """
    took = []
    for number in range(many):
        began, busy = perf_counter(), thread_time()
        with sessions.open(f"user {number}") as session:
            if read:
                session.ring("messages", max_entries=HISTORY).recent(20)
            took.append((perf_counter() - began, thread_time() - busy))
    for number in range(many):
        sessions.hibernate(f"user {number}")
    return took


def quietest(rounds: list[list[tuple[float, float]]]) -> Took:
    """
    The least of each: other work on the machine makes any of them slower.
    """
    each = [took_of(one) for one in rounds]
    return Took(*(min(column) for column in zip(*each, strict=True)))


def woken(sessions: Sessions, many: int, *, read: bool = False) -> Took:
    rounds = []
    for _ in range(ROUNDS):
        gc.collect()
        took = []
        while len(took) < WOKEN:
            took += wake(sessions, many, read=read)
        rounds.append(took)
    return quietest(rounds)


def paged(sessions: Sessions, before: int | None) -> Took:
    rounds = []
    for _ in range(ROUNDS):
        took = []
        for number in range(HISTORIES):
            began, busy = perf_counter(), thread_time()
            page = sessions.page(f"user {number}", "messages", before)
            took.append((perf_counter() - began, thread_time() - busy))
            assert len(page) == 100
        rounds.append(took)
    return quietest(rounds)


def histories(path: Path) -> dict[str, Took]:
    """
    Sessions with a long history in SQLite: waking up, and reading pages.
    """
    with Guard("histories", state_dir=str(path)) as guard:
        sessions = guard.sessions("s", max_sessions=MANY)
        author = Author()
        for number in range(HISTORIES):
            with sessions.open(f"user {number}") as session:
                session.data["name"] = author.text(2)
                ring = session.ring("messages", max_entries=HISTORY)
                ring.extend(
                    f"{at} {WORDS[at % 100]} and so on" for at in range(HISTORY)
                )
            sessions.hibernate(f"user {number}")
        return {
            "wake-up": woken(sessions, HISTORIES),
            "wake-up, and the newest 20": woken(sessions, HISTORIES, read=True),
            "`page`, the newest 100, asleep": paged(sessions, None),
            "`page`, 100 in the middle, asleep": paged(sessions, HISTORY // 2),
        }


def main() -> int:
    # The least of some: a guard that starts imports one thing or another meanwhile.
    asleep, record = min(weight(asleep=True) for _ in range(4))
    live, _ = min(weight(asleep=False) for _ in range(4))
    table(
        ("a session with 20 keys and 20 messages", "bytes", "live / asleep"),
        (
            ("live", f"{live:,.0f}", ""),
            ("asleep in memory", f"{asleep:,.0f}", f"{live / asleep:.1f}"),
            ("of that its record", f"{record:,.0f}", f"{live / record:.1f}"),
        ),
    )
    sizes, making, reading = compare()
    table(
        ("contents", "bytes", "squeeze, µs", "expand, µs"),
        (
            (
                name,
                f"{sizes[name]:,.0f}",
                f"{making.each_ns(name) / 1000:.1f}",
                f"{reading.each_ns(name) / 1000:.1f}",
            )
            for name in sizes
        ),
    )
    with Guard("wake") as guard:
        sessions = guard.sessions("s", max_sessions=MANY, store="memory")
        fill(sessions, WOKEN, asleep=True)
        memory = woken(sessions, WOKEN)
        memory_read = woken(sessions, WOKEN, read=True)
    with tempfile.TemporaryDirectory() as folder:
        with Guard("wake", state_dir=folder) as guard:
            sessions = guard.sessions("s", max_sessions=MANY)
            fill(sessions, WOKEN, asleep=True)
            disk = woken(sessions, WOKEN)
        long = histories(Path(folder) / "long")
        objects, rss, file = weight_on_disk(Path(folder) / "many")
    rows = {
        "from memory": memory,
        "from memory, and the newest 20": memory_read,
        "from SQLite": disk,
        **{
            f"{HISTORY:,} messages in SQLite: {what}": one for what, one in long.items()
        },
    }
    table(
        ("coming back", "median, µs", "p99, µs", "p99 of processor, µs"),
        ((what, *(f"{figure:.0f}" for figure in one)) for what, one in rows.items()),
    )
    table(
        (f"{MANY:,} asleep in SQLite", "bytes each"),
        (
            ("in objects of this process, about", f"{objects:.1f}"),
            ("resident in this process", f"{rss:.1f}"),
            ("in the file", f"{file:.0f}"),
        ),
    )
    return verdict(
        [
            Bar("live / asleep in memory", live / asleep, 4, 10, gain=True),
            Bar("wake-up from memory", memory.median, 50, 15, unit=" µs"),
            Bar("wake-up from SQLite, p99", disk.p99, 300, unit=" µs"),
            Bar(
                f"wake-up with {HISTORY:,} messages in SQLite, p99",
                long["wake-up"].p99,
                300,
                unit=" µs",
            ),
            Bar(f"each of {MANY:,} asleep in SQLite, resident", rss, 200, unit=" B"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
