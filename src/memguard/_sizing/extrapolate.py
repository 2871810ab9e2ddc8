"""
The size of what is too large to be walked: read in part, and multiplied.

Each container is read in mixed order until its share of the budget is spent. An
object's scale says how many like it there are: the product of what was left out on
the way to it. What two different items of the outermost large container refer to is
shared, there is one of it; otherwise a template that a million rows share would count
a million times.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from memguard._sizing.anatomy import INT, holds_pairs, own_bytes, sample
from memguard._sizing.plans import FLAT, NOTHING, Plan, plan_of

__all__ = ("extrapolated",)

# A container with more things than this is a population: its items are compared.
_MANY: Final = 32
# Read at least so many of a container, however little of the budget is left ...
_LEAST: Final = 4
# ... and spend at most this part of what is left on one of them.
_PART: Final = 16


class _Frame:
    """
    A container that is being read.
    """

    __slots__ = ("at", "count", "end", "node", "pairs", "populated", "things")

    def __init__(
        self, node: int, things: list[Any], count: int, end: int, *, pairs: bool
    ) -> None:
        self.node = node
        self.things = things
        self.count = count
        self.end = end  # spend no more than up to here
        self.pairs = pairs
        self.populated = False  # its things are the population
        self.at = 0

    def is_done(self, spent: int) -> bool:
        at = self.at
        return at >= len(self.things) or (at >= _LEAST and spent >= self.end)

    def share(self, spent: int) -> int:
        """
        Up to where the thing that comes next may spend.
        """
        ahead = len(self.things) - self.at + 1
        return spent + max(1, (self.end - spent) // min(ahead, _PART))


class _Sample:
    """
    The objects visited so far, with the way to each.
    """

    def __init__(self, budget: int, known: Container[int]) -> None:
        self.known = known
        # A deep structure of small parts overspends, because each part is read whole;
        # at twice the budget it is cut off, without guessing what may be below.
        self.bound = 2 * budget
        self.own: list[int] = []
        self.parent: list[int] = []
        self.factor: list[float] = []
        self.member: list[int] = []  # which item of the population it belongs to
        self.shared: set[int] = set()
        self.index: dict[int, int] = {}
        self.frames: list[_Frame] = []

    def add(self, size: int, parent: int, member: int) -> int:
        node = len(self.own)
        self.own.append(size)
        self.parent.append(parent)
        self.factor.append(1.0)
        self.member.append(member)
        return node

    def visit(self, obj: Any, parent: int, member: int, end: int) -> None:
        """
        Count *obj* unless it was seen, and go on with what it holds.
        """
        known = self.index.get(id(obj))
        if known is not None:
            if self.member[known] != member:
                self.shared.add(known)
            return
        plan = plan_of(type(obj))
        if plan is NOTHING or (id(obj) in self.known and parent >= 0):
            return
        size = own_bytes(obj, plan)
        if type(obj) is int and size < INT:
            size = INT
        node = self.add(size, parent, member)
        self.index[id(obj)] = node
        if plan is not FLAT:
            self.open(obj, plan, node, end)

    def open(self, obj: Any, plan: Plan, node: int, end: int) -> None:
        try:
            things, count = sample(obj, plan, max(_LEAST, end - len(self.own)))
        except RuntimeError:
            return  # it changes all the time; its own bytes are counted
        if things:
            pairs = holds_pairs(plan)
            self.frames.append(_Frame(node, things, count, end, pairs=pairs))

    def run(self) -> None:
        population: _Frame | None = None
        while self.frames:
            frame = self.frames[-1]
            spent = len(self.own)
            out_of_budget = spent >= self.bound
            if out_of_budget or frame.is_done(spent):
                if frame.at and (frame.count > _MANY or not out_of_budget):
                    self.factor[frame.node] = frame.count / frame.at
                self.frames.pop()
                if frame is population:
                    population = None
                continue
            if population is None and frame.count > _MANY:
                population = frame
            thing = frame.things[frame.at]
            frame.at += 1
            end = frame.share(spent)
            # Items of the population are told apart by the number of their visit.
            member = (
                -2 - frame.at - frame.node * self.bound
                if frame is population
                else self.member[frame.node]
            )
            if frame.pairs:
                pair = self.add(0, frame.node, member)
                self.frames.append(_Frame(pair, [*thing], 2, end, pairs=False))
            else:
                self.visit(thing, frame.node, member, end)

    def total(self) -> int:
        """
        Every size times its scale; parents come before what they hold.
        """
        scales: list[float] = []
        total = 0.0
        for node, size in enumerate(self.own):
            parent = self.parent[node]
            if parent < 0 or node in self.shared:
                scale = 1.0
            else:
                scale = scales[parent] * self.factor[parent]
            scales.append(scale)
            total += size * scale
        return round(total)


def extrapolated(root: object, budget: int, known: Container[int] = ()) -> int:
    """
    An estimate of the deep size of *root* from about *budget* of its objects.

    What is *known* by its identity is left out.
    """
    sampled = _Sample(budget, known)
    sampled.visit(root, -1, -1, budget)
    sampled.run()
    return sampled.total()
