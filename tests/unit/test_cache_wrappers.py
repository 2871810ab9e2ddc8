"""
Cached functions of every kind of signature: what is called like what they stand for.

Longer than 300 lines because each kind of signature is a case of its own.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import operator
import pickle
import random
import traceback
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from memguard._kinds.cache import Cache, make_cached
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.testing import FakeClock


class Root(Branch):
    """
    The least that can own the caches of functions.
    """

    __slots__ = ()

    def __init__(self) -> None:
        clock = FakeClock(start=0.0)
        registry = Registry(clock, clock)
        super().__init__(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        self.owner = None
        self._children = {}

    def place(self, node: Cache[Any, Any]) -> Any:
        """
        Attach under its name.
        """
        first = self.name_child(node)
        return node if first is None else first

    def cached(self, fn: Any = None, **options: Any) -> Any:
        """
        As the decorator of a scope.
        """
        if fn is None:
            return functools.partial(self.cached, **options)
        return make_cached(self.place, self, fn, **options)


@pytest.fixture
def root() -> Root:
    """
    An owner in virtual time.
    """
    return Root()


_root = Root()


@_root.cached
def triple(
    number: int, /, plus: int = 0, *rest: int, times: int = 3, **named: int
) -> Any:
    """
    Three times the number.
    """
    return number * times + plus, rest, named


# -- signatures ------------------------------------------------------------------------

# `_` is a call counter that functions get by closure: see `made`.
SIGNATURES = [
    "",
    "a",
    "a=1",
    "a, b",
    "a, b=2",
    "a=1, b=2, c=3",
    "a, /",
    "a=1, /",
    "a, /, b",
    "a, b=2, /, c=3",
    "a, /, b=2, *, c=3",
    "*, a",
    "*, a=1",
    "*, a, b=2",
    "a, *, b",
    "a=1, *, b=2, c",
    "*args",
    "a, *args",
    "a, b=2, *args",
    "a, /, *args",
    "**kwargs",
    "a, **kwargs",
    "a=1, /, **kwargs",
    "a, /, **kwargs",
    "*args, **kwargs",
    "*args, a",
    "*args, a=1, **kwargs",
    "a, *args, b=2, **kwargs",
    "a, /, b=2, *args, c=3, **kwargs",
    # Names of what is in the wrapper's own code, and of what is built in.
    "front",
    "calls, key",
    "key, token=1, *args, missing=2, **load",
    "value",
    "type, *args",
    "type, **kwargs",
    "sorted=1, **kwargs",
    "tuple, *sorted, **type",
    "TypeError",
    "error, TypeError=1, *error_",
    "args, kwargs",
    "args, *kwargs",
    "kwargs, **args",
    "wrapper, make=1",
    "flat, *more",
    # Names that are spelled otherwise than most.
    "größe, *, ключ=1",
    "名前, **其他",
    "ﬁeld",
    "_, __=2",
    "__private, *args",
    "fn, cache=1",
]


def made(signature: str, *, is_async: bool = False) -> Any:
    """
    A function with this signature that returns its arguments, and counts its calls.
    """
    names = inspect.signature(_compiled(f"def f({signature}): pass")).parameters
    listed = "".join(f"({name!r}, {name}), " for name in names)
    keyword = "async def" if is_async else "def"
    source = (
        f"{keyword} f({signature}):\n"
        f"    'Its doc.'\n"
        f"    counted·.append(1)\n"
        f"    return tuple·([{listed}('call', len·(counted·))])\n"
    )
    return _compiled(source)


def _compiled(source: str) -> Any:
    scope: dict[str, Any] = {"counted·": [], "tuple·": tuple, "len·": len}
    exec(source, scope)
    scope["f"].counted = scope["counted·"]
    return scope["f"]


def calls_of(fn: Any) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """
    Many ways to call it, right ones and wrong ones.
    """
    names = [*inspect.signature(fn).parameters, "other", "more"]
    draw = random.Random(repr(names))
    ways: list[Any] = [((), {}), ((1,), {}), ((1, 2), {}), (("x", 2.5, None), {})]
    ways += [
        (tuple(range(count)), dict.fromkeys(names[count:-2], 3))
        for count in range(len(names))
    ]
    for _ in range(60):
        values = [1, "a", None, (1, 2)]
        args = tuple(draw.choice(values) for _ in range(draw.randrange(4)))
        chosen = draw.sample(names, draw.randrange(min(4, len(names) + 1)))
        ways.append((args, {name: draw.choice([1, 2, "b"]) for name in chosen}))
    return ways


def plain(result: Any) -> Any:
    """
    The arguments in a result, keywords in one order.
    """
    return [
        (name, sorted(value.items()) if type(value) is dict else value)
        for name, value in result[:-1]
    ]


def said(signature: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """
    The arguments as such a function gets them; None if it cannot be called like that.
    """
    try:
        return plain(made(signature)(*args, **kwargs))
    except TypeError:
        return None


@pytest.mark.parametrize("signature", SIGNATURES)
def test_binds_as_the_function_does(root: Root, signature: str) -> None:
    """
    Right calls give what it gives, one call for each way to say the same; wrong ones
    raise TypeError and do not call it.
    """
    fn = made(signature)
    cached = root.cached(fn, max_entries=500)
    assert inspect.signature(fn) == inspect.signature(cached)
    assert (fn.__name__, fn.__doc__, fn) == (
        cached.__name__,
        cached.__doc__,
        cached.__wrapped__,
    )
    seen: dict[Any, Any] = {}
    for args, kwargs in calls_of(fn):
        before = len(fn.counted)
        expected = said(signature, args, kwargs)
        if expected is None:
            for call in (cached, cached.invalidate, cached.refresh):
                with pytest.raises(TypeError):
                    call(*args, **kwargs)
            assert before == len(fn.counted)
            continue
        what = repr(expected)
        result = cached(*args, **kwargs)
        assert len(fn.counted) == before + (what not in seen)
        assert seen.setdefault(what, result) is result
        assert expected == plain(result)
        assert result is cached(*args, **kwargs)
    assert len(seen) == cached.info().entries
    if not seen:
        pytest.fail("no call was right")
    for args, kwargs in calls_of(fn):
        if said(signature, args, kwargs) is None:
            continue
        cached(*args, **kwargs)
        assert cached.invalidate(*args, **kwargs)
        assert not cached.invalidate(*args, **kwargs)
        before = len(fn.counted)
        new = cached(*args, **kwargs)
        assert before + 1 == len(fn.counted)
        assert new is not cached.refresh(*args, **kwargs)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_asynchronous_ones_bind_as_well(root: Root, signature: str) -> None:
    """
    They stay coroutine functions, and bind when they are called.
    """
    fn = made(signature, is_async=True)
    cached = root.cached(fn, max_entries=500)
    assert inspect.iscoroutinefunction(cached)

    async def main() -> None:
        for args, kwargs in calls_of(fn)[:25]:
            expected = said(signature, args, kwargs)
            if expected is None:
                with pytest.raises(TypeError):
                    await cached(*args, **kwargs)
                continue
            result = await cached(*args, **kwargs)
            assert expected == plain(result)
            assert result is await cached(*args, **kwargs)
            assert cached.invalidate(*args, **kwargs)

    asyncio.run(main())


@pytest.mark.parametrize("signature", SIGNATURES)
def test_fast_is_the_same_call(root: Root, signature: str) -> None:
    """
    By position, where all can be given like that.
    """
    fn = made(signature)
    cached = root.cached(fn, max_entries=500)
    for args, kwargs in calls_of(fn):
        if kwargs or said(signature, args, {}) is None:
            continue
        try:
            result = cached.fast(*args)
        except TypeError:
            # A lookup that knows of no defaults.
            assert type(cached.fast).__name__ == "builtin_function_or_method"
            assert len(args) != 1
            continue
        assert result is cached(*args) is cached.fast(*args)


# -- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize("signature", ["a", "a, *, b=1", "a, *args, **kwargs"])
def test_errors_name_the_function_and_the_argument(root: Root, signature: str) -> None:
    """
    As the interpreter names them; and which argument cannot be hashed.
    """
    cached = root.cached(made(signature))
    with pytest.raises(TypeError, match=r"f\(\).*missing.*'a'"):
        cached()
    with pytest.raises(TypeError, match=r"argument 'a' of cached function f is a list"):
        cached([])
    with pytest.raises(TypeError, match=r"argument 'a' .* is a dict"):
        cached.invalidate({})
    if "args" in signature:
        with pytest.raises(TypeError, match=r"argument '\*args\[1\]' .* is a set"):
            cached(1, 2, set())
        with pytest.raises(TypeError, match=r"argument 'z' .* is a list"):
            cached(1, z=[])
    with pytest.raises(TypeError, match=r"f\.refresh\(\) takes the arguments"):
        cached.refresh()


def test_errors_of_the_function_are_its_own(root: Root) -> None:
    """
    Even a TypeError passes as it is, with a traceback that names the function.
    """

    def fails(number: int) -> int:
        msg = f"own {number}"
        raise TypeError(msg)

    cached = root.cached(fails)
    for _ in range(2):
        with pytest.raises(TypeError, match="own 3") as caught:
            cached(3)
        assert caught.value.__cause__ is None
        names = [one.name for one in traceback.extract_tb(caught.tb)]
        assert 2 == names.count("fails")
    assert 0 == cached.info().entries


# -- kinds of callables ----------------------------------------------------------------


class Doer:
    """
    An object that can be called.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, a: int, b: int = 2) -> tuple[int, int, int]:
        self.calls += 1
        return a, b, self.calls


def test_objects_partials_builtins_and_lambdas(root: Root) -> None:
    """
    They are called once for the same call, in any spelling that they know.
    """
    thing = root.cached(Doer())
    assert (1, 2, 1) == thing(1) == thing(a=1) == thing(1, b=2)
    assert (1, 3, 2) == thing(1, 3)
    part = root.cached(functools.partial(Doer(), b=7))
    assert (5, 7, 1) == part(5) == part(5, b=7)
    add = root.cached(operator.add)
    assert (3, 3, 1) == (add(1, 2), add(1, 2), add.info().entries)
    biggest = root.cached(max)
    assert (9, 4) == (biggest(3, 9), biggest((1, 4), default=0))
    double = root.cached(lambda number: number * 2)
    assert (6, "aa", "<lambda>") == (double(3), double("a"), double.__name__)
    method = root.cached([3, 1, 2].index)
    assert (2, 2) == (method(2), method(2))


def test_what_wraps_another_is_called_as_it_shows_itself(root: Root) -> None:
    """
    `__wrapped__` gives the signature; the wrapper gets the call.
    """
    calls: list[Any] = []

    def inner(a: int, b: int = 2) -> int:
        return a + b

    @functools.wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return inner(*args, **kwargs)

    cached = root.cached(outer)
    assert 3 == cached(1) == cached(1, 2) == cached(b=2, a=1)
    assert 1 == len(calls)
    twice = root.cached(root.cached(inner))
    assert 5 == twice(2, 3) == twice(2, b=3)
    with pytest.raises(TypeError):
        cached()


def test_methods_of_all_kinds(root: Root) -> None:
    """
    For each instance and class; arguments may have any name.
    """

    class Shop:
        def __init__(self) -> None:
            self.calls = 0

        @root.cached
        def price(self, item: str, *, tax: int = 0) -> tuple[str, int, int]:
            self.calls += 1
            return item, tax, self.calls

        @root.cached
        def odd(this, self: int = 1, *cls: int) -> tuple[int, Any]:  # noqa: N805
            return self, cls

        @classmethod
        @root.cached
        def name(cls, number: int) -> str:
            return f"{cls.__name__}{number}"

        @staticmethod
        @root.cached
        def rate(front: int, calls: int = 2) -> int:
            return front * calls

    class Kiosk(Shop):
        pass

    one, other = Shop(), Shop()
    assert ("a", 0, 1) == one.price("a") == one.price(item="a") == one.price("a", tax=0)
    assert ("a", 0, 1) == other.price("a")
    assert ("b", 1, 2) == one.price("b", tax=1) == Shop.price(one, "b", tax=1)
    assert ((1, ()), (2, (3,))) == (one.odd(), one.odd(2, 3))
    assert ("Shop1", "Kiosk1") == (one.name(1), Kiosk.name(1))
    assert (6, 9) == (Shop.rate(3), one.rate(3, calls=3))
    assert Shop.price.invalidate(one, "a")
    assert ("a", 0, 3) == one.price("a")
    weak = weakref.ref(other)
    del other
    gc.collect()
    assert weak() is None
    one.price("c")
    assert 3 == Shop.price.info().entries


def test_an_argument_called_self_anywhere_but_first(root: Root) -> None:
    """
    It is an argument like others, and need not be referenced weakly.
    """

    @root.cached
    def f(a: int, self: str, cls: str = "c") -> tuple[Any, ...]:
        return a, self, cls

    assert (1, "x", "c") == f(1, "x") == f(1, self="x") == f(self="x", a=1, cls="c")
    assert 1 == f.info().entries


def test_recursion_and_nested_functions(root: Root) -> None:
    """
    A function may call itself, deeply, and one that is made again is another one.
    """

    @root.cached(max_entries=None, max_bytes="1MiB")
    def fibonacci(number: int) -> int:
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    assert 55 == fibonacci(10)
    assert 11 == fibonacci.info().misses

    def again(offset: int) -> Any:
        @root.cached
        def f(number: int) -> int:
            return number + offset

        return f

    one, other = again(1), again(2)
    assert (2, 3) == (one(1), other(1))


# -- a real function -------------------------------------------------------------------


def test_is_what_it_stands_for() -> None:
    """
    Name, doc, annotations, defaults and signature; pickled by name.
    """
    inner = triple.__wrapped__
    for name in (
        "__name__",
        "__qualname__",
        "__module__",
        "__doc__",
        "__annotations__",
    ):
        assert getattr(inner, name) == getattr(triple, name)
    assert (inner.__defaults__, inner.__kwdefaults__) == (
        triple.__defaults__,
        triple.__kwdefaults__,
    )
    assert inspect.signature(inner) == inspect.signature(triple)
    assert triple is pickle.loads(pickle.dumps(triple))
    assert inspect.isfunction(triple)
    assert ((9, ()), (7, (4,))) == (triple(3)[:2], triple(1, 4, 4)[:2])


def test_defaults_are_those_of_the_call(root: Root) -> None:
    """
    The objects themselves, also such as cannot be written down.
    """
    marker = object()

    @root.cached
    def f(a: Any = marker, *, b: Any = marker) -> tuple[Any, Any]:
        return a, b

    assert (marker, marker) == f() == f(marker) == f(b=marker)
    assert 1 == f.info().entries
    assert f.__defaults__ == (marker,)


def test_none_is_kept_where_it_is_wanted(root: Root) -> None:
    """
    With `store`; on the fast path too.
    """
    calls: list[int] = []

    @root.cached(store=lambda value: True)
    def f(a: int) -> None:
        calls.append(a)

    @root.cached
    def g(a: int) -> None:
        calls.append(a)

    for _ in range(3):
        assert f(1) is None is f.fast(1)
    assert [1] == calls
    for _ in range(3):
        assert g(2) is None
    assert [1, 2, 2, 2] == calls


def test_attributes_of_the_function_are_kept(root: Root) -> None:
    """
    But for the verbs, which are memguard's.
    """

    def f(a: int) -> int:
        return a

    f.mine = 1  # type: ignore[attr-defined]
    f.clear = 2  # type: ignore[attr-defined]
    cached = root.cached(f)
    assert 1 == cached.mine
    assert callable(cached.clear)


def test_the_cache_ends_with_the_function(root: Root) -> None:
    """
    Without a collection; what it held is let go.
    """

    class Value:
        pass

    @root.cached
    def f(a: int) -> Value:
        return Value()

    value = weakref.ref(f(1))
    wrapper = weakref.ref(f)
    gc.disable()
    try:
        assert value() is not None
        del f
        assert wrapper() is None
        root.registry.settle_collected()
        assert value() is None
    finally:
        gc.enable()
    assert [] == list(root.children())


def test_a_code_object_with_odd_names(root: Root) -> None:
    """
    Functions that no source gives: their arguments are bound without one.
    """

    def f(a: int, b: int = 2) -> tuple[int, int]:
        return a, b

    f.__code__ = f.__code__.replace(co_varnames=(".0", "not an identifier"))
    cached = root.cached(f)
    assert (1, 2) == cached(1) == cached(1, 2)
    assert 1 == cached.info().entries
