"""
What a scope costs, and registering something in it until it is closed.

Minimum of several repeats: the machine may only add to the cost. Site level `sampled`.
"""

from __future__ import annotations

import sys
import time
import timeit

from memguard import Guard

SCOPE_BAR_US = 1.5
REGISTER_BAR_US = 3.0
REPEATS = 25


class Thing:
    """
    Something with an end.
    """

    def close(self) -> None: ...


def scope_us(guard: Guard) -> float:
    """
    An empty scope, in and out.
    """

    def run() -> None:
        with guard.scope("job"):
            pass

    return min(timeit.repeat(run, number=50_000, repeat=REPEATS)) / 50_000 * 1e6


def register_us(guard: Guard, things: list[Thing]) -> float:
    """
    Registering one of many things, and its close with its scope.
    """
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        with guard.scope("job") as scope:
            register = scope.register
            for thing in things:
                register(thing, close="close")
        best = min(best, time.perf_counter() - began)
    return best / len(things) * 1e6


def main() -> int:
    with Guard() as guard:
        scope = scope_us(guard)
        many = register_us(guard, [Thing() for _ in range(1000)])
        one = register_us(guard, [Thing()])
    print(f"empty scope in and out: {scope:.2f} µs (bar {SCOPE_BAR_US} µs)")
    print(
        f"register and close, 1,000 in a scope: {many:.2f} µs"
        f" (bar {REGISTER_BAR_US} µs)"
    )
    print(f"scope with one registered thing, all in all: {one:.2f} µs")
    return 0 if scope <= SCOPE_BAR_US and many <= REGISTER_BAR_US else 1


if __name__ == "__main__":
    sys.exit(main())
