"""
The dictionary of a session, which knows whether it has to be saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from memguard.typing import JSON

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ("SessionData",)

# What cannot be changed in place. Anything else that is handed out may be, and
# nobody would tell.
_FIXED: Final = frozenset({str, int, float, bool, type(None), bytes})


class SessionData(dict[str, JSON]):
    """
    Values of JSON by text. `dirty` is True when they may differ from what was saved.

    Reading a list or a dictionary counts as a change: it may be changed in place.
    """

    __slots__ = ("dirty",)

    def __init__(
        self, values: Mapping[str, JSON] | Iterable[tuple[str, JSON]] = ()
    ) -> None:
        super().__init__(values)
        self.dirty = False

    # -- writing -----------------------------------------------------------------------

    def __setitem__(self, key: str, value: JSON) -> None:
        super().__setitem__(_text(key), value)
        self.dirty = True

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self.dirty = True

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]
        self.update(other)
        return self

    def clear(self) -> None:
        """
        Remove everything.
        """
        super().clear()
        self.dirty = True

    def pop(self, key: str, *default: Any) -> JSON:
        self.dirty = True
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, JSON]:
        self.dirty = True
        return super().popitem()

    def setdefault(self, key: str, default: JSON = None) -> JSON:
        self.dirty = True
        return super().setdefault(_text(key), default)

    def update(self, *others: Any, **values: JSON) -> None:
        changed = dict(*others, **values)
        for key in changed:
            _text(key)
        super().update(changed)
        self.dirty = True

    # -- reading -----------------------------------------------------------------------

    def plain(self) -> dict[str, JSON]:
        """
        A copy one level deep that counts as no change: for saving.
        """
        return dict(dict.items(self))

    def __iter__(self) -> Iterator[str]:
        # Overridden so that `dict(data)` reads through __getitem__.
        return super().__iter__()

    def __getitem__(self, key: str) -> JSON:
        value = super().__getitem__(key)
        if type(value) not in _FIXED:
            self.dirty = True
        return value

    def get(self, key: str, default: Any = None) -> Any:
        value = super().get(key, default)
        if type(value) not in _FIXED:
            self.dirty = True
        return value

    def values(self) -> Any:
        self._handed_out()
        return super().values()

    def items(self) -> Any:
        self._handed_out()
        return super().items()

    def copy(self) -> dict[str, JSON]:
        self._handed_out()
        return dict(self)

    def __or__(self, other: Any) -> Any:
        self._handed_out()
        return dict(self) | other

    def _handed_out(self) -> None:
        # The whole of it: looking for something changeable costs more than saving.
        self.dirty = True


def _text(key: Any) -> str:
    if isinstance(key, str):
        return key
    msg = f"keys of a session's data must be text, not {type(key).__qualname__}"
    raise TypeError(msg)
