"""
What a type checker has to refuse. Each line carries the error that it must give: mypy
complains about an ignore that nothing needs. Checked, never executed.
"""

from __future__ import annotations

import memguard
from memguard import Guard, Settings


class Connection:
    """
    Something of the application.
    """

    def close(self) -> None: ...


@memguard.cached(max_entries=10)
def tenant(name: str, *, deep: bool = False) -> dict[str, int]:
    return {name: int(deep)}


@memguard.cached
async def awaited(name: str) -> int:
    return len(name)


async def cached_functions_are_called_as_they_were_written() -> None:
    """
    With their arguments, and awaited where they were asynchronous.
    """
    tenant(3)  # type: ignore[arg-type]
    tenant("a", deep="yes")  # type: ignore[arg-type]
    tenant("a", True)  # type: ignore[call-arg]
    tenant()  # type: ignore[call-arg]
    tenant.invalidate(3)  # type: ignore[arg-type]
    wrong: str = tenant("a")  # type: ignore[assignment]
    wrong = awaited("a")  # type: ignore[assignment]
    wrong = await awaited("a")  # type: ignore[assignment]
    assert wrong


def options_have_types() -> None:
    """
    Misspelled and mistyped ones are seen before the program runs.
    """
    memguard.cached(max_entries="10")  # type: ignore[call-overload]
    memguard.cached(size=10)  # type: ignore[call-overload]
    memguard.cache("c", on_limit="explode")  # type: ignore[arg-type]
    memguard.timer(print, each="30s")  # type: ignore[call-overload]
    memguard.ring("r", of=3)  # type: ignore[arg-type]
    memguard.series("s").add("1")  # type: ignore[arg-type]
    memguard.register(Connection(), closing="close")  # type: ignore[call-arg]
    memguard.register(Connection(), timeout=b"1s")  # type: ignore[arg-type]
    memguard.pool("db", Connection, max_size="10")  # type: ignore[arg-type]
    memguard.sessions("chat", ttl=b"1h")  # type: ignore[arg-type]


def a_close_takes_the_object() -> None:
    """
    Not something else.
    """

    def close(number: int) -> None: ...

    memguard.register(Connection(), close=close)  # type: ignore[arg-type]


def settings_have_types() -> None:
    """
    Of `install`, of a guard and of Settings alike.
    """
    memguard.install(tick=[])  # type: ignore[arg-type]
    memguard.install(tock=3)  # type: ignore[call-arg]
    Guard(mode="strict")  # type: ignore[arg-type]
    Guard("shop", site_level="all")  # type: ignore[arg-type]
    Settings(memory_limits="1GiB")  # type: ignore[call-arg]


def containers_hold_what_they_were_made_for(guard: Guard) -> None:
    """
    A ring of texts takes no number, a cache of numbers gives none as a text.
    """
    lines = guard.ring("lines", of=str)
    lines.append(3)  # type: ignore[arg-type]
    lengths = guard.cache("lengths", len_of)
    lengths.put(3, 3)  # type: ignore[arg-type]
    text: str | None = lengths.get("a")  # type: ignore[assignment]
    assert text


def len_of(text: str) -> int:
    return len(text)


def reports_are_frozen(guard: Guard) -> None:
    """
    Records cannot be changed.
    """
    report = guard.shutdown()
    report.seconds = 3.0  # type: ignore[misc]
    guard.memory().rss = 3  # type: ignore[misc]


async def tasks_take_coroutines(guard: Guard) -> None:
    """
    And not the functions that make them.
    """
    await guard.spawn(awaited)  # type: ignore[arg-type]
    await guard.spawn(3)  # type: ignore[arg-type]
    guard.sessions("chat").open(3)  # type: ignore[arg-type]
