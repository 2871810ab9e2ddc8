"""A catalogue with three of the usual mistakes."""

import functools
import queue

import memguard

PRICES: dict[str, float] = {}
jobs: queue.Queue = queue.Queue()
history = memguard.ring("history", max_entries=100)


def remember(name: str, price: float) -> None:
    PRICES[name] = price


class Page:
    @functools.lru_cache(maxsize=256)
    def rendered(self, language: str) -> str:
        return f"a page in {language}"
