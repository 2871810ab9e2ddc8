"""
Watched objects: expected to be gone once their scope has ended.

Tracking and judging are apart: a watched object is only referenced weakly here; the
audit judges what has outlived its scope. The dangerous read has a name that says so.
"""

from __future__ import annotations

from typing import ClassVar
from weakref import ref

from memguard._phases import PLAIN, Ending, Phase
from memguard._sites import Site, call_site
from memguard._tree import Branch, Node

__all__ = ("Expected", "Watched", "expect_end")


class Expected:
    """
    An object whose scope has ended, and which should die now.
    """

    __slots__ = ("_ref", "_site", "name", "reason")

    def __init__(
        self, target: ref[object], name: str, reason: str, site: Site | None
    ) -> None:
        self._ref = target
        self._site = site
        self.name = name
        self.reason = reason

    @property
    def alive(self) -> bool:
        # The one read that briefly revives the object; nothing is kept of it.
        return self._ref() is not None

    @property
    def site(self) -> str:
        return call_site(self._site)


def expect_end(node: Node, obj: object, reason: str) -> None:
    """
    Expect *obj* to die now that *node* has ended; nothing if nobody could tell.
    """
    try:
        target = None if obj is None else ref(obj)
    except TypeError:
        return
    if target is not None:
        node.registry.expect(Expected(target, node.label, reason, node.site))


class Watched(Node):
    """
    One expectation: this object dies with this scope. The reason is for the reader.
    """

    __slots__ = ("_reason", "_ref")

    kind: ClassVar[str] = "object"
    plain: ClassVar[bool] = True
    phase = Phase.PROCESS

    def __init__(self, owner: Branch, obj: object, reason: str) -> None:
        super().__init__(owner, type(obj).__qualname__)
        if not isinstance(reason, str) or not reason:
            msg = (
                "reason must be a non-empty text that says why the object should be"
                f" gone, not {type(reason).__qualname__}"
            )
            raise ValueError(msg)
        try:
            self._ref: ref[object] | None = ref(obj)
        except TypeError:
            msg = (
                f"a {type(obj).__qualname__} cannot be referenced weakly, so it cannot"
                " be watched; watch the object that owns it"
            )
            raise TypeError(msg) from None
        self._reason = reason

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Leave the tree; from now on the object is expected to die.
        """
        target, self._ref = self._ref, None
        super().settle(ending)
        if target is not None:
            expect_end(self, target(), self._reason)
