"""
Rings that belong to a session: what they hold is saved with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memguard._kinds.ring import Ring

if TYPE_CHECKING:
    from memguard._sessions.session import Session

__all__ = ("SessionRing",)

_T = TypeVar("_T")


class SessionRing(Ring[_T], Generic[_T]):
    """
    A ring whose owner is a session.
    """

    __slots__ = ("_saved",)

    owner: Session | None

    def __init__(self, owner: Session, name: str, **options: Any) -> None:
        super().__init__(owner, name, **options)
        self._saved = self.version

    @property
    def dirty(self) -> bool:
        """
        True when it changed since it was saved.
        """
        return self.version != self._saved

    def restore(self, content: list[Any]) -> None:
        """
        Take over what was saved.
        """
        self.load(content)
        self._saved = self.version

    def to_save(self) -> list[Any]:
        """
        Its content for a record, marked as saved.
        """
        # Read before the content: what comes in between is saved once more.
        self._saved = self.version
        return self.dump()

    def _release(self) -> Any:
        session = self.owner
        if session is not None:
            session._keep(self)
        return super()._release()
