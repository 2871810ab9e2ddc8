"""
Pools: a bounded number of members that are lent out, reset, checked and ended.

What happens is decided in generators that yield calls and waits; a lease carries them
out in a thread or on a loop. The pool's lock is never held while a factory, a check, a
reset or a dispose runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, ClassVar, Generic, TypeVar

from memguard._kinds.closers import running_loop
from memguard._kinds.disposal import Disposal
from memguard._kinds.lease import Call, Lease, Wait, Waiter
from memguard._kinds.members import MAKE, Members, PoolStats
from memguard._latch import Latch
from memguard._phases import DRAINING, Phase
from memguard._registry import Registry
from memguard._settings import parse_duration
from memguard._sites import call_site
from memguard._tree import Branch, Node
from memguard.errors import PoolExhausted, ScopeClosed

__all__ = ("Pool", "PoolStats")

T = TypeVar("T")
Steps = Generator[Any, Any, T]


class Pool(Node, Generic[T]):
    """
    `with pool.acquire() as member`, and the same with `async with`.

    Members are made on demand up to *max_size*; who comes when all are lent waits in
    line for at most *acquire_timeout*, then gets PoolExhausted. A returned member is
    *reset*, an idle one is *checked* before it is lent and disposed after
    *idle_timeout* (down to *min_size*). A member that fails either is disposed. All
    four functions may be async for `async with` users.
    """

    __slots__ = (
        "_check",
        "_disposal",
        "_dispose",
        "_drained",
        "_factory",
        "_lock",
        "_members",
        "_reset",
        "_sweep",
        "acquire_timeout",
        "idle_timeout",
    )

    kind: ClassVar[str] = "pool"
    phase = Phase.CLIENTS

    def __init__(
        self,
        owner: Branch,
        name: str,
        factory: Callable[[], Any],
        *,
        reset: Callable[[T], Any] | None = None,
        check: Callable[[T], Any] | None = None,
        dispose: Callable[[T], Any] | None = None,
        min_size: int = 0,
        max_size: int = 10,
        idle_timeout: float | str | None = "10s",
        acquire_timeout: float | str = "2s",
    ) -> None:
        super().__init__(owner, _name(name))
        for what, function in (
            ("factory", factory),
            ("reset", reset or _nothing),
            ("check", check or _nothing),
            ("dispose", dispose or _nothing),
        ):
            if not callable(function):
                msg = f"{what} of pool {name!r} must be callable, not {function!r}"
                raise TypeError(msg)
        self._factory = factory
        self._reset = reset
        self._check = check
        self._dispose = dispose
        self._disposal = Disposal(dispose, self._record)
        self.idle_timeout = (
            None
            if idle_timeout is None
            else parse_duration(idle_timeout, what="idle_timeout")
        )
        self.acquire_timeout = parse_duration(acquire_timeout, what="acquire_timeout")
        self._members: Members[T] = Members(*_sizes(min_size, max_size))
        self._lock = threading.RLock()
        self._drained = Latch()
        self._sweep: Any = None

    @property
    def spec(self) -> dict[str, object]:
        """
        What has to be the same when the pool is asked for again.
        """
        return {
            "factory": self._factory,
            "reset": self._reset,
            "check": self._check,
            "dispose": self._dispose,
            "min_size": self._members.min_size,
            "max_size": self._members.max_size,
            "idle_timeout": self.idle_timeout,
            "acquire_timeout": self.acquire_timeout,
        }

    # -- lending -----------------------------------------------------------------------

    def acquire(self) -> Lease[T]:
        """
        A lease on one member, for one `with` or `async with`.
        """
        return Lease(self)

    def take_steps(self) -> Steps[T]:
        """
        What has to happen until a member is in hand; for the lease.
        """
        now = self.registry.clock.monotonic
        deadline = now() + self.acquire_timeout
        while True:
            with self._lock:
                if self.state >= DRAINING:
                    raise ScopeClosed(self._ended_text())
                got = self._members.next()
            if isinstance(got, Waiter):
                got = yield from self._wait(got, max(0.0, deadline - now()))
            if got is MAKE:
                return (yield from self._make())
            if (yield from self._is_well(got)):
                return got  # type: ignore[no-any-return]

    def give_back_steps(self, member: T) -> Steps[None]:
        """
        What has to happen when a lease ends.
        """
        members = self._members
        with self._lock:
            if id(member) not in members.used:
                members.counts["foreign_releases"] += 1
                return
        if self._reset is not None:
            try:
                yield Call(self._reset, (member,))
            except Exception as error:  # a member that cannot be reset is not reused
                self._record("reset", error)
                yield from self._drop(member)
                return
        with self._lock:
            over = members.size > members.max_size or self.state >= DRAINING
            if not over:
                members.hand_on(member, self.registry.clock.monotonic())
                self._plan_sweep()
        if over:
            yield from self._drop(member)

    def _wait(self, waiter: Waiter, timeout: float) -> Steps[Any]:
        try:
            yield Wait(waiter, timeout)
        except BaseException:
            # Cancelled, or a wait inside a loop: what was handed over goes on.
            with self._lock:
                got = self._members.leave_line(waiter)
                if got is MAKE:
                    self._members.not_made()
                elif got is not None:
                    self._members.hand_on(got, self.registry.clock.monotonic())
            raise
        with self._lock:
            got = self._members.leave_line(waiter)
            if got is not None:
                return got
            if self.state >= DRAINING:
                raise ScopeClosed(self._ended_text())
            self._members.counts["timeouts"] += 1
            stats = self._members.stats()
        msg = (
            f"pool {self.label!r} had no member to lend within"
            f" {self.acquire_timeout:g} s: {stats.used} of at most {stats.max_size} are"
            f" lent, {stats.waiting} more wait. Give members back sooner, or raise"
            " max_size or acquire_timeout"
        )
        raise PoolExhausted(msg)

    def _make(self) -> Steps[T]:
        try:
            member: T = yield Call(self._factory, ())
        except BaseException:
            with self._lock:
                self._members.not_made()
            raise
        with self._lock:
            self._members.made(member)
        return member

    def _is_well(self, member: Any) -> Steps[bool]:
        if self._check is None:
            return True
        try:
            well = yield Call(self._check, (member,))
        except Exception as error:  # a check may raise instead of answering
            self._record("check", error)
            well = False
        if well is None or well:
            return True
        with self._lock:
            self._members.counts["failed_checks"] += 1
        yield from self._drop(member)
        return False

    def _drop(self, member: Any) -> Steps[None]:
        """
        End a member that was lent, and give its place to who waits.
        """
        with self._lock:
            self._members.drop(member)
        how = self._disposal.way(member)
        if how is not None:
            try:
                yield Call(how, (member,))
            except Exception as error:  # nobody could do anything about it
                self._record("dispose", error)
        if not self._members.used and self.state >= DRAINING:
            self._drained.set()

    def _record(self, what: str, error: BaseException) -> None:
        where = f"{what} of pool {self.label}"
        self.registry.failures.record(where, error, call_site(self.site))

    # -- idle members ------------------------------------------------------------------

    def _arm(self) -> None:
        with self._lock:
            self._plan_sweep()

    def _plan_sweep(self) -> None:
        idle = self._members.idle
        if (
            self.idle_timeout is not None
            and self._sweep is None
            and self.registry.running
            and idle
            and self._members.size > self._members.min_size
        ):
            due = idle[0][1] + self.idle_timeout
            self._sweep = self.registry.scheduler.call_at(due, self._on_sweep)

    def _on_sweep(self) -> None:
        self._sweep = None
        self.registry.scheduler.submit(self.expire_idle)

    def expire_idle(self) -> int:
        """
        Dispose what was idle for too long; return how many. Also done by itself.
        """
        if self.idle_timeout is None:
            return 0
        limit = self.registry.clock.monotonic() - self.idle_timeout
        return self._end_idle(limit, self._members.min_size)

    def _end_idle(self, since: float, keep: int) -> int:
        with self._lock:
            ended = self._members.take_idle(since, keep)
            self._plan_sweep()
        pending = self._disposal.end_all(ended)
        if pending is not None:
            loop = None if self.registry.loop is None else self.registry.loop()
            if loop is None or not loop.is_running():
                self._record("dispose", RuntimeError())
                pending.close()
            else:
                loop.call_soon_threadsafe(self.registry.background, loop, pending)
        return len(ended)

    def resize(self, max_size: int, *, min_size: int | None = None) -> None:
        """
        Change the bounds; idle members beyond are disposed, lent ones on return.
        """
        members = self._members
        low = members.min_size if min_size is None else min_size
        low, high = _sizes(low, max_size)
        with self._lock:
            members.min_size, members.max_size = low, high
            members.pass_place()
            over = members.size > high
        if over:
            self._end_idle(float("inf"), high)

    # -- ending ------------------------------------------------------------------------

    @property
    def drains(self) -> bool:  # type: ignore[override]
        """
        True while members are lent.
        """
        return bool(self._members.used)

    @property
    def awaits(self) -> bool:  # type: ignore[override]
        """
        True where members are ended by a coroutine function.
        """
        members = self._members
        known = [one for one, _ in list(members.idle)] or list(members.used.values())
        return bool(known) and self._disposal.awaits(known[0])

    def _drain(self) -> Any:
        self._drained = Latch()
        self._refuse_waiters()
        if not self._members.used:
            return None
        timeout = self.registry.drain_s
        if running_loop() is not None:
            return self._drained.await_(timeout)
        self._drained.wait(timeout)
        return None

    def _refuse_waiters(self) -> None:
        with self._lock:
            waiters = list(self._members.waiters)
        for waiter in waiters:
            waiter.wake()  # it finds nothing in hand, and the pool closed

    def _disarm(self) -> Any:
        return self._release()

    def _release(self) -> Any:
        self._refuse_waiters()
        with self._lock:
            sweep, self._sweep = self._sweep, None
            ended = self._members.take_idle(float("inf"), 0)
        if sweep is not None:
            sweep.cancel()
        return self._disposal.end_all(ended)

    def _after_fork(self, registry: Registry) -> None:
        # The members belong to the parent: forgotten, not ended.
        super()._after_fork(registry)
        self._lock = threading.RLock()
        self._members = Members(self._members.min_size, self._members.max_size)
        self._sweep = None

    # -- reading -----------------------------------------------------------------------

    def stats(self) -> PoolStats:
        """
        Sizes and counters of now.
        """
        with self._lock:
            return self._members.stats()


def _name(name: str) -> str:
    if not isinstance(name, str) or not name:
        msg = f"the name of a pool must be a non-empty text, not {name!r}"
        raise ValueError(msg)
    return name


def _nothing() -> None:
    return None


def _sizes(min_size: int, max_size: int) -> tuple[int, int]:
    for what, value, least in (("min_size", min_size, 0), ("max_size", max_size, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            msg = f"{what} must be a whole number of at least {least}, not {value!r}"
            raise ValueError(msg)
    if min_size > max_size:
        msg = f"min_size ({min_size}) must not be above max_size ({max_size})"
        raise ValueError(msg)
    return min_size, max_size
