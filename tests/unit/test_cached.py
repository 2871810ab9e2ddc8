"""
Cached functions: real functions, of any signature, sync and async, and methods.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import pickle
import threading
import types
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from memguard._kinds.cache import Cache, make_cached
from memguard._kinds.cache.instances import Instances
from memguard._registry import Registry
from memguard._tree import Branch, conflict
from memguard.errors import ScopeClosed, SpecConflict
from memguard.testing import FakeClock

SOON = 5.0


class Root(Branch):
    """
    The least that can own the caches of functions.
    """

    __slots__ = ("anonymous",)

    def __init__(self, clock: FakeClock) -> None:
        registry = Registry(clock, clock)
        super().__init__(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        self.owner = None
        self._children = {}
        self.anonymous = False

    def place(self, node: Cache[Any, Any]) -> Any:
        """
        Attach under its name, as the factories of a scope do it; or without a name.
        """
        if self.anonymous:
            return node.attach()
        first = self.name_child(node)
        if first is None:
            return node
        if first.spec != node.spec:  # type: ignore[attr-defined]
            raise conflict(first, "something")
        return first

    def cached(self, fn: Any = None, **options: Any) -> Any:
        """
        As the decorator of a scope: bare or with options.
        """
        if fn is None:
            return functools.partial(self.cached, **options)
        return make_cached(self.place, self, fn, **options)

    @property
    def caches(self) -> list[Any]:
        """
        The caches that are there.
        """
        return list(self.children())


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that starts at zero.
    """
    return FakeClock(start=0.0)


@pytest.fixture
def root(clock: FakeClock) -> Root:
    """
    An owner in virtual time.
    """
    return Root(clock)


_module_root = Root(FakeClock())


@_module_root.cached(max_entries=5)
def doubled(number: int, *, plus: int = 0) -> int:
    """
    Twice the number.
    """
    return number * 2 + plus


class Calls(list[Any]):
    """
    What a function was called with.
    """

    def __call__(self, *args: Any) -> None:
        self.append(args)


# -- a real function -------------------------------------------------------------------


def test_is_a_function_like_the_one_it_wraps() -> None:
    """
    Name, doc, signature, annotations and module; `__wrapped__` goes past the cache.
    """
    assert isinstance(doubled, types.FunctionType)
    assert ("doubled", "doubled") == (doubled.__name__, doubled.__qualname__)
    assert "Twice" in (doubled.__doc__ or "")
    assert "(number: 'int', *, plus: 'int' = 0) -> 'int'" == str(
        inspect.signature(doubled)
    )
    assert {"number": int, "plus": int, "return": int} == inspect.get_annotations(
        doubled, eval_str=True
    )
    assert (14, __name__) == (doubled.__wrapped__(7), doubled.__module__)


def test_pickles_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Worker pools send functions by name: the cached one arrives as itself.
    """
    monkeypatch.setitem(
        __import__("sys").modules, __name__, SimpleNamespace(doubled=doubled)
    )
    assert doubled is pickle.loads(pickle.dumps(doubled))
    assert doubled is copy.deepcopy(doubled)


def test_bare_and_with_options(root: Root) -> None:
    """
    Both spellings of the decorator.
    """

    @root.cached
    def bare(a: int) -> int:
        return a

    @root.cached(max_entries=3)
    def given(a: int) -> int:
        return a

    assert (1000, 3) == (bare.info().max_entries, given.info().max_entries)


def test_the_cache_is_named_after_the_function(root: Root) -> None:
    """
    Reports show where it belongs; two functions of one name have two caches.
    """

    def make(plus: int) -> Any:
        @root.cached
        def inner(a: int) -> int:
            return a + plus

        return inner

    one, two = make(1), make(2)
    assert (11, 12) == (one(10), two(10))
    first, second = root.caches
    name = f"{__name__}.{make.__qualname__}.<locals>.inner"
    assert name == first.name
    assert second.name.startswith(f"{name}#")
    root.anonymous = True
    assert 13 == make(3)(10)


def test_a_name_of_ones_own(root: Root) -> None:
    """
    Asked for twice it is a conflict: functions do not share results.
    """
    root.cached(abs, name="mine")
    assert ["mine"] == [one.name for one in root.caches]
    with pytest.raises(SpecConflict, match="cache 'mine' exists"):
        root.cached(abs, name="mine")


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"max_entries": 0}, ValueError, "max_entries"),
        ({"store": 7}, TypeError, "store"),
        ({"load_timeout": 0}, ValueError, "load_timeout"),
        ({"load_timeout": None}, ValueError, "load_timeout"),
        ({"bogus": 1}, TypeError, "bogus"),
    ],
)
def test_a_bad_option_is_refused_at_the_door(
    root: Root, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    """
    At decoration, not at the first call; and nothing is left in the tree.
    """
    with pytest.raises(error, match=told):
        root.cached(lambda: 1, **options)
    assert [] == root.caches


def generator() -> Any:
    """
    Yields once.
    """
    yield 1


async def async_generator() -> Any:
    """
    Yields once, on a loop.
    """
    yield 1


@pytest.mark.parametrize("fn", [generator, async_generator])
def test_a_generator_function_is_refused(root: Root, fn: Any) -> None:
    """
    Its result can be read once: the second caller would get nothing.
    """
    with pytest.raises(TypeError, match="generator function"):
        root.cached(fn)


@pytest.mark.parametrize("thing", [7, "name", None.__class__.__mro__])
def test_only_functions_are_cached(root: Root, thing: Any) -> None:
    """
    The error says what it got instead.
    """
    with pytest.raises(TypeError, match="takes a function"):
        root.cached(thing)


# -- keys ------------------------------------------------------------------------------


def test_one_call_in_many_spellings(root: Root) -> None:
    """
    By position, by name, with and without defaults: one entry.
    """
    calls = Calls()

    @root.cached
    def f(a: int, b: int = 2, *, c: int = 3) -> int:
        calls(a, b, c)
        return a + b + c

    assert {6} == {f(1), f(1, 2), f(a=1), f(1, b=2), f(b=2, a=1, c=3), f(1, 2, c=3)}
    assert [(1, 2, 3)] == calls
    f(1, c=4)
    f(2)
    assert (3, 3) == (len(calls), f.info().entries)


def test_only_positional_and_rest(root: Root) -> None:
    """
    `/`, `*args` and `**kwargs`, and names that occur in both.
    """
    calls = Calls()

    @root.cached
    def f(a: int, /, b: int = 0, *args: int, c: int = 0, **kwargs: int) -> None:
        calls(a, b, args, c, kwargs)

    spellings = [
        lambda: f(1),
        lambda: f(1, 2, 3, 4),
        lambda: f(1, 2, 3, c=4),
        lambda: f(1, a=5),
        lambda: f(1, x=1, y=2),
        lambda: f(1, (2,)),
    ]
    for call in spellings:
        call()
        call()
    f(1, y=2, x=1)
    f(1, 0, c=0)
    assert len(spellings) * 2 + 2 == len(calls)

    @root.cached(store=lambda result: True)
    def g(*args: int, **kwargs: int) -> None:
        calls(args, kwargs)

    calls.clear()
    for _ in range(2):
        g()
        g(1, 2)
        g((1, 2))
        g(x=1, y=2)
        g(y=2, x=1)
        g(("x", 1))
    assert 5 == len(calls)


def test_other_callables(root: Root) -> None:
    """
    Built-in functions, partials, callable objects and classes can be cached too.
    """

    class Adder:
        def __call__(self, a: int, b: int = 1) -> int:
            return a + b

    adder = root.cached(Adder())
    assert (3, 3, 1) == (adder(2), adder(2, b=1), adder.info().hits)
    assert "Adder" in adder.__name__
    power = root.cached(functools.partial(pow, 2))
    assert (8, 8, 1) == (power(3), power(3), power.info().hits)
    biggest = root.cached(max)
    assert (3, 3, 1) == (biggest(1, 3), biggest(1, 3), biggest.info().hits)
    number = root.cached(complex)
    assert (1 + 2j, 1 + 2j, 1) == (number(1, 2), number(1, 2), number.info().hits)


def test_a_decorated_function_keeps_its_shown_signature(root: Root) -> None:
    """
    Behind another decorator the signature it shows counts.
    """

    def logged(fn: Any) -> Any:
        @functools.wraps(fn)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return inner

    @root.cached
    @logged
    def f(a: int, b: int = 2) -> int:
        return a + b

    assert (3, 3, 1) == (f(1), f(1, b=2), f.info().hits)


def test_a_wrong_call_raises_what_the_function_raises(root: Root) -> None:
    """
    The complaint about the arguments is Python's own.
    """

    @root.cached
    def f(a: int, /, b: int, *, c: int = 0) -> int:
        return a

    for call in (
        f,
        lambda: f(1),
        lambda: f(1, 2, 3),
        lambda: f(1, 2, b=2),
        lambda: f(a=1, b=2),
        lambda: f(1, 2, d=3),
    ):
        with pytest.raises(TypeError, match=r"f\(\)"):
            call()
    assert 0 == f.info().misses


def test_an_argument_that_cannot_be_hashed_is_named(root: Root) -> None:
    """
    With what to do about it, and without its value.
    """

    @root.cached
    def f(a: int, secret: Any = 0, *args: Any, **kwargs: Any) -> int:
        return a

    with pytest.raises(
        TypeError, match="argument 'secret' of cached function"
    ) as found:
        f(1, ["password"])
    assert "__wrapped__" in str(found.value)
    assert "list" in str(found.value)
    assert "password" not in str(found.value)
    with pytest.raises(TypeError, match=r"'\*args\[1\]'"):
        f(1, 2, 3, {})
    with pytest.raises(TypeError, match="argument 'x'"):
        f(1, x=set())
    with pytest.raises(TypeError, match="argument 'a'"):
        f.invalidate([])


# -- results ---------------------------------------------------------------------------


def test_none_is_not_stored_unless_asked(root: Root) -> None:
    """
    A negative result is asked for again; `store` decides otherwise.
    """
    calls = Calls()

    def find(key: str) -> Any:
        calls(key)
        return None if key == "none" else key

    usual = root.cached(find)
    everything = root.cached(store=lambda value: True)(find)
    odd = root.cached(store=lambda value: value != "x")(find)
    for f, expected in ((usual, 2), (everything, 1), (odd, 1)):
        calls.clear()
        assert (None, None) == (f("none"), f("none"))
        assert expected == len(calls)
    odd("x")
    assert 1 == odd.info().entries


def test_failures_are_never_stored(root: Root) -> None:
    """
    Each call fails by itself.
    """
    calls = Calls()

    @root.cached(store=lambda value: True)
    def f() -> None:
        calls()
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            f()
    assert (2, 2, 0) == (len(calls), f.info().load_failures, f.info().entries)


def test_a_store_that_fails_is_reported(root: Root) -> None:
    """
    The caller gets the result, which is not stored.
    """
    f = root.cached(store=lambda value: value / 0)(abs)
    assert (1, 0) == (f(-1), f.info().entries)
    assert ["ZeroDivisionError"] == [key[1] for key in root.registry.failures.counts]


def test_results_that_can_be_used_once_are_refused(root: Root) -> None:
    """
    A coroutine or a generator would be served to a second caller empty.
    """

    async def coroutine() -> int:
        return 1

    @root.cached
    def plain(kind: str) -> Any:
        return coroutine() if kind == "coroutine" else generator()

    with pytest.raises(TypeError, match="async def"):
        plain("coroutine")
    with pytest.raises(TypeError, match="generator, which only one"):
        plain("generator")


def test_options_of_the_cache_hold(root: Root, clock: FakeClock) -> None:
    """
    Caps, age and listeners, as for any cache.
    """
    gone: list[Any] = []

    @root.cached(max_bytes=2000, ttl=10, on_evict=lambda *told: gone.append(told))
    def text(size: int) -> str:
        return "x" * size

    for size in range(100, 1000, 100):
        text(size)
    assert text.info().bytes <= 2000
    clock.advance(10)
    text(900)
    assert (9, "ttl") == (len(gone), gone[-1][2])


# -- the verbs -------------------------------------------------------------------------


def test_invalidate_clear_refresh_and_fast(root: Root) -> None:
    """
    The verbs take the arguments of a call.
    """
    state = {"value": 1}

    @root.cached
    def f(key: str, *, of: str = "x") -> int:
        return state["value"]

    assert (1, 1) == (f("a"), f.fast("a"))
    state["value"] = 2
    assert (1, True, False) == (f("a"), f.invalidate("a", of="x"), f.invalidate("a"))
    assert 2 == f.fast("a")
    state["value"] = 3
    assert (2, 3, 3) == (f("a"), f.refresh(key="a"), f("a"))
    state["value"] = 4
    f("b")
    f.clear()
    assert (0, 4) == (f.info().entries, f("a"))
    with pytest.raises(TypeError, match=r"f\.invalidate\(\) takes the arguments"):
        f.invalidate()
    with pytest.raises(TypeError, match=r"f\.refresh\(\) takes the arguments"):
        f.refresh("a", bogus=1)


def test_a_refresh_that_fails_keeps_the_old(root: Root) -> None:
    """
    Until a new result is there the old one is served; a None takes it away.
    """
    results: list[Any] = [1, ZeroDivisionError(), 2, None]

    @root.cached
    def f() -> Any:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    f()
    with pytest.raises(ZeroDivisionError):
        f.refresh()
    assert (1, 2, 2) == (f(), f.refresh(), f())
    assert (None, 0) == (f.refresh(), f.info().entries)


def test_the_old_result_is_served_during_a_refresh(root: Root) -> None:
    """
    Nobody waits for it who can have what is there.
    """
    begun, go_on = threading.Event(), threading.Event()
    calls = Calls()

    @root.cached
    def f() -> int:
        calls()
        if len(calls) == 2:
            begun.set()
            go_on.wait(SOON)
        return len(calls)

    f()
    thread = threading.Thread(target=f.refresh)
    thread.start()
    assert begun.wait(SOON)
    assert 1 == f()
    go_on.set()
    thread.join(SOON)
    assert 2 == f()


# -- async -----------------------------------------------------------------------------


def test_an_async_function_stays_one(root: Root) -> None:
    """
    Once for all who call it at the same time; then from the cache.
    """
    calls = Calls()

    @root.cached(ttl="1m")
    async def load(key: str, extra: int = 0) -> str:
        """
        Slow.
        """
        calls(key)
        await asyncio.sleep(0.01)
        return key.upper()

    assert inspect.iscoroutinefunction(load)
    assert isinstance(load, types.FunctionType)

    async def main() -> Any:
        together = await asyncio.gather(*(load("a") for _ in range(5)))
        again = [await load("a", extra=0), await load.fast("a", 0)]
        fresh = await load.refresh("a")
        with pytest.raises(TypeError, match=r"load\(\)"):
            await load()
        return together, again, fresh, load.invalidate("a")

    assert (["A"] * 5, ["A", "A"], "A", True) == asyncio.run(main())
    assert [("a",)] * 2 == calls


def test_an_async_function_behind_a_partial(root: Root) -> None:
    """
    It is recognised, and its name is that of the function.
    """

    async def f(a: int, b: int) -> int:
        return a + b

    cached = root.cached(functools.partial(f, 1))
    assert inspect.iscoroutinefunction(cached)
    assert cached.__name__.endswith("f")
    assert 3 == asyncio.run(cached(2))


def test_async_failures_and_none_are_not_stored(root: Root) -> None:
    """
    As with plain functions.
    """
    calls = Calls()

    @root.cached
    async def f(fails: bool) -> None:
        calls()
        if fails:
            raise ZeroDivisionError

    async def main() -> None:
        for _ in range(2):
            assert await f(False) is None
            with pytest.raises(ZeroDivisionError):
                await f(True)

    asyncio.run(main())
    assert (4, 0) == (len(calls), f.info().entries)


def test_an_async_function_on_two_loops(root: Root) -> None:
    """
    Nothing is bound to a loop: what one has loaded another gets.
    """
    calls = Calls()

    @root.cached
    async def f() -> int:
        calls()
        await asyncio.sleep(0)
        return 1

    assert (1, 1, 1) == (asyncio.run(f()), asyncio.run(f()), len(calls))


# -- methods ---------------------------------------------------------------------------


def shop(root: Root) -> Any:
    """
    A class with cached methods of all sorts.
    """

    class Shop:
        calls = Calls()

        def __init__(self, name: str) -> None:
            self.name = name

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        def __hash__(self) -> int:
            raise AssertionError

        @root.cached
        def price(self, item: str, *, vat: bool = True) -> str:
            """
            A method.
            """
            self.calls("price", self.name)
            return f"{self.name} {item}"

        @root.cached
        def odd_first_name(this, item: str) -> str:  # noqa: N805
            this.calls("odd", this.name)
            return this.name + item

        @classmethod
        @root.cached
        def of_class(cls, item: str) -> str:
            cls.calls("of_class", cls.__name__)
            return cls.__name__ + item

        @root.cached
        @classmethod
        def of_class_too(klass, item: str) -> str:  # noqa: N804
            klass.calls("of_class_too", klass.__name__)
            return klass.__name__ + item

        @staticmethod
        @root.cached
        def static(item: str) -> str:
            Shop.calls("static")
            return item

        @root.cached
        @staticmethod
        def static_too(item: str) -> str:
            Shop.calls("static_too")
            return item

        @property
        @root.cached
        def whole(self) -> str:
            self.calls("whole")
            return self.name * 2

    return Shop


def test_methods_are_cached_for_each_instance(root: Root) -> None:
    """
    By identity: nothing that the class says about equality is asked.
    """
    kind = shop(root)
    one, two = kind("one"), kind("two")
    for _ in range(2):
        assert ("one a", "two a") == (one.price("a"), two.price(item="a", vat=True))
        assert ("onea", "twoa") == (one.odd_first_name("a"), two.odd_first_name("a"))
        assert ("oneone", "twotwo") == (one.whole, two.whole)
    assert 6 == len(kind.calls)
    assert "A method." in kind.price.__doc__
    assert (True, False) == (
        kind.price.invalidate(one, "a"),
        kind.price.invalidate(one, "a"),
    )
    assert "one a" == kind.price.refresh(one, "a")


def test_class_and_static_methods(root: Root) -> None:
    """
    In either order of the decorators; a subclass has its own results.
    """
    kind = shop(root)

    class Branch(kind):  # type: ignore[misc]
        pass

    for _ in range(2):
        assert ("Shopa", "Brancha") == (kind.of_class("a"), Branch.of_class("a"))
        assert ("Shopa", "Brancha") == (
            kind.of_class_too("a"),
            Branch.of_class_too("a"),
        )
        assert ("a", "a") == (kind.static("a"), kind("x").static("a"))
        assert ("a", "a") == (kind.static_too("a"), kind("x").static_too("a"))
    assert 6 == len(kind.calls)
    assert isinstance(vars(kind)["of_class_too"], classmethod)
    assert isinstance(vars(kind)["static_too"], staticmethod)


def test_a_method_does_not_keep_its_instance(root: Root) -> None:
    """
    Its entries go with it, at the next use or when the guard looks, in each method.
    """
    kind = shop(root)
    caches = root.caches
    things = [kind(str(number)) for number in range(5)]
    for thing in things:
        thing.price("a")
        thing.price("b")
        thing.odd_first_name("a")
        kind.static("x")
    watches = [weakref.ref(one) for one in things]
    gone: list[Any] = []
    caches[0]._on_evict = lambda *told: gone.append(told)
    stays = things.pop()
    things.clear()
    del thing
    gc.collect()
    assert [True] * 4 == [watch() is None for watch in watches[:4]]
    stays.price("a")
    assert (2, 8) == (len(caches[0]), len(gone))
    assert {"explicit"} == {cause for _, _, cause in gone}
    assert 5 == len(caches[1])
    root.registry.settle_collected()
    assert 1 == len(caches[1])


def test_a_new_instance_in_the_same_place_is_another(root: Root) -> None:
    """
    A place in memory that is used again does not bring old results back.
    """
    kind = shop(root)
    for number in range(50):
        assert f"{number} a" == kind(str(number)).price("a")
    assert 50 == len(kind.calls)
    root.registry.settle_collected()
    cache = root.caches[0]
    assert (0, 0) == (len(cache), len(cache.instances._refs))


def test_a_token_is_that_of_the_instance_that_lives() -> None:
    """
    Also before anybody has noticed that the one before it died.
    """

    class Thing:
        pass

    instances = Instances(lambda: None)
    old, new = Thing(), Thing()
    first = instances.token(old)
    assert first is instances.token(old)
    instances.note(first, (first, 1), 1, lambda _: True)
    stale = instances._refs.pop(id(old))
    del old
    # As if the new one lay where the old one was.
    instances._refs[id(new)] = stale
    stale.ident = id(new)
    second = instances.token(new)
    assert second is not first
    assert ([(first, 1)], []) == (instances.take_dead(), instances.take_dead())
    assert second is instances.token(new)


def test_a_long_life_with_many_calls_stays_small(root: Root) -> None:
    """
    What an instance is known for does not grow with calls whose results have left.
    """
    calls = Calls()

    class Service:
        @root.cached(max_entries=10)
        def f(self, number: int) -> int:
            calls()
            return number

    service = Service()
    for number in range(2000):
        service.f(number)
    (cache,) = root.caches
    (keys,) = cache.instances._keys.values()
    assert len(keys) <= 2 * 10 + 64
    del service, keys
    gc.collect()
    root.registry.settle_collected()
    assert 0 == len(cache)


def test_an_instance_without_weak_references_is_an_error(root: Root) -> None:
    """
    Keeping it alive would be the leak; the error says how to mend it.
    """

    class Slotted:
        __slots__ = ()

        @root.cached
        def f(self) -> int:
            return 1

    with pytest.raises(TypeError, match="add '__weakref__' to its __slots__"):
        Slotted().f()


# -- life ------------------------------------------------------------------------------


def test_the_cache_ends_with_the_function(root: Root) -> None:
    """
    Functions made in functions do not pile up caches.
    """

    def make() -> Any:
        @root.cached
        def inner(a: int) -> int:
            return a

        return inner

    thing = make()
    thing(1)
    assert 1 == len(root.caches)
    gc.disable()
    try:
        del thing
        root.registry.settle_collected()
        assert [] == root.caches
    finally:
        gc.enable()
    assert {} == root.registry.failures.counts


def test_a_function_outlives_its_cache(root: Root) -> None:
    """
    After the end of its scope it is just the function: shutdown code may call it.
    """
    calls = Calls()

    @root.cached
    def f(a: int) -> int:
        calls(a)
        return a

    f(1)
    root.caches[0].close()
    assert (1, 1, 1) == (f(1), f(1), f.refresh(1))
    assert (4, 0) == (len(calls), f.info().entries)
    with pytest.raises(ScopeClosed):
        f.info.__self__.put("a", 1)


def test_recursion_and_reentry(root: Root) -> None:
    """
    Memoised recursion works, and a call inside of the same call computes.
    """

    @root.cached
    def fib(n: int) -> int:
        return n if n < 2 else int(fib(n - 1) + fib(n - 2))

    assert 354224848179261915075 == fib(100)
    depth = Calls()

    @root.cached
    def again() -> int:
        depth()
        return 1 if len(depth) == 3 else int(again()) + 1

    assert (3, 3, 3) == (again(), again(), len(depth))


def test_of_many_threads_one_calls(root: Root) -> None:
    """
    Single flight for functions, too.
    """
    calls = Calls()
    together = threading.Barrier(8)

    @root.cached
    def slow() -> int:
        calls()
        threading.Event().wait(0.05)
        return 1

    def work() -> None:
        together.wait(SOON)
        slow()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert 1 == len(calls)


def test_an_argument_is_not_kept_by_a_call(root: Root) -> None:
    """
    What was not stored leaves nothing behind, nor does what was invalidated.
    """

    class Thing:
        pass

    @root.cached
    def f(thing: Thing, keep: bool) -> Any:
        return 1 if keep else None

    gc.disable()
    try:
        for keep in (True, False):
            thing = Thing()
            watch = weakref.ref(thing)
            f(thing, keep)
            f.invalidate(thing, keep)
            del thing
            assert watch() is None
    finally:
        gc.enable()
