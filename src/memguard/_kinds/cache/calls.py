"""
From calls of a function to keys of its cache, and the cache that belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import Any, Final
from weakref import ref

from memguard._kinds.cache.cache import Cache
from memguard._kinds.cache.cells import GONE
from memguard._kinds.cache.instances import Instances, Token
from memguard._kinds.cache.keys import Parameters, unhashable
from memguard._kinds.cache.store import Load
from memguard._kinds.callbacks import name_of
from memguard._tree import Branch

__all__ = ("Calls", "FunctionCache")

_ONCE_ONLY: Final = (CoroutineType, GeneratorType, AsyncGeneratorType)
_INSTANCES: Final = ("self", "cls")


class FunctionCache(Cache[Any, Any]):
    """
    The cache of one function: it ends with the function, entries with their instance.
    """

    __slots__ = ("_function", "instances")

    def __init__(self, owner: Branch, name: str, **options: Any) -> None:
        super().__init__(owner, name, **options)
        self._function: ref[Any] | None = None
        node = ref(self)

        def tell() -> None:
            cache = node()
            if cache is not None:
                cache.registry.collected.append(cache)

        self.instances = Instances(tell)

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
            inner = self._inner(key)
            held = self._engine.table.get(inner, GONE)
            if held is not GONE:
                self._let_go(inner, held, "explicit")

    def _is_held(self, key: Any) -> bool:
        return self._held(key) is not GONE

    def _store(
        self, key: Any, hashed: int, value: Any, ttl: float | None, load: Load | None
    ) -> bool:
        if type(key) is tuple and key and type(key[0]) is Token:
            entries = len(self._engine.table)
            self.instances.note(key[0], key, entries, self._is_held)
        return super()._store(key, hashed, value, ttl, load)


class Calls:
    """
    From calls of one function to keys of its cache.
    """

    __slots__ = ("_named_like_method", "_parameters", "cache", "fn", "wrapper")

    def __init__(self, fn: Callable[..., Any], cache: FunctionCache) -> None:
        self.fn = fn
        self.cache = cache
        self.wrapper: ref[Any] | None = None
        self._parameters: Parameters | None = None
        self._named_like_method: bool | None = None

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, int]:
        """
        The key of a call and its hash; (None, 0) if it cannot be called like that.

        Raises TypeError for an argument that cannot be hashed, and for an instance
        that cannot be referenced weakly.
        """
        parameters = self._parameters
        if parameters is None:
            parameters = self._parameters = Parameters.of(self.fn)
        key = parameters.key(args, kwargs)
        if key is None:
            return None, 0
        cache = self.cache
        if cache.instances.dead:
            cache.reap()
        bare = key
        if parameters.names and self._is_method(parameters.names[0], key[0]):
            key = (self._token(key[0]), *key[1:])
        try:
            return key, hash(key)
        except TypeError as error:
            raise unhashable(self.fn, parameters, bare) from error

    def _is_method(self, name: str, first: Any) -> bool:
        """
        True where the first argument is the instance, or the class, of a method.

        By its name, or because its class has this very function under its own name.
        """
        if name in _INSTANCES:
            return True
        outer = getattr(self.fn, "__qualname__", "").rpartition(".")[0]
        if not outer or outer.endswith("<locals>"):
            return False
        wrapper = None if self.wrapper is None else self.wrapper()
        own_name = getattr(self.fn, "__name__", "")
        kind = first if isinstance(first, type) else type(first)
        for base in kind.__mro__:
            found = vars(base).get(own_name)
            if found is wrapper:
                return kind is not first
            if isinstance(found, classmethod) and found.__func__ is wrapper:
                return True
        return False

    def _token(self, instance: Any) -> Token:
        try:
            return self.cache.instances.token(instance)
        except TypeError:
            kind = type(instance).__qualname__
            msg = (
                f"a {kind} cannot be referenced weakly, so the cached method"
                f" {name_of(self.fn)} would keep it alive; add '__weakref__' to its"
                " __slots__, or cache a function of the values that it needs"
            )
            raise TypeError(msg) from None

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """
        Call the function itself; its result must be good for more than one reader.
        """
        result = self.fn(*args, **kwargs)
        if type(result) in _ONCE_ONLY:
            kind = type(result).__name__
            if type(result) is CoroutineType:
                result.close()
            msg = (
                f"cached function {name_of(self.fn)} returned a {kind}, which only one"
                " caller can use; declare it with `async def`, or return a list"
            )
            raise TypeError(msg)
        return result

    def known_key(
        self, verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, int]:
        """
        As `key`, for a verb that cannot leave the complaint to the function.
        """
        key, hashed = self.key(args, kwargs)
        if key is None:
            name = name_of(self.fn)
            msg = f"{name}.{verb}() takes the arguments of a call of {name}"
            raise TypeError(msg)
        return key, hashed
