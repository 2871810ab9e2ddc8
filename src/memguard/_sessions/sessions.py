"""
Sessions: who is live, who sleeps, and for how long. A container of scopes.

What is done for one session is written in `entering`, `saving` and `leaving`. Longer
than 300 lines because every verb stands here in both its forms, with its contract.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from memguard._kinds.callbacks import checked_name, is_async
from memguard._kinds.page import Page
from memguard._sessions.handles import Connecting, Opening
from memguard._sessions.info import ExpiredSession, SessionInfo, SessionsStats
from memguard._sessions.keeping import Keeping
from memguard._sessions.leaving import disconnect, end, hibernate
from memguard._sessions.looking import count_asleep, list_ids, look_up, told
from memguard._sessions.options import Options, checked_id, tag_of
from memguard._sessions.paging import checked_cursor, read_page
from memguard._sessions.session import Session
from memguard._sessions.steps import Refusal, arun, run, whole
from memguard._tree import Branch

if TYPE_CHECKING:
    from memguard.typing import Duration, Size

__all__ = ("Sessions",)

_R = TypeVar("_R", bound=Callable[[Session], Any])
_U = TypeVar("_U", bound=Callable[[Any, int], Any])
_E = TypeVar("_E", bound=Callable[[ExpiredSession], Any])

_END: Final[Refusal] = ("sessions.end()", "`await sessions.aend(id)`")
_SLEEP: Final[Refusal] = ("sessions.hibernate()", "`await sessions.ahibernate(id)`")
_INFO: Final[Refusal] = ("looking up a session", "`await sessions.ainfo(id)`")
_PAGE: Final[Refusal] = ("sessions.page()", "`await sessions.apage(...)`")
_PART: Final[Refusal] = ("sessions.disconnect()", "`await sessions.adisconnect(id)`")


class Sessions(Keeping):
    """
    Sessions by id: made when first opened, saved and closed when idle, and restored.

    At most `max_live` of them are live; over it, and over `max_bytes`, the least
    recently used one is hibernated, never dropped. Only `ttl` (since the last use),
    `max_age` and `end` forget a session. Thread-safe, for threads and tasks.

    Before the guard is started nothing watches the clocks: what is due happens when
    the sessions are next used.
    """

    __slots__ = ()

    def __init__(
        self,
        owner: Branch,
        name: str,
        *,
        max_sessions: int = 10_000,
        max_bytes: Size | None = None,
        max_live: int | None = None,
        ttl: Duration | None = "1h",
        max_age: Duration | None = None,
        hibernate_after: Duration | None = "10m",
        backup_every: Duration | None = None,
        grace: Duration = "30s",
        durable: bool = False,
        store: Any = None,
        codec: Any = "json",
        schema: int = 1,
        archive: Any = None,
    ) -> None:
        options = Options.check(
            max_sessions=max_sessions,
            max_bytes=max_bytes,
            max_live=max_live,
            ttl=ttl,
            max_age=max_age,
            hibernate_after=hibernate_after,
            backup_every=backup_every,
            grace=grace,
            durable=durable,
            store=store,
            codec=codec,
            schema=schema,
            archive=archive,
        )
        super().__init__(owner, checked_name("sessions", name), options)

    @property
    def spec(self) -> dict[str, object]:
        """
        What another call for the same name has to agree in.
        """
        return self.options.spec

    # -- verbs -------------------------------------------------------------------------

    def open(self, id: str, *, durable: bool | None = None) -> Opening:
        """
        A block in which the session of *id* is yours: `with` or `async with`.

        It is restored or made on entering, and pinned until it is left; blocks that
        have the same id open share one session. Leaving saves what was changed if the
        store outlives the process, and with *durable* raises when that fails.

        Entering raises SessionsFull, ScopeClosed, what an on_restore hook raises, and
        inside a loop WouldBlockLoop where `with` would have to wait for somebody else.
        """
        if durable is None:
            durable = self.options.durable
        return Opening(self, checked_id(id), durable)

    def connect(self, id: str) -> Connecting:
        """
        A block that is one connection of the session of *id*, which it keeps live.

        After the last connection was left the grace runs: who comes back within it
        finds the session and what it owns. Then it is hibernated.
        """
        return Connecting(self, checked_id(id))

    def disconnect(self, id: str) -> int:
        """
        Close the connections of a session now; gives how many there were.

        Inside a loop a task of the loop closes what has to be awaited.
        """
        return run(disconnect(self._in_use(), checked_id(id)), _PART)

    async def adisconnect(self, id: str) -> int:
        """
        As `disconnect`, and comes back when they are closed.
        """
        return await arun(disconnect(self._in_use(), checked_id(id)))

    def hibernate(self, id: str) -> bool:
        """
        Save a session and close what it owns; its next use restores it.

        False when a block or a connection has it, when it cannot be saved, and when
        there is none. Inside a loop a task of the loop closes what has to be awaited.
        """
        return run(hibernate(self._in_use(), checked_id(id)), _SLEEP)

    async def ahibernate(self, id: str) -> bool:
        """
        As `hibernate`, and comes back when everything is closed.
        """
        return await arun(hibernate(self._in_use(), checked_id(id)))

    def end(self, id: str) -> bool:
        """
        Close everything of a session and forget it, whoever has it open.

        False when there is none. Inside a loop it raises WouldBlockLoop, and does
        nothing, when something has to be awaited: use `aend`.
        """
        return run(end(self._in_use(), checked_id(id)), _END)

    async def aend(self, id: str) -> bool:
        """
        As `end`; a cancellation does not stop it half-way.
        """
        return await whole(self.registry, end(self._in_use(), checked_id(id)))

    def on_restore(self, hook: _R) -> _R:
        """
        Call *hook*, sync or async, with each restored session before a block gets it.

        What it raises reaches whoever opens the session, which then stays asleep.
        """
        self.restore_hooks = (*self.restore_hooks, hook)
        return hook

    def on_expire(self, hook: _E) -> _E:
        """
        Call *hook*, sync or async, with an ExpiredSession: its id and its data.

        What it raises is reported. The session is gone by then.
        """
        self.expire_hooks = (*self.expire_hooks, hook)
        self.expire_hooks_await = self.expire_hooks_await or is_async(hook)
        return hook

    def on_upgrade(self, hook: _U) -> _U:
        """
        Call *hook* with the data of a session of an older schema, and that schema.

        It returns the data as this program has them. What it raises reaches whoever
        opens the session, which then stays asleep. There is one such hook.
        """
        self.upgrade_hook = hook
        return hook

    # -- reading -----------------------------------------------------------------------

    def info(self, id: str) -> SessionInfo | None:
        """
        How it stands with one session; None when there is none. This is no use of it.

        One that sleeps is looked up in its store; inside a loop that raises
        WouldBlockLoop where the store takes its time.
        """
        return run(look_up(self._looked_after(), checked_id(id)), _INFO)

    async def ainfo(self, id: str) -> SessionInfo | None:
        """
        As `info`, while the loop goes on.
        """
        return await arun(look_up(self._looked_after(), checked_id(id)))

    def figures(self) -> dict[str, int]:
        """
        As `stats`, but asks no store that takes its time: for metric readers.
        """
        return told(self._core)

    def tag(self, id: str) -> str:
        """
        The eight digits by which reports and logs call the session of *id*.
        """
        return tag_of(checked_id(id))

    def page(
        self, id: str, ring: str, before: int | None = None, n: int = 100
    ) -> Page[Any]:
        """
        As `Ring.page`, of the session of *id*, whether it is live, asleep or elsewhere.

        Neither wakes the session up nor is it a use of it, and no more of its history
        is read than these entries' pages. Empty where there is no such session or ring.
        Raises SessionUnreadable, and as `info` WouldBlockLoop.
        """
        before, n = checked_cursor(before, n)
        name = checked_name("a ring", ring)
        steps = read_page(self._looked_after(), checked_id(id), name, before, n)
        return run(steps, _PAGE)

    async def apage(
        self, id: str, ring: str, before: int | None = None, n: int = 100
    ) -> Page[Any]:
        """
        As `page`, while the loop goes on.
        """
        before, n = checked_cursor(before, n)
        name = checked_name("a ring", ring)
        steps = read_page(self._looked_after(), checked_id(id), name, before, n)
        return await arun(steps)

    def stats(self) -> SessionsStats:
        """
        How many there are, what they weigh, and what became of earlier ones.
        """
        core = self._looked_after()
        table = core.table
        asleep, asleep_bytes = count_asleep(core)
        with table.lock:
            pinned, connected = table.held()
            return SessionsStats(
                live=table.live,
                hibernated=asleep,
                pinned=pinned,
                connected=connected,
                live_bytes=table.live_bytes,
                hibernated_bytes=asleep_bytes,
                created=core.created,
                restored=core.restored,
                slept=core.slept,
                expired=core.expired,
                ended=core.ended,
                lost=core.lost,
            )

    @property
    def live(self) -> int:
        """
        How many are live now.
        """
        return self.core.table.live

    def ids(self) -> tuple[str, ...]:
        """
        The ids of all sessions, live and hibernated, the oldest first.
        """
        return run(list_ids(self._looked_after()), _INFO)

    def __len__(self) -> int:
        core = self._looked_after()
        return len(core.table.slots) + count_asleep(core)[0]

    def __bool__(self) -> bool:
        # Having no session yet does not make it nothing.
        return True

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and bool(id) and self.info(id) is not None

    def memory_bytes(self) -> int:
        """
        Bytes of the records of hibernated sessions that are kept in memory.

        Live sessions tell their own.
        """
        return 0 if self.core.keeps else count_asleep(self.core)[1]
