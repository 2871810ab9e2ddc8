"""
A large stream goes to JSON lines, and never into a list.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import memguard
from memguard.testing import FakeClock

ITEMS = 1000
SIZE = 1000


class Item:
    """
    One item of the stream; counts how many are alive.
    """

    alive = 0
    most = 0

    def __init__(self, number: int) -> None:
        self.number = number
        Item.alive += 1
        Item.most = max(Item.most, Item.alive)

    def __del__(self) -> None:
        Item.alive -= 1


def source() -> Iterator[Item]:
    """
    A million bytes.
    """
    return map(Item, range(ITEMS))


async def asource() -> AsyncIterator[Item]:
    """
    The same for a loop.
    """
    for item in source():
        yield item


def work(item: Item) -> dict[str, Any]:
    """
    What is to be written of one item.
    """
    return {"number": item.number, "text": "x" * SIZE}


async def awork(item: Item) -> dict[str, Any]:
    """
    The same in a task.
    """
    return work(item)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_items_in_hand_and_bytes_in_the_buffer_are_bounded(
    tmp_path: Path, asynchronous: bool
) -> None:
    """
    While a megabyte goes through: five items and ten kilobytes; all of it arrives.
    """
    Item.alive = Item.most = 0
    path = tmp_path / "out.jsonl"
    with memguard.Guard(clock=FakeClock()) as guard:
        limiter = guard.limiter("stream", max_in_flight=5)
        sink = guard.sink(path, rotate_bytes="4MiB", buffer_bytes="10KiB")
        buffered = 0

        async def main() -> None:
            nonlocal buffered
            async for record in limiter.map(awork, asource()):
                await sink.awrite(record)
                buffered = max(buffered, sink.info().buffered_bytes)

        if asynchronous:
            asyncio.run(main())
        else:
            for record in limiter.map(work, source()):
                sink.write(record)
                buffered = max(buffered, sink.info().buffered_bytes)
    # Five that wait, and the one that was handed on.
    assert 1 < Item.most <= 7
    assert 0 < buffered <= 10 << 10
    found = [json.loads(line)["number"] for line in path.read_bytes().splitlines()]
    assert list(range(ITEMS)) == found


def test_what_is_on_disk_is_bounded_too(tmp_path: Path) -> None:
    """
    A stream of a megabyte, and never more than thirty kilobytes of it.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        sink = guard.sink(tmp_path / "out.jsonl", rotate_bytes="10KiB", keep=2)
        for number in range(ITEMS):
            sink.write({"number": number, "text": "x" * SIZE})
        sink.flush()
        sizes = [one.stat().st_size for one in tmp_path.iterdir()]
    assert len(sizes) == 3
    assert max(sizes) <= 10 << 10
