"""
The order of closing, worked out on trees that nobody closes.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from memguard import Guard
from memguard._kinds.options import Options
from memguard._lifecycle.order import Entry, by_lane, closing_order
from memguard._phases import Ending, Outcome, Phase
from memguard._scope import Scope
from memguard._tree import effective_phase
from memguard.errors import OrderError


class Thing:
    """
    Something with an end.
    """

    def close(self) -> None: ...


class Tree:
    """
    A guard that was not started, with named things in it that live with the test.
    """

    def __init__(self) -> None:
        self.guard = Guard("tree")
        self.kept: dict[str, Thing] = {}

    def put(self, name: str, scope: Scope | None = None, **options: Any) -> Thing:
        thing = self.kept[name] = Thing()
        options["uses"] = [self.kept[one] for one in options.get("uses", ())]
        return (scope or self.guard).register(thing, name=name, **options)

    def order(self) -> list[str]:
        return [told(entry) for entry in closing_order(self.guard.children())]


def told(entry: Entry) -> str:
    """
    The name of an entry; that of a drain says so.
    """
    return entry.label if entry.closes else f"drain {entry.label}"


@pytest.fixture
def tree() -> Tree:
    """
    An empty tree.
    """
    return Tree()


def test_equals_close_newest_first(tree: Tree) -> None:
    """
    As from a stack.
    """
    for name in "abc":
        tree.put(name)

    assert ["c", "b", "a"] == tree.order()


def test_phases_come_first(tree: Tree) -> None:
    """
    However old a thing is, its phase decides.
    """
    for phase in (Phase.PROCESS, Phase.STOP_INTAKE, Phase.CLIENTS, Phase.WORK):
        tree.put(phase.value, phase=phase)

    assert ["stop_intake", "work", "clients", "process"] == tree.order()


def test_deeper_comes_before_shallower(tree: Tree) -> None:
    """
    What a scope owns, then the scope; newer things above it do not matter.
    """
    outer = tree.guard.scope("outer")
    inner = outer.scope("inner")
    tree.put("deep", inner)
    tree.put("shallow", outer)
    tree.put("newest", phase="work")

    assert ["deep", "shallow", "inner", "newest", "outer"] == tree.order()


def test_nothing_outlives_its_owner(tree: Tree) -> None:
    """
    A process in a scope ends in the phase of the scope.
    """
    scope = tree.guard.scope("job")
    tree.put("late", scope, phase="process")
    tree.put("client")

    assert ["late", "job", "client"] == tree.order()
    assert Phase.WORK is effective_phase(scope.children()[0])


def test_what_ends_earlier_than_its_owner_does_so(tree: Tree) -> None:
    """
    The timers of a scope stop before work does.
    """
    scope = tree.guard.scope("job")
    tree.put("timer", scope, phase="timers")
    tree.put("work", phase="work")

    assert ["timer", "work", "job"] == tree.order()


def test_users_close_before_what_they_use(tree: Tree) -> None:
    """
    Although they are older, shallower, or both.
    """
    scope = tree.guard.scope("job")
    tree.put("database", scope)
    tree.put("user", phase="work", uses=["database"])
    tree.put("other", scope)

    order = tree.order()
    assert order.index("user") < order.index("database")
    assert order.index("other") < order.index("database")
    assert order.index("database") < order.index("job")


def test_a_user_moves_to_the_phase_of_what_it_uses(tree: Tree) -> None:
    """
    It cannot wait for a later phase, where that would be gone.
    """
    tree.put("pool", phase="work")
    tree.put("user", uses=["pool"])
    tree.put("unrelated")

    assert ["user", "pool", "unrelated"] == tree.order()
    phases = {one.label: one.phase for one in closing_order(tree.guard.children())}
    assert Phase.WORK is phases["user"]


def test_an_explicit_later_phase_is_refused(tree: Tree) -> None:
    """
    The error tells both, and nothing is registered.
    """
    tree.put("pool", phase="work")
    with pytest.raises(OrderError, match="uses resource 'pool', which closes in work"):
        tree.put("user", phase="clients", uses=["pool"])

    assert ["pool"] == tree.order()


def test_a_ring_of_uses_is_refused(tree: Tree) -> None:
    """
    Also over several steps.
    """
    first = tree.put("a")
    tree.put("b", uses=["a"])
    tree.put("c", uses=["b"])

    with pytest.raises(OrderError, match="would use itself"):
        tree.guard.register(first, uses=[tree.kept["c"]])


def test_a_ring_ends_all_the_same() -> None:
    """
    If one came about, each is in the order once.
    """
    guard = Guard()
    things = [guard.register(Thing(), name=str(n), keep=True) for n in range(3)]
    nodes = [guard.registry.objects[id(thing)] for thing in things]
    for node, other in zip(nodes, nodes[1:] + nodes[:1], strict=True):
        options = Options(node)  # type: ignore[arg-type]
        options.uses = (other,)
        node.options = options  # type: ignore[attr-defined]

    assert ["0", "1", "2"] == sorted(one.label for one in closing_order(nodes))


def test_a_long_chain_of_uses(tree: Tree) -> None:
    """
    Five thousand steps, without recursion.
    """
    tree.put("0")
    for number in range(1, 5000):
        thing = tree.kept[str(number)] = Thing()
        node = tree.guard.children()[-1]
        tree.guard.register(thing, name=str(number), uses=[node])

    assert [str(number) for number in reversed(range(5000))] == tree.order()


def test_work_in_hand_is_drained_before_anything_of_its_phase() -> None:
    """
    What a request owns, and what else closes in that phase, is what it needs.
    """
    tree = Tree()
    scope = tree.guard.scope("request")
    tree.put("transaction", scope)
    tree.put("timer", scope, phase="timers")
    inner = scope.scope("inner", work=False)
    tree.put("cursor", inner)
    tree.put("executor", phase="work")
    tree.put("client")
    in_hand(scope)

    entries = closing_order(tree.guard.children())

    assert [
        "timer",
        "drain request",
        "cursor",
        "inner",
        "transaction",
        "executor",
        "request",
        "client",
    ] == [told(entry) for entry in entries]
    by_name = {told(entry): entry for entry in entries}
    drain = by_name["drain request"]
    assert drain is by_name["request"].drain
    waiting = {told(entry) for entry in entries if drain in entry.after}
    assert {"cursor", "inner", "transaction", "request"} == waiting
    assert not drain.after


def test_work_within_work() -> None:
    """
    What the inner work owns waits for both; the drains for nothing.
    """
    tree = Tree()
    outer = tree.guard.scope("outer")
    inner = outer.scope("inner")
    tree.put("thing", inner)
    in_hand(outer)
    in_hand(inner)

    entries = {told(one): one for one in closing_order(tree.guard.children())}

    drains = {entries["drain inner"], entries["drain outer"]}
    assert drains <= set(entries["thing"].after)
    assert drains <= set(entries["inner"].after)
    assert not entries["drain inner"].after
    assert not entries["drain outer"].after


def in_hand(scope: Scope) -> None:
    """
    Enter *scope* in another thread, and stay there.
    """
    thread = threading.Thread(target=scope.__enter__)
    thread.start()
    thread.join()
    assert scope.in_hand


def test_the_caller_is_not_waited_for() -> None:
    """
    Who stands inside a scope cannot wait until it is left.
    """
    tree = Tree()
    with tree.guard.scope("here") as scope:
        tree.put("thing", scope)
        assert ["thing", "here"] == tree.order()


def test_waves_are_what_may_go_together(tree: Tree) -> None:
    """
    Neighbours in the order of which none waits for another.
    """
    scope = tree.guard.scope("job")
    for name in ("a", "b"):
        tree.put(name, scope)
    tree.put("c", scope, uses=["b"])
    tree.put("d", phase="work")
    entries = closing_order(tree.guard.children())

    assert [("c", 0), ("b", 1), ("a", 1), ("d", 2), ("job", 2)] == [
        (entry.label, entry.wave) for entry in entries
    ]


def test_lanes_of_a_wave_are_put_together(tree: Tree) -> None:
    """
    Newest first in each lane; the lanes in the order of their newest.
    """
    for name, affinity in zip("abcdef", ["any", "thread"] * 3, strict=True):
        tree.put(name, affinity=affinity)
    entries = by_lane(closing_order(tree.guard.children()))

    assert ["f", "d", "b", "e", "c", "a"] == [entry.label for entry in entries]


def test_an_entry_ends_once() -> None:
    """
    The first ending counts; whoever comes later is told.
    """
    tree = Tree()
    tree.put("a")
    (entry,) = closing_order(tree.guard.children())

    assert not entry.done
    assert entry.finish(Ending(Outcome.ABANDONED))
    assert not entry.finish(Ending(Outcome.CLOSED))
    assert entry.done
    assert entry.ending is not None
    assert Outcome.ABANDONED is entry.ending.outcome


def test_the_order_changes_nothing(tree: Tree) -> None:
    """
    Asking twice gives the same, and the tree is as before.
    """
    scope = tree.guard.scope("job")
    tree.put("a", scope)
    tree.put("b", uses=["a"])

    assert tree.order() == tree.order()
    assert 1 == len(scope.children())
    assert all(not one.closed for one in tree.guard.walk())
