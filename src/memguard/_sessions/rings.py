"""
Rings and series that belong to a session: what they hold is saved with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memguard._kinds.ring import Ring
from memguard._kinds.series import Series

if TYPE_CHECKING:
    from memguard._sessions.session import Session

__all__ = ("SessionRing", "SessionSeries")

_T = TypeVar("_T")


class _Saved:
    """
    What a container is that a session saves: dirty, or as it is in the record.

    For containers with `version`, `dump` and `load`.
    """

    __slots__ = ()

    def is_saved(self) -> None:
        """
        Note that the record has all of it.
        """
        this: Any = self
        this._saved = this.version

    @property
    def dirty(self) -> bool:
        """
        True when it changed since it was saved.
        """
        this: Any = self
        return bool(this.version != this._saved)

    def restore(self, content: list[Any]) -> None:
        """
        Take over what was saved.
        """
        this: Any = self
        this.load(content)
        self.is_saved()

    def to_save(self) -> list[Any]:
        """
        Its content for a record, marked as saved.
        """
        this: Any = self
        # Marked before the content is read: what comes in between is saved once more.
        self.is_saved()
        return list(this.dump())


class SessionRing(_Saved, Ring[_T], Generic[_T]):
    """
    A ring whose owner is a session.
    """

    __slots__ = ("_saved",)

    owner: Session | None

    def __init__(self, owner: Session, name: str, **options: Any) -> None:
        super().__init__(owner, name, **options)
        self.is_saved()

    def _release(self) -> Any:
        session = self.owner
        if session is not None:
            session._keep(self)
        return super()._release()


class SessionSeries(_Saved, Series):
    """
    A series whose owner is a session.
    """

    __slots__ = ("_saved",)

    owner: Session | None

    def __init__(self, owner: Session, name: str, **options: Any) -> None:
        super().__init__(owner, name, **options)
        self.is_saved()

    def _release(self) -> Any:
        session = self.owner
        if session is not None:
            session._keep(self)
        return super()._release()
