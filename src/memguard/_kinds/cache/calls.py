"""
From calls of a function to keys of its cache, and back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import Any, Final
from weakref import ref

from memguard._kinds.cache.instances import Token
from memguard._kinds.cache.keys import Parameters, unhashable
from memguard._kinds.cache.owned import FunctionCache
from memguard._kinds.cache.trust import FLAT
from memguard._kinds.cache.wanted import Wanted
from memguard._kinds.callbacks import is_async, name_of

__all__ = ("Calls",)

_ONCE_ONLY: Final = (CoroutineType, GeneratorType, AsyncGeneratorType)
_INSTANCES: Final = ("self", "cls")


class Calls:
    """
    From calls of one function to keys of its cache.
    """

    __slots__ = (
        "__weakref__",
        "_is_bare",
        "_parameters",
        "cache",
        "fn",
        "is_async",
        "patience",
        "store",
        "wrapper",
    )

    def __init__(
        self,
        fn: Callable[..., Any],
        cache: FunctionCache,
        store: Callable[[Any], bool],
        patience: float,
    ) -> None:
        self.fn = fn
        self.cache = cache
        self.store = store
        self.patience = patience
        self.is_async = is_async(fn)
        self.wrapper: ref[Any] | None = None
        self._parameters: Parameters | None = None
        self._is_bare = False

    @property
    def parameters(self) -> Parameters:
        """
        The parameters of the function.
        """
        parameters = self._parameters
        if parameters is None:
            parameters = self._parameters = Parameters.of(self.fn)
            self._is_bare = (
                len(parameters.names) + len(parameters.keywords) == 1
                and self.is_method() is False
            )
        return parameters

    def is_method(self) -> bool | None:
        """
        Whether the first argument is the instance, or the class, of a method; None
        where only the argument itself can tell.
        """
        parameters = self._parameters or self.parameters
        if not parameters.names:
            return False
        if parameters.names[0] in _INSTANCES:
            return True
        outer = getattr(self.fn, "__qualname__", "").rpartition(".")[0]
        return None if outer and not outer.endswith("<locals>") else False

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any], verb: str = "") -> Any:
        """
        The key of a call, or of what *verb* is to do with it.

        Raises TypeError if the function cannot be called like that, for an argument
        that cannot be hashed, and for an instance that cannot be referenced weakly.
        """
        parameters = self.parameters
        key = parameters.key(args, kwargs)
        if key is None:
            name = name_of(self.fn)
            call = f"{name}.{verb}()" if verb else f"{name}()"
            msg = f"{call} takes the arguments of a call of {name}, and got others"
            raise TypeError(msg)
        if self.cache.instances.dead:
            self.cache.reap()
        if self._is_bare and self._is_short(key):
            found = key[0]
        elif parameters.names and self._is_method(key[0]):
            found = (self.token(key[0]), *key[1:])
        else:
            found = key
        self._check(found, key)
        return found

    def _is_short(self, key: tuple[Any, ...]) -> bool:
        """
        True where the key of a call with one argument is that argument.

        Where there may be more arguments it must not look like the key of others.
        """
        if self.parameters.is_open:
            return len(key) == 1 and type(key[0]) in FLAT
        return True

    def _is_bare_key(self, found: Any) -> bool:
        if self.parameters.is_open:
            return type(found) is not tuple
        return self._is_bare

    def _check(self, found: Any, key: tuple[Any, ...]) -> None:
        try:
            hash(found)
        except TypeError as error:
            raise unhashable(self.fn, self.parameters, key) from error

    def explain(self, found: Any, error: TypeError) -> None:
        """
        Raise a better error, if *error* came of a key that cannot be hashed.
        """
        try:
            hash(found)
        except TypeError:
            key = (found,) if self._is_bare_key(found) else found
            raise unhashable(self.fn, self.parameters, key) from error

    def _is_method(self, first: Any) -> bool:
        """
        True where the first argument is the instance, or the class, of a method.

        By its name, or because its class has this very function under its own name.
        """
        known = self.is_method()
        if known is not None:
            return known
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

    def fast(self, wrapper: Any) -> Any:
        """
        The same call with as little in between as can be.
        """
        parameters = self._parameters
        if (
            parameters is not None
            and self._is_bare
            and parameters.names
            and not (self.is_async or parameters.is_open)
        ):
            return self.cache.fast
        # Bound to nobody, and with a reference to nobody: a function that had itself
        # as an attribute would not end before a collection.
        copy = FunctionType(
            wrapper.__code__,
            wrapper.__globals__,
            wrapper.__name__,
            wrapper.__defaults__,
            wrapper.__closure__,
        )
        copy.__kwdefaults__ = wrapper.__kwdefaults__
        return copy

    def wanted(self, key: Any) -> Wanted:
        """
        The result of the call that has this key, to be loaded.
        """
        compute = partial(self.call, key)
        return Wanted(key, hash(key), compute, self.store, self.patience)

    def token(self, instance: Any) -> Token:
        """
        What stands for *instance* in keys.
        """
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

    def call(self, key: Any) -> Any:
        """
        Make the call that has this key. Its result must be good for more than one
        reader.
        """
        key = (key,) if self._is_bare_key(key) else key
        if key and type(key[0]) is Token:
            key = (key[0].instance(), *key[1:])
        args, kwargs = self.parameters.call(key)
        result = self.fn(*args, **kwargs)
        if type(result) in _ONCE_ONLY and not self.is_async:
            kind = type(result).__name__
            if type(result) is CoroutineType:
                result.close()
            msg = (
                f"cached function {name_of(self.fn)} returned a {kind}, which only one"
                " caller can use; declare it with `async def`, or return a list"
            )
            raise TypeError(msg)
        return result
