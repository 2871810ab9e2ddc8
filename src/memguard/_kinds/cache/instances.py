"""
Instances in keys of cached methods: by identity, weakly, and gone with the instance.

In a key an instance is represented by a token. The keys of each token are known, so
that when the instance dies its entries are found without a search.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final
from weakref import ref

from memguard._kinds.cache.trust import trust

__all__ = ("Instances", "Token")

# Keys that left may be kept up to the double number of entries, and this.
_SLACK: Final = 64


@trust
class Token:
    """
    Stands for one instance. Compared by identity; runs no code of the instance.
    """

    __slots__ = ("instance",)

    def __init__(self, instance: ref[Any]) -> None:
        self.instance = instance


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

    __slots__ = ("_keys", "_refs", "dead", "tell")

    def __init__(self, tell: Callable[[], object]) -> None:
        self.tell = tell
        self._refs: dict[int, _Ref] = {}
        self._keys: dict[Token, set[Any]] = {}
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
            new.token = Token(ref(instance))
            found = self._refs.setdefault(ident, new)
        return found.token

    def note(
        self, token: Token, key: Any, entries: int, is_used: Callable[[Any], bool]
    ) -> None:
        """
        *key*, which begins with *token*, is stored. Forgets those that left, now and
        then.
        """
        keys = self._keys.get(token)
        if keys is None:
            keys = self._keys.setdefault(token, set())
        keys.add(key)
        if len(keys) > 2 * entries + _SLACK:
            keys.difference_update([one for one in tuple(keys) if not is_used(one)])

    def take_dead(self) -> list[Any]:
        """
        The keys of instances that died since the last call.
        """
        found: list[Any] = []
        while self.dead:
            try:
                reference = self.dead.popleft()
            except IndexError:
                break  # another thread was faster
            if self._refs.get(reference.ident) is reference:
                self._refs.pop(reference.ident, None)
            found += self._keys.pop(reference.token, ())
        return found
