"""
Instances in keys of cached methods: by identity, weakly, and gone with the instance.

In a key an instance is represented by a token. The token knows the hashes of its keys,
so that when the instance dies its entries are found without a search.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final
from weakref import ref

__all__ = ("Instances", "Token")

# Hashes of keys that left may be kept up to the double number of entries, and this.
_SLACK: Final = 64


class Token:
    """
    Stands for one instance. Compared by identity; runs no code of the instance.
    """

    __slots__ = ("hashes",)

    def __init__(self) -> None:
        self.hashes: set[int] = set()

    def __sizeof__(self) -> int:
        return object.__sizeof__(self)

    def note(self, hashed: int, entries: int, is_used: Callable[[int], object]) -> None:
        """
        A key with this hash is stored. Forgets those that left, now and then.
        """
        hashes = self.hashes
        hashes.add(hashed)
        if len(hashes) > 2 * entries + _SLACK:
            hashes.difference_update([one for one in tuple(hashes) if not is_used(one)])


class _Ref(ref):  # type: ignore[type-arg]
    """
    A weak reference to an instance, with what has to be known when it dies.
    """

    __slots__ = ("dead", "ident", "tell", "token")

    dead: deque[_Ref]
    ident: int
    tell: Callable[[], object]
    token: Token


def _on_death(reference: _Ref) -> None:
    # May run inside any locked section of any thread: append, nothing else.
    reference.dead.append(reference)
    reference.tell()


class Instances:
    """
    The tokens of the instances that live, and those of the dead until they are taken.

    *tell* is called when an instance died, perhaps in the middle of a collection: it
    may append to a queue and nothing else. Needs no lock.
    """

    __slots__ = ("_refs", "dead", "tell")

    def __init__(self, tell: Callable[[], object]) -> None:
        self.tell = tell
        self._refs: dict[int, _Ref] = {}
        self.dead: deque[_Ref] = deque()

    def token(self, instance: Any) -> Token:
        """
        The token of *instance*. Raises TypeError where there can be no weak reference.
        """
        ident = id(instance)
        found = self._refs.get(ident)
        while found is None or found() is not instance:
            if found is not None:
                # Somebody who died and whose place in memory was taken since.
                self._refs.pop(ident, None)
            new = _Ref(instance, _on_death)
            new.dead, new.ident, new.tell = self.dead, ident, self.tell
            new.token = Token()
            found = self._refs.setdefault(ident, new)
        return found.token

    def take_dead(self) -> list[Token]:
        """
        The tokens of instances that died since the last call.
        """
        tokens = []
        while self.dead:
            try:
                reference = self.dead.popleft()
            except IndexError:
                break  # another thread was faster
            if self._refs.get(reference.ident) is reference:
                self._refs.pop(reference.ident, None)
            tokens.append(reference.token)
        return tokens
