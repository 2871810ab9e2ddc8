"""
The cache that belongs to one function.
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any
from weakref import ref

from memguard._kinds.cache.cache import Cache
from memguard._kinds.cache.cells import GONE
from memguard._kinds.cache.flight import MISSING, Flight, load
from memguard._kinds.cache.instances import Instances, Token
from memguard._kinds.cache.store import Load
from memguard._tree import Branch

if TYPE_CHECKING:
    from memguard._kinds.cache.calls import Calls

__all__ = ("FunctionCache",)


class FunctionCache(Cache[Any, Any]):
    """
    The cache of one function: it ends with the function, entries with their instance.
    """

    __slots__ = ("_calls", "_function", "instances")

    def __init__(self, owner: Branch, name: str, **options: Any) -> None:
        super().__init__(owner, name, **options)
        self._function: ref[Any] | None = None
        # Weak, as everything here: a function that calls itself refers to what
        # `cached` returned, and would keep itself alive.
        self._calls: ref[Calls] | None = None
        node = ref(self)

        def tell() -> None:
            cache = node()
            if cache is not None:
                cache.registry.collected.append(cache)

        self.instances = Instances(tell)

    def serve(self, calls: Calls) -> None:
        """
        What is missing is to be had from *calls*.
        """
        self._calls = ref(calls)

    def _missing(self, key: Any) -> Any:
        if self.instances.dead:
            self.reap()
        value = self._look_up(key)
        if value is not MISSING:
            return value
        calls = None if self._calls is None else self._calls()
        if calls is None:
            msg = (
                f"the function of cache {self.label!r} is gone; keep it for as long as"
                " its `fast` is used"
            )
            raise ReferenceError(msg)
        return MISSING if calls.is_async else load(self, calls.wanted(key))

    def follow(self, function: FunctionType) -> None:
        """
        Close when *function* has been collected.
        """
        tell = self.instances.tell
        self._function = ref(function, lambda _: tell())

    def collected_unclosed(self) -> bool:
        """
        Called after an instance or the function died. Never a fault.
        """
        self.reap()
        if self._function is not None and self._function() is None:
            self.close()
        return False

    def reap(self) -> None:
        """
        Drop what belongs to instances that have died.
        """
        if self._is_inside():
            return
        for key in self.instances.take_dead():
            held = self._held(key)
            if held is not GONE:
                self._let_go(self._inner(key), held, "explicit")

    def _is_held(self, key: Any) -> bool:
        return self._held(key) is not GONE

    def _bring(self, flight: Flight, value: Any, seconds: float) -> bool:
        self._note(flight.key)
        return super()._bring(flight, value, seconds)

    def _note(self, key: Any) -> None:
        if type(key) is tuple and key and type(key[0]) is Token:
            entries = len(self._engine.table)
            self.instances.note(key[0], key, entries, self._is_held)

    def _store(
        self, key: Any, hashed: int, value: Any, ttl: float | None, load: Load | None
    ) -> bool:
        self._note(key)
        return super()._store(key, hashed, value, ttl, load)
