"""
A connection: a child scope of a session, as long as somebody is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn

from memguard._phases import PLAIN, Ending
from memguard._scope import Scope

if TYPE_CHECKING:
    from memguard._sessions.session import Session

__all__ = ("Connection",)


class Connection(Scope):
    """
    One of the ways by which a session is reached now: a socket, a stream, a tab.

    What it owns closes when its block is left, or with `disconnect(id)`. Not a unit
    of work; its messages are. Get one from `sessions.connect(id)`.
    """

    __slots__ = ("session",)

    # Not "connection": that is what sockets and streams are counted as.
    kind: ClassVar[str] = "session_connection"

    def __init__(self, session: Session) -> None:
        super().__init__(session, session.label)
        #: The session it belongs to.
        self.session = session
        self.attach()
        self._children = {}

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Leave the tree; after the last connection the grace of the session runs.
        """
        sessions = self.session.owner
        super().settle(ending)
        if sessions is not None:
            self.session._core.connection_ended(self)

    def __enter__(self) -> NoReturn:
        msg = (
            "a connection is entered with `with sessions.connect(id) as connection`,"
            " once"
        )
        raise TypeError(msg)

    async def __aenter__(self) -> NoReturn:
        self.__enter__()
