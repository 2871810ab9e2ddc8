"""
Taking huge values apart, so that their end holds nobody up.

Dropping the last reference to a million entries frees them all in one go, and no other
thread runs meanwhile: 30 to 60 ms. Here they go in slices. Only what nobody else refers
to is touched, which its reference count tells: exact built-in containers are emptied;
of everything else the children are held while it goes, and then are taken apart in
turn. So user code sees each of its objects whole until its own end, as always, only
its children end a little later. A frozen set cannot be emptied: its entries are held
elsewhere first, so that its own end is a mere countdown of references. The same goes
for tuples where the interpreter does not help: see `memguard._probes.tuples`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from gc import get_referents
from itertools import chain, repeat
from sys import getrefcount
from time import thread_time
from typing import Any, Final
from weakref import getweakrefcount

from memguard._clock import give_way
from memguard._kinds.fixed import Fixed
from memguard._kinds.release import PAUSE_S

__all__ = ("discard", "dismantle", "is_huge")

# As many entries are worth the trouble: what they refer to may be more.
_MANY: Final = 256
# Entries taken out of a container in one step, and those of them that are then looked
# at one by one.
_STEP: Final = 1024
_NEAR: Final = 256
# A slice holds the interpreter so long, seconds, and one step more.
_SLICE_S: Final = 0.0002

# Nothing hangs on these. A class is never taken apart either.
_ATOMS: Final = frozenset(
    {str, bytes, int, float, bool, complex, bytearray, type(None), range, type}
)
_SIZED: Final = frozenset({dict, list, tuple, set, frozenset, deque})
# Those of them that others may refer to weakly.
_WEAKLY: Final = frozenset({set, frozenset, deque})


def _alone() -> int:
    bag = [object()]
    item = bag.pop()
    return getrefcount(item)


# The count of an object that a local variable alone refers to: one for the variable,
# one for the argument of `getrefcount`. Found out, because it is the interpreter's.
_ALONE: Final = _alone()

# Objects of a type that were looked at, by the type's identity: a type whose first
# ones are small is looked at now and then only.
_LOOKS: Final = 32
_TYPES: Final = 1000
_looked: dict[int, int] = {}

# What waits for the one thread that takes things apart, and the process it works in.
_waiting: deque[list[Any]] = deque()
_working: list[int] = []


def is_huge(value: Any) -> bool:
    """
    True where the end of *value* may take long: a quick look, at an object's attributes
    too.
    """
    kind = type(value)
    if kind in _ATOMS:
        return False
    if kind in _SIZED:
        return len(value) > _MANY
    children = get_referents(value)
    if _SIZED.isdisjoint(map(type, children)):
        return False
    for child in children:
        kind = type(child)
        if kind in _SIZED and len(child) > _MANY:
            return True
        # Where the attributes are in a dictionary of their own.
        if kind is dict and any(map(_is_long, child.values())):
            return True
    return False


def _is_long(value: Any) -> bool:
    return type(value) in _SIZED and len(value) > _MANY


def discard(
    values: list[Any],
    submit: Callable[[Callable[[], object]], object] | None = None,
    *,
    heavy: bool = False,
) -> None:
    """
    Drop all of *values*, which is then empty. The caller refers to none of them.

    What is huge goes in slices, with *submit* on another thread, else here and now;
    everything if they are known to be *heavy*. No lock may be held: destructors run.
    """
    huge: list[Any] = []
    if heavy or len(values) > _MANY:
        huge = values[:]
    else:
        for one in values:
            kind = type(one)
            if kind in _ATOMS or (kind in _SIZED and len(one) <= _MANY):
                continue
            if kind not in _SIZED:
                looks = _looked.get(id(kind), 0)
                _looked[id(kind)] = looks + 1
                if looks >= _LOOKS and looks % _LOOKS:
                    continue
            if is_huge(one):
                huge.append(one)
                _looked.clear()
        one = None
        if len(_looked) > _TYPES:
            _looked.clear()
    values.clear()
    if not huge:
        return
    if submit is None:
        dismantle(huge)
        return
    _waiting.append(huge)
    del huge
    if _working != [os.getpid()]:
        _working[:] = [os.getpid()]
        submit(_work)


def _work() -> None:
    while True:
        try:
            dismantle(_waiting.popleft())
        except IndexError:
            break
    # Append first, look second, there; leave first, look second, here. Where two
    # threads come to work at once, both do.
    _working.clear()
    if _waiting:
        _working[:] = [os.getpid()]
        _work()


def dismantle(
    bag: list[Any],
    *,
    pause: Callable[[float], object] = give_way,
    used: Callable[[], float] = thread_time,
) -> None:
    """
    Drop everything in *bag*, which is then empty, in slices with pauses between.

    The caller refers to none of it. Runs destructors, with no lock held.
    """
    stack: list[Any] = [bag[:]]
    bag.clear()
    began = used()
    for _ in _steps(stack):
        if used() - began > _SLICE_S:
            pause(PAUSE_S)
            began = used()


def _steps(stack: list[Any]) -> Iterator[None]:
    """
    One step of the work a turn. Everything on *stack* is a container, and ours alone.
    """
    # What comes last is taken first: what is found on the way is soon gone.
    while stack:
        some = _some_of(stack)
        if _ATOMS.issuperset(map(type, some)):
            del some
            yield
            continue
        while some:
            _look_at(some, stack)
            yield


def _some_of(stack: list[Any]) -> list[Any]:
    """
    Some entries of the container on top, taken out of it; an empty one leaves.
    """
    top = stack[-1]
    kind = type(top)
    if kind is list:
        some = top[-_STEP:]
        del top[-_STEP:]
    elif kind is dict:
        pop = top.popitem
        pairs = [pop() for _ in repeat(None, min(_NEAR, len(top)))]
        some = list(chain.from_iterable(pairs))
    elif kind is Fixed:
        some = top.take(_NEAR)
    else:
        pop = top.pop
        some = [pop() for _ in repeat(None, min(_NEAR, len(top)))]
    if not top:
        stack.pop()
    return some  # type: ignore[no-any-return]


def _look_at(some: list[Any], stack: list[Any]) -> None:
    """
    Drop the last few of *some*; what was theirs alone comes onto the *stack*.
    """
    parents: list[Any] = []
    room = _STEP
    for _ in repeat(None, min(_NEAR, len(some))):
        item = some.pop()
        kind = type(item)
        if kind in _ATOMS or getrefcount(item) != _ALONE:
            continue
        if kind in _SIZED:
            size = len(item)
            if size > _MANY:
                if kind not in _WEAKLY or not getweakrefcount(item):
                    _put_on(stack, item, kind)
                continue
            room -= size
        parents.append(item)
        if room <= 0:
            break
    item = None
    if parents:
        children = get_referents(*parents)
        if children:
            stack.append(children)


def _put_on(stack: list[Any], item: Any, kind: type) -> None:
    if kind is tuple or kind is frozenset:
        stack.append(Fixed(item))
    else:
        stack.append(item)
