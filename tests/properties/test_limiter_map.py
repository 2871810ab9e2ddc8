"""
`limiter.map` and the line of a limiter, under any durations, sizes and bounds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings, strategies as st

from memguard import Guard
from memguard._kinds.line import Line, Ticket
from memguard.testing import FakeClock

SIZES = st.integers(0, 30)
ITEMS = st.lists(st.tuples(SIZES, st.integers(0, 4)), max_size=25)


def work(most: int, limit: int | None) -> Any:
    """
    A limiter of a fresh guard.
    """
    guard = Guard(clock=FakeClock())
    return guard.limiter("work", max_in_flight=most, max_bytes=limit)


@settings(max_examples=60, deadline=None)
@given(ITEMS, st.integers(1, 6), st.none() | st.integers(1, 40), st.integers(0, 25))
def test_order_and_bounds_of_tasks(
    items: list[tuple[int, int]], most: int, limit: int | None, stop: int
) -> None:
    """
    Each call takes as many rounds of the loop as it likes; some are left half-way.
    """

    async def main() -> None:
        limiter = work(most, limit)
        inside: dict[int, int] = {}
        read = out = 0

        def source() -> Iterator[int]:
            nonlocal read
            for number in range(len(items)):
                read += 1
                assert read - out <= most
                yield number

        async def call(number: int) -> int:
            size, rounds = items[number]
            inside[number] = size
            assert len(inside) <= most
            assert limit is None or sum(inside.values()) <= limit or len(inside) == 1
            for _ in range(rounds):
                await asyncio.sleep(0)
            del inside[number]
            return number

        results = limiter.map(call, source(), bytes=lambda number: items[number][0])
        async for number in results:
            assert out == number
            out += 1
            if out == stop:
                break
        await results.aclose()
        assert out == len(items) or out == stop
        info = limiter.info()
        assert (0, 0, 0) == (info.in_flight, info.bytes, info.waiting)
        assert {asyncio.current_task()} == asyncio.all_tasks()

    asyncio.run(main())


@settings(max_examples=25, deadline=None)
@given(ITEMS, st.integers(1, 6), st.none() | st.integers(1, 40), st.integers(0, 25))
def test_order_and_bounds_of_threads(
    items: list[tuple[int, int]], most: int, limit: int | None, stop: int
) -> None:
    """
    The same with threads, which take the time they get.
    """
    limiter = work(most, limit)
    read = out = 0

    def source() -> Iterator[int]:
        nonlocal read
        for number in range(len(items)):
            read += 1
            assert read - out <= most
            yield number

    with limiter.map(abs, source(), bytes=lambda number: items[number][0]) as results:
        for number in results:
            assert out == number
            out += 1
            if out == stop:
                break
    assert out == len(items) or out == stop
    info = limiter.info()
    assert (0, 0, 0) == (info.in_flight, info.bytes, info.waiting)
    assert info.peak <= most
    heaviest = max((size for size, _ in items), default=0)
    assert limit is None or info.peak_bytes <= max(limit, heaviest)


STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "go", "give up", "resize"]), SIZES, SIZES),
    max_size=80,
)


@given(STEPS)
def test_the_line_is_first_come_first_served(steps: list[tuple[str, int, int]]) -> None:
    """
    Against a model: who is let in is always who has waited for longest.
    """
    line = Line(2, 20)
    waiting: deque[Ticket] = deque()
    inside: list[Ticket] = []

    def let_in(came: list[Ticket]) -> None:
        for ticket in came:
            assert waiting.popleft() is ticket
            inside.append(ticket)

    for step, size, number in steps:
        if step == "come":
            ticket = Ticket(size)
            waiting.append(ticket)
            let_in(line.join(ticket, 0.0))
        elif step == "go" and inside:
            let_in(line.release(inside.pop(number % len(inside)), 0.0))
        elif step == "give up" and waiting:
            ticket = waiting[number % len(waiting)]
            waiting.remove(ticket)
            let_in(line.give_up(ticket, 0.0))
        elif step == "resize":
            line.max_in_flight, line.max_bytes = 1 + number % 4, 1 + size
            let_in(line.admit(0.0))
        assert list(waiting) == list(line.waiting)
        assert len(inside) == line.in_flight
        assert sum(one.bytes for one in inside) == line.bytes
        if waiting:
            # The head waits for a reason: somebody is inside, and it does not fit.
            assert inside
            assert len(inside) >= line.most or line.bytes + waiting[0].bytes > (
                line.most_bytes or 0
            )
