"""
Caches under threads, under callbacks that come back, and under keys that mean harm.

Longer than 300 lines because each way to do harm is a class and a test of its own.
"""

from __future__ import annotations

import gc
import random
import signal
import sys
import threading
import traceback
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from time import monotonic, sleep
from typing import Any, ClassVar

import pytest

import memguard
from memguard import Guard
from memguard.errors import BackgroundFailures

# Enough for a slow machine; everything that works takes a fraction of it.
SOON = 20.0
# How long somebody holds a lock that others wait for, if nobody lets them on.
PATIENCE = 10.0


@pytest.fixture
def guard() -> Iterator[Guard]:
    """
    A guard whose background failures fail the test.
    """
    guard = Guard(name="stress", strict=True)
    yield guard
    guard.shutdown()


def together(*works: Callable[[], object]) -> None:
    """
    Run all at once. Raises the first failure, or AssertionError for who hangs.
    """
    gate = threading.Barrier(len(works))
    failures: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            gate.wait(SOON)
            work()
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=run, args=(work,), daemon=True) for work in works
    ]
    often = sys.getswitchinterval()
    # Threads take turns in the middle of everything.
    sys.setswitchinterval(0.000_02)
    try:
        for thread in threads:
            thread.start()
        end = monotonic() + SOON
        for thread in threads:
            thread.join(max(0.0, end - monotonic()))
    finally:
        sys.setswitchinterval(often)
    if failures:
        raise failures[0]
    frames = sys._current_frames()
    hanging = [
        "".join(traceback.format_stack(frames[thread.ident]))
        for thread in threads
        if thread.is_alive() and thread.ident in frames
    ]
    assert [] == hanging, "\n".join(hanging)


class Value:
    """
    A value that knows its key, its weight, and which one it is.
    """

    __slots__ = ("key", "number", "weight")

    numbers = count()

    def __init__(self, key: Any, weight: int = 1) -> None:
        self.key = key
        self.weight = weight
        self.number = next(self.numbers)


class Books:
    """
    What went in and what came out.
    """

    def __init__(self) -> None:
        self.came: list[int] = []
        self.left: list[int] = []
        self.causes: list[str] = []

    def on_evict(self, key: Any, value: Value, cause: str) -> None:
        assert key == value.key
        self.left.append(value.number)
        self.causes.append(cause)


# -- eight threads ---------------------------------------------------------------------

MOST, MOST_BYTES, HEAVIEST = 150, 30_000, 900


class Chaos:
    """
    One thread's work: every verb, in an order of its own.
    """

    def __init__(self, cache: Any, books: Books, seed: int, *, expires: bool) -> None:
        self.cache = cache
        self.books = books
        self.draw = random.Random(seed)
        self.ttls = (None, 0.001, "1h") if expires else (None,)

    def key(self) -> str:
        return f"key {self.draw.randrange(400)}"

    def put(self) -> None:
        key = self.key()
        value = Value(key, self.draw.randrange(1, HEAVIEST))
        if self.cache.put(key, value, ttl=self.draw.choice(self.ttls)):
            self.books.came.append(value.number)

    def get(self) -> None:
        key = self.key()
        value = self.draw.choice((self.cache.get, self.cache.fast))(key)
        assert value is None or key == value.key

    def take(self) -> None:
        key = self.key()
        value = self.cache.pop(key, None)
        if value is not None:
            assert key == value.key
            self.books.left.append(value.number)

    def drop(self) -> None:
        self.cache.invalidate(self.key())

    def read(self) -> None:
        for key, value in self.cache.items():
            assert key == value.key
        assert all(key.startswith("key ") for key in self.cache)
        assert len(self.cache) <= MOST + 1

    def check(self) -> None:
        info = self.cache.info()
        assert info.entries <= MOST + 1
        assert info.bytes <= MOST_BYTES + HEAVIEST

    def resize(self) -> None:
        self.cache.resize(
            max_entries=self.draw.choice((MOST, MOST // 3)),
            max_bytes=self.draw.choice((MOST_BYTES, MOST_BYTES // 4)),
        )

    def shrink(self) -> None:
        self.cache.shrink(2000)

    def run(self, rounds: int) -> None:
        often = [self.put] * 30 + [self.get] * 40 + [self.take] * 6 + [self.drop] * 6
        seldom = [
            self.read,
            self.check,
            self.check,
            self.resize,
            self.cache.clear,
            self.shrink,
        ]
        for number in range(rounds):
            self.draw.choice(seldom if number % 40 == 39 else often)()


@pytest.mark.stress
@pytest.mark.parametrize("expires", [False, True])
@pytest.mark.parametrize("started", [False, True])
def test_eight_threads_keep_every_invariant(
    guard: Guard, expires: bool, started: bool, long_form: bool
) -> None:
    """
    Never above a cap by more than the last value, values belong to their keys, and
    each value that came in is in there or has left exactly once.
    """
    if started:
        guard.start()
    books = Books()
    cache: Any = guard.cache(
        "c",
        max_entries=MOST,
        max_bytes=MOST_BYTES,
        ttl="1h",
        weigher=lambda key, value: value.weight,
        on_evict=books.on_evict,
    )
    rounds = 20_000 if long_form else 1500
    works = [Chaos(cache, books, seed, expires=expires) for seed in range(8)]
    together(*(partial(work.run, rounds) for work in works))
    cache.resize(max_entries=MOST, max_bytes=MOST_BYTES)
    items = cache.items()
    if not expires:
        info = cache.info()
        assert len(items) == len(cache) == info.entries == len(cache.keys())
        assert sum(value.weight for _, value in items) == info.bytes
        assert all(cache.get(key) is value for key, value in items)
    cache.clear()
    info = cache.info()
    assert (0, 0, 0) == (len(cache), info.entries, info.bytes)
    assert [] == cache.items()
    assert Counter(books.came) == Counter(books.left)
    causes = {cause: number for cause, number in info.causes.items() if number}
    assert causes == Counter(books.causes)


@pytest.mark.stress
@pytest.mark.parametrize(
    "caps",
    [{"max_entries": 64}, {"max_bytes": "16KiB"}, {"max_entries": 64, "idle": "1h"}],
    ids=["count", "bytes", "idle"],
)
def test_plain_caches_survive_eight_threads(
    guard: Guard, caps: dict[str, Any], long_form: bool
) -> None:
    """
    Without listener, weigher and ttl, where most is done without a lock.
    """
    cache: Any = guard.cache("c", **caps)

    def work(seed: int) -> Callable[[], None]:
        draw = random.Random(seed)

        def run() -> None:
            for number in range(40_000 if long_form else 3000):
                key = draw.randrange(200)
                value = cache.fast(key)
                assert value is None or (key, "value") == value
                if value is None or number % 5 == 0:
                    cache.put(key, (key, "value"))
                if number % 11 == 0:
                    assert cache.pop(key, (key, "value")) == (key, "value")
                if number % 13 == 0:
                    cache.invalidate(key)
                if number % 97 == 0:
                    assert all(key == value[0] for key, value in cache.items())
                if number % 501 == 0:
                    cache.clear()
                if "max_entries" in caps:
                    assert len(cache) <= 65

        return run

    together(*(work(seed) for seed in range(8)))
    items = cache.items()
    info = cache.info()
    assert len(items) == len(cache) == info.entries == len({key for key, _ in items})
    assert all(cache.get(key) == value for key, value in items)
    for key in range(200):
        cache.invalidate(key)
    assert (0, []) == (len(cache), cache.items())


@pytest.mark.stress
def test_growing_and_shrinking_meanwhile_loses_nothing(guard: Guard) -> None:
    """
    A resize in slices and puts at the same time end within the last cap.
    """
    cache: Any = guard.cache("c", max_entries=20_000)

    def resize() -> None:
        for most in (10_000, 20_000, 500, 15_000, 1000):
            cache.resize(max_entries=most)

    def put(first: int) -> Callable[[], None]:
        def run() -> None:
            for key in range(first, first + 15_000):
                cache.put(key, -key)
                assert cache.get(key, -key) == -key

        return run

    together(resize, put(0), put(100_000), put(200_000))
    cache.resize(max_entries=1000)
    assert len(cache) <= 1000
    put(300_000)()
    assert 1000 == len(cache) == len(cache.items())
    assert all(value == -key for key, value in cache.items())


@pytest.mark.stress
def test_loads_happen_once_at_a_time_under_threads(guard: Guard) -> None:
    """
    Of all who want a key at the same time one loads.
    """
    lock = threading.Lock()
    running: set[int] = set()
    overlaps: list[int] = []

    def load(key: int) -> tuple[int, str]:
        with lock:
            if key in running:
                overlaps.append(key)
            running.add(key)
        for _ in range(50):
            pass
        with lock:
            running.discard(key)
        return key, "value"

    cache: Any = guard.cache("c", load, max_entries=50)

    def work(seed: int) -> Callable[[], None]:
        draw = random.Random(seed)

        def run() -> None:
            for _ in range(600):
                key = draw.randrange(100)
                assert (key, "value") == cache.get(key)

        return run

    together(*(work(seed) for seed in range(8)))
    assert [] == overlaps
    assert len(cache) <= 50


@pytest.mark.stress
def test_loaders_that_load_each_other_end(guard: Guard) -> None:
    """
    Two loads that wait for each other in two threads go on after the load timeout.
    """
    depth = threading.local()
    both = threading.Barrier(2)

    @guard.cached(max_entries=10, load_timeout=0.1)
    def value(name: str) -> str:
        level = depth.level = getattr(depth, "level", 0) + 1
        try:
            if level == 1:
                both.wait(SOON)
            if level < 3:
                value("b" if name == "a" else "a")
        finally:
            depth.level -= 1
        return name * 3

    results: list[str] = []
    together(lambda: results.append(value("a")), lambda: results.append(value("b")))
    assert ["aaa", "bbb"] == sorted(results)


@pytest.mark.stress
def test_a_loader_may_load_other_keys(guard: Guard) -> None:
    """
    A recursive loader, asked by eight threads for the same thing.
    """
    cache: Any = None

    def load(number: int) -> int:
        return number if number < 2 else cache.get(number - 1) + cache.get(number - 2)

    cache = guard.cache("fibonacci", load, max_entries=1000)
    results: list[int] = []
    together(*(lambda: results.append(cache.get(90)) for _ in range(8)))
    assert [2880067194370816120] * 8 == results


# -- callbacks that come back ----------------------------------------------------------


@pytest.mark.stress
def test_a_listener_may_use_the_cache(guard: Guard) -> None:
    """
    What is evicted is put again under another name, by four threads at once.
    """
    cache: Any = None
    again: list[int] = []

    def on_evict(key: tuple[str, int], value: int, cause: str) -> None:
        kind, number = key
        cache.get(key)
        len(cache)
        if kind == "first" and cause == "size":
            again.append(number)
            cache.put(("second", number), value)
            cache.invalidate(("second", number - 5))

    cache = guard.cache("c", max_entries=20, on_evict=on_evict)

    def work(first: int) -> Callable[[], None]:
        def run() -> None:
            for number in range(first, first + 300):
                cache.put(("first", number), number)
                assert len(cache) <= 20

        return run

    together(*(work(first) for first in (0, 1000, 2000, 3000)))
    assert len(again) == len(set(again))
    assert len(again) >= 1200 - 20
    assert all(key[1] == value for key, value in cache.items())


@pytest.mark.stress
def test_a_weigher_may_use_the_cache(guard: Guard) -> None:
    """
    It reads, and even puts; the caps hold all the same.
    """
    cache: Any = None

    def weigh(key: Any, value: int) -> int:
        cache.get(key)
        assert len(cache) <= 101
        cache.info()
        if key != "weighed last":
            cache.put("weighed last", 1)
        return value

    cache = guard.cache("c", max_bytes=1000, max_entries=100, weigher=weigh)

    def work(first: int) -> Callable[[], None]:
        def run() -> None:
            for number in range(first, first + 200):
                cache.put(number, 10 + number % 90)
                assert cache.info().bytes <= 1000 + 100

        return run

    together(*(work(first) for first in (0, 1000, 2000, 3000)))
    assert sum(value for _, value in cache.items()) == cache.info().bytes <= 1000


class Last:
    """
    A value whose destructor uses its cache.
    """

    ran: ClassVar[Counter[str]] = Counter()

    def __init__(self, cache: Any, number: int) -> None:
        self.cache = cache
        self.number = number
        self.cycle = self

    def __del__(self) -> None:
        cache, number = self.cache, self.number
        cache.get(number)
        cache.put(("ghost", number % 7), number)
        cache.invalidate(number + 1)
        len(cache)
        cache.pop(("ghost", (number + 3) % 7), None)
        self.ran["del"] += 1


@pytest.mark.stress
@pytest.mark.parametrize(
    "caps",
    [
        {"max_entries": 30},
        {"max_entries": 30, "ttl": "1h"},
        {"max_bytes": 3000, "weigher": lambda key, value: 100},
    ],
    ids=["count", "ttl", "bytes"],
)
def test_destructors_may_use_the_cache(guard: Guard, caps: dict[str, Any]) -> None:
    """
    In every thread, at every moment that the collector finds fit.
    """
    cache: Any = guard.cache("c", **caps)
    Last.ran.clear()
    old = gc.get_threshold()
    gc.set_threshold(23, 3, 3)
    try:

        def work(first: int) -> Callable[[], None]:
            def run() -> None:
                for number in range(first, first + 250):
                    value = Last(cache, number)
                    if number % 2:
                        value.cycle = None  # type: ignore[assignment]
                    cache.put(number, value)
                    del value
                    cache.get(number - 3)
                    if number % 60 == 0:
                        cache.resize(
                            **{
                                name: caps[name]
                                for name in caps
                                if name.startswith("max_")
                            }
                        )
                    if number % 100 == 0:
                        cache.clear()

            return run

        together(*(work(first) for first in (0, 1000, 2000, 3000)))
    finally:
        gc.set_threshold(*old)
    cache.clear()
    gc.collect()
    assert Last.ran["del"] >= 900
    assert len(cache) == len(cache.items()) <= 30


# -- keys that mean harm ---------------------------------------------------------------


class Hostile(Exception):
    """
    Raised by keys that want to do harm.
    """


def do_harm(*keys: Any) -> None:
    """
    It does not matter which of the two keys is the one that is asked.
    """
    for key in keys:
        if isinstance(key, (Key, TextKey)):
            key.harm()


class Key:
    """
    A key of one hash, so that all meet; each comparison does the harm of both keys.
    """

    def __init__(self, name: str, harm: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.harm = harm

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        do_harm(self, other)
        return isinstance(other, Key) and self.name == other.name


class TextKey(str):
    """
    The same, dressed up as text.
    """

    __slots__ = ("harm",)

    harm: Callable[[], object]

    def __new__(cls, name: str, harm: Callable[[], object] = lambda: None) -> Any:
        self = super().__new__(cls, name)
        self.harm = harm
        return self

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        do_harm(self, other)
        return isinstance(other, TextKey) and str(self) == str(other)


Pair = namedtuple("Pair", "first second")  # noqa: PYI024 - the untyped one is meant

# From a name and the harm it does to a key.
SHAPES: dict[str, Callable[..., Any]] = {
    "object": Key,
    "text": TextKey,
    "tuple": lambda *given: (1, Key(*given)),
    "deep tuple": lambda *given: (1, (2, (3, (4, (5, (6, Key(*given))))))),
    "named tuple": lambda *given: Pair(Key(*given), 2),
    "frozenset": lambda *given: frozenset([Key(*given)]),
}
shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)

KINDS: dict[str, dict[str, Any]] = {
    "count": {"max_entries": 8},
    "ttl": {"max_entries": 8, "ttl": "1h"},
    "bytes": {"max_bytes": 800, "weigher": lambda key, value: 100},
    "listener": {"max_entries": 8, "on_evict": lambda key, value, cause: None},
}
kinds = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)

VERBS: dict[str, Callable[[Any, Any], object]] = {
    "get": lambda cache, key: cache.get(key),
    "fast": lambda cache, key: cache.fast(key),
    "in": lambda cache, key: key in cache,
    "put": lambda cache, key: cache.put(key, 1),
    "set": lambda cache, key: cache.__setitem__(key, 1),
    "pop": lambda cache, key: cache.pop(key, None),
    "invalidate": lambda cache, key: cache.invalidate(key),
}
verbs = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


def raise_hostile() -> None:
    """
    The plainest harm.
    """
    raise Hostile


def is_in_order(cache: Any) -> None:
    """
    The cache agrees with itself, and can be used as ever.
    """
    items = cache.items()
    assert len(items) == len(cache) == cache.info().entries <= 8
    for number in range(40):
        cache.put(number, number)
        assert number == cache.get(number)
    assert len(cache) == len(cache.items()) <= 8
    cache.clear()
    assert (0, []) == (len(cache), cache.items())


@kinds
@shapes
@verbs
def test_a_comparison_that_raises_reaches_the_caller(
    guard: Guard, options: dict[str, Any], shape: Any, verb: Any
) -> None:
    """
    Nothing but that call is spoilt.
    """
    cache: Any = guard.cache("c", **options)
    cache.put(shape("a"), "A")
    cache.put("plain", "P")
    with pytest.raises(Hostile):
        verb(cache, shape("b", raise_hostile))
    assert ("A", "P") == (cache.get(shape("a")), cache.get("plain"))
    assert 2 == len(cache)
    is_in_order(cache)


@kinds
@verbs
def test_a_hash_that_raises_reaches_the_caller(
    guard: Guard, options: dict[str, Any], verb: Any
) -> None:
    """
    So does the TypeError for what cannot be hashed.
    """

    class Unhashed:
        def __hash__(self) -> int:
            raise Hostile

    cache: Any = guard.cache("c", **options)
    cache.put("plain", "P")
    with pytest.raises(Hostile):
        verb(cache, Unhashed())
    with pytest.raises(TypeError):
        verb(cache, [])
    with pytest.raises(Hostile):
        verb(cache, (1, Unhashed()))
    assert [("plain", "P")] == cache.items()
    is_in_order(cache)


@kinds
@shapes
def test_keys_that_only_raise_later_can_still_be_evicted(
    guard: Guard, options: dict[str, Any], shape: Any
) -> None:
    """
    A key that turns hostile after it was put does not stop others' puts.
    """
    cache: Any = guard.cache("c", **options)
    turned: list[bool] = []

    def harm() -> None:
        if turned:
            raise Hostile

    for number in range(8):
        cache.put(shape(f"bad {number}", harm), number)
    turned.append(True)
    for number in range(40):
        cache.put(number, number)
        assert number == cache.get(number)
    cache.resize(
        **{name: cap // 2 for name, cap in options.items() if name.startswith("max_")}
    )
    cache.clear()
    assert (0, []) == (len(cache), cache.items())


@kinds
@shapes
def test_a_comparison_may_use_the_cache(
    guard: Guard, options: dict[str, Any], shape: Any
) -> None:
    """
    Whatever a comparison does to the cache, the call in the middle ends.
    """
    cache: Any = guard.cache("c", **options)
    draw = random.Random(5)
    busy: list[bool] = []

    def meddle() -> None:
        if busy:
            return
        busy.append(True)
        try:
            draw.choice(
                (
                    lambda: cache.put(draw.randrange(20), 1),
                    lambda: cache.put(shape(f"m {draw.randrange(4)}"), 1),
                    lambda: cache.invalidate(shape(f"k {draw.randrange(12)}")),
                    lambda: cache.get(shape(f"k {draw.randrange(12)}")),
                    cache.items,
                    lambda: cache.clear() if draw.random() < 0.1 else None,
                )
            )()
        finally:
            busy.pop()

    for number in range(300):
        name = f"k {draw.randrange(12)}"
        draw.choice(list(VERBS.values()))(cache, shape(name, meddle))
        assert len(cache) <= 8, number
        assert cache.get(shape(name, meddle)) in (1, None)
    is_in_order(cache)


@pytest.mark.stress
@kinds
@shapes
@verbs
def test_a_comparison_may_wait_for_a_lock(
    guard: Guard, options: dict[str, Any], shape: Any, verb: Any
) -> None:
    """
    One thread holds a lock and uses the cache, another one uses the cache with a key
    whose comparison wants that lock: the first one gets done meanwhile.
    """
    cache: Any = guard.cache("c", **options)
    lock = threading.Lock()
    inside, held = threading.Event(), threading.Event()
    waited: list[bool] = []

    def wait_for_lock() -> None:
        inside.set()
        waited.append(lock.acquire(timeout=PATIENCE))
        if waited[-1]:
            lock.release()

    cache.put(shape("a"), 1)

    def holder() -> None:
        with lock:
            held.set()
            assert inside.wait(PATIENCE)
            began = monotonic()
            for number in range(30):
                cache.put(number, number)
                cache.get(number)
                cache.fast(number)
                cache.pop(number - 2, None)
                cache.invalidate(number - 1)
            cache.items()
            cache.info()
            assert monotonic() - began < PATIENCE / 2

    def user() -> None:
        assert held.wait(PATIENCE)
        verb(cache, shape("b", wait_for_lock))

    together(holder, user)
    assert waited
    assert all(waited)
    is_in_order(cache)


@pytest.mark.stress
@kinds
@shapes
def test_evicting_does_not_wait_for_a_lock(
    guard: Guard, options: dict[str, Any], shape: Any
) -> None:
    """
    Keys that want somebody's lock whenever they are compared are evicted and cleared
    by who holds it, and by a third, without a wait.
    """
    cache: Any = guard.cache("c", **options)
    lock = threading.RLock()

    def wait_for_lock() -> None:
        assert lock.acquire(timeout=PATIENCE)
        lock.release()

    for number in range(8):
        cache.put(shape(f"bad {number}", wait_for_lock), number)
        cache.get(shape(f"bad {number}", wait_for_lock))

    def put(first: int) -> Callable[[], None]:
        def run() -> None:
            began = monotonic()
            for number in range(first, first + 30):
                cache.put(number, number)
                cache.get(number)
            cache.items()
            cache.invalidate(first)
            assert monotonic() - began < PATIENCE / 2

        return run

    with lock:
        together(put(0), put(100))
        put(200)()
    is_in_order(cache)


@pytest.mark.stress
@shapes
def test_a_destructor_of_a_key_may_wait_for_a_lock(guard: Guard, shape: Any) -> None:
    """
    Keys and values die with nothing of the cache held.
    """
    lock = threading.Lock()
    inside, held = threading.Event(), threading.Event()
    waited: list[bool] = []

    class Dying:
        def __del__(self) -> None:
            inside.set()
            waited.append(lock.acquire(timeout=PATIENCE))
            if waited[-1]:
                lock.release()

    cache: Any = guard.cache("c", max_entries=4)

    def holder() -> None:
        with lock:
            held.set()
            assert inside.wait(PATIENCE)
            began = monotonic()
            for number in range(20):
                cache.put(("held", number), number)
                cache.get(("held", number))
            assert monotonic() - began < PATIENCE / 2

    def user() -> None:
        key = shape("dying")
        cache.put(key, Dying())
        del key
        assert held.wait(PATIENCE)
        for number in range(30):
            cache.put(number, number)

    together(holder, user)
    assert [True] == waited


@pytest.mark.stress
@kinds
@shapes
def test_eight_threads_with_keys_that_meet(
    guard: Guard, options: dict[str, Any], shape: Any, long_form: bool
) -> None:
    """
    Keys of one hash, compared in Python, some of which raise or use the cache.
    """
    cache: Any = guard.cache("c", **options)

    def work(seed: int) -> Callable[[], None]:
        draw = random.Random(seed)

        def harm() -> None:
            chance = draw.random()
            if chance < 0.02:
                raise Hostile
            if chance < 0.04:
                cache.get(draw.randrange(5))
            elif chance < 0.06:
                cache.put(draw.randrange(5), None)

        def run() -> None:
            for number in range(2000 if long_form else 60):
                name = f"k {draw.randrange(10)}"
                key = shape(name, harm)
                try:
                    if number % 3:
                        assert cache.get(key) in (None, name)
                    elif number % 7:
                        cache.put(key, name)
                    else:
                        cache.invalidate(key)
                except Hostile:
                    pass
                assert len(cache) <= 9

        return run

    together(*(work(seed) for seed in range(8)))
    cache.clear()
    is_in_order(cache)


@kinds
def test_a_comparison_without_a_truth_value(
    guard: Guard, options: dict[str, Any]
) -> None:
    """
    As arrays do: what cannot be true or false reaches the caller.
    """

    class Neither:
        def __bool__(self) -> bool:
            raise Hostile

    class Array:
        def __hash__(self) -> int:
            return 3

        def __eq__(self, other: object) -> Any:
            return Neither()

    cache: Any = guard.cache("c", **options)
    first = Array()
    cache.put(first, 1)
    assert 1 == cache.get(first)
    with pytest.raises(Hostile):
        cache.get(Array())
    assert 1 == len(cache)
    is_in_order(cache)


@kinds
def test_a_key_that_is_not_equal_to_itself(
    guard: Guard, options: dict[str, Any]
) -> None:
    """
    It is found by identity, as in a dict, and it does not pile up.
    """

    class Never:
        def __hash__(self) -> int:
            return 3

        def __eq__(self, other: object) -> bool:
            return False

    cache: Any = guard.cache("c", **options)
    key, nan = Never(), float("nan")
    for number in range(30):
        cache.put(key, number)
        cache.put(nan, number)
    assert (29, 29, 2) == (cache.get(key), cache.get(nan), len(cache))
    for number in range(30):
        cache.put(Never(), number)
    is_in_order(cache)


@kinds
def test_a_key_whose_hash_changes(guard: Guard, options: dict[str, Any]) -> None:
    """
    It is lost, but it leaves like any other.
    """

    class Changing:
        def __init__(self) -> None:
            self.hashed = 1

        def __hash__(self) -> int:
            return self.hashed

    cache: Any = guard.cache("c", **options)
    keys = [Changing() for _ in range(8)]
    for key in keys:
        cache.put(key, 1)
    for key in keys:
        key.hashed = 2
    for number in range(40):
        cache.put(number, number)
        assert number == cache.get(number)
        assert len(cache) <= 8
    is_in_order(cache)


# -- background failures ---------------------------------------------------------------


@pytest.mark.stress
def test_callbacks_that_raise_spoil_nothing() -> None:
    """
    Listener and weigher that raise, under threads: failures in the background, and
    every put is as good as any.
    """
    guard = Guard(name="stress", strict=True)

    def on_evict(key: Any, value: Any, cause: str) -> None:
        raise Hostile

    def weigh(key: Any, value: Any) -> int:
        if key % 3 == 0:
            raise Hostile
        return 10

    cache: Any = guard.cache(
        "c", max_entries=50, max_bytes=10_000, weigher=weigh, on_evict=on_evict
    )

    def work(first: int) -> Callable[[], None]:
        def run() -> None:
            for number in range(first, first + 200):
                cache.put(number, -number)
                assert cache.get(number) in (-number, None)
                assert len(cache) <= 51

        return run

    together(*(work(first) for first in (0, 1000, 2000, 3000)))
    assert len(cache) == len(cache.items()) <= 50
    with pytest.raises(BackgroundFailures):
        guard.shutdown()


@pytest.mark.stress
def test_functions_under_threads(guard: Guard) -> None:
    """
    Cached functions and methods: results belong to their arguments.
    """

    class Shop:
        @guard.cached(max_entries=20)
        def price(self, item: int, *, tax: bool = False) -> tuple[int, int, bool]:
            return id(self), item, tax

    @memguard.cached(max_entries=20)
    def double(number: int, offset: int = 0) -> int:
        return number * 2 + offset

    def work(seed: int) -> Callable[[], None]:
        draw = random.Random(seed)

        def run() -> None:
            for number in range(500):
                shop = Shop()
                item, tax = draw.randrange(40), draw.random() < 0.5
                assert (id(shop), item, tax) == shop.price(item, tax=tax)
                offset = draw.randrange(2)
                assert item * 2 + offset == double(item, offset=offset)
                assert item * 2 == double(item)
                if number % 20 == 0:
                    double.invalidate(item)
                    shop.price.invalidate(shop, item)  # type: ignore[attr-defined]

        return run

    together(*(work(seed) for seed in range(8)))
    assert double.info().entries <= 20
    double.clear()
    assert 0 == double.info().entries


# -- interrupted -----------------------------------------------------------------------


class Interrupt(BaseException):
    """
    Raised by a signal's handler, wherever the main thread is.
    """


# A file that was just being opened is closed by the collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.stress
@kinds
def test_an_interrupt_leaves_the_cache_usable(
    guard: Guard, options: dict[str, Any], long_form: bool
) -> None:
    """
    A signal's handler may raise anywhere, as for Ctrl-C: the next call still works.
    """
    cache: Any = guard.cache("c", **options)
    draw = random.Random(11)
    armed, over = [False], [False]
    main = threading.get_ident()

    def handle(number: int, frame: Any) -> None:
        if armed[0]:
            armed[0] = False
            raise Interrupt

    def shoot() -> None:
        while not over[0]:
            for _ in range(draw.randrange(3000)):
                pass
            signal.pthread_kill(main, signal.SIGUSR1)
            sleep(0.0002)

    before = signal.signal(signal.SIGUSR1, handle)
    shooter = threading.Thread(target=shoot)
    shooter.start()
    slowest = 0.0
    number = 0
    try:
        for _ in range(20_000 if long_form else 120):
            began = monotonic()
            try:
                armed[0] = True
                while True:
                    number += 1
                    cache.put(number % 20, number)
                    cache.get(number % 7)
                    cache.invalidate(number % 11)
            except Interrupt:
                slowest = max(slowest, monotonic() - began)
            if slowest > 2:
                break
    finally:
        armed[0], over[0] = False, True
        shooter.join(SOON)
        signal.signal(signal.SIGUSR1, before)
    assert slowest < 2
    assert len(cache) <= 9
    cache.clear()
    is_in_order(cache)
