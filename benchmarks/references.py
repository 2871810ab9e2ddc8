"""
What the hit ratios of memguard are compared with: references, and other packages.

Every one is a context manager, made from a capacity, of the verbs that are measured.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

Get = Callable[[int], Any]
Put = Callable[[int, Any], Any]


class Verbs(NamedTuple):
    """
    What is measured of a cache; get gives None for what is not there.
    """

    get: Get
    put: Put


class Lru:
    """
    The least recently used leaves; the reference of the bars.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held: OrderedDict[int, Any] = OrderedDict()

    def get(self, key: int) -> Any:
        value = self.held.get(key)
        if value is not None:
            self.held.move_to_end(key)
        return value

    def put(self, key: int, value: Any) -> None:
        if len(self.held) >= self.most:
            self.held.popitem(last=False)
        self.held[key] = value


class ByteLru(Lru):
    """
    The same with a cap in bytes; a value is its own size.
    """

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.bytes = 0

    def put(self, key: int, value: Any) -> None:
        if value > self.most:
            return
        while self.bytes + value > self.most:
            _, gone = self.held.popitem(last=False)
            self.bytes -= gone
        self.held[key] = value
        self.bytes += value


class S3Fifo:
    """
    S3-FIFO as published: a small queue of a tenth, a main one, a ghost as long as both.
    """

    def __init__(self, most: int) -> None:
        self.most, self.few = most, max(1, most // 10)
        self.held: dict[int, Any] = {}
        self.uses: dict[int, int] = {}
        self.small: deque[int] = deque()
        self.main: deque[int] = deque()
        self.ghost: OrderedDict[int, None] = OrderedDict()

    def get(self, key: int) -> Any:
        value = self.held.get(key)
        if value is not None:
            self.uses[key] = min(3, self.uses[key] + 1)
        return value

    def put(self, key: int, value: Any) -> None:
        known = key in self.ghost
        self.ghost.pop(key, None)
        if len(self.held) >= self.most:
            self.evict()
        (self.main if known else self.small).append(key)
        self.held[key] = value
        self.uses[key] = 0

    def evict(self) -> None:
        while True:
            if len(self.small) >= self.few or not self.main:
                key = self.small.popleft()
                if self.uses[key]:
                    self.uses[key] = 0
                    self.main.append(key)
                    continue
                self.ghost[key] = None
                if len(self.ghost) > self.most:
                    self.ghost.popitem(last=False)
            else:
                key = self.main.popleft()
                if self.uses[key]:
                    self.uses[key] -= 1
                    self.main.append(key)
                    continue
            del self.held[key], self.uses[key]
            return


@contextmanager
def lru(most: int) -> Iterator[Verbs]:
    cache = Lru(most)
    yield Verbs(cache.get, cache.put)


@contextmanager
def s3_fifo(most: int) -> Iterator[Verbs]:
    cache = S3Fifo(most)
    yield Verbs(cache.get, cache.put)


@contextmanager
def byte_lru(most: int) -> Iterator[Verbs]:
    cache = ByteLru(most)
    yield Verbs(cache.get, cache.put)


@contextmanager
def cachetools_lru(most: int) -> Iterator[Verbs]:
    from cachetools import LRUCache

    cache: Any = LRUCache(most)
    yield Verbs(cache.get, cache.__setitem__)


@contextmanager
def cachebox_lru(most: int) -> Iterator[Verbs]:
    from cachebox import LRUCache

    cache: Any = LRUCache(most)
    yield Verbs(cache.get, cache.__setitem__)


@contextmanager
def theine(most: int) -> Iterator[Verbs]:
    from theine import Cache

    cache: Any = Cache(most)
    try:
        yield Verbs(lambda key: cache.get(key)[0], cache.set)
    finally:
        cache.close()


@contextmanager
def moka(most: int) -> Iterator[Verbs]:
    from moka_py import Moka

    cache: Any = Moka(most)
    yield Verbs(cache.get, cache.set)


Maker = Callable[[int], AbstractContextManager[Verbs]]
#: By the module that has to be there.
OTHERS: dict[str, tuple[str, Maker]] = {
    "cachetools": ("cachetools.LRUCache", cachetools_lru),
    "cachebox": ("cachebox.LRUCache", cachebox_lru),
    "theine": ("theine", theine),
    "moka_py": ("moka-py", moka),
}
