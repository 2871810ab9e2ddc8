"""
Places: where a container lies that nobody can refer to weakly.

A place is read each time anew, so that a container that was replaced is seen at once.
A module is found by its name and any other holder weakly: nothing is kept alive.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from memguard._kinds.closers import identity
from memguard._kinds.references import Kept, Ref, on_collect

if TYPE_CHECKING:
    from memguard._adopt.adopted import Adopted

__all__ = ("Place",)


class _HolderRef(Ref):
    """
    A weak reference to the holder of a place; what lies there is no part of it.
    """

    __slots__ = ()


class Place:
    """
    An attribute of a module, a class or an object. Calling it reads it.
    """

    __slots__ = ("_holder", "_name", "_only", "attribute", "key")

    def __init__(
        self,
        holder: Any,
        attribute: str,
        *,
        keep: bool = False,
        only: type | None = None,
    ) -> None:
        self.attribute = attribute
        # What is of another type than this is not what was adopted.
        self._only = only
        self._holder: Callable[[], Any]
        if isinstance(holder, ModuleType):
            name = holder.__name__
        elif isinstance(holder, type):
            name = holder.__qualname__
        else:
            name = type(holder).__qualname__
        self._name = name
        self.key: tuple[Any, str] = identity(holder), attribute
        if isinstance(holder, ModuleType) and sys.modules.get(name) is holder:
            self._holder = _ByName(name)
            self.key = name, attribute
            return
        if keep:
            self._holder = Kept(holder)
            return
        try:
            self._holder = _HolderRef(holder, on_collect)
        except TypeError:
            msg = (
                f"a {name} cannot be referenced weakly, so what lies at its attribute"
                f" {attribute!r} can only be adopted with keep=True (memguard then"
                " holds it until the guard closes)"
            )
            raise TypeError(msg) from None

    @property
    def label(self) -> str:
        """
        What people call it.
        """
        return f"{self._name}.{self.attribute}"

    def belong_to(self, node: Adopted) -> None:
        """
        Tell *node* when the holder is gone.
        """
        if type(self._holder) is _HolderRef:
            self._holder.resource = node  # type: ignore[assignment]

    def __call__(self) -> Any:
        """
        What lies there now, or None.
        """
        found = getattr(self._holder(), self.attribute, None)
        return found if self._only is None or type(found) is self._only else None

    def is_same(self, other: Place) -> bool:
        """
        True for the same attribute of the same holder.
        """
        return self.key == other.key and self._holder() is other._holder()


class _ByName:
    """
    A module, found by its name.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self) -> Any:
        return sys.modules.get(self._name)
