"""
Pools: a bounded number of members that are lent out, reset, checked and ended.

What happens is decided in generators that yield calls and waits; a lease carries them
out in a thread or on a loop. The pool's lock is never held while a factory, a check, a
reset or a dispose runs. Longer than 300 lines because the ways of a member, out and
back, belong side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import ceil, inf
from threading import get_ident
from types import EllipsisType
from typing import Any, ClassVar, Final, Generic, TypeVar
from weakref import ref

from memguard._kinds.callbacks import is_async, live_loop
from memguard._kinds.caps import lifetime
from memguard._kinds.closers import is_coroutine, running_loop
from memguard._kinds.container import Container
from memguard._kinds.disposal import Disposal, Pending
from memguard._kinds.lease import Call, Lease, Wait, Waiter, adrive, drive
from memguard._kinds.members import ENDED, MAKE, Member, Members, PoolStats
from memguard._kinds.sameness import sameness
from memguard._kinds.standin import bare
from memguard._latch import Latch
from memguard._phases import DRAINING, Phase
from memguard._registry import Registry
from memguard._settings import parse_duration
from memguard._tree import Branch
from memguard.errors import PoolExhausted, ScopeClosed
from memguard.typing import Duration

__all__ = ("Pool", "PoolStats")

T = TypeVar("T")
R = TypeVar("R")
Steps = Generator[Any, Any, R]

_PLACES: Final = 5  # told of where the members of an exhausted pool are

# Members inherited through a fork: they share their sockets with the parent's, and a
# destructor might say goodbye on them. So they are never destroyed.
_inherited: Final[list[Any]] = []


class Pool(Container, Generic[T]):
    """
    `with pool.acquire() as member`, and the same with `async with`.

    Members are made by *factory* on demand, up to *max_size*; who comes when all are
    lent waits in line for at most *acquire_timeout* and then gets PoolExhausted. A
    returned member is *reset*, an idle one is *checked* before it is lent (falsy or
    raising: it is disposed and another one made), and ended after *idle_timeout*, down
    to *min_size*; so many are made when the guard starts. Without *dispose* a member is
    closed as its type is. All four may be asynchronous for `async with`.

    The same name is the same pool: `pool("db", connect)` wherever it is needed, in a
    function too. A forked child begins with none of its parent's members. In strict
    mode a stand-in is lent, which raises UseAfterRelease when it is used after its
    block; else the member itself is.

    A failing reset, check or dispose is a background failure; what the factory raises
    reaches the caller. A member that was made on an event loop is only lent on that
    loop. Inside a running loop `with` never waits: it raises WouldBlockLoop.
    """

    __slots__ = (
        "_bounds",
        "_check",
        "_disposal",
        "_drained",
        "_factory",
        "_members",
        "_reset",
        "_share",
        "acquire_timeout",
        "idle_timeout",
        "is_async",
        "loop",
        "spec",
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
        idle_timeout: Duration | None = "10s",
        acquire_timeout: Duration = "2s",
    ) -> None:
        super().__init__(owner, name)
        for what, function in (
            ("factory", factory),
            ("reset", reset or _nothing),
            ("check", check or _nothing),
            ("dispose", dispose or _nothing),
        ):
            if not callable(function):
                kind = type(function).__qualname__
                msg = f"{what} of pool {name!r} must be a function, not a {kind}"
                raise TypeError(msg)
        #: True where `with` cannot be used. A plain function that returns an awaitable
        #: is found out when it is called.
        self.is_async = any(
            function is not None and is_coroutine(function)
            for function in (factory, reset, check, dispose)
        )
        self._factory = factory
        self._reset = reset
        self._check = check
        self._disposal = Disposal(dispose, self._record)
        self.idle_timeout = lifetime(idle_timeout, "idle_timeout")
        self.acquire_timeout = parse_duration(acquire_timeout, what="acquire_timeout")
        self._bounds = _sizes(min_size, max_size)
        self._share = 1.0
        self._members: Members[T] = Members(*self._bounds)
        self._drained = Latch()
        # Where members of asynchronous functions live: the last loop that made one.
        self.loop: ref[Any] | None = None
        #: What has to be the same where the same name is asked for again.
        self.spec: dict[str, object] = {
            "factory": sameness(factory),
            "reset": sameness(reset),
            "check": sameness(check),
            "dispose": sameness(dispose),
            "min_size": min_size,
            "max_size": max_size,
            "idle_timeout": self.idle_timeout,
            "acquire_timeout": self.acquire_timeout,
        }

    # -- for users ---------------------------------------------------------------------

    def acquire(self) -> Lease[T]:
        """
        A lease on one member, for one `with` or `async with`.

        Entering it raises PoolExhausted, WouldBlockLoop, ScopeClosed, or what the
        factory raises.
        """
        return Lease(self)

    def release(self, member: T) -> bool:
        """
        Give *member* back before its block ends. False, and counted, if it is not lent.
        """
        found = self._lent(member)
        return found is not None and drive(
            self.give_back_steps(found, found.turn), self.label
        )

    async def arelease(self, member: T) -> bool:
        """
        As `release`, for asynchronous functions.
        """
        found = self._lent(member)
        return found is not None and await adrive(
            self.give_back_steps(found, found.turn)
        )

    def resize(
        self,
        max_size: int,
        *,
        min_size: int | None = None,
        idle_timeout: Duration | EllipsisType | None = ...,
    ) -> None:
        """
        Change the bounds, and the idle time if it is given.

        Idle members beyond *max_size* are ended now, lent ones on their return.
        Tightened, the pool stays so, by the same share of the new bounds.
        """
        low = self._bounds[0] if min_size is None else min_size
        bounds = _sizes(low, max_size)
        idle = (
            self.idle_timeout
            if isinstance(idle_timeout, EllipsisType)
            else lifetime(idle_timeout, "idle_timeout")
        )
        self._bounds = bounds
        self.idle_timeout = idle
        self._bound()
        self._end_idle(float("inf"), self._members.max_size)

    def tighten(self, share: float) -> int:
        """
        Do with *share* of the bounds until `restore`: for the time of a shortage.

        At least one member stays allowed. Idle members are ended now, as far as the
        share of `min_size` allows; lent ones on their return when there are too many.
        Returns how many were ended now. Again with another share, it is that one.
        """
        if type(share) not in (int, float) or not 0 <= share <= 1:
            msg = f"the share of a pool must be a number from 0 to 1, not {share!r}"
            raise ValueError(msg)
        self._share = float(share)
        self._bound()
        return self._end_idle(float("inf"), self._members.min_size)

    def restore(self) -> None:
        """
        Back to the whole bounds; who waits is served as far as there is room now.
        """
        self._share = 1.0
        self._bound()

    def _bound(self) -> None:
        """
        Apply the bounds and the share; makes what is then too few, if armed.
        """
        if self.registry.detached:
            raise ScopeClosed(self._ended_text())
        if self._is_inside():
            self._put_off(self._bound)
            return

        def step() -> bool:
            members, share = self._members, self._share
            low, high = self._bounds
            members.min_size = int(low * share)
            members.max_size = max(1, members.min_size, ceil(high * share))
            members.pass_place()
            # Members that were to stay may not be any more, or sooner.
            self._watch_oldest()
            return self._armed and members.size < members.min_size

        if self._locked(step):
            self.registry.scheduler.submit(self._fill)

    def stats(self) -> PoolStats:
        """
        Sizes and counters of now.
        """
        if self._is_inside() or self.registry.detached:
            return self._members.stats()
        return self._locked(self._members.stats)

    @property
    def is_strict(self) -> bool:
        """
        True where stand-ins are lent.
        """
        return self.registry.failures.strict

    def _lent(self, lent: T) -> Member[T] | None:
        value = bare(lent)
        for member in list(self._members.used):
            if member.value is value and not member.returning:
                return member
        self._count("foreign_releases")
        return None

    def _count(self, what: str) -> None:
        if not self._is_inside() and not self.registry.detached:
            self._locked(self._members.count, what)

    # -- at once -----------------------------------------------------------------------

    # Most leases call nothing and wait for nothing: these two do without the steps.

    def take_at_once(self) -> Member[T] | None:
        """
        An idle member that needs no check; None where the steps have to be taken.
        """
        me, idle = get_ident(), self._members.idle
        if (
            self._check is not None
            or not idle
            or self._holder == me
            or self.registry.detached
        ):
            return None
        stale = -inf
        if self.idle_timeout is not None:
            stale = self.registry.clock.monotonic() - self.idle_timeout
        member: Member[T] | None = None
        # As `_locked` does it, spelled out for speed.
        with self._lock:
            self._holder = me
            try:
                if (
                    self.state < DRAINING
                    and idle
                    and idle[-1].loop is None
                    and idle[0].since > stale
                ):
                    member = idle.pop()
                    self._members.used[member] = None
            finally:
                self._holder = 0
        if self._later is not None:
            self._catch_up()
        return member

    def give_back_at_once(self, member: Member[T], turn: int) -> bool | None:
        """
        Give *member* back if nothing has to be called: True.

        False where it is to be ended now, None where the steps have to be taken.
        """
        me, registry = get_ident(), self.registry
        if (
            self._reset is not None
            or member.ticket is not None
            or member.era < 0
            or self._holder == me
            or registry.detached
        ):
            return None
        members, now = self._members, registry.clock.monotonic()
        kept = True  # also where it was given back before: there is nothing to do
        with self._lock:
            self._holder = me
            try:
                if members.begins_return(member, turn):
                    kept = self.state < DRAINING and members.take_back(member, now)
                if kept and self._armed:
                    self._watch_oldest()
            finally:
                self._holder = 0
        if self._later is not None:
            self._catch_up()
        if kept and self.state >= DRAINING:  # since it was looked at
            self._note_drained()
        return kept

    # -- lending -----------------------------------------------------------------------

    def take_steps(self) -> Steps[Member[T]]:
        """
        What has to happen until a member is in hand; for the lease.
        """
        if self._is_inside():
            msg = (
                f"pool {self.label!r} was asked for a member by a destructor that"
                " interrupted the pool itself; give what it needs to a queue instead"
            )
            raise PoolExhausted(msg)
        self._let_stale_go()
        got = self._locked(self._next)
        if isinstance(got, Waiter):
            got = yield from self._wait(got)
        if got is not MAKE and (yield from self._is_usable(got)):
            return got  # type: ignore[no-any-return]
        return (yield from self._make())

    def _next(self) -> Any:
        if self.state >= DRAINING:
            raise ScopeClosed(self._ended_text())
        return self._members.next()

    def _wait(self, waiter: Waiter) -> Steps[Any]:
        try:
            yield Wait(waiter, self.acquire_timeout)
        except BaseException:
            # Cancelled, or a wait inside a loop: what was handed over goes on.
            self._pass_on(self._locked(self._members.leave_line, waiter))
            raise
        got = self._locked(self._members.leave_line, waiter)
        if got is ENDED:
            raise ScopeClosed(self._ended_text())
        if got is None:
            self._count("timeouts")
            raise PoolExhausted(self._exhausted_text())
        return got

    def _pass_on(self, got: Any) -> None:
        if got is MAKE:
            self._locked(self._members.not_made)
        elif isinstance(got, Member) and not self._take_back(got):
            self._abandon(got)

    def _exhausted_text(self) -> str:
        stats = self.stats()
        return (
            f"pool {self.label!r} had no member to lend within"
            f" {self.acquire_timeout:g} s: {stats.used} of at most {stats.max_size} are"
            f" lent, {stats.waiting} more wait. Give members back sooner, or raise"
            f" max_size or acquire_timeout{self._holders_text()}"
        )

    def _holders_text(self) -> str:
        """
        In strict mode: where the members were lent, the place with most of them first.
        """
        lent: dict[str, int] = {}
        for member in list(self._members.used):
            ticket = member.ticket
            if ticket is not None:
                lent[ticket.place] = lent.get(ticket.place, 0) + 1
        most = sorted(lent.items(), key=lambda one: -one[1])[:_PLACES]
        places = ", ".join(f"{many} at {place}" for place, many in most)
        return f" (lent: {places})" if places else ""

    def _is_usable(self, member: Member[T]) -> Steps[bool]:
        """
        Check *member*; if it is not well, end it and keep its place for another one.
        """
        well = member.loop is None or member.loop() is running_loop()
        if well and self._check is not None:
            try:
                told = yield Call(self._check, member.value)
                well = told is None or bool(told)
            except Exception as error:  # a check may raise instead of answering
                self._record("check", error)
                well = False
            except BaseException:
                self._abandon(member)
                raise
            if not well:
                self._count("failed_checks")
        if not well:
            self._locked(self._members.replace, member)
            try:
                yield from self._end(member)
            except BaseException:
                self._locked(self._members.not_made)
                raise
        return well

    def _make(self) -> Steps[Member[T]]:
        call = Call(self._factory)
        try:
            value: T = yield call
        except BaseException:
            self._locked(self._members.not_made)
            raise
        here = running_loop()
        loop = None
        if here is not None and (call.awaited or self._disposal.awaits(value)):
            self.loop = loop = ref(here)
        member = Member(value, self._members.era, loop)
        self._locked(self._members.made, member)
        return member

    # -- coming back -------------------------------------------------------------------

    def give_back_steps(self, member: Member[T], turn: int) -> Steps[bool]:
        """
        What has to happen when a lease ends; False if its member was given back before.
        """
        if self._is_inside():
            self._put_off(lambda: drive(self.give_back_steps(member, turn), self.label))
            return True
        if self.registry.detached or member.era < 0:
            return False  # lent before a fork: it belongs to the parent
        if not self._locked(self._members.begins_return, member, turn):
            return False
        ticket, member.ticket = member.ticket, None
        if ticket is not None:
            ticket.end()
        if self._reset is not None:
            try:
                yield Call(self._reset, member.value)
            except Exception as error:  # a member that cannot be reset is not reused
                self._record("reset", error)
                self._count("failed_resets")
                yield from self.drop_steps(member)
                return True
            except BaseException:
                self._abandon(member)
                raise
        if not self._take_back(member):
            yield from self.drop_steps(member)
        return True

    def _take_back(self, member: Member[T]) -> bool:
        now = self.registry.clock.monotonic()

        def step() -> bool:
            kept = self.state < DRAINING and self._members.take_back(member, now)
            self._watch_oldest()
            return kept

        kept = self._locked(step)
        self._note_drained()
        return kept

    def drop_steps(self, member: Member[T]) -> Steps[None]:
        """
        End a member that was lent, and give its place to who waits.
        """
        self._locked(self._members.drop, member)
        try:
            yield from self._end(member)
        finally:
            self._note_drained()

    def _end(self, member: Member[T]) -> Steps[None]:
        if member.loop is not None and member.loop() is not running_loop():
            self._end_elsewhere([member])
            return
        how = self._disposal.way(member.value)
        if how is not None:
            try:
                yield Call(how, member.value)
            except Exception as error:  # nobody could do anything about it
                self._record("dispose", error)

    def _abandon(self, member: Member[T]) -> None:
        """
        As `_drop`, where nothing can be waited for any more.
        """
        self._locked(self._members.drop, member)
        self._end_elsewhere([member])
        self._note_drained()

    def _note_drained(self) -> None:
        if not self._members.used and not self._drained.is_set:
            self._drained.set()

    def _end_elsewhere(self, members: list[Member[T]]) -> None:
        """
        End *members* now; what has to be awaited is, on the loop they belong to.
        """
        for member in members:
            pending = self._disposal.end_all([member.value])
            if pending is not None:
                self._leave_to_loop(pending, member.loop)

    def _leave_to_loop(self, pending: Pending, where: ref[Any] | None) -> None:
        registry = self.registry
        loop = live_loop(registry.loop if where is None else where)
        if loop is None or not loop.is_running():
            pending.close()
            msg = "the event loop of the member does not run any more"
            self._record("dispose", RuntimeError(msg))
            return
        loop.call_soon_threadsafe(lambda: registry.background(loop, pending.run()))

    def _record(self, what: str, error: BaseException) -> None:
        self._failed(what, error)

    # -- idle members ------------------------------------------------------------------

    def _arm(self) -> None:
        super()._arm()
        if self._members.size < self._members.min_size:
            # Connecting takes time, and the start has none.
            self.registry.scheduler.submit(self._fill)

    def _fill(self) -> None:
        """
        Make members up to `min_size`; asynchronous ones on the guard's loop.
        """
        registry = self.registry
        if not is_async(self._factory):
            drive(self._fill_steps(), self.label)
            return
        loop = live_loop(registry.loop)
        if loop is not None and loop.is_running():
            loop.call_soon_threadsafe(
                lambda: registry.background(loop, adrive(self._fill_steps()))
            )

    def _fill_steps(self) -> Steps[None]:
        while self.state < DRAINING and self._locked(self._members.lacks):
            try:
                member = yield from self._make()
            except Exception as error:  # the first who needs a member will see it
                self._record("factory", error)
                return
            if not self._take_back(member):
                yield from self.drop_steps(member)

    def _watch_oldest(self) -> None:
        """
        Set the alarm for the member that is idle for longest. Lock held.
        """
        members = self._members
        if (
            self.idle_timeout is not None
            and members.idle
            and members.size > members.min_size
        ):
            self._wake_at(members.idle[0].since + self.idle_timeout)

    def _let_stale_go(self) -> None:
        if self.idle_timeout is not None:
            now = self.registry.clock.monotonic()
            self._end_idle(now - self.idle_timeout, self._members.min_size)

    def _tidy(self) -> None:
        self._let_stale_go()
        self._locked(self._watch_oldest)

    def _end_idle(self, since: float, keep: int) -> int:
        if not self._members.idle or self.registry.detached or self._is_inside():
            return 0
        ended = self._locked(self._members.take_idle, since, keep)
        self._end_elsewhere(ended)
        return len(ended)

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
        True where members are bound to a loop.
        """
        members = self._members
        return any(member.loop is not None for member in (*members.idle, *members.used))

    @property
    def affinity(self) -> str:  # type: ignore[override]
        """
        Ended where its members live.
        """
        return "loop" if self.awaits else "any"

    def _drain(self) -> Any:
        """
        Wait until all members are back; the pool is DRAINING and lends none.
        """
        self._drained = drained = Latch()
        if not self._members.used:
            return None
        timeout = self.registry.drain_s
        if running_loop() is not None:
            return drained.await_(timeout)
        drained.wait(timeout)
        return None

    def _disarm(self) -> Any:
        self._rest()
        ended = self._locked(self._members.take_all)
        return self._disposal.end_all([member.value for member in ended])

    def _release(self) -> Any:
        return self._disarm()

    def close(self) -> None:
        """
        End the pool now: idle members here (those of a loop soon, on that loop), lent
        ones on their return. Closing twice does nothing.
        """
        if not self.registry.detached and self.claim():
            pending = self._release()
            if pending is not None:
                self._leave_to_loop(pending, self.loop)
            self.settle()

    async def aclose(self) -> None:
        """
        As `close`, and waits until idle members of this loop have ended.
        """
        if not self.registry.detached and self.claim():
            pending = self._release()
            if pending is not None:
                await pending
            self.settle()

    # -- forks -------------------------------------------------------------------------

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        self._forget()

    def _forget(self) -> None:
        members = self._members
        for member in (*members.idle, *members.used):
            member.era = -1
            _inherited.append(member)
        self._members = Members(members.min_size, members.max_size)
        self._drained = Latch()
        self.loop = None


def _nothing(*_: Any) -> None:
    return None


def _sizes(min_size: int, max_size: int) -> tuple[int, int]:
    for what, value, least in (("min_size", min_size, 0), ("max_size", max_size, 1)):
        if type(value) is not int or value < least:
            msg = f"{what} must be a whole number of at least {least}, not {value!r}"
            raise ValueError(msg)
    if min_size > max_size:
        msg = f"min_size ({min_size}) must not be above max_size ({max_size})"
        raise ValueError(msg)
    return min_size, max_size
