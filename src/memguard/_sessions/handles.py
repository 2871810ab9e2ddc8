"""
What `open` and `connect` give: blocks, to be entered with `with` or `async with`.
"""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Final

from memguard._kinds.closers import running_loop
from memguard._sessions.entering import connect, depart, enter, leave, unpin
from memguard._sessions.steps import Refusal, arun, run
from memguard._tree import Branch, current
from memguard.errors import ScopeClosed, WouldBlockLoop

if TYPE_CHECKING:
    from memguard._sessions.connection import Connection
    from memguard._sessions.core import Core
    from memguard._sessions.session import Session
    from memguard._sessions.sessions import Sessions

__all__ = ("Connecting", "Opening")

_OPEN: Final[Refusal] = ("sessions.open()", "`async with sessions.open(...)`")
_CONNECT: Final[Refusal] = ("sessions.connect()", "`async with sessions.connect(...)`")


class _Block:
    """
    The current scope of one block. Each block has its own token, because several may
    have the same session open.
    """

    __slots__ = ("_core", "_id", "_scope", "_sessions", "_token")

    def __init__(self, sessions: Sessions, id: str) -> None:
        self._sessions = sessions
        self._id = id
        self._core: Core | None = None
        self._scope: Branch | None = None
        self._token: Token[Branch | None] | None = None

    def _begin(self) -> Core:
        if self._core is not None:
            msg = (
                f"this block of {self._sessions.label!r} was entered already; call"
                " open() or connect() for each `with`"
            )
            raise ScopeClosed(msg)
        self._core = core = self._sessions._in_use()
        return core

    def _begin_waiting(self, refusal: Refusal) -> Core:
        """
        As `_begin`, where a store that takes its time must not stop a loop.
        """
        if self._sessions.core.keeps and running_loop() is not None:
            raise WouldBlockLoop(*refusal)
        return self._begin()

    def _make_current(self, scope: Branch) -> None:
        self._scope = scope
        self._token = current.set(scope)

    def _finish(self) -> Core:
        scope, self._scope = self._scope, None
        token, self._token = self._token, None
        core, self._core = self._core, None
        assert core is not None
        try:
            current.reset(token)  # type: ignore[arg-type]
        except (ValueError, TypeError):
            # Left in another context than it was entered in: nothing to restore here.
            if current.get() is scope:
                current.set(None)
        return core


class Opening(_Block):
    """
    One use of a session: pinned from entering to leaving. Reusable, not re-entrant.
    """

    __slots__ = ("_durable", "_session")

    def __init__(self, sessions: Sessions, id: str, durable: bool) -> None:
        super().__init__(sessions, id)
        self._durable = durable
        self._session: Session | None = None

    def __enter__(self) -> Session:
        core = self._begin_waiting(_OPEN)
        try:
            session = core.pin_live(self._id)
            if session is None:
                session = run(enter(core, self._id), _OPEN)
        except BaseException:
            self._core = None
            raise
        return self._entered(session)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        core, session = self._left()
        if core.nothing_to_do(session, self._durable):
            unpin(core, session._slot)
            return
        quiet = kind is not None
        run(leave(core, session, durable=self._durable, quiet=quiet), _OPEN)

    async def __aenter__(self) -> Session:
        core = self._begin()
        try:
            session = core.pin_live(self._id)
            if session is None:
                session = await arun(enter(core, self._id))
        except BaseException:
            self._core = None
            raise
        return self._entered(session)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        core, session = self._left()
        if core.nothing_to_do(session, self._durable):
            unpin(core, session._slot)
            return
        quiet = kind is not None
        await arun(leave(core, session, durable=self._durable, quiet=quiet))

    def _entered(self, session: Session) -> Session:
        self._session = session
        self._make_current(session)
        return session

    def _left(self) -> tuple[Core, Session]:
        session, self._session = self._session, None
        assert session is not None
        return self._finish(), session


class Connecting(_Block):
    """
    One connection of a session, from entering to leaving. Reusable, not re-entrant.
    """

    __slots__ = ("_connection",)

    def __init__(self, sessions: Sessions, id: str) -> None:
        super().__init__(sessions, id)
        self._connection: Connection | None = None

    def __enter__(self) -> Connection:
        core = self._begin_waiting(_CONNECT)
        try:
            connection = connect(core, run(enter(core, self._id), _CONNECT))
        except BaseException:
            self._core = None
            raise
        return self._entered(connection)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        core, connection = self._left()
        run(depart(core, connection, quiet=kind is not None), _CONNECT)

    async def __aenter__(self) -> Connection:
        core = self._begin()
        try:
            connection = connect(core, await arun(enter(core, self._id)))
        except BaseException:
            self._core = None
            raise
        return self._entered(connection)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        core, connection = self._left()
        await arun(depart(core, connection, quiet=kind is not None))

    def _entered(self, connection: Connection) -> Connection:
        self._connection = connection
        self._make_current(connection)
        return connection

    def _left(self) -> tuple[Core, Connection]:
        connection, self._connection = self._connection, None
        assert connection is not None
        return self._finish(), connection
