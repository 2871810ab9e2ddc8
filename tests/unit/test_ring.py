"""
Rings: caps, order, counters, pages, age, what is told about drops, and their end.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import sys
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from memguard import Guard
from memguard._events import Dropped
from memguard._kinds.ring import Ring
from memguard._registry import Registry
from memguard._sizing import sizeof
from memguard._tree import Branch
from memguard.errors import ScopeClosed
from memguard.testing import FakeClock


class Root(Branch):
    """
    The least that can own a ring.
    """

    __slots__ = ()

    def __init__(self, clock: FakeClock) -> None:
        registry = Registry(clock, clock)
        super().__init__(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        self.owner = None
        self._children = {}

    def ring(self, name: str = "messages", **options: Any) -> Ring[Any]:
        """
        A ring that is in the tree, but not armed.
        """
        return Ring(self, name, **options).attach()


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that starts at zero.
    """
    return FakeClock(start=0.0)


@pytest.fixture
def root(clock: FakeClock) -> Root:
    """
    An owner in virtual time.
    """
    return Root(clock)


class Thing:
    """
    Something that can be referenced weakly, and call somebody when it dies.
    """

    def __init__(self, last_words: Any = None) -> None:
        self.last_words = last_words

    def __del__(self) -> None:
        if self.last_words is not None:
            self.last_words()


# -- caps and order --------------------------------------------------------------------


def test_keeps_the_newest(root: Root) -> None:
    """
    Over its number of entries a ring drops the oldest.
    """
    ring = root.ring(max_entries=3)
    for number in range(5):
        assert ring.append(number)
    assert [2, 3, 4] == list(ring)
    assert (5, 2, 3) == (ring.info().appended, ring.info().dropped, len(ring))


def test_keeps_to_its_bytes(root: Root) -> None:
    """
    After every append the values weigh no more than the byte cap.
    """
    ring = root.ring(max_entries=None, max_bytes=1000)
    for size in range(0, 900, 50):
        ring.append("x" * size)
        assert sum(sizeof(one) for one in ring) == ring.info().bytes
        assert ring.info().bytes <= 1000
    assert ["x" * 850] == list(ring)


def test_refuses_what_is_heavier_than_the_whole(root: Root) -> None:
    """
    One large entry does not empty the ring: it is refused, and counted as dropped.
    """
    ring = root.ring(max_bytes=1000)
    ring.append("small")
    assert ring.append("x" * 2000) is False
    assert ["small"] == list(ring)
    assert (2, 1) == (ring.info().appended, ring.info().dropped)
    assert {"str": 2} == ring.counts()


def test_extend_appends_each(root: Root) -> None:
    """
    `extend` goes through the same door, entry by entry.
    """
    ring = root.ring(max_entries=2, max_bytes=500)
    assert 3 == ring.extend(["a", "x" * 1000, "b", "c"], key="line")
    assert ["b", "c"] == list(ring)
    assert {"line": 4} == ring.counts()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_entries": 0}, "max_entries"),
        ({"max_entries": 2.5}, "max_entries"),
        ({"max_entries": True}, "max_entries"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_bytes": "much"}, "max_bytes"),
        ({"ttl": 0}, "ttl"),
        ({"ttl": "soon"}, "ttl"),
        ({"max_entries": None}, "no cap"),
        ({"max_entries": None, "ttl": "1h"}, "no cap"),
    ],
)
def test_a_bad_option_is_refused_at_the_door(
    root: Root, options: dict[str, Any], told: str
) -> None:
    """
    The error names the option that is wrong.
    """
    with pytest.raises(ValueError, match=told):
        root.ring(**options)


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_ring_needs_a_name(root: Root, name: Any) -> None:
    """
    The name is a non-empty text.
    """
    with pytest.raises(ValueError, match="name of a ring"):
        root.ring(name)


def test_texts_are_taken_for_sizes_and_times(root: Root) -> None:
    """
    The spec holds numbers, so that two spellings of one cap agree.
    """
    ring = root.ring(max_bytes="1KiB", ttl="10m", shrinkable=True)
    expected = {
        "max_entries": 1000,
        "max_bytes": 1024,
        "ttl": 600.0,
        "shrinkable": True,
    }
    assert expected == ring.spec


# -- reading ---------------------------------------------------------------------------


def test_recent_is_in_order(root: Root) -> None:
    """
    The newest n entries, oldest of them first; fewer if there are fewer.
    """
    ring = root.ring()
    ring.extend(range(10))
    assert [7, 8, 9] == ring.recent(3)
    assert [] == ring.recent(0)
    assert list(range(10)) == ring.recent(100)


@pytest.mark.parametrize("n", [-1, 1.5, "3", True])
def test_recent_wants_a_number(root: Root, n: Any) -> None:
    """
    A negative or odd number of entries is an error, not a surprise.
    """
    with pytest.raises(ValueError, match="n must be"):
        root.ring().recent(n)


def test_pages_lead_through_the_whole(root: Root) -> None:
    """
    From page to page by `next`, each entry comes once, and the last page says so.
    """
    ring = root.ring(max_entries=100)
    ring.extend(range(130))
    seen: list[int] = []
    page = ring.page(None, 30)
    assert list(range(100, 130)) == list(page)
    while True:
        seen[:0] = page
        if page.next is None:
            break
        page = ring.page(page.next, 30)
    assert list(range(30, 130)) == seen
    assert list(range(30, 40)) == list(page)


def test_a_cursor_stays_good_while_entries_come(root: Root) -> None:
    """
    A cursor is a place in the history, not a distance from its end.
    """
    ring = root.ring(max_entries=10)
    ring.extend(range(10))
    first = ring.page(None, 4)
    ring.extend(range(10, 14))
    assert first.next is not None
    assert [4, 5] == list(ring.page(first.next, 4))
    ring.extend(range(14, 30))
    assert ((), None) == (ring.page(first.next, 4).entries, None)


def test_a_page_is_a_sequence(root: Root) -> None:
    """
    Pages can be indexed, cut, measured and asked.
    """
    ring = root.ring()
    ring.extend("abc")
    page = ring.page(None, 3)
    assert ("a", ("b", "c"), 3, True) == (page[0], page[1:], len(page), "b" in page)


def test_a_page_wants_a_cursor(root: Root) -> None:
    """
    What is no cursor is refused.
    """
    with pytest.raises(TypeError, match="`next`"):
        root.ring().page("x", 3)  # type: ignore[arg-type]


def test_counters_survive_eviction(root: Root) -> None:
    """
    Per key it is counted what came, also what is gone, also after `clear`.
    """
    ring = root.ring(max_entries=2)
    ring.extend([{}, [], "x", "y", "z"])
    ring.append({"type": "done"}, key="done")
    ring.clear()
    assert {"dict": 1, "list": 1, "str": 3, "done": 1} == ring.counts()


def test_the_number_of_keys_is_bounded(root: Root) -> None:
    """
    A key made of an id does not become a leak: after 100 keys it is `other`.
    """
    ring = root.ring()
    for number in range(150):
        ring.append(number, key=f"user-{number}")
    counts = ring.counts()
    assert (101, 50, 150) == (len(counts), counts["other"], sum(counts.values()))


def test_a_key_is_a_text(root: Root) -> None:
    """
    Anything else is refused; a subclass of str is taken as plain text.
    """

    class Loud(str):
        __slots__ = ()

        def __hash__(self) -> int:
            raise AssertionError

    ring = root.ring()
    ring.append(1, key=Loud("loud"))
    assert {"loud": 1} == ring.counts()
    with pytest.raises(TypeError, match="key of an entry"):
        ring.append(1, key=7)  # type: ignore[arg-type]


def test_memory_is_told(root: Root) -> None:
    """
    `memory_bytes` is the values and what holds them, and 0 for an empty ring.
    """
    ring = root.ring()
    assert 0 == ring.memory_bytes()
    ring.extend(["x" * 1000] * 10)
    assert 10_000 < ring.info().bytes < 11_000
    assert ring.info().bytes < ring.memory_bytes() < 13_000


# -- taking out ------------------------------------------------------------------------


def test_clear_and_drain(root: Root) -> None:
    """
    `drain` hands out what `clear` only drops; both leave nothing.
    """
    ring = root.ring()
    ring.extend([1, 2])
    assert ([1, 2], []) == (ring.drain(), list(ring))
    ring.append(3)
    ring.clear()
    assert (0, 0) == (len(ring), ring.info().bytes)
    ring.append(4)
    assert [4] == ring.recent(5)


def test_only_a_shrinkable_ring_shrinks(root: Root) -> None:
    """
    The oldest go until the bytes are free, if the ring was made for it.
    """
    fixed = root.ring("fixed")
    ring = root.ring("soft", shrinkable=True)
    for one in (fixed, ring):
        one.extend("x" * 1000 for _ in range(10))
    assert 0 == fixed.shrink(2000)
    assert 2000 < ring.shrink(2000) < 3200
    assert (10, 8) == (len(fixed), len(ring))
    ring.shrink(10**9)
    assert 0 == len(ring)


def test_values_die_when_they_are_dropped(root: Root) -> None:
    """
    A ring keeps nothing that fell out of it.
    """
    ring = root.ring(max_entries=1)
    thing = Thing()
    watch = weakref.ref(thing)
    ring.append(thing)
    del thing
    assert watch() is not None
    ring.append(None)
    assert watch() is None


# -- age -------------------------------------------------------------------------------


def test_old_entries_are_gone_at_the_next_use(root: Root, clock: FakeClock) -> None:
    """
    Without a running guard age is looked at whenever the ring is used.
    """
    ring = root.ring(ttl=10)
    ring.append("old")
    clock.advance(6)
    ring.append("young")
    clock.advance(4)
    assert ["young"] == list(ring)
    clock.advance(6)
    assert (0, 2, 0) == (len(ring), ring.info().expired, ring.info().dropped)


def test_an_armed_ring_lets_go_by_itself(root: Root, clock: FakeClock) -> None:
    """
    When the guard runs, memory is given back without any use.
    """
    ring = root.ring(ttl=10)
    things = [Thing(), Thing()]
    watches = [weakref.ref(one) for one in things]
    ring.append(things[0])
    ring._arm()
    clock.advance(5)
    ring.append(things[1])
    things.clear()
    clock.advance(5)
    assert [True, False] == [watch() is None for watch in watches]
    clock.advance(5)
    assert [True, True] == [watch() is None for watch in watches]
    assert 0 == clock.pending


def test_a_ring_without_ttl_schedules_nothing(root: Root, clock: FakeClock) -> None:
    """
    Thousands of rings cost the scheduler nothing.
    """
    ring = root.ring()
    ring._arm()
    ring.append(1)
    assert 0 == clock.pending


# -- what is told about drops ----------------------------------------------------------


def records(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """
    Level and text of what memguard has logged.
    """
    return [
        (one.levelno, one.getMessage())
        for one in caplog.records
        if one.name == "memguard"
    ]


def test_lost_entries_are_a_warning_once_a_minute(
    root: Root, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A buffer that overflows unread warns at once, then once a minute with the number.
    """
    caplog.set_level(logging.DEBUG, "memguard")
    events: list[Any] = []
    root.registry.events.subscribe(events.append)
    ring = root.ring("buffer", max_entries=100)
    ring.extend(range(150))
    assert 1 == len(records(caplog))
    clock.advance(60)
    (_, first), (level, second) = records(caplog)
    assert "dropped 1 of its entries, 1 of them before" in first
    assert logging.WARNING == level
    assert "'buffer' dropped 49 of its entries, 49 of them before" in second
    assert "test_ring.py" in second
    clock.advance(600)
    assert 2 == len(records(caplog))
    assert [Dropped("ring", "buffer", 1), Dropped("ring", "buffer", 50)] == events


def test_a_history_that_was_read_is_only_a_debug_line(
    root: Root, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The last 20 messages are meant to push out older ones: no warning, no spam.
    """
    caplog.set_level(logging.DEBUG, "memguard")
    ring = root.ring(max_entries=20)
    for number in range(200):
        ring.append(number)
        ring.recent(20)
        clock.advance(1)
    levels = [level for level, _ in records(caplog)]
    assert [logging.DEBUG] * 3 == levels  # at the 20th second, a minute, then two more


def test_a_ring_that_nobody_reads_is_told_of_more_and_more_seldom(
    root: Root, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It may be a history for an emergency: from one minute the time doubles to an hour.
    """
    ring = root.ring(max_entries=20)
    times = []
    for second in range(4 * 3600):
        ring.append(second)
        clock.advance(1)
        if len(times) < len(records(caplog)):
            times.append(second)
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert [59, 120, 240, 480, 960, 1920, 3600, 3600] == waits  # from the first drop
    assert [logging.WARNING] * 9 == [level for level, _ in records(caplog)]


def test_losses_of_a_consumer_are_told_each_minute(
    root: Root, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Who empties the ring wants all of it.
    """
    ring = root.ring(max_entries=20)
    ring.drain()
    for second in range(30 * 60):
        ring.append(second)
        ring.recent(1)
        clock.advance(1)
        if second % 200 == 0:
            ring.drain()
    assert 30 == len(records(caplog))
    assert (1580, 1619) == (ring.told_drops, ring.info().dropped)
    assert "(1580 in all" in records(caplog)[-1][1]


def test_closing_the_last_ring_takes_the_call_that_would_tell(
    root: Root, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What was not told by then is told with the next loss of that name.
    """
    first, second = root.ring(max_entries=5), root.ring(max_entries=5)
    first.extend(range(6))
    second.extend(range(8))
    assert (1, 1) == (clock.pending, len(records(caplog)))
    first.close()
    assert 1 == clock.pending
    second.close()
    assert 0 == clock.pending
    clock.advance(60)
    root.ring(max_entries=5).extend(range(6))
    assert ["(1 in all", "(5 in all"] == [
        text[text.index("(") : text.index(";")] for _, text in records(caplog)
    ]


def test_a_quiet_ring_is_looked_after_no_more(
    root: Root, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Once it is not full any more; its next loss is told at once.
    """
    ring = root.ring(max_entries=5)
    ring.extend(range(6))
    ring.drain()
    clock.advance(600)
    assert 0 == clock.pending
    ring.extend(range(5))
    assert 1 == len(records(caplog))
    ring.extend(range(70))
    assert 2 == len(records(caplog))


def test_rings_of_one_name_share_the_minute(
    root: Root, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A thousand sessions with a ring each do not log a thousand lines.
    """
    owners = [Branch(root, f"session {number}") for number in range(50)]
    for owner in owners:
        ring: Ring[int] = Ring(owner, "messages", max_entries=1).attach()
        ring.extend([1, 2, 3])
        if owner is not owners[-1]:
            ring.close()
    clock.advance(60)
    assert 2 == len(records(caplog))
    assert "(100 in all" in records(caplog)[1][1]


def test_a_refused_entry_is_told_as_lost(
    root: Root, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What is too heavy for the ring was read by nobody.
    """
    root.ring(max_bytes=100).append("x" * 1000)
    assert [logging.WARNING] == [level for level, _ in records(caplog)]
    assert "xxx" not in records(caplog)[0][1]


# -- locks and destructors -------------------------------------------------------------


def test_values_are_destroyed_with_no_lock_held(root: Root) -> None:
    """
    A destructor of a dropped value may use the ring, from another thread as well.
    """
    ring = root.ring(max_entries=1)
    done: list[bool] = []

    def last_words() -> None:
        other = threading.Thread(target=ring.append, args=("from a thread",))
        other.start()
        other.join(2)
        done.append(not other.is_alive())

    ring.append(Thing(last_words))
    ring.append("next")
    assert [True] == done
    assert ["from a thread"] == list(ring)


def test_a_destructor_inside_the_locked_section_is_put_off(root: Root) -> None:
    """
    What a collection calls in the middle of an append happens right after it.
    """
    ring = root.ring(ttl=10)
    seen: list[Any] = []

    def in_the_middle() -> None:
        assert ring.append("put off")
        seen.append((list(ring), len(ring), ring.shrink(10)))
        ring.clear()
        ring.append("after")

    ring._locked(in_the_middle)
    assert [([], 0, 0)] == seen
    assert ["after"] == list(ring)


def test_a_failure_that_was_put_off_is_recorded(root: Root) -> None:
    """
    Nobody is there to take it, so it is a background failure.
    """
    ring = root.ring(ttl=10)

    def in_the_middle() -> None:
        ring.append(1)
        ring.state = 4

    ring._locked(in_the_middle)
    assert [("call from a destructor of ring messages", "ScopeClosed")] == [
        key[:2] for key in root.registry.failures.counts
    ]


@pytest.mark.stress
@pytest.mark.parametrize("max_bytes", [None, "1MiB"])
def test_threads_lose_nothing(root: Root, max_bytes: str | None) -> None:
    """
    Eight threads append and read; every entry is kept or counted as dropped.
    """
    ring = root.ring(max_entries=50, max_bytes=max_bytes)
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait(5)
        for at in range(500):
            ring.append((number, at), key=str(number))
            if at % 10 == 0:
                ring.recent(10)
                ring.page(at, 5)

    threads = [threading.Thread(target=work, args=(one,)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    info = ring.info()
    assert (4000, 50, 3950) == (info.appended, info.entries, info.dropped)
    assert {str(one): 500 for one in range(8)} == ring.counts()
    assert sum(sizeof(one) for one in ring) == pytest.approx(info.bytes, rel=0.05)


@pytest.mark.stress
def test_bytes_add_up_under_threads(root: Root) -> None:
    """
    Eight threads push each other's entries out; what is there is what is counted.
    """
    ring = root.ring(max_entries=None, max_bytes=2000)
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait(5)
        for at in range(2000):
            ring.append("x" * (at * number % 300))
            if at % 500 == 0:
                ring.drain()

    threads = [threading.Thread(target=work, args=(one,)) for one in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    finally:
        sys.setswitchinterval(interval)
    assert sum(sizeof(one) for one in ring) == ring.info().bytes <= 2000
    assert 16_000 == ring.info().appended
    ring.drain()
    assert 0 == ring.info().bytes


@pytest.mark.stress
def test_a_consumer_gets_each_entry_once(root: Root) -> None:
    """
    What threads append while another one drains is drained or there, never both.
    """
    ring = root.ring(max_entries=100_000)
    together = threading.Barrier(5)

    def work(number: int) -> None:
        together.wait(5)
        for at in range(3000):
            ring.append((number, at))

    threads = [threading.Thread(target=work, args=(one,)) for one in range(4)]
    got: list[Any] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        together.wait(5)
        while any(thread.is_alive() for thread in threads):
            got += ring.drain()
        for thread in threads:
            thread.join(20)
    finally:
        sys.setswitchinterval(interval)
    got += ring.drain()
    assert 12_000 == len(got) == len(set(got))
    assert (12_000, 0) == (ring.info().appended, ring.info().dropped)


# -- saving ----------------------------------------------------------------------------


def test_what_is_dumped_can_be_loaded(root: Root) -> None:
    """
    Through JSON and back: entries, counters and the places that pages lead to.
    """
    ring = root.ring("one", max_entries=5)
    ring.extend([{"at": at} for at in range(8)], key="line")
    cursor = ring.page(None, 2).next
    dumped = json.loads(json.dumps(ring.dump()))
    other = root.ring("two", max_entries=5)
    other.load(dumped)
    assert list(ring) == list(other)
    assert ring.info() == other.info()
    assert ring.counts() == other.counts()
    assert list(ring.page(cursor, 2)) == list(other.page(cursor, 2))
    other.append("next")
    assert "next" == other.recent(1)[0]


def test_ages_go_on_while_nobody_runs(root: Root, clock: FakeClock) -> None:
    """
    An entry does not live longer for having been saved.
    """
    ring = root.ring("one", ttl=10)
    ring.append("a")
    clock.advance(4)
    ring.append("b")
    dumped = ring.dump()
    clock.advance(7)
    other = root.ring("two", ttl=10)
    other.load(dumped)
    assert ["b"] == list(other)
    clock.advance(3)
    assert [] == list(other)


def test_a_smaller_ring_loads_what_fits(root: Root) -> None:
    """
    A cap that was lowered between two runs holds for what is restored.
    """
    ring = root.ring("one")
    ring.extend(range(100))
    other = root.ring("two", max_entries=10)
    other.load(ring.dump())
    assert list(range(90, 100)) == list(other)


@pytest.mark.parametrize("dumped", [[], [1], [{"ring": 99}], ["x"]])
def test_anything_else_is_not_loaded(root: Root, dumped: list[Any]) -> None:
    """
    What does not come from `dump` is refused, and the content stays.
    """
    ring = root.ring()
    ring.append(1)
    with pytest.raises(ValueError, match="dump"):
        ring.load(dumped)
    assert [1] == list(ring)


def test_the_version_tells_of_changes(root: Root, clock: FakeClock) -> None:
    """
    It changes with the content and with nothing else.
    """
    ring = root.ring(max_entries=2, ttl=10)
    versions = [ring.version]
    for change in (
        lambda: ring.append(1),
        lambda: ring.extend([2, 3]),
        lambda: ring.load(ring.dump()),
        ring.clear,
        lambda: (ring.append(4), clock.advance(10), len(ring)),
    ):
        change()
        versions.append(ring.version)
    assert sorted(set(versions)) == versions
    for reading in (
        lambda: ring.recent(3),
        ring.counts,
        ring.info,
        ring.dump,
        ring.clear,
    ):
        reading()
        assert versions[-1] == ring.version


# -- life ------------------------------------------------------------------------------


def test_a_closed_ring_takes_nothing(root: Root) -> None:
    """
    Closing drops the content; reading is empty, appending says why it cannot be.
    """
    ring = root.ring(ttl=10)
    ring._arm()
    thing = Thing()
    watch = weakref.ref(thing)
    ring.append(thing)
    del thing
    ring.close()
    ring.close()
    assert watch() is None
    assert ([], 0, 0) == (ring.recent(5), len(ring), ring.memory_bytes())
    with pytest.raises(ScopeClosed, match="ring 'messages' is closed"):
        ring.append(1)


def test_closing_leaves_nothing_in_the_scheduler(root: Root, clock: FakeClock) -> None:
    """
    The alarm goes with the ring.
    """
    ring = root.ring(ttl=10)
    ring._arm()
    ring.append(1)
    assert 1 == clock.pending
    ring.close()
    assert 0 == clock.pending


def test_a_disarmed_ring_can_be_used_again(root: Root, clock: FakeClock) -> None:
    """
    A declared ring is empty after a shutdown, usable, and armed by the next start.
    """
    ring = root.ring(ttl=10)
    ring._arm()
    ring.append(1)
    ring._disarm()
    assert (0, 0) == (len(ring), clock.pending)
    ring.append(2)
    ring._arm()
    assert ([2], 1) == (list(ring), clock.pending)


def test_a_ring_dies_without_a_collection(root: Root) -> None:
    """
    A ring is in no reference cycle: ten thousand sessions must not wait for the GC.
    """
    gc.disable()
    try:
        ring = root.ring(max_bytes=10_000, ttl=10)
        ring.extend("abc")
        watch = weakref.ref(ring)
        ring.close()
        del ring
        assert watch() is None
    finally:
        gc.enable()


def test_a_forked_child_goes_on_with_a_fresh_lock(root: Root, clock: FakeClock) -> None:
    """
    A declared ring keeps its content, unless it was being changed at the fork.
    """
    ring = root.ring(ttl=10)
    ring._arm()
    ring.append("kept")
    ring._after_fork(Registry(clock, clock))
    assert ["kept"] == list(ring)
    ring._lock.acquire()
    ring._after_fork(Registry(clock, clock))
    assert (0, {}) == (len(ring), ring.counts())
    ring.append("new")
    assert ["new"] == list(ring)


def test_a_ring_of_the_parent_process_is_not_touched(root: Root) -> None:
    """
    In a forked child the lock may be held for ever: nobody waits for it.
    """
    ring = root.ring()
    ring._lock.acquire()
    root.registry.detached = True
    with pytest.raises(ScopeClosed, match="fork"):
        ring.append(1)
    with pytest.raises(ScopeClosed, match="fork"):
        ring.recent(1)
    ring.close()


def test_a_guard_that_dropped_and_was_never_shut_down_can_be_collected() -> None:
    """
    The notice of what was dropped waits for its time without keeping anything alive.
    """
    guard = Guard(clock=FakeClock()).start()
    ring = guard.ring("buffer", max_entries=1)
    ring.extend([1, 2, 3])
    gone = weakref.ref(guard)
    del guard, ring
    gc.collect()
    assert gone() is None
