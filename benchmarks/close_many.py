"""
10,000 mixed resources, closed by one shutdown: healthy, then with failing and hanging.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from contextlib import AsyncExitStack
from typing import Any

from memguard import Guard

MANY = 10_000
HEALTHY_BAR_S = 0.5
TROUBLED_BAR_S = 1.5


class Thing:
    """
    A resource that closes.
    """

    closed = False

    def close(self) -> None:
        self.closed = True


class Failing(Thing):
    """
    A resource whose close raises.
    """

    def close(self) -> None:
        raise OSError


class Hanging(Thing):
    """
    A resource whose close does not come back in time.
    """

    def close(self) -> None:
        threading.Event().wait(5)


def fill(guard: Guard, trouble: bool) -> list[Thing]:
    """
    Things at the root and in scopes, timers, emitters with listeners, rings.
    """
    things: list[Thing] = []
    scope = guard.scope("work")
    for number in range(MANY):
        kind = number % 10
        if trouble and number % 100 == 7:
            thing: Thing = Hanging()
        elif trouble and number % 100 == 17:
            thing = Failing()
        else:
            thing = Thing()
        if kind == 0:
            guard.timer(thing.close, every="1h")
        elif kind == 1:
            guard.emitter(f"bus {number}").on("event", thing.close)
        elif kind == 2:
            guard.ring(f"ring {number}").append(number)
        elif kind == 3:
            if number % 100 == 3:
                scope = guard.scope("work")
            scope.register(thing)
            things.append(thing)
        else:
            guard.register(thing)
            things.append(thing)
    return things


def shut_down(trouble: bool) -> tuple[float, Any, list[Thing]]:
    guard = Guard().start()
    things = fill(guard, trouble)
    began = time.perf_counter()
    report = guard.shutdown()
    return time.perf_counter() - began, report, things


def exit_stack_s(count: int) -> float:
    """
    The same number of closes that take 10 ms each, one after the other.
    """

    async def slow() -> None:
        await asyncio.sleep(0.01)

    async def run() -> float:
        async with AsyncExitStack() as stack:
            for _ in range(count):
                stack.push_async_callback(slow)
            began = time.perf_counter()
        return time.perf_counter() - began

    return asyncio.run(run())


def main() -> int:
    logging.disable(logging.CRITICAL)
    healthy = sorted(shut_down(trouble=False)[0] for _ in range(5))[2]
    print(f"{MANY} healthy: {healthy * 1000:.0f} ms (median of 5; bar 500 ms)")
    troubled, report, things = shut_down(trouble=True)
    failing = sum(1 for one in things if isinstance(one, Failing))
    hanging = sum(1 for one in things if isinstance(one, Hanging))
    left = [
        one
        for one in things
        if not one.closed and not isinstance(one, (Failing, Hanging))
    ]
    rows = report.failing()
    abandoned = [row for row in rows if row.outcome == "abandoned"]
    named = sum(1 for row in abandoned if "close" in row.stack)
    print(
        f"with {failing} raising and {hanging} hanging: {troubled * 1000:.0f} ms (bar"
        f" 1,500 ms); {len(left)} healthy left open,"
        f" {len(rows) - len(abandoned)} failing named, {len(abandoned)} hanging"
        f" abandoned, {named} with their stack"
    )
    print(
        f"AsyncExitStack, 500 closes of 10 ms: {exit_stack_s(500):.2f} s;"
        f" memguard, the same: {slow_s(500):.2f} s"
    )
    well = (
        healthy <= HEALTHY_BAR_S
        and troubled <= TROUBLED_BAR_S
        and not left
        and failing == len(rows) - len(abandoned)
        and hanging == len(abandoned) == named
    )
    return 0 if well else 1


def slow_s(count: int) -> float:
    """
    Closes that take 10 ms each, through memguard.
    """

    class Slow:
        async def aclose(self) -> None:
            await asyncio.sleep(0.01)

    async def run() -> float:
        things = [Slow() for _ in range(count)]
        guard = Guard()
        async with guard:
            for thing in things:
                guard.register(thing)
            began = time.perf_counter()
        return time.perf_counter() - began

    return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
