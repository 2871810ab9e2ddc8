"""
Nodes and branches: claims, owners, names and counters, from one thread and from many.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memguard import Guard
from memguard._phases import CLOSED, CLOSING, OPEN, PLAIN, Ending, Outcome
from memguard._scope import Scope
from memguard._tree import Branch, Node, conflict
from memguard.errors import ScopeClosed, SpecConflict


class Leaf(Node):
    """
    A leaf that notes what is asked of it.
    """

    __slots__ = ("calls", "error")

    kind = "leaf"

    def __init__(
        self,
        owner: Branch,
        name: str | None = None,
        error: BaseException | None = None,
    ) -> None:
        super().__init__(owner, name)
        self.calls: list[str] = []
        self.error = error

    def _release(self) -> None:
        self.calls.append("release")
        if self.error is not None:
            raise self.error


@pytest.fixture
def guard() -> Guard:
    """
    A guard that was not started.
    """
    return Guard("root")


@pytest.fixture
def branch(guard: Guard) -> Branch:
    """
    An empty branch of it.
    """
    return Branch(guard, "branch")


@pytest.fixture
def many_switches() -> Iterator[None]:
    """
    Threads take turns as often as possible.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*calls: Callable[[], object]) -> list[BaseException]:
    """
    Make all calls at the same time, each in a thread; what they raised.
    """
    gate = threading.Barrier(len(calls))
    raised: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        gate.wait(10)
        try:
            call()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def counts_agree(guard: Guard) -> None:
    """
    What was made, what lives and what ended add up, for every kind and name.
    """
    living: dict[int, int] = {}
    for node in guard.walk():
        living[id(node.tally)] = living.get(id(node.tally), 0) + 1
    for names in guard.registry.tallies.values():
        for tally in names.values():
            created, live, released = tally.counts()
            assert created - live == sum(released.values())
            assert live == living.get(id(tally), 0)


# -- claims ----------------------------------------------------------------------------


def test_a_node_closes_once(branch: Branch) -> None:
    """
    Closing twice does nothing, and its state and ending tell.
    """
    leaf = Leaf(branch).attach()

    leaf.close()
    leaf.close()

    assert ["release"] == leaf.calls
    assert leaf.closed
    assert leaf.ending is PLAIN
    assert leaf.owner is None
    assert [] == branch.children()


def test_one_of_many_claims(branch: Branch, many_switches: None) -> None:
    """
    Eight threads at once, a hundred times: exactly one may close.
    """
    for _ in range(100):
        leaf = Leaf(branch).attach()
        won: list[bool] = []
        together(*[lambda leaf=leaf, won=won: won.append(leaf.claim())] * 8)  # type: ignore[misc]
        assert [True] == [one for one in won if one]
        assert CLOSING == leaf.state
        leaf.settle()


def test_what_a_close_raises_reaches_its_caller(branch: Branch) -> None:
    """
    After the leaf has left the tree, with its ending.
    """
    leaf = Leaf(branch, error=EOFError()).attach()

    with pytest.raises(EOFError):
        leaf.close()

    assert leaf.closed
    assert Ending(Outcome.UNCLOSABLE, "EOFError") == leaf.ending
    assert [] == branch.children()


def test_a_settled_node_cannot_be_claimed(branch: Branch) -> None:
    """
    What was given up without its close having begun is closed by nobody.
    """
    leaf = Leaf(branch).attach()
    leaf.settle(Ending(Outcome.ABANDONED))

    assert not leaf.claim()
    leaf.close()
    assert [] == leaf.calls


# -- owning ----------------------------------------------------------------------------


def test_an_empty_branch_is_no_record(guard: Guard) -> None:
    """
    It enters the tree when it first owns something, and its owners with it.
    """
    outer = Branch(guard, "outer")
    inner = Branch(outer, "inner")
    assert [] == guard.children()

    leaf = Leaf(inner, "leaf").attach()

    assert [outer] == guard.children()
    assert [outer, inner, leaf] == list(guard.walk())
    assert "root/outer/inner/leaf" == leaf.path
    assert inner.site is not None


def test_children_are_in_the_order_in_which_they_came(branch: Branch) -> None:
    """
    Oldest first; one that leaves changes nothing for the others.
    """
    leaves = [Leaf(branch, str(number)).attach() for number in range(4)]
    leaves[1].close()

    assert [leaves[0], leaves[2], leaves[3]] == branch.children()
    assert sorted(one.seq for one in leaves) == [one.seq for one in leaves]


def test_a_branch_that_ended_takes_nothing(branch: Branch) -> None:
    """
    The error names kind, name and state, and the cure.
    """
    leaf = Leaf(branch)
    branch.settle()

    with pytest.raises(ScopeClosed, match=r"scope 'branch' is closed.*open"):
        leaf.attach()


def test_a_node_without_an_owner_cannot_join(branch: Branch) -> None:
    """
    It has ended already.
    """
    leaf = Leaf(branch, "gone").attach()
    leaf.close()

    with pytest.raises(ScopeClosed, match="leaf 'gone' is closed"):
        leaf.attach()


def test_what_ends_while_it_takes_refuses_or_closes(many_switches: None) -> None:
    """
    A thousand times one thread registers while another leaves the scope: a thing is
    either refused or closed, and nothing is left in the tree.
    """

    class Thing:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    guard = Guard()
    for number in range(1000):
        scope = guard.scope("work")
        if number % 3 == 0:
            scope.register(first := Thing())
        if number % 2:
            scope.__enter__()
        thing = Thing()
        raised = together(
            lambda scope=scope, thing=thing: scope.register(thing),  # type: ignore[misc]
            (lambda scope=scope: scope.__exit__(None, None, None))  # type: ignore[misc]
            if number % 2
            else scope.close,
        )
        assert all(isinstance(one, ScopeClosed) for one in raised)
        assert (0 if raised else 1) == thing.closed
        if number % 3 == 0:
            assert 1 == first.closed
        assert scope.closed
        assert [] == guard.children()
    counts_agree(guard)


def test_two_first_children_at_once(many_switches: None) -> None:
    """
    The scope enters the tree once, and owns both.
    """

    class Thing:
        def close(self) -> None: ...

    guard = Guard()
    for _ in range(300):
        scope = guard.scope("work")
        things = [Thing() for _ in range(4)]
        assert [] == together(
            *[lambda s=scope, t=thing: s.register(t) for thing in things]  # type: ignore[misc]
        )
        assert [scope] == guard.children()
        assert 4 == len(scope.children())
        scope.close()
    assert 300 == guard.registry.tally("scope", "work").created
    counts_agree(guard)


def test_first_children_of_a_branch_that_was_attached_before(
    branch: Branch, many_switches: None
) -> None:
    """
    It is in the tree already; two that come first still meet in one place.
    """
    for _ in range(200):
        inner = Branch(branch, "inner").attach()
        assert [] == together(*[lambda b=inner: Leaf(b).attach()] * 3)  # type: ignore[misc]
        assert 3 == len(inner.children())


def test_a_child_that_somebody_else_closes_is_counted_later(branch: Branch) -> None:
    """
    Its branch may end first; the counters agree again when it has ended, too.
    """
    leaf = Leaf(branch, "slow").attach()
    assert leaf.claim()
    branch.settle()
    tally = leaf.tally
    assert tally is not None
    assert 1 == tally.live

    leaf.settle()
    leaf.settle()

    assert (1, 0, {"closed": 1}) == tally.counts()


def test_children_may_be_read_while_a_collection_ends_some(branch: Branch) -> None:
    """
    A destructor that closes leaves cannot break the reading.
    """

    class Ring:
        def __init__(self, leaf: Leaf) -> None:
            self.leaf, self.me = leaf, self

        def __del__(self) -> None:
            self.leaf.close()

    thresholds = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for _ in range(200):
            Ring(Leaf(branch).attach())
            Leaf(branch).attach()
            list(branch.walk())
            branch.children()
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert 200 == len(branch.children())


# The moments between two steps of one thread, in which another one does the worst.


def test_left_while_the_first_child_comes(guard: Guard) -> None:
    """
    Nobody saw anything to close: the child is refused, and nothing is in the tree.
    """
    scope = guard.scope("work")
    now = guard.registry.now

    def leave() -> float:
        guard.registry.now = now
        scope.__exit__(None, None, None)
        return now()

    leaf = Leaf(scope)
    guard.registry.now = leave
    leaf.seq = 1  # so that the scope is the first to ask for the time

    with pytest.raises(ScopeClosed, match="is closed"):
        scope.take(leaf)

    assert [] == guard.children()
    assert scope.closed
    counts_agree(guard)


def test_the_first_child_comes_while_the_block_is_left(guard: Guard) -> None:
    """
    It was looked for, then came, then the scope said that it is closed.
    """

    class Slow(Scope):
        __slots__ = ("_state", "leaf")
        leaf: Leaf | None

        @property
        def state(self) -> int:  # type: ignore[override]
            return self._state

        @state.setter
        def state(self, state: int) -> None:
            leaf = getattr(self, "leaf", None)
            if state == CLOSED and leaf is not None:
                self.leaf = None
                leaf.attach()
            self._state = state

    for leave in (lambda scope: scope.__exit__(None, None, None), Slow.close):
        scope = Slow(guard, "work")
        leaf = scope.leaf = Leaf(scope)
        leave(scope)

        assert leaf.closed
        assert ["release"] == leaf.calls
        assert scope.closed
        assert [] == guard.children()
    counts_agree(guard)


def test_the_branch_ends_while_a_child_comes_in(guard: Guard) -> None:
    """
    It is refused, and counted as made and ended.
    """

    class Late(Leaf):
        __slots__ = ()

        def __hash__(self) -> int:
            if self.seq and not scope.closed:
                scope.close()
            return object.__hash__(self)

    scope = guard.scope("work")
    first = Leaf(scope).attach()
    with pytest.raises(ScopeClosed):
        Late(scope, "late").attach()

    assert first.closed
    assert [] == guard.children()
    assert (1, 0, {"closed": 1}) == guard.registry.tally("leaf", "late").counts()


# -- names -----------------------------------------------------------------------------


def test_the_first_of_a_name_stays(branch: Branch) -> None:
    """
    `name_child` gives it back; kinds have names of their own.
    """
    first = Leaf(branch, "a")
    assert branch.name_child(first) is None

    second = Leaf(branch, "a")
    assert first is branch.name_child(second)
    assert [first] == branch.children()
    assert first is branch.find("leaf", "a")
    assert branch.find("other", "a") is None
    assert branch.find("leaf", "b") is None


def test_the_last_of_a_name_stays(branch: Branch) -> None:
    """
    `replace_child` closes the one before.
    """
    first, second = Leaf(branch, "a"), Leaf(branch, "a")
    branch.replace_child(first)
    branch.replace_child(second)

    assert first.closed
    assert second is branch.find("leaf", "a")
    assert [second] == branch.children()


def test_a_name_is_free_again_after_the_end(branch: Branch) -> None:
    """
    And a branch that ended has no names.
    """
    leaf = Leaf(branch, "a")
    branch.name_child(leaf)
    leaf.close()

    assert branch.find("leaf", "a") is None
    assert branch.name_child(Leaf(branch, "a")) is None
    branch.settle()
    with pytest.raises(ScopeClosed):
        branch.name_child(Leaf(branch, "b"))


def test_a_refused_child_takes_no_name(guard: Guard) -> None:
    """
    The name keeps whom it had.
    """
    scope = guard.scope("work")
    first = Leaf(scope, "a")
    scope.name_child(first)
    refused = Leaf(scope, "a")
    scope.state = CLOSING

    with pytest.raises(ScopeClosed):
        scope.replace_child(refused)

    assert first is scope.find("leaf", "a")
    assert OPEN == first.state


def test_the_conflict_names_the_first_site(branch: Branch) -> None:
    """
    And what differs.
    """
    first = Leaf(branch, "a").attach()

    error = conflict(first, "max_entries")

    assert isinstance(error, SpecConflict)
    assert "leaf 'a' exists already with another spec (max_entries)" in str(error)
    assert "test_tree.py" in str(error)


# -- counting --------------------------------------------------------------------------


def test_counters_by_outcome(guard: Guard, branch: Branch) -> None:
    """
    Made, living, and how the others ended.
    """
    leaves = [Leaf(branch, "a").attach() for _ in range(5)]
    leaves[0].close()
    leaves[1].claim()
    leaves[1].settle(Ending(Outcome.FORCED, "hung"))
    leaves[2].claim()
    leaves[2].settle(Ending(Outcome.CLOSED, "with a reason"))

    tally = guard.registry.tally("leaf", "a")
    assert (5, 2, {"closed": 2, "forced": 1}) == tally.counts()
    assert (5, 2) == (tally.created, tally.live)
    assert {"closed": 2, "forced": 1} == tally.released
    counts_agree(guard)


def test_counting_from_many_threads_is_exact(many_switches: None) -> None:
    """
    Nothing is lost, although no lock is taken.
    """
    guard = Guard()
    branch = Branch(guard, "branch")

    def churn() -> None:
        for number in range(500):
            leaf = Leaf(branch, "a").attach()
            if number % 5:
                leaf.close()

    assert [] == together(*[churn] * 4)
    created, live, released = guard.registry.tally("leaf", "a").counts()
    assert (2000, 400, {"closed": 1600}) == (created, live, released)
    counts_agree(guard)


# -- reading ---------------------------------------------------------------------------


def test_what_a_node_says_of_itself(branch: Branch) -> None:
    """
    Label, state and place; a node that was never attached has no site.
    """
    leaf = Leaf(branch)
    assert "(unnamed)" == leaf.label
    assert leaf.site is None
    assert "<Leaf '(unnamed)' open>" == repr(leaf)
    assert leaf.memory_bytes() is None
    assert not leaf.collected_unclosed()

    leaf.attach()
    leaf.close()

    assert "test_tree.py" in str(leaf.site)
    assert "<Leaf '(unnamed)' closed>" == repr(leaf)
    assert CLOSED == leaf.state


def test_nothing_inherited_is_closed(branch: Branch, guard: Guard) -> None:
    """
    In a forked child the registry is detached: nodes do nothing, branches refuse.
    """
    leaf = Leaf(branch).attach()
    guard.registry.detached = True

    leaf.close()

    assert [] == leaf.calls
    with pytest.raises(ScopeClosed, match="inherited through a fork"):
        Leaf(branch).attach()
    empty: Any = Branch(guard, "empty")
    with pytest.raises(ScopeClosed, match="inherited through a fork"):
        Leaf(empty).attach()
