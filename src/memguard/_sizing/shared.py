"""
What several values of one container refer to: charged once, or to none of them.

A value's parts are held by the value; what somebody else holds as well shows in its
reference count. That alone does not make it shared: the caller's variables hold parts
of a value that is just being put. But each value that refers to a shared thing adds one
reference, so a thing whose count has grown is shared, and so is one that more hold
than callers would. Things are known by identity, with some of their content because
identities are used again; nothing is kept alive. A thing counts as shared while others
still hold it about as often as when that was found out.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from sys import getrefcount
from typing import Any, Final

from memguard._sizing.anatomy import content, count_of
from memguard._sizing.plans import DICT, plan_of
from memguard._sizing.walk import Walk

__all__ = ("Shared",)

# The thing's first holder, the dict of what was seen, the argument of getrefcount.
_SOLE: Final = 3
# So many others are more than the variables of callers, if it is seen again ...
_MANY: Final = 8
# ... and so many hold only constants, and what is immortal.
_WIDELY: Final = 1000
_SMALL: Final = (str, bytes, int, float)  # not worth walking for
_PARTS: Final = 3  # of a thing, by which it is known
_KNOWN: Final = 1000  # shared things, then the longest known is forgotten
_SUSPECTS: Final = 2000  # of a generation; the one before is kept, too


class Shared:
    """
    The shared things of one container, and what may be found to be one.
    """

    __slots__ = ("_old", "_young", "charged", "known", "unsettled")

    def __init__(self) -> None:
        #: Identity to the number of outside holders it must at least have.
        self.known: dict[int, int] = {}
        #: How often what was found last had been charged too much.
        self.charged = 0
        #: Whether a part of the last value may yet prove to be shared.
        self.unsettled = False
        # Identity to what else it is known by, outside holders at first, and sightings.
        self._young: dict[int, tuple[object, int, int]] = {}
        self._old: dict[int, tuple[object, int, int]] = {}

    def learn(self, walk: Walk, root: object) -> bool:
        """
        Take in a walk from *root* that left out what is known; True where it would go
        another way now.
        """
        self.charged = 0
        self.unsettled = False
        again = Counter(map(id, walk.again))
        changed = self._forget(walk, again)
        counts = map(getrefcount, walk.seen.values())
        for key, count in list(zip(walk.seen, counts, strict=True)):
            if count <= _SOLE or key in self.known or key == id(root):
                continue
            # Whatever was met again is once more in the value, and in `again`.
            outside = count - _SOLE - 2 * again[key]
            if outside > 0:
                small = type(walk.seen[key]) in _SMALL
                if self._is_shared(walk.seen[key], outside, small=small):
                    changed = True
                elif not small:
                    self.unsettled = True
        return changed

    def _forget(self, walk: Walk, again: Counter[int]) -> bool:
        """
        True where something else was at the place of what was known.
        """
        changed = False
        for one in walk.again:
            key = id(one)
            least = self.known.get(key)
            if least is None:
                continue
            # In the value and in `again` each time; the variable, the argument.
            outside = getrefcount(one) - 2 * again[key] - 2
            if outside >= least:
                self.known[key] = max(least, outside // 2)
            else:
                self.known.pop(key, None)
                changed = True
        return changed

    def _is_shared(self, one: object, outside: int, *, small: bool) -> bool:
        key = id(one)
        known_by = _known_by(one)
        suspect = self._young.get(key) or self._old.get(key)
        if suspect is None or suspect[0] != known_by:
            suspect = known_by, outside, 0
        _, first, sightings = suspect
        more = outside > first or outside >= _MANY
        if not (more and sightings) and not (small and outside >= _WIDELY):
            if len(self._young) >= _SUSPECTS:
                self._old, self._young = self._young, {}
            self._young[key] = known_by, first, sightings + 1
            return False
        for oldest in list(self.known)[: len(self.known) - _KNOWN + 1]:
            self.known.pop(oldest, None)
        self.known[key] = max(2, outside * 3 // 4)
        # Its first holder outside may have been an entry, which was charged as well.
        self.charged = max(self.charged, sightings - (first > 1))
        return True


def _known_by(one: Any) -> object:
    """
    What tells *one* from something else that comes to its address: some of its content.
    """
    if type(one) in _SMALL:
        return hash(one)
    plan = plan_of(type(one))
    try:
        held = one.values() if plan is DICT else content(one, plan)
        return count_of(one, plan), *(
            hash(part) if type(part) in _SMALL else id(part)
            for part in islice(held, _PARTS)
        )
    except RuntimeError:
        return None  # it is changing
