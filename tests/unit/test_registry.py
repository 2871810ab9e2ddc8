"""
Counters, bounded names, creation sites, and what is told of collected objects.
"""

from __future__ import annotations

import gc
import sys
import warnings
from types import CodeType
from typing import Any

import pytest

from memguard import Guard
from memguard._events import BackgroundFailure, Collected
from memguard._registry import Registry
from memguard._sites import Site, Sites, call_site, error_site, frames_text, outside
from memguard._tally import Tally, reading
from memguard._tree import Branch, Node
from memguard.errors import MemguardResourceWarning
from memguard.testing import FakeClock


@pytest.fixture
def registry() -> Registry:
    """
    One with a clock that stands still.
    """
    clock = FakeClock()
    return Registry(clock, clock)


class Thing:
    """
    Something with an end.
    """

    def close(self) -> None: ...


# -- counters --------------------------------------------------------------------------


def test_a_counter_is_read_without_counting() -> None:
    """
    However large it is.
    """
    from itertools import count

    counter = count(10**15)
    assert 10**15 == reading(counter)
    assert 10**15 == reading(counter)
    assert 10**15 == next(counter)


def test_an_unused_tally() -> None:
    """
    Nothing was made, nothing ended.
    """
    assert (0, 0, {}) == Tally().counts()


def test_tallies_by_kind_and_name(registry: Registry) -> None:
    """
    The same for the same, another for another.
    """
    assert registry.tally("a", "x") is registry.tally("a", "x")
    assert registry.tally("a", "x") is not registry.tally("a", "y")
    assert registry.tally("a", "") is registry.tally("a", "")
    assert registry.tally("a", "") is registry.unnamed["a"]
    assert registry.tally("a", "") is not registry.tally("b", "")


def test_names_of_a_kind_are_bounded(registry: Registry) -> None:
    """
    Beyond a hundred they share one; what has no name has its own all the same.
    """
    first = registry.tally("a", "name 0")
    for number in range(1000):
        registry.tally("a", f"name {number}")

    assert 101 >= len(registry.tallies["a"])
    assert registry.tally("a", "other") is registry.tally("a", "and another")
    assert first is registry.tally("a", "name 0")
    assert registry.tally("a", "") is not registry.tally("a", "other")


def test_live_by_kind() -> None:
    """
    All names of a kind together.
    """
    guard = Guard()
    things = [guard.register(Thing(), name=name) for name in ("a", "b", None)]
    assert 3 == guard.registry.live("resource")
    guard.release(things[0])
    assert 2 == guard.registry.live("resource")
    assert 0 == guard.registry.live("never")


def test_units_of_work(registry: Registry) -> None:
    """
    Counted by name; after two hundred names the rest is `other`.
    """
    for _ in range(3):
        assert "job" == registry.count_work("job")
    names = [registry.count_work(f"GET /{number}") for number in range(300)]

    units = registry.units_of_work()
    assert 3 == units["job"]
    assert 1 == units["GET /0"]
    assert "other" == names[-1]
    assert 101 == units["other"]
    assert 201 == len(units)


# -- what was collected ----------------------------------------------------------------


class Fallen(Node):
    """
    A node whose object died.
    """

    kind = "fallen"
    fault = True

    def collected_unclosed(self) -> bool:
        if not self.claim():
            return False
        self.settle()
        return self.fault


def test_a_collected_object_is_warned_about_with_its_site() -> None:
    """
    Where it was made, and what to do; the event says the same.
    """
    guard = Guard()
    events: list[Any] = []
    guard.subscribe(events.append)
    thing = guard.register(Thing(), name="db")
    line = sys._getframe().f_lineno - 1
    del thing
    gc.collect()

    with pytest.warns(MemguardResourceWarning) as caught:
        assert 1 == guard.registry.settle_collected()

    (warning,) = caught
    assert (__file__, line) == (warning.filename, warning.lineno)
    assert "resource db was collected before it was closed" in str(warning.message)
    assert f"test_registry.py:{line} in test_a_collected" in str(warning.message)
    (event,) = events
    assert isinstance(event, Collected)
    assert ("resource", "db") == (event.kind, event.name)
    assert 0 == guard.registry.settle_collected()
    assert {"unclosable": 1} == guard.registry.tally("resource", "db").released


def test_a_warning_that_a_filter_made_an_error_is_recorded(registry: Registry) -> None:
    """
    There is no caller who could take it.
    """
    branch = _branch(registry)
    registry.collected.append(Fallen(branch, "x").attach())
    with warnings.catch_warnings():
        warnings.simplefilter("error", MemguardResourceWarning)
        registry.settle_collected()

    ((where, error, _),) = registry.failures.counts
    assert ("resource collected unclosed", "MemguardResourceWarning") == (where, error)


def test_what_is_no_fault_is_not_warned_about(registry: Registry) -> None:
    """
    Settled, but silently; so is everything a forked child has inherited.
    """
    branch = _branch(registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        registry.collected.append(Faultless(branch, "x").attach())
        assert 1 == registry.settle_collected()
        registry.collected.append(Fallen(branch, "y").attach())
        registry.detached = True
        assert 1 == registry.settle_collected()
    assert {} == registry.failures.counts


class Faultless(Fallen):
    """
    A node that nobody had to close.
    """

    fault = False


def _branch(registry: Registry) -> Branch:
    """
    A branch that uses that registry.
    """
    guard = Guard()
    guard.registry = registry
    return Branch(guard, "branch")


def test_what_is_expected_to_die_is_bounded(registry: Registry) -> None:
    """
    The dead are dropped first, then the oldest.
    """

    class One:
        def __init__(self, alive: bool) -> None:
            self.alive = alive

    for number in range(10_001):
        registry.expect(One(alive=number % 4 == 0))

    assert 2501 == len(registry.expected)
    for _ in range(10_000):
        registry.expect(One(alive=True))
    assert 10_000 >= len(registry.expected)


# -- creation sites --------------------------------------------------------------------


def test_levels_of_sites() -> None:
    """
    Off: none. Sampled: the line. Full: the line and the callers.
    """
    for level, expected in (("off", None), ("sampled", tuple), ("full", Site)):
        guard = Guard(site_level=level)  # type: ignore[arg-type]
        thing = guard.register(Thing())
        (node,) = guard.children()
        if expected is None:
            assert node.site is None
            assert "unknown" == call_site(node.site)
        else:
            assert call_site(node.site).endswith("in test_levels_of_sites")
            assert (level == "full") == bool(node.site and node.site.stack)
        del thing


def test_one_of_128_has_a_stack() -> None:
    """
    The sampling rate of the level `sampled`.
    """
    guard = Guard()
    things = [guard.register(Thing()) for _ in range(1280)]
    sampled = [node for node in guard.children() if node.site and node.site.stack]

    assert len(things) == len(guard.children())
    assert len(sampled) in (9, 10, 11)
    assert any("test_one_of_128" in place for place in sampled[0].site.stack)  # type: ignore[union-attr]


def test_the_site_is_outside_of_memguard() -> None:
    """
    However many of its frames lie between, and for a scope as for what it owns.
    """
    guard = Guard()
    thing = Thing()
    with guard.scope("work") as scope:
        scope.register(thing)
        line = sys._getframe().f_lineno - 1
        ring = scope.ring("r")
        sites = [str(node.site) for node in guard.walk()]
    assert [True, True, False] == [f"py:{line} in" in site for site in sites]
    assert "test_the_site_is" in sites[2]
    assert ring is not None


def test_known_files_are_bounded() -> None:
    """
    A program that compiles code all the time cannot fill memory with their names.
    """
    sites = Sites()
    for number in range(5000):
        code = compile("f()", f"made up {number}", "exec")
        found: list[Any] = []
        exec(code, {"f": lambda found=found: found.append(sites.here(1))})
    assert len(outside) <= 4096


def test_a_site_keeps_no_frame() -> None:
    """
    Only code and an offset: nothing local lives longer.
    """
    guard = Guard()

    def make() -> Thing:
        local = Thing()
        thing = guard.register(Thing())
        assert local is not None
        return thing

    thing = make()
    (node,) = guard.children()
    referents = gc.get_referents(node)
    assert any(isinstance(one, CodeType) for one in referents)
    assert thing is not None


def test_where_an_error_was_raised() -> None:
    """
    The innermost place; nothing for an error that was never raised.
    """

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fail()

    assert "fail" in error_site(caught.value)
    assert "" == error_site(ValueError())


def test_stacks_have_places_and_no_values() -> None:
    """
    Innermost first, without memguard's own frames.
    """
    text = frames_text(sys._getframe(), 3)

    first, *rest = text.splitlines()
    assert "test_stacks_have_places" in first
    assert 2 == len(rest)
    assert "" == frames_text(None)


def test_a_failing_hook_breaks_nothing(registry: Registry) -> None:
    """
    Background failures are counted by place and type.
    """
    seen: list[Any] = []
    registry.events.subscribe(seen.append)
    for _ in range(3):
        registry.failures.record("here", ValueError("secret"), "a.py:1")

    assert [1, 2, 3] == [one.times for one in seen if type(one) is BackgroundFailure]
    assert {("here", "ValueError", "a.py:1"): 3} == registry.failures.counts
