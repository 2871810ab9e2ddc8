"""
Functions with a cache: real functions, sync or async, of any signature.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from itertools import count
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, overload
from weakref import ref

from memguard._kinds.cache.cache import is_some
from memguard._kinds.cache.calls import Calls, FunctionCache
from memguard._kinds.cache.figures import CacheInfo
from memguard._kinds.cache.flight import (
    MISSING,
    Wanted,
    aload,
    arefresh,
    load,
    refresh,
)
from memguard._kinds.callbacks import is_async, name_of
from memguard._kinds.caps import lifetime
from memguard._tree import Branch, Node, conflict
from memguard.errors import SpecConflict
from memguard.typing import Duration

if TYPE_CHECKING:
    from typing import Concatenate

    from typing_extensions import Self

__all__ = ("CachedFunction", "make_cached")

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_S = TypeVar("_S")
_R_co = TypeVar("_R_co", covariant=True)

_GENERATOR: Final = 0x20 | 0x200  # inspect.CO_GENERATOR, CO_ASYNC_GENERATOR
_NO_KEYWORDS: Final[dict[str, Any]] = {}
_serial = count(2)


class CachedFunction(Protocol[_P, _R_co]):
    """
    What `cached` makes of a function. At run time it is a plain function.
    """

    @property
    def __wrapped__(self) -> Callable[_P, _R_co]: ...

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co: ...

    @overload
    def __get__(self, instance: None, owner: Any = None, /) -> Self: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[Any, _Q], _S],
        instance: object,
        owner: Any = None,
        /,
    ) -> Callable[_Q, _S]: ...

    def invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """
        Drop the result of this call; False if it was not there.
        """

    def clear(self) -> None:
        """
        Drop all results.
        """

    def refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """
        Make this call now, and keep its result in the place of the old one.
        """

    def info(self) -> CacheInfo:
        """
        The figures of the cache.
        """

    @property
    def fast(self) -> Callable[..., _R_co]:
        """
        The same call for hot paths: by position only.
        """


def make_cached(
    place: Callable[[Any], Node],
    owner: Branch,
    fn: Any,
    *,
    name: str | None = None,
    store: Callable[[Any], bool] | None = None,
    load_timeout: Duration = "30s",
    **options: Any,
) -> Any:
    """
    A function like *fn* that remembers results, in a cache that *place* attaches.

    *place* gets the cache, enters it into *owner*, arms it if the guard runs, and
    returns it. *options* are those of `Cache`. The cache is named after the function
    unless there is a *name*, and lives as long as the function that is returned.
    """
    if isinstance(fn, (staticmethod, classmethod)):
        inner = make_cached(
            place,
            owner,
            fn.__func__,
            name=name,
            store=store,
            load_timeout=load_timeout,
            **options,
        )
        return type(fn)(inner)
    _refuse_odd(fn, store)
    patience = lifetime(load_timeout, "load_timeout")
    if patience is None:
        msg = "load_timeout must be a time: nobody waits without a deadline"
        raise ValueError(msg)
    cache = _placed(place, owner, fn, name, options)
    make = _asynchronous if is_async(fn) else _synchronous
    calls = Calls(fn, cache)
    wrapper = make(calls, store or is_some, patience)
    update_wrapper(wrapper, fn)
    if not hasattr(fn, "__name__"):
        wrapper.__name__ = wrapper.__qualname__ = name_of(fn)
    _add_verbs(wrapper, calls)
    calls.wrapper = ref(wrapper)
    cache.follow(wrapper)
    return wrapper


def _refuse_odd(fn: Any, store: Any) -> None:
    if not callable(fn):
        msg = f"cached() takes a function, not a {type(fn).__qualname__}"
        raise TypeError(msg)
    if store is not None and not callable(store):
        msg = f"store must be a function of a result, not a {type(store).__qualname__}"
        raise TypeError(msg)
    code = getattr(fn, "__code__", None)
    if code is not None and code.co_flags & _GENERATOR:
        msg = (
            f"{name_of(fn)} is a generator function: what it returns can be read once,"
            " and caching it would serve it empty; cache a function that returns a list"
        )
        raise TypeError(msg)


def _placed(
    place: Callable[[Any], Node],
    owner: Branch,
    fn: Any,
    name: str | None,
    options: dict[str, Any],
) -> FunctionCache:
    """
    The function's own cache, in the tree. Two functions never share one.
    """
    if name is not None:
        cache = FunctionCache(owner, name, **options)
        first = place(cache)
        if first is not cache:
            raise conflict(first, "function")
        return cache
    full = f"{getattr(fn, '__module__', None) or '?'}.{name_of(fn)}"
    while True:
        # Functions made in a function, or by a reload, have the same name.
        taken = owner.find(FunctionCache.kind, full) is not None
        cache = FunctionCache(
            owner, f"{full}#{next(_serial)}" if taken else full, **options
        )
        try:
            if place(cache) is cache:
                return cache
        except SpecConflict:
            continue  # another thread has just taken the name


def _synchronous(
    calls: Calls, store: Callable[[Any], bool], patience: float
) -> FunctionType:
    cache = calls.cache

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key, hashed = calls.key(args, kwargs)
        if key is None:
            return calls.fn(*args, **kwargs)  # which says what is wrong with it
        value = cache._look_up(key)
        if value is MISSING:
            compute = partial(calls.call, args, kwargs)
            return load(cache, Wanted(key, hashed, compute, store, patience))
        return value

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return call(args, kwargs)

    def fast(*args: Any) -> Any:
        return call(args, _NO_KEYWORDS)

    def renew(*args: Any, **kwargs: Any) -> Any:
        key, hashed = calls.known_key("refresh", args, kwargs)
        compute = partial(calls.call, args, kwargs)
        return refresh(cache, Wanted(key, hashed, compute, store, patience))

    wrapper.fast = fast  # type: ignore[attr-defined]
    wrapper.refresh = renew  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def _asynchronous(
    calls: Calls, store: Callable[[Any], bool], patience: float
) -> FunctionType:
    cache = calls.cache

    async def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key, hashed = calls.key(args, kwargs)
        if key is None:
            return await calls.fn(*args, **kwargs)
        value = cache._look_up(key)
        if value is MISSING:
            compute = partial(calls.fn, *args, **kwargs)
            return await aload(cache, Wanted(key, hashed, compute, store, patience))
        return value

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await call(args, kwargs)

    async def fast(*args: Any) -> Any:
        return await call(args, _NO_KEYWORDS)

    async def renew(*args: Any, **kwargs: Any) -> Any:
        key, hashed = calls.known_key("refresh", args, kwargs)
        compute = partial(calls.fn, *args, **kwargs)
        return await arefresh(cache, Wanted(key, hashed, compute, store, patience))

    wrapper.fast = fast  # type: ignore[attr-defined]
    wrapper.refresh = renew  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def _add_verbs(wrapper: Any, calls: Calls) -> None:
    cache = calls.cache

    def invalidate(*args: Any, **kwargs: Any) -> bool:
        key, _ = calls.known_key("invalidate", args, kwargs)
        return cache.invalidate(key)

    wrapper.invalidate = invalidate
    wrapper.clear = cache.clear
    wrapper.info = cache.info
