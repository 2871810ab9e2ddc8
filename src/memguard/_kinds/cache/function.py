"""
Functions with a cache: real functions, sync or async, of any signature.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from itertools import count
from keyword import iskeyword
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, overload
from weakref import ref

from memguard._kinds.cache.calls import Calls
from memguard._kinds.cache.figures import CacheInfo
from memguard._kinds.cache.flight import MISSING, aload, arefresh, refresh
from memguard._kinds.cache.owned import FunctionCache
from memguard._kinds.cache.wanted import is_some
from memguard._kinds.cache.wrappers import GENERIC, make_wrapper
from memguard._kinds.callbacks import name_of
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
    calls = Calls(fn, cache, store or is_some, patience)
    wrapper = _wrapper(calls)
    _add_verbs(wrapper, calls)
    calls.wrapper = ref(wrapper)
    cache.serve(calls)
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


def _wrapper(calls: Calls) -> Any:
    """
    The function itself, without its verbs.
    """
    fn, cache = calls.fn, calls.cache
    # What has another signature than its code binds its arguments itself, and so does
    # what no source can spell.
    is_plain = (
        type(fn) is FunctionType
        and not (hasattr(fn, "__wrapped__") or hasattr(fn, "__signature__"))
        and all(map(_is_name, (*calls.parameters.names, *calls.parameters.keywords)))
    )
    is_method = calls.is_method() if is_plain else None
    parameters = calls.parameters if is_plain and is_method is not None else GENERIC

    def load(key: Any) -> Any:
        return aload(cache, calls.wanted(key))

    wrapper: Any = make_wrapper(
        parameters,
        is_async=calls.is_async,
        is_method=bool(is_method),
        front=cache._engine.front,
        calls=calls,
        load=load,
        missing=MISSING,
    )
    update_wrapper(wrapper, fn)
    if not hasattr(fn, "__name__"):
        wrapper.__name__ = wrapper.__qualname__ = name_of(fn)
    # Errors of the interpreter name the code, not the function.
    names = {"co_name": wrapper.__name__}
    if hasattr(wrapper.__code__, "co_qualname"):
        names["co_qualname"] = wrapper.__qualname__
    wrapper.__code__ = wrapper.__code__.replace(**names)
    if parameters is not GENERIC:
        wrapper.__defaults__ = fn.__defaults__
        wrapper.__kwdefaults__ = fn.__kwdefaults__
    return wrapper


def _is_name(name: str) -> bool:
    return name.isidentifier() and not iskeyword(name)


def _add_verbs(wrapper: Any, calls: Calls) -> None:
    cache = calls.cache

    def invalidate(*args: Any, **kwargs: Any) -> bool:
        return cache.invalidate(calls.key(args, kwargs, "invalidate"))

    def renew(*args: Any, **kwargs: Any) -> Any:
        return refresh(cache, calls.wanted(calls.key(args, kwargs, "refresh")))

    async def arenew(*args: Any, **kwargs: Any) -> Any:
        return await arefresh(cache, calls.wanted(calls.key(args, kwargs, "refresh")))

    wrapper.invalidate = invalidate
    wrapper.refresh = arenew if calls.is_async else renew
    wrapper.clear = cache.clear
    wrapper.info = cache.info
    wrapper.fast = calls.fast(wrapper)
