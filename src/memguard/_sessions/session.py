"""
A session: a scope with data, which outlives the blocks that use it.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, TypeVar

from memguard._kinds.closers import running_loop
from memguard._kinds.families import bounded_series
from memguard._phases import CLOSING, DRAINING, PLAIN, Ending, Phase
from memguard._scope import Scope
from memguard._sessions.data import SessionData
from memguard._sessions.leaving import end
from memguard._sessions.options import tag_of
from memguard._sessions.parts import Kept
from memguard._sessions.rings import SessionRing, SessionSeries
from memguard._sessions.saving import save
from memguard._sessions.steps import Refusal, arun, run, whole
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from memguard._kinds.ring import Ring
    from memguard._kinds.series import Series
    from memguard._sessions.core import Core
    from memguard._sessions.keeping import Keeping
    from memguard._sessions.shelf import Shelf
    from memguard._sessions.slots import Slot
    from memguard.typing import Duration, Size

__all__ = ("Session",)

_T = TypeVar("_T")
_K = TypeVar("_K", bound="SessionRing[Any] | SessionSeries")
_CLOSE: Final[Refusal] = ("session.close()", "`await session.aclose()`")
_SAVE: Final[Refusal] = ("session.save()", "`await session.asave()`")


class Session(Scope):
    """
    What one user, room or job has while it is live: data, and whatever it owns.

    `data` and the rings and series made here are saved and come back; timers, tasks,
    listeners and resources end when the session falls asleep. Values of `data` are
    those of JSON, its keys text. Get a session from `sessions.open(id)`; closing it
    ends it.
    """

    __slots__ = ("_core", "_kept", "_shelf", "_slot", "data", "id")

    kind: ClassVar[str] = "session"
    phase = Phase.SESSIONS

    owner: Keeping | None

    def __init__(self, core: Core, slot: Slot) -> None:
        owner = core.sessions
        # Named after its container: an id is a user's value and is in no report.
        super().__init__(owner, owner.label)
        self._core = core
        self.id = slot.id
        self.data = SessionData()
        self._slot = slot
        # Contents that were saved and not asked for yet, by kind and name.
        self._kept: dict[str, dict[str, Kept]] = {"ring": {}, "series": {}}
        # Which pages of its rings the store has, once there are any.
        self._shelf: Shelf | None = None
        # All are made in the same few places: where they were declared says more, and
        # looking for the line would be a tenth of a wake-up.
        self._site = owner._site
        self.attach()
        # In the tree while it owns nothing, too: its end has to be seen.
        self._children = {}

    @property
    def label(self) -> str:
        """
        The container's name, and eight digits that stand for the id.

        For reports: an id may be a person's name. `sessions.tag(id)` gives the digits.
        """
        return f"{self.name}#{tag_of(self.id)}"

    def ring(
        self,
        name: str,
        *,
        of: type[_T] = object,  # type: ignore[assignment]
        max_entries: int | None = 1000,
        max_bytes: Size | None = None,
        ttl: Duration | None = None,
        shrinkable: bool = False,
    ) -> Ring[_T]:
        """
        The ring of that name, with what it held when the session was saved.

        Its entries are saved with the session, so they have to be values of JSON.
        """
        asked = (max_entries, max_bytes, ttl, shrinkable)
        known: SessionRing[_T] | None = self._known("ring", name, asked)
        if known is not None:
            return known
        ring: SessionRing[_T] = SessionRing(
            self,
            name,
            of=of,
            max_entries=max_entries,
            max_bytes=max_bytes,
            ttl=ttl,
            shrinkable=shrinkable,
        )
        ring = self._restored(ring)
        ring.asked = asked
        return ring

    def series(self, name: str, *, max_points: int = 1000) -> Series:
        """
        The series of that name, with what it held when the session was saved.
        """
        asked = (max_points,)
        known: SessionSeries | None = self._known("series", name, asked)
        if known is not None:
            return known
        kept = self._kept["series"]
        made: SessionSeries = bounded_series(
            self,
            name,
            max_points,
            lambda known: SessionSeries(self, known, max_points=max_points),
            # A name that comes back is none too many.
            asleep=-1 if name in kept else len(kept),
        )
        made = self._restored(made)
        if made.max_points == max_points:  # else it is one that many names share
            made.asked = asked
        return made

    def _restored(self, made: _K) -> _K:
        """
        The live container of that name, else *made* with what was saved of it.
        """
        kept = self._kept[made.kind]
        content = kept.get(made.label)
        if content is not None and self.find(made.kind, made.label) is None:
            made.restore(content, self)
        found = self._get_or_create(made)
        if found is made:
            kept.pop(made.label, None)
        return found

    # -- saving ------------------------------------------------------------------------

    def save(self) -> None:
        """
        Save now; what was changed before is safe when this returns.

        As safe as the store is: one in memory ends with the process. Raises TypeError
        for what JSON does not know, ScopeClosed when the session is not live any more,
        SessionLost when another process has taken it over, StoreFailed.
        """
        run(save(self._core_of(), self), _SAVE)

    async def asave(self) -> None:
        """
        As `save`, while the loop goes on.
        """
        await arun(save(self._core_of(), self))

    def _core_of(self) -> Core:
        """
        What brought it in. ScopeClosed when it does not belong there any more.
        """
        if self.owner is None or self.registry.detached:
            raise ScopeClosed(self._ended_text())
        return self._core

    @property
    def dirty(self) -> bool:
        """
        True when something may differ from what was saved last.
        """
        if self.data.dirty:
            return True
        if not self._children:
            return False
        return any(one.dirty for one in self._to_save())

    def _to_save(self) -> list[SessionRing[Any] | SessionSeries]:
        return [
            child
            for child in self.children()
            if isinstance(child, (SessionRing, SessionSeries))
        ]

    @property
    def is_plain(self) -> bool:
        """
        True where it owns nothing but what is saved with it.
        """
        return not self._children or len(self._to_save()) == len(self._children)

    def _freeze(self) -> dict[str, dict[str, Kept]]:
        """
        What its rings and series hold, live or not, by kind and name; marked as saved.
        """
        kept = {kind: dict(held) for kind, held in self._kept.items()}
        for one in self._to_save():
            kept[one.kind][one.label] = one.freeze()
        return kept

    def _keep(self, one: SessionRing[Any] | SessionSeries) -> None:
        """
        Called by one that closes: its content outlives it, if the session does.
        """
        if not self._is_ending():
            # The user closed it: what it held is to be gone from the record too.
            self.data.dirty = True
            if self._shelf is not None and one.kind == "ring":
                self._shelf.drop(one.label)
            return
        if one.dirty:
            self.data.dirty = True
        self._kept[one.kind][one.label] = one.freeze()

    def _is_ending(self) -> bool:
        if self.state >= DRAINING:
            return True
        # In a shutdown what is deeper closes first: then the guard says it.
        sessions = self.owner
        guard = None if sessions is None else sessions.owner
        return guard is not None and guard.state >= DRAINING

    # -- the end -----------------------------------------------------------------------

    def close(self) -> None:
        """
        End the session, as `sessions.end(id)` does: nothing of it is kept.
        """
        if self.state < CLOSING and self.owner is not None:
            run(end(self._core_of(), self.id), _CLOSE)

    async def aclose(self) -> None:
        """
        End the session, as `sessions.aend(id)` does.
        """
        if self.state < CLOSING and self.owner is not None:
            await whole(self.registry, end(self._core_of(), self.id))

    @property
    def drains(self) -> bool:  # type: ignore[override]
        """
        True when it has to be saved before its process ends.
        """
        return self.owner is not None and self._core.keeps and self.dirty

    def _drain(self) -> Any:
        steps = save(self._core_of(), self)
        if running_loop() is None:
            return run(steps, _SAVE)
        return arun(steps)

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Leave the tree and the tables.
        """
        sessions = self.owner
        super().settle(ending)
        if sessions is not None:
            self._core.session_ended(self)

    def memory_bytes(self) -> int | None:
        """
        Bytes of its last encoding; None before the first.
        """
        return self._slot.size or None

    # -- not by itself -----------------------------------------------------------------

    def __enter__(self) -> NoReturn:
        msg = (
            "a session is entered with `with sessions.open(id) as session`; leaving a"
            " block of its own would end it"
        )
        raise TypeError(msg)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Never reached: a session is not entered by itself.
        """

    async def __aenter__(self) -> NoReturn:
        self.__enter__()
