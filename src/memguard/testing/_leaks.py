"""
Nothing left behind: the audit of a shutdown, for a block of a test.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from math import inf
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from memguard._kinds.closers import running_loop
from memguard._lifecycle.attribution import HOST
from memguard._lifecycle.audit import Auditor
from memguard._settings import parse_duration
from memguard._sites import call_site
from memguard._tree import Branch, Node
from memguard.errors import BackgroundFailures, WouldBlockLoop

if TYPE_CHECKING:
    from typing_extensions import Self

    from memguard.typing import Duration

__all__ = ("no_leaks",)

_LOOKS: Final = 20
_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.2


def no_leaks(
    guard: Branch | None = None,
    *,
    ignore: tuple[str, ...] = (),
    timeout: Duration = "2s",
) -> _NoLeaks:
    """
    Fail if something that the block made is still there when it ends.

        with no_leaks():
            serve_one_request()

    Looks at descriptors, sockets, threads, tasks, children and temporary files of the
    process, and at what *guard* (by default the current one) owns: resources, timers,
    tasks, listeners, scopes. Containers are made once and stay, so they are no leak;
    nor is what they hold. What is on its way out has *timeout* to go. *ignore* holds
    patterns for `kind`, `kind:name` or a name.

    Raises AssertionError with the place each thing was made at. If the guard is
    strict, failures in the background are raised as BackgroundFailures instead. In a
    coroutine it is `async with`.
    """
    if guard is None:
        from memguard._default import current

        guard = current()
    elif not isinstance(guard, Branch):
        msg = f"no_leaks() takes a guard, not a {type(guard).__qualname__}"
        raise TypeError(msg)
    return _NoLeaks(guard, ignore, parse_duration(timeout, what="timeout"))


class _NoLeaks:
    """
    One block; can be entered once.
    """

    def __init__(self, guard: Branch, ignore: tuple[str, ...], timeout: float) -> None:
        self._guard = guard
        self._auditor = Auditor(guard, ignore)
        self._timeout = timeout
        self._nodes: WeakSet[Node] = WeakSet()

    def __enter__(self) -> Self:
        if running_loop() is not None:
            verb = "`with no_leaks()`"
            raise WouldBlockLoop(verb, "`async with no_leaks()`")
        return self._begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pause in self._end(failed=kind is not None):
            Event().wait(pause)

    async def __aenter__(self) -> Self:
        return self._begin()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        import asyncio

        for pause in self._end(failed=kind is not None):
            await asyncio.sleep(pause)

    def _begin(self) -> Self:
        self._nodes = WeakSet(self._guard.walk())
        self._guard.registry.failures.take_strict()
        self._auditor.take_baseline(running_loop())
        return self

    def _end(self, *, failed: bool) -> Generator[float, None, None]:
        """
        Look until nothing is left or the time is over; yields the pauses, in seconds.

        After a failed block there is one look only and nothing is raised: the block's
        own exception says more.
        """
        registry = self._guard.registry
        now = registry.clock.monotonic
        end = -inf if failed else now() + self._timeout
        report = yield from self._auditor.examine([], end)
        if failed:
            return
        pause, left = _FIRST_PAUSE_S, self._left()
        for _ in range(_LOOKS):
            if not left or now() + pause > end:
                break
            yield pause
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
            left = self._left()
        failures = registry.failures.take_strict()
        if failures:
            raise BackgroundFailures(failures)
        lines = [f"  - {one}" for one in report.findings if one.verdict != HOST]
        lines += [f"  - {one.kind} {one.label}, {call_site(one.site)}" for one in left]
        if lines:
            msg = f"no_leaks: {len(lines)} thing(s) left behind"
            raise AssertionError("\n".join((msg, *lines)))

    def _left(self) -> list[Node]:
        """
        What the guard owns now and did not at the beginning.
        """
        self._guard.registry.settle_collected()
        return list(_made_since(self._guard, self._nodes))


def _made_since(branch: Branch, before: WeakSet[Node]) -> Iterator[Node]:
    for node in branch.children():
        if hasattr(type(node), "spec"):
            continue  # a container, which is made once and stays
        if node not in before:
            yield node
        elif isinstance(node, Branch):
            yield from _made_since(node, before)
